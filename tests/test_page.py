import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
from helpers import Answer, call, make_environ, shop, status_of

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode

PROBLEM = "application/problem+json"


@pytest.fixture
def application(var: Path, flag: Path) -> WSGIApplication:
    flag.touch()
    return MaintenanceMiddleware(shop, var)


def ask(application: WSGIApplication, **environ: Any) -> Answer:
    return call(application, make_environ(**environ))


def test_fields_of_the_answer(application: WSGIApplication) -> None:
    answer = ask(application)
    assert answer.status == "503 Service Unavailable"
    assert dict(answer.headers) == {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(answer.body)),
        "Content-Language": "en",
        "Cache-Control": "no-store",
        "Vary": "Accept, Accept-Language",
        "X-Robots-Tag": "noindex",
        "X-Maintenance-Mode": "on",
        "Retry-After": "300",
    }


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/html; charset=utf-8"),
        ("", "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("image/avif", "text/html; charset=utf-8"),
        (";;;,q=", "text/html; charset=utf-8"),
        ("text/html;q=zzz", "text/html; charset=utf-8"),
        ("a/b," * 9_000, "text/html; charset=utf-8"),
        ("application/json", PROBLEM),
        ("application/json, text/javascript, */*; q=0.01", PROBLEM),
        (PROBLEM, PROBLEM),
    ],
)
def test_format_is_what_the_client_accepts(
    accept: str | None, content_type: str, application: WSGIApplication
) -> None:
    environ = {} if accept is None else {"HTTP_ACCEPT": accept}
    assert ask(application, **environ)["Content-Type"] == content_type


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_every_method_gets_the_answer(method: str, application: WSGIApplication) -> None:
    answer = ask(application, REQUEST_METHOD=method)
    assert answer.code == 503
    assert answer.body.startswith(b"<!DOCTYPE html>")


def test_head_gets_the_fields_alone(application: WSGIApplication) -> None:
    got, headed = ask(application), ask(application, REQUEST_METHOD="HEAD")
    assert headed.headers == got.headers
    assert headed.body == b""


def test_problem_document(application: WSGIApplication, mode: MaintenanceMode) -> None:
    until = datetime(2033, 12, 1, 18, tzinfo=UTC)
    mode.enable(message="Umzug …", until=until)
    problem = json.loads(ask(application, HTTP_ACCEPT="application/json").body)
    assert problem.pop("retry_after") > 0
    assert problem == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Umzug …",
        "until": "2033-12-01T18:00:00+00:00",
    }


def test_message_is_escaped_and_counted_in_bytes(
    application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(message="<script>é</script> {title}")
    answer = ask(application)
    assert "&lt;script&gt;é&lt;/script&gt; {title}" in answer.body.decode()
    assert answer["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("option", "flag_content", "sent"),
    [
        (120, {}, ["120"]),
        (0, {}, ["0"]),
        (None, {}, []),
        (None, {"retry_after": 7}, ["7"]),
        (120, {"retry_after": 0}, ["0"]),
        (120, {"retry_after": "7\r\nX: y"}, ["120"]),
        (120, {"until": "2001-01-01T00:00:00Z"}, ["120"]),
    ],
)
def test_retry_after(
    option: int | None, flag_content: dict[str, object], sent: list[str], var: Path, flag: Path
) -> None:
    flag.write_text(json.dumps(flag_content))
    answer = ask(MaintenanceMiddleware(shop, var, retry_after=option))
    assert answer.all("Retry-After") == sent


def test_retry_after_counts_down_to_the_end(
    application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(until=datetime.now(UTC) + timedelta(minutes=40), retry_after=7)
    assert 2380 <= int(ask(application)["Retry-After"]) <= 2400


class Upload:
    """A request body of so many bytes, that notes how much of it was read."""

    def __init__(self, size: int, error: Exception | None = None) -> None:
        self.left = size
        self.error = error

    def read(self, size: int) -> bytes:
        if self.error:
            raise self.error
        taken = min(size, self.left)
        self.left -= taken
        return bytes(taken)

    readline = readlines = __iter__ = None


@pytest.mark.parametrize(
    ("size", "left"), [(0, 0), (1, 0), (10_000_000, 0), (200 * 2**20, 200 * 2**20 - 128 * 2**20)]
)
def test_body_is_read_within_bounds(size: int, left: int, application: WSGIApplication) -> None:
    upload = Upload(size)
    environ = make_environ(REQUEST_METHOD="POST", CONTENT_LENGTH=str(size)) | {"wsgi.input": upload}
    assert status_of(application, environ) == "503 Service Unavailable"
    assert upload.left == left


@pytest.mark.parametrize("length", ["nonsense", "-1", "7"])
def test_broken_body_does_not_cost_the_answer(length: str, application: WSGIApplication) -> None:
    upload = Upload(7, OSError("the client has hung up"))
    environ = make_environ(CONTENT_LENGTH=length) | {"wsgi.input": upload}
    assert status_of(application, environ) == "503 Service Unavailable"
