"""Health paths, on which the gate itself answers."""

from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from maintenance_wsgi import ConfigError, MaintenanceMiddleware, MaintenanceMode
from tests.support.commands import invoke
from tests.support.wsgi import call, make_environ, shop

BROKEN = "there_is_no_such_module:application"


@pytest.fixture
def gate(var: Path) -> WSGIApplication:
    return MaintenanceMiddleware(shop, var, health_paths=["/healthz", "/up/"])


@pytest.mark.parametrize("path", ["/healthz", "/up/", "/up/db"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("peer", ["192.0.2.9", "203.0.113.7", ""], ids=["any", "exempt", "unknown"])
def test_gate_answers_while_maintenance_is_on(
    peer: str, method: str, path: str, gate: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(exemptions=["203.0.113.7"])
    answer = call(gate, make_environ(peer, path, REQUEST_METHOD=method))
    assert answer.status == "200 OK"
    assert answer.body == (b"ok\n" if method == "GET" else b"")
    assert dict(answer.headers) == {
        "Content-Type": "text/plain",
        "Content-Length": "3",
        "Cache-Control": "no-store",
        "X-Maintenance-Mode": "on",
    }


def test_application_answers_while_it_is_off(gate: WSGIApplication) -> None:
    answer = call(gate, make_environ(path="/healthz"))
    assert (answer.body, answer.mark) == (b"shop at /healthz", None)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"REQUEST_METHOD": "POST"}, 503),
        ({"REQUEST_METHOD": "get"}, 503),
        ({"PATH_INFO": "/healthz/"}, None),
        ({"PATH_INFO": "/up/../admin"}, None),
        ({"PATH_INFO": "", "SCRIPT_NAME": "/healthz"}, None),
    ],
)
def test_other_requests_are_decided_as_ever(
    sent: dict[str, Any],
    code: int | None,
    read_only: bool,  # noqa: FBT001 (a parameter)
    gate: WSGIApplication,
    mode: MaintenanceMode,
) -> None:
    mode.enable(read_only=read_only)
    environ = make_environ(path="/healthz") | sent
    statuses: list[str] = []
    gate(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type] # writes nothing
    assert statuses[0].startswith(str(code or (200 if read_only else 503)))


def test_node_is_well_even_if_the_application_cannot_be_imported(
    var: Path, mode: MaintenanceMode
) -> None:
    mode.enable(exemptions=["203.0.113.7"])
    gate = MaintenanceMiddleware(BROKEN, var, health_paths=["/healthz"], exempt_paths=["/status"])
    assert call(gate, make_environ(path="/healthz")).code == 200
    assert call(gate).code == 503
    with pytest.raises(ModuleNotFoundError):
        call(gate, make_environ(path="/status"))


def test_gate_answers_before_an_exempt_path(var: Path, mode: MaintenanceMode) -> None:
    gate = MaintenanceMiddleware(shop, var, health_paths=["/healthz"], exempt_paths=["/healthz"])
    mode.enable()
    assert call(gate, make_environ(path="/healthz")).mark == "on"
    assert call(gate, make_environ(path="/healthz", REQUEST_METHOD="POST")).mark == "exempt"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("/up/*", "health_paths: '/up/\\*' holds '\\*', but there are no wildcards; use '/up/'"),
        ("/", "health_paths: '/' would cover every path; list the paths that you mean"),
        ("up", "health_paths: 'up' is not a valid path"),
    ],
)
def test_bad_health_path_is_refused(entry: str, message: str, var: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        MaintenanceMiddleware(shop, var, health_paths=[entry])


def test_explain_tells_who_answers(var: Path, mode: MaintenanceMode) -> None:
    arguments = ["explain", "192.0.2.9", "--path=/healthz", "--health-path=/healthz"]

    def explained(*more: str) -> str:
        result = invoke("--dir", str(var), *arguments, *more)
        assert result.exit_code == 0, result.output
        return result.stdout

    answered = "answered by the gate itself: 200, as the path is one of health_paths"
    assert f"hint     while maintenance is on, this request is {answered}\n" in explained()
    mode.enable()
    assert f"verdict  {answered}\n" in explained()
    assert "path     /healthz             a health path\n" in explained()
    assert "verdict  blocked: 503" in explained("--method=POST")
