"""Read-only mode: who passes by what method, and what stays closed."""

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from maintenance_wsgi import ConfigError, ConfigTypeError, MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.request.bypass import new_link
from maintenance_wsgi.response.languages import load_catalogs
from tests.support.commands import invoke
from tests.support.logs import warnings_of
from tests.support.wsgi import call, make_environ, shop, status_of

READING = ["GET", "HEAD", "OPTIONS", "QUERY"]
WRITING = ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "LOCK", "PURGE"]
ODD = ["get", "GET ", ""]
OVERRIDES: list[dict[str, str]] = [
    {},
    {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"},
    {"HTTP_X_HTTP_METHOD": "PUT"},
    {"HTTP_X_METHOD_OVERRIDE": ""},
    {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"},
]


@pytest.fixture
def seen() -> list[WSGIEnvironment]:
    return []


@pytest.fixture
def gate(var: Path, mode: MaintenanceMode, seen: list[WSGIEnvironment]) -> MaintenanceMiddleware:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        return shop(environ, start_response)

    mode.enable(read_only=True)
    return MaintenanceMiddleware(
        application,
        var,
        trusted_proxies=["10.0.0.1"],
        exempt_paths=["/healthz"],
        write_paths=["/login", "/api/"],
    )


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda sent: "+".join(sent) or "plain")
@pytest.mark.parametrize("method", READING + WRITING + ODD)
def test_only_requests_that_are_known_to_read_pass(
    method: str, override: dict[str, str], gate: WSGIApplication, seen: list[WSGIEnvironment]
) -> None:
    """An allow list: fifteen methods and more, times what makes a write of a read."""
    environ = make_environ() | {"REQUEST_METHOD": method} | override
    passes = method in READING and not override
    assert status_of(gate, environ) == ("200 OK" if passes else "503 Service Unavailable")
    assert [found.get("maintenance_wsgi.read_only") for found in seen] == [True] * passes


def test_request_without_a_method_is_blocked(gate: WSGIApplication) -> None:
    environ = make_environ()
    del environ["REQUEST_METHOD"]
    assert status_of(gate, environ) == "503 Service Unavailable"


def test_reader_gets_the_page_as_it_is_but_for_the_mark(
    gate: WSGIApplication, seen: list[WSGIEnvironment]
) -> None:
    answer = call(gate)
    assert (answer.code, answer.mark) == (200, "read-only")
    assert answer["Cache-Control"] == "public, max-age=3600"
    assert "maintenance_wsgi.exempt" not in seen[0]


@pytest.mark.parametrize("language", load_catalogs())
@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
def test_writer_gets_the_503_with_a_sentence_of_its_own(
    accept: str, language: str, gate: WSGIApplication
) -> None:
    sent = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_LANGUAGE": language, "REQUEST_METHOD": "POST"}
    answer = call(gate, make_environ(**sent))
    assert (answer.code, answer.mark, answer["Retry-After"]) == (503, "read-only", "300")
    catalog = load_catalogs()[language]
    assert catalog.read_only in answer.body.decode()
    assert catalog.detail not in answer.body.decode()


def test_sentence_is_that_of_the_operator_and_fills_a_custom_page(
    var: Path, mode: MaintenanceMode, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>{{ message }}</p>")
    gate = MaintenanceMiddleware(shop, var, page=page)
    mode.enable(read_only=True)
    posted = {"REQUEST_METHOD": "POST", "HTTP_ACCEPT_LANGUAGE": "de"}
    sentence = load_catalogs()["de"].read_only
    assert call(gate, make_environ(**posted)).body.decode() == f"<p>{sentence}</p>"
    mode.enable(message="No orders today")
    assert call(gate, make_environ(**posted)).body == b"<p>No orders today</p>"


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/login", True),
        ("/api/", True),
        ("/api/orders", True),
        ("/login/", False),
        ("/api", False),
        ("/api/../admin", False),
        ("/", False),
    ],
)
@pytest.mark.parametrize("override", OVERRIDES, ids=lambda sent: "+".join(sent) or "plain")
def test_write_paths_pass_whatever_the_method(
    override: dict[str, str],
    path: str,
    passes: bool,  # noqa: FBT001 (a parameter)
    gate: WSGIApplication,
    seen: list[WSGIEnvironment],
) -> None:
    for method in ("POST", "DELETE"):
        answer = call(gate, make_environ(path=path, REQUEST_METHOD=method, **override))
        assert (answer.code, answer.mark) == (200 if passes else 503, "read-only")
    assert [found["maintenance_wsgi.read_only"] for found in seen] == [True, True] * passes


def test_write_paths_are_closed_in_other_maintenance(
    gate: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(read_only=False)
    for method, path in product(["GET", "POST"], ["/", "/login"]):
        answer = call(gate, make_environ(path=path, REQUEST_METHOD=method))
        assert (answer.code, answer.mark) == (503, "on")


def test_exempt_clients_and_paths_write_on(
    gate: WSGIApplication, mode: MaintenanceMode, seen: list[WSGIEnvironment]
) -> None:
    link = new_link("https://shop.example/")
    mode.enable(exemptions=["203.0.113.7"], bypass=link.digest)
    secret = link.url.rpartition("=")[2]
    for sent in (
        {"REMOTE_ADDR": "203.0.113.7"},
        {"PATH_INFO": "/healthz"},
        {"HTTP_X_MAINTENANCE_BYPASS": secret},
    ):
        answer = call(gate, make_environ() | {"REQUEST_METHOD": "DELETE"} | sent)
        assert (answer.code, answer.mark) == (200, "exempt")
        assert "maintenance_wsgi.read_only" not in seen[-1]


@pytest.mark.parametrize("value", ["true", 1, 0, None, "yes", [], {}, False, 1.0, [True]])
def test_any_other_value_means_closed(
    value: object, gate: WSGIApplication, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_text(json.dumps({"read_only": value}))
    answer = call(gate)
    assert (answer.code, answer.mark) == (503, "on")
    assert len(warnings_of(caplog)) == (value is not None and value is not False)


@pytest.mark.parametrize(
    "content", [b"", b"read_only", b'{"read_only": true', b'{"read_only": true}}', b'["read_only"]']
)
def test_flag_that_cannot_be_read_means_closed(
    content: bytes, gate: WSGIApplication, flag: Path
) -> None:
    flag.write_bytes(content)
    assert (call(gate).code, call(gate).mark) == (503, "on")


def test_read_only_goes_with_the_flag(gate: WSGIApplication, mode: MaintenanceMode) -> None:
    mode.enable(message="kept")
    assert mode.status().window.read_only is True
    mode.disable()
    assert call(gate, make_environ(REQUEST_METHOD="POST")).mark is None
    mode.enable()
    assert call(gate).code == 503
    mode.disable()
    with mode.window(read_only=True):
        assert call(gate).code == 200
        assert call(gate, make_environ(REQUEST_METHOD="POST")).code == 503


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("/api/*", "write_paths: '/api/\\*' holds '\\*', but there are no wildcards; use '/api/'"),
        ("/", "write_paths: '/' would cover every path; list the paths that you mean"),
        ("login", "write_paths: 'login' is not a valid path"),
        ("/a//b", "write_paths: '/a//b' has an empty"),
    ],
)
def test_bad_write_path_is_refused(entry: str, message: str, var: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        MaintenanceMiddleware(shop, var, write_paths=[entry])


def test_value_of_a_wrong_type_is_refused(mode: MaintenanceMode) -> None:
    value: Any = "true"
    with pytest.raises(ConfigTypeError, match="read_only: 'true' is not a bool"):
        mode.enable(read_only=value)
    assert not mode.is_enabled()


# The command


def run(var: Path, *arguments: str) -> str:
    result = invoke("--dir", str(var), *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command_switches_it(var: Path, flag: Path) -> None:
    assert run(var, "enable", "--read-only").startswith("Enabled read-only maintenance mode in")
    assert json.loads(flag.read_text())["read_only"] is True
    assert "\nRead-only: GET, HEAD, OPTIONS and QUERY pass\n" in run(var, "status")
    assert json.loads(run(var, "status", "--json"))["read_only"] is True
    run(var, "enable", "--message", "later")
    assert json.loads(flag.read_text())["read_only"] is True
    assert run(var, "enable", "--no-read-only").startswith("Updated maintenance mode in")
    assert "read_only" not in json.loads(flag.read_text())
    assert "Read-only" not in run(var, "status")
    run(var, "disable")
    kept = var / "kept"
    run(var, "run", "--read-only", "--", "cp", str(flag), str(kept))
    assert json.loads(kept.read_text())["read_only"] is True


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ([], "let through: read-only mode, and the request only reads"),
        (["--method=POST"], "blocked: 503"),
        (["--header=X-HTTP-Method: PUT"], "blocked: 503"),
        (
            ["--method=POST", "--path=/login", "--write-path=/login"],
            "let through: read-only mode, and the path is one of write_paths",
        ),
    ],
)
def test_explain_tells_what_becomes_of_it(arguments: list[str], verdict: str, var: Path) -> None:
    run(var, "enable", "--read-only")
    found = run(var, "explain", "192.0.2.9", *arguments)
    assert f"verdict  {verdict}\n" in found
    assert "flag     present              read-only\n" in found
    hint = "hint     read-only: only GET, HEAD, OPTIONS, QUERY pass, without Upgrade or a method"
    assert (hint in found) is verdict.startswith("blocked")
