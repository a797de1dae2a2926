"""Typical uses, which type checkers accept. It is checked, never run."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from maintenance_wsgi import (
    ConfigError,
    ConfigTypeError,
    EntryError,
    MaintenanceError,
    MaintenanceMiddleware,
    MaintenanceMode,
    StateError,
    Status,
    wrap,
)
from maintenance_wsgi.request.bypass import new_link


def shop(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b""]


gate = MaintenanceMiddleware(shop, "var")
wrapped: WSGIApplication = gate
MaintenanceMiddleware(gate, Path("var"))
MaintenanceMiddleware("shop.wsgi:application", MaintenanceMode("var"))
MaintenanceMiddleware(
    shop,
    "var",
    trusted_proxies=("127.0.0.1", "unix:"),
    client_ip_header="Forwarded",
    exempt_paths=["/status", "/webhooks/"],
    health_paths=["/healthz"],
    write_paths=("/login", "/logout"),
    retry_after=None,
    page=Path("maintenance.html"),
    cors_origins={"https://shop.example"},
)
assert_type(MaintenanceMiddleware.from_environ(shop), MaintenanceMiddleware)
assert_type(MaintenanceMiddleware.from_environ("shop.wsgi:application"), MaintenanceMiddleware)
assert_type(wrap("shop.wsgi:application"), MaintenanceMiddleware)
assert_type(gate.explain({}).as_dict(), dict[str, Any])

mode = MaintenanceMode("var")
assert_type(mode.is_enabled(), bool)
assert_type(mode.exemptions, tuple[str, ...])
mode.enable()
mode.enable(
    exemptions=["203.0.113.7"],
    message="We are moving house",
    until=datetime(2030, 1, 1, tzinfo=UTC),
    retry_after=120,
)
mode.enable(add_exemptions=["203.0.113.8"])
link, digest = new_link("https://shop.example/")
mode.enable(bypass=digest, read_only=True)
mode.disable(exemptions=[])
mode.set_exemptions(("203.0.113.7",))
mode.add_exemptions(entry for entry in ["2001:db8::/32"])
mode.remove_exemptions(["2001:db8::/32"])
with mode.window(message="We are moving house", disable_on_failure=True) as switched_on:
    assert_type(switched_on, bool)

status = mode.status()
assert_type(status, Status)
assert_type(status.enabled, bool)
assert_type(status.exemptions, tuple[str, ...])
assert_type(status.invalid, tuple[str, ...])
assert_type(status.window.message, str | None)
assert_type(status.window.until, datetime | None)
assert_type(status.window.retry_after, int | None)
assert_type(status.window.by, str | None)
assert_type(status.window.since, datetime | None)
assert_type(status.window.bypass, str | None)
assert_type(status.window.read_only, bool | None)

try:
    mode.set_exemptions(["nowhere"])
except EntryError as error:
    assert_type(error.texts, tuple[str, ...])
    is_base: MaintenanceError = error
    is_builtin: ValueError = error
except (ConfigError, StateError) as other:
    is_value_or_system: ValueError | OSError = other
except ConfigTypeError as third:
    is_type: TypeError = third
