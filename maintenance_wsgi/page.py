"""The answer that a blocked visitor gets: one 503, as HTML or as a problem document."""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from math import ceil
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.wrappers import Request
from werkzeug.wsgi import get_input_stream

from maintenance_wsgi.details import Details

_TITLE = "Down for maintenance"
_SENTENCE = "The site is down for maintenance. Please come back soon."
_HTML = """<!DOCTYPE html>
<html lang="en" dir="ltr">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<main><h1>{title}</h1><p>{detail}</p></main>
</html>
"""
# A body is read for at most so many seconds, and up to 128 MiB.
_BODY_SECONDS = 30
_BODY_CHUNK = 64 * 1024
_BODY_CHUNKS = 2048
_NO_BODY = (None, "", "0")
_PROBLEM = "application/problem+json"
_OFFERED = ("text/html", _PROBLEM, "application/json")


class MaintenancePage:
    """Answers a request with the 503.

    Args:
        retry_after: seconds for `Retry-After` where the flag does not say; None for no header.
    """

    def __init__(self, retry_after: int | None) -> None:
        self._retry_after = retry_after

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, details: Details
    ) -> Iterable[bytes]:
        """Send the answer in the format that the client accepts; `HEAD` gets its headers."""
        retry_after = self._seconds_left(details)
        accepted = Request(environ).accept_mimetypes.best_match(_OFFERED, "text/html")
        if accepted == "text/html":
            content_type, body = "text/html; charset=utf-8", _html(details)
        else:
            content_type, body = _PROBLEM, _problem(details, retry_after)
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Content-Language", "en"),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept, Accept-Language"),
            ("X-Robots-Tag", "noindex"),
            ("X-Maintenance-Mode", "on"),
        ]
        if retry_after is not None:
            headers.append(("Retry-After", str(retry_after)))
        _read_body(environ)
        start_response("503 Service Unavailable", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _seconds_left(self, details: Details) -> int | None:
        if details.until:
            left = ceil((details.until - datetime.now(UTC)).total_seconds())
            if left > 0:
                return left
        return self._retry_after if details.retry_after is None else details.retry_after


def _read_body(environ: WSGIEnvironment) -> None:
    """Read the request's body to its end, within bounds.

    A server that answers while the client still sends closes the connection on it, and the client
    sees a broken connection instead of the answer.
    """
    if environ.get("CONTENT_LENGTH") in _NO_BODY and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    deadline = time.monotonic() + _BODY_SECONDS
    # The stream is the server's, and so is what it raises: a client that hangs up, a bad chunk.
    with suppress(Exception):
        stream = get_input_stream(environ)
        for _ in range(_BODY_CHUNKS):
            if not stream.read(_BODY_CHUNK) or time.monotonic() > deadline:
                return


def _html(details: Details) -> bytes:
    detail = escape(details.message or _SENTENCE)
    return _HTML.format(title=_TITLE, detail=detail).encode()


def _problem(details: Details, retry_after: int | None) -> bytes:
    members = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": details.message or _SENTENCE,
        "retry_after": retry_after,
        "until": details.until and details.until.isoformat(),
    }
    known = {name: value for name, value in members.items() if value is not None}
    return json.dumps(known).encode("ascii")
