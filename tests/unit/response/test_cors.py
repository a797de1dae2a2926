from pathlib import Path
from typing import Any

import pytest

from maintenance_wsgi import ConfigError, ConfigTypeError, MaintenanceMiddleware
from tests.support.wsgi import Answer, call, make_environ, shop

SHOP = "https://shop.example"
PREFLIGHT = {
    "REQUEST_METHOD": "OPTIONS",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT",
    "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "content-type\t,x-token",
}


def ask(var: Path, origins: list[str], **environ: str) -> Answer:
    application = MaintenanceMiddleware(shop, var, cors_origins=origins)
    return call(application, make_environ(**environ))


@pytest.fixture(autouse=True)
def _on(flag: Path) -> None:
    flag.touch()


def cors_fields(answer: Answer) -> dict[str, str]:
    return {n: v for n, v in answer.headers if n.startswith("Access-Control-")}


def test_off_by_default(var: Path) -> None:
    answer = ask(var, [], HTTP_ORIGIN=SHOP, **PREFLIGHT)
    assert answer.code == 503
    assert cors_fields(answer) == {}
    assert answer["Vary"] == "Accept, Accept-Language"


def test_named_origin_may_read_the_answer(var: Path) -> None:
    answer = ask(var, [SHOP], HTTP_ORIGIN=SHOP)
    assert answer.code == 503
    assert answer["Vary"] == "Accept, Accept-Language, Origin"
    assert cors_fields(answer) == {
        "Access-Control-Allow-Origin": SHOP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After, X-Maintenance-Mode",
    }


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://shop.example", "https://shop.example:8443", "null"]
)
def test_other_origin_may_not(origin: str, var: Path) -> None:
    assert cors_fields(ask(var, [SHOP], HTTP_ORIGIN=origin)) == {}
    answer = ask(var, [SHOP], HTTP_ORIGIN=origin, **PREFLIGHT)
    assert (answer.code, cors_fields(answer)) == (503, {})
    assert "Origin" in answer["Vary"]


def test_star_means_all_but_without_cookies(var: Path) -> None:
    assert cors_fields(ask(var, ["*"], HTTP_ORIGIN="https://any.example")) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After, X-Maintenance-Mode",
    }
    assert cors_fields(ask(var, ["*"])) == {}
    assert cors_fields(ask(var, ["*"], HTTP_ORIGIN="*")) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After, X-Maintenance-Mode",
    }


def test_preflight_is_answered_so_that_the_request_comes(var: Path) -> None:
    answer = ask(var, [SHOP], HTTP_ORIGIN=SHOP, **PREFLIGHT)
    assert (answer.code, answer.body) == (204, b"")
    assert answer["Cache-Control"] == "no-store"
    assert answer.mark == "on"
    assert answer["Access-Control-Allow-Methods"] == "PUT"
    assert answer["Access-Control-Allow-Headers"] == "content-type, x-token"


@pytest.mark.parametrize(
    "change",
    [
        {"REQUEST_METHOD": "GET"},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": ""},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT\r\nSet-Cookie: a"},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET\t,PUT"},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET,PUT"},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": " GET"},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "X" * 1001},
    ],
)
def test_what_is_no_preflight_gets_the_page(change: dict[str, str], var: Path) -> None:
    environ: dict[str, Any] = {**PREFLIGHT, **change}
    assert ask(var, [SHOP], HTTP_ORIGIN=SHOP, **environ).code == 503


@pytest.mark.parametrize("headers", ["", "a\r\nb", "a b", "é", "x" * 1001, "a,,b"])
def test_odd_header_names_do_not_come_back(headers: str, var: Path) -> None:
    environ = {**PREFLIGHT, "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": headers}
    answer = ask(var, [SHOP], HTTP_ORIGIN=SHOP, **environ)
    assert answer.code == 204
    assert answer.all("Access-Control-Allow-Headers") == []


@pytest.mark.parametrize(
    ("origins", "error"),
    [
        (SHOP, ConfigTypeError),
        (["shop.example"], ConfigError),
        (["https://shop.example/"], ConfigError),
        (["https://shop.example/app"], ConfigError),
        (["https://user@shop.example"], ConfigError),
        (["null"], ConfigError),
        ([""], ConfigError),
        (["https://shop.example\r\nX: y"], ConfigError),
        (["https://shop.example\0"], ConfigError),
    ],
)
def test_bad_origin_is_refused(origins: Any, error: type[Exception], var: Path) -> None:
    with pytest.raises(error, match="cors_origins"):
        MaintenanceMiddleware(shop, var, cors_origins=origins)
