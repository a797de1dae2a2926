"""The answer that a blocked visitor gets: one 503, as HTML or as a problem document."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from math import ceil
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.wrappers import Request

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
        start_response("503 Service Unavailable", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _seconds_left(self, details: Details) -> int | None:
        if details.until:
            left = ceil((details.until - datetime.now(UTC)).total_seconds())
            if left > 0:
                return left
        return self._retry_after if details.retry_after is None else details.retry_after


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
