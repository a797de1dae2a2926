"""The 503 that a blocked visitor gets, in the format and language that the client accepts."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from math import ceil
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi.arguments import MAX_SECONDS
from maintenance_wsgi.response.cors import CORSPolicy
from maintenance_wsgi.response.exempt import READ_ONLY
from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.negotiation import HTML, choose_format, choose_language
from maintenance_wsgi.response.request_body import read_body
from maintenance_wsgi.response.templates import (
    Answer,
    CustomPage,
    load_templates,
    values_of,
)
from maintenance_wsgi.state.flag import Window

_ON = ("X-Maintenance-Mode", "on")
# Answers that are kept, and bytes of the largest: clients choose the languages of a large page.
_LIMIT, _LARGEST = 256, 64 * 1024


@dataclass(slots=True)
class _Answers:
    """What is answered while the flag says this and so many minutes are left: to most the same."""

    window: Window
    minutes: int | None
    found: dict[tuple[object, ...], Answer] = field(default_factory=dict)


class UnavailableResponse:
    """Answers a request with the 503.

    Args:
        retry_after: seconds for `Retry-After` if the flag gives none; None for no such header.
        page: an HTML file or a directory of them; None for the built-in page.
        cors_origins: origins whose scripts may read the answer.
    """

    def __init__(
        self,
        retry_after: int | None,
        page: str | os.PathLike[str] | None,
        cors_origins: Iterable[str],
    ) -> None:
        self._retry_after = retry_after
        self._custom_page = None if page is None else CustomPage(page)
        self._cors = CORSPolicy(cors_origins)
        self._common_headers = [
            ("Cache-Control", "no-store"),
            ("Vary", ", ".join(["Accept", "Accept-Language", *self._cors.vary])),
            ("X-Robots-Tag", "noindex"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]
        self._catalogs = load_catalogs()
        self._languages = frozenset(self._catalogs)  # which keeps its hash
        self._templates = load_templates()
        self._answers = _Answers(Window(), None)

    def __call__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        window: Window,
        client: str | None,
    ) -> Iterable[bytes]:
        """Answer a request: a `HEAD` without a body, an allowed CORS preflight with a 204.

        The request's body is read first. `client` is the visitor's address if a page may show it.
        """
        complete = read_body(environ)
        mark = READ_ONLY if window.read_only else _ON
        # Most gates have no origins, and a call costs time.
        has_origins = bool(self._cors.vary)
        if has_origins and (preflight_headers := self._cors.preflight_headers(environ)):
            start_response("204 No Content", [*self._common_headers, mark, *preflight_headers])
            return complete([])
        retry_after, minutes = self._time_left(window)
        late = {"client_ip": client} if client else {}  # what differs from client to client
        headers = [*self._common_headers, mark]
        if retry_after is not None:
            late["retry_after"] = seconds = str(retry_after)
            headers.append(("Retry-After", seconds))
        answer = self._answer(environ, window, minutes, tuple(late))
        body = answer.fill(late)
        headers += answer.headers
        headers.append(("Content-Length", str(len(body))))
        if has_origins:
            headers += self._cors.answer_headers(environ)
        start_response("503 Service Unavailable", headers)
        return complete([] if environ.get("REQUEST_METHOD") == "HEAD" else [body])

    def _time_left(self, window: Window) -> tuple[int | None, int | None]:
        """Return the seconds for `Retry-After`, and the minutes until the planned end.

        Without such a header, or a planned end, it is None; the minutes are 0 if the end is past.
        """
        retry_after = self._retry_after if window.retry_after is None else window.retry_after
        if window.until is None:
            return retry_after, None
        seconds = ceil(_timestamp(window.until) - time.time())
        if seconds <= 0:
            return retry_after, 0
        return min(seconds, MAX_SECONDS), ceil(seconds / 60)

    def _answer(
        self,
        environ: WSGIEnvironment,
        window: Window,
        minutes: int | None,
        later: tuple[str, ...],
    ) -> Answer:
        """Return what lacks only the values that `later` names."""
        accept_language = str(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        language = choose_language(accept_language, self._languages) or "en"
        content_type = choose_format(str(environ.get("HTTP_ACCEPT", "")))
        custom = self._custom_page if content_type is HTML else None
        template = (custom and custom.select(accept_language)) or self._templates[content_type]
        offered = tuple(window.messages) if window.messages else ()
        message_language = (offered and choose_language(accept_language, offered)) or ""
        known = self._answers
        if known.window is not window or known.minutes != minutes or len(known.found) >= _LIMIT:
            known = self._answers = _Answers(window, minutes)
        key = (template, language, message_language, later)
        if (answer := known.found.get(key)) is None:
            values = values_of(window, minutes, self._catalogs[language], message_language)
            answer = template.bind(values, later)
            if sum(map(len, answer.parts)) <= _LARGEST:
                known.found[key] = answer
        return answer


# It takes a while to compute, and is the same for each request of a window.
@lru_cache(maxsize=4)
def _timestamp(until: datetime) -> float:
    return until.timestamp()
