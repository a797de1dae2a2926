"""The 503 that a blocked visitor gets, in the format and language that the client accepts."""

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi.arguments import MAX_SECONDS
from maintenance_wsgi.response import templates
from maintenance_wsgi.response.cors import CORSPolicy
from maintenance_wsgi.response.exempt import READ_ONLY
from maintenance_wsgi.response.languages import Catalog, load_catalogs
from maintenance_wsgi.response.negotiation import HTML, PROBLEM, choose_format, choose_language
from maintenance_wsgi.response.request_body import read_body
from maintenance_wsgi.state.flag import Window

_ON = ("X-Maintenance-Mode", "on")


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
        self._custom_page = None if page is None else templates.CustomPage(page)
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
        self._page, self._page_with_address = templates.load_pages()

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
        left = self._time_left(window)
        headers, body = self._render(environ, window, left, client or "")
        headers = [*headers, *self._common_headers, mark, ("Content-Length", str(len(body)))]
        if left.retry_after is not None:
            headers.append(("Retry-After", str(left.retry_after)))
        if has_origins:
            headers += self._cors.answer_headers(environ)
        start_response("503 Service Unavailable", headers)
        return complete([] if environ.get("REQUEST_METHOD") == "HEAD" else [body])

    def _time_left(self, window: Window) -> templates.TimeLeft:
        retry_after = self._retry_after if window.retry_after is None else window.retry_after
        if window.until is None:
            return templates.TimeLeft(retry_after, None)
        seconds = ceil(window.until.timestamp() - time.time())
        if seconds <= 0:
            return templates.TimeLeft(retry_after, 0)
        return templates.TimeLeft(min(seconds, MAX_SECONDS), ceil(seconds / 60))

    def _render(
        self,
        environ: WSGIEnvironment,
        window: Window,
        left: templates.TimeLeft,
        address: str,
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Return the headers that describe the body, and the body."""
        accept_language = str(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        content_type = choose_format(str(environ.get("HTTP_ACCEPT", "")))
        if window.read_only and window.message is None:
            message = self._catalog(accept_language).read_only
            window = replace(window, message=message)
        if content_type is HTML and self._custom_page:
            page = self._custom_page.select(accept_language)
            if page:
                return page.headers, page.fill(**templates.custom_values(window, left, address))
        catalog = self._catalog(accept_language)
        message = window.message or catalog.detail
        if content_type is HTML:
            page = self._page_with_address if address else self._page
            page = templates.render_page(page, catalog, message, window.until, left.minutes)
            return page.headers, page.fill(client_ip=address)
        headers = [("Content-Type", content_type), ("Content-Language", catalog.language)]
        if content_type is PROBLEM:
            body = templates.render_problem(catalog, message, window.until, left.retry_after)
            return headers, body
        return headers, templates.render_text(catalog, message, window.until, left.minutes)

    def _catalog(self, accept_language: str) -> Catalog:
        return self._catalogs[choose_language(accept_language, self._languages) or "en"]
