"""A call to a WSGI application, and its answer as a value."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


@dataclass(frozen=True)
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.status.split()[0])

    def __getitem__(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, f"{name}: {values}"
        return values[0]

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name.lower()]

    @property
    def mark(self) -> str | None:
        return next(iter(self.all("X-Maintenance-Mode")), None)


def make_environ(peer: str | None = "192.0.2.9", path: str = "/", **extra: Any) -> WSGIEnvironment:
    environ: WSGIEnvironment = {"PATH_INFO": path, **extra}
    environ.setdefault("SCRIPT_NAME", "")
    environ.setdefault("QUERY_STRING", "")
    environ.setdefault("wsgi.input", BytesIO())
    setup_testing_defaults(environ)
    if peer is not None:
        environ["REMOTE_ADDR"] = peer
    return environ


def header_environ(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return request headers as a server passes them on: doubled ones joined, bytes as latin-1."""
    environ: dict[str, str] = {}
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        text = value.encode().decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def call(application: WSGIApplication, environ: WSGIEnvironment | None = None) -> Answer:
    """Call an application under wsgiref's validator, as a server does."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Any:
        assert exc_info or not started
        started.append((status, headers))
        return written.append

    iterable = validator(application)(environ or make_environ(), start_response)
    try:
        body = b"".join(iterable)
    finally:
        getattr(iterable, "close", lambda: None)()
    return Answer(*started[-1], b"".join(written) + body)


def status_of(application: WSGIApplication, environ: WSGIEnvironment) -> str:
    """Call an application with an environ that no validator would let pass."""
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        statuses.append(status)

    application(environ, start_response)
    return statuses[-1]


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer like an application that wants to be cached everywhere."""
    fields = [
        ("Content-Type", "text/plain"),
        ("Cache-Control", "public, max-age=3600"),
        ("Expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("Surrogate-Control", "max-age=3600"),
        ("CDN-Cache-Control", "max-age=3600"),
        ("Cloudflare-CDN-Cache-Control", "max-age=3600"),
        ("X-Accel-Expires", "3600"),
        ("Edge-Control", "max-age=3600"),
    ]
    start_response("200 OK", fields)
    return [f"shop at {environ['PATH_INFO']}".encode()]


def shop_factory(_: object) -> WSGIApplication:
    """Make the shop, as Paste Deploy wants it made."""
    return shop


def code_for(gate: WSGIApplication, peer: str) -> int:
    """Return the status code that a gate answers to who connects from there."""
    environ: WSGIEnvironment = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": peer}
    return int(status_of(gate, environ).split()[0])
