"""What `explain` and `check` assume of the middleware's configuration."""

import json
import os
from pathlib import Path

import pytest

from maintenance_wsgi.state.users import current_user
from tests.support.commands import invoke

PROXIED = ["explain", "127.0.0.1", "--header=X-Forwarded-For: 203.0.113.7"]
CHECK = ["check", f"--user={current_user()}"]
VERDICT = "verdict  let through: the client is exempt"


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
    }


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
