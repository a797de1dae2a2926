"""What `explain` and `check` assume of the middleware's configuration; what `preview` prints."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.state.users import current_user
from tests.support.commands import invoke
from tests.support.processes import COMMAND, environ, run
from tests.support.wsgi import call, make_environ, shop

PROXIED = ["explain", "127.0.0.1", "--header=X-Forwarded-For: 203.0.113.7"]
CHECK = ["check", f"--user={current_user()}"]
VERDICT = "verdict  let through: the client is exempt"
OPEN, BLOCKED = "let through: the path is exempt", "blocked: 503"


@pytest.fixture(autouse=True)
def variables(var: Path, flag: Path, ip_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MAINTENANCE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MAINTENANCE_DIR", str(var))
    flag.touch()
    ip_list.write_text("203.0.113.7")


def lines_of(*arguments: str) -> list[str]:
    result = invoke(*arguments)
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_options_come_from_the_variables_of_the_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1")
    monkeypatch.setenv("MAINTENANCE_EXEMPT_PATHS", "/healthz")
    expected = (
        "config   from MAINTENANCE_*: --trusted-proxy=10.0.0.0/8 --trusted-proxy=127.0.0.1"
        " --client-ip-header=X-Forwarded-For --exempt-path=/healthz"
    )
    lines = lines_of(*PROXIED)
    assert lines[0] == expected
    assert VERDICT in lines
    assert "path     /healthz             exempt" in lines_of(*PROXIED, "--path=/healthz")
    assert lines_of(*CHECK)[0] == expected


@pytest.mark.parametrize("command", ["check", "explain 192.0.2.1", "preview"])
def test_page_that_is_not_a_path_is_refused(command: str, tmp_path: Path) -> None:
    result = invoke(*command.split(), "--page=")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--page: '' is not a valid path" in result.stderr
    line = f"mkdir gone && cd gone && rmdir ../gone && {COMMAND} {command} --page=page.html"
    known = environ(MAINTENANCE_DIR=str(tmp_path))
    gone = run("sh", "-c", line, cwd=tmp_path, env=known, code=2)
    assert "--page: 'page.html' is relative, and the working directory is gone" in gone.stderr


def test_options_that_are_given_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXIES", "10.0.0.1")
    monkeypatch.setenv("MAINTENANCE_CLIENT_IP_HEADER", "X-Real-IP")
    monkeypatch.setenv("MAINTENANCE_PAGE", "nope.html")
    given = ["--trusted-proxy=127.0.0.1", "--client-ip-header=X-Forwarded-For"]
    lines = lines_of(*PROXIED, *given)
    assert lines[0] == (
        "config   from MAINTENANCE_* and given here: --trusted-proxy=127.0.0.1"
        " --client-ip-header=X-Forwarded-For --page=nope.html"
    )
    assert VERDICT in lines


def test_it_is_said_if_no_configuration_is_given() -> None:
    lines = lines_of(*PROXIED)
    assert lines[0] == "config   none given: --client-ip-header=X-Forwarded-For"
    assert "verdict  blocked: 503" in lines
    assert lines_of(*CHECK)[0] == lines[0]
    lines = lines_of(*PROXIED, "--trusted-proxy=127.0.0.1")
    assert lines[0].startswith("config   given here: --trusted-proxy=127.0.0.1 ")


def test_json_holds_the_configuration(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXIES", "127.0.0.1")
    monkeypatch.setenv("MAINTENANCE_RETRY_AFTER", "none")
    found = json.loads(invoke(*PROXIED, "--json").stdout)
    assert found["allowed"]
    assert found["config"] == {
        "source": "from MAINTENANCE_*",
        "directory": str(var),
        "trusted_proxies": ["127.0.0.1"],
        "client_ip_header": "X-Forwarded-For",
        "exempt_paths": [],
        "page": None,
        "health_paths": [],
        "write_paths": [],
        "retry_after": None,
    }


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        pytest.param("/rück/x", OPEN, id="plain"),
        pytest.param("/r%C3%BCck/x", OPEN, id="encoded"),
        pytest.param("/r%c3%bcck/%1b%0a", OPEN, id="unprintable"),
        pytest.param("/rück%2Fx?a=%2F", OPEN, id="query"),
        pytest.param("/r%C3%BCck%3Fx", BLOCKED, id="no-query"),
        pytest.param("/rück%2F..%2Fx", BLOCKED, id="dots"),
        pytest.param("/r%FCck/x", BLOCKED, id="latin-1"),
    ],
)
def test_path_is_decoded_as_servers_decode_it(path: str, verdict: str) -> None:
    lines = lines_of("explain", "192.0.2.1", "--exempt-path=/rück/", f"--path={path}")
    assert f"verdict  {verdict}" in lines
    assert all(line.isprintable() for line in lines)


def test_check_takes_every_option_from_the_variables(
    tmp_path: Path, ip_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy script that runs it must not need the options a second time."""
    page = tmp_path / "page.html"
    page.write_text('<img src="/static/logo.png">{{ message }}')
    monkeypatch.setenv("MAINTENANCE_PAGE", str(page))
    assert "loads '/static/logo.png'" in invoke(*CHECK).stdout
    monkeypatch.setenv("MAINTENANCE_EXEMPT_PATHS", "/static/")
    assert invoke(*CHECK).exit_code == 0
    ip_list.write_text("10.0.0.9")
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXIES", "10.0.0.0/8")
    assert "covers a trusted proxy" in invoke(*CHECK).stdout


@pytest.mark.parametrize("command", [CHECK, PROXIED], ids=lambda command: command[0])
def test_variable_that_the_application_refuses_is_refused(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXY", "127.0.0.1")
    result = invoke(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean MAINTENANCE_TRUSTED_PROXIES?" in result.stderr


@pytest.mark.parametrize("address", ["1.2.3", "203.0.113.7:80x", "shop.example"])
def test_address_that_cannot_be_read_is_refused(address: str) -> None:
    result = invoke("explain", address)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"'{address}' is not an IP address" in result.stderr


def preview(*arguments: str) -> bytes:
    result = invoke("preview", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout_bytes


@pytest.mark.parametrize("language", ["de", "ar, en;q=0.5", ""])
@pytest.mark.parametrize("accept", ["text/html", "text/plain", "application/json"])
def test_preview_is_what_a_visitor_gets(accept: str, language: str, var: Path) -> None:
    MaintenanceMode(var).enable(message="Umzug & mehr", retry_after=60)
    environ = make_environ(HTTP_ACCEPT=accept, HTTP_ACCEPT_LANGUAGE=language)
    answer = call(MaintenanceMiddleware(shop, var), environ)
    fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    asked = ["--accept", accept, "--lang", language]
    assert preview(*asked) == answer.body
    head = f"HTTP/1.1 {answer.status}\r\n{fields}\r\n".encode()
    assert preview(*asked, "-i") == head + answer.body


def test_preview_needs_no_maintenance(flag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag.unlink()
    assert b"Umzug" not in preview()
    assert b"\r\nRetry-After: 300\r\n" in preview("-i")
    monkeypatch.setenv("MAINTENANCE_RETRY_AFTER", "60")
    assert b"\r\nRetry-After: 60\r\n" in preview("--include")
    monkeypatch.setenv("MAINTENANCE_RETRY_AFTER", "none")
    assert b"Retry-After" not in preview("-i")
    assert not flag.exists()


def test_preview_of_an_end_that_is_past(var: Path) -> None:
    MaintenanceMode(var).enable(until=datetime.now(UTC) + timedelta(hours=2))
    late = "länger als geplant".encode()
    assert late not in preview("--lang=de")
    assert late in preview("--lang=de", "--overdue")


def test_preview_of_an_own_page_is_exact(
    tmp_path: Path, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MaintenanceMode(var).enable(message="<Umzug>")
    (tmp_path / "page.html").write_bytes(b"\xff\r\n{{ message }}{{ client_ip }}\n")
    (tmp_path / "page.de.html").write_bytes(b"deutsch")
    monkeypatch.setenv("MAINTENANCE_PAGE", str(tmp_path))
    assert preview() == b"\xff\r\n&lt;Umzug&gt;\n"
    assert preview("--lang=de-AT") == b"deutsch"
    assert preview("--page", str(tmp_path / "page.de.html")) == b"deutsch"
    result = invoke("preview", "--page", str(tmp_path / "no.html"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be found" in result.stderr
