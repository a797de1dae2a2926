"""The answer that a blocked visitor gets: one 503, in the format and language that fits.

What was rendered for a version of the details, a format, a language and a minute of the countdown
is kept, in a bounded store: a crowd of visitors costs little.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from math import ceil
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

from netaddr import IPAddress, IPNetwork
from werkzeug.wsgi import get_input_stream

from maintenance_wsgi.networks import Address, NetworkSet
from maintenance_wsgi.response.cors import CORSPolicy
from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.negotiation import HTML, PROBLEM, choose_format, choose_language
from maintenance_wsgi.response.own_page import CustomPage
from maintenance_wsgi.response.templates import (
    ADDRESS_MARK,
    TimeLeft,
    load_template,
    render_html,
    render_problem,
    render_text,
)
from maintenance_wsgi.state.flag import MAX_SECONDS, Window

_STORED = 512
_DOCUMENTATION = NetworkSet([IPNetwork("3fff::/20")])  # RFC 9637, too new for netaddr
# A body is read up to 128 MiB, as long as it comes quickly (seconds).
_BODY_LIMIT = 128 * 1024 * 1024
_BODY_CHUNK = 64 * 1024
_BODY_PAUSE = 1
_BODY_SECONDS = 30
_NO_BODY = (None, "", "0")


class _Answer(NamedTuple):
    """An answer up to the visitor's address, which stands between its parts."""

    fields: list[tuple[str, str]]
    parts: tuple[bytes, ...]


class UnavailableResponse:
    """Answers a request with the 503.

    Args:
        retry_after: seconds for `Retry-After` where the flag does not say; None for no header.
        page: an HTML file or a directory of such, in place of the built-in page.
        cors_origins: origins whose scripts may read the answer.

    Raises:
        ConfigError, ConfigTypeError: an argument is refused; the message names it.
    """

    def __init__(
        self,
        retry_after: int | None,
        page: str | os.PathLike[str] | None,
        cors_origins: Iterable[str],
    ) -> None:
        self._retry_after = retry_after
        self._own_page = None if page is None else CustomPage(page)
        self._cross_origin = CORSPolicy(cors_origins)
        self._common = [
            ("Cache-Control", "no-store"),
            ("Vary", ", ".join(["Accept", "Accept-Language", *self._cross_origin.vary])),
            ("X-Robots-Tag", "noindex"),
            ("X-Maintenance-Mode", "on"),
        ]
        self._template = load_template()
        self._sentences = load_catalogs()
        self._languages = tuple(self._sentences)
        self._store: tuple[Window | None, dict[object, _Answer]] = (None, {})

    def __call__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        details: Window,
        client: Address | None,
    ) -> Iterable[bytes]:
        """Send the answer; `HEAD` gets its fields alone, a browser's preflight is allowed."""
        _read_body(environ)
        allowed = self._cross_origin.preflight_headers(environ)
        if allowed:
            start_response("204 No Content", self._common + allowed)
            return []
        countdown = self._countdown(details)
        fields, body = self._fields_and_body(environ, details, countdown, client)
        fields = [*fields, ("Content-Length", str(len(body)))]
        if countdown.retry_after is not None:
            fields.append(("Retry-After", str(countdown.retry_after)))
        fields += self._cross_origin.answer_headers(environ)
        start_response("503 Service Unavailable", fields)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _countdown(self, details: Window) -> TimeLeft:
        seconds = self._retry_after if details.retry_after is None else details.retry_after
        if details.until is None:
            return TimeLeft(seconds, None)
        left = ceil(details.until.timestamp() - time.time())
        return (
            TimeLeft(min(left, MAX_SECONDS), ceil(left / 60)) if left > 0 else TimeLeft(seconds, 0)
        )

    def _fields_and_body(
        self,
        environ: WSGIEnvironment,
        details: Window,
        countdown: TimeLeft,
        client: Address | None,
    ) -> tuple[list[tuple[str, str]], bytes]:
        accept_language = str(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        content_type = choose_format(str(environ.get("HTTP_ACCEPT", "")))
        address = _public_text(client) if client and content_type is HTML else b""
        if content_type is HTML and self._own_page:
            page = self._own_page.find(accept_language)
            if page:
                return page.fields + self._common, page.fill(details, countdown, address)
        language = choose_language(accept_language, self._languages) or "en"
        # The problem document tells the seconds, the other formats the minutes.
        moment = countdown if content_type is PROBLEM else countdown.minutes
        key = (content_type, language, moment, address != b"")
        answers = self._answers_for(details)
        answer = answers.get(key)
        if answer is None:
            answer = self._render(content_type, language, details, countdown, address)
            answers[key] = answer
        return answer.fields, address.join(answer.parts)

    def _answers_for(self, details: Window) -> dict[object, _Answer]:
        version, answers = self._store
        if version is not details or len(answers) >= _STORED:
            answers = {}
            self._store = (details, answers)
        return answers

    def _render(
        self,
        content_type: str,
        language: str,
        details: Window,
        countdown: TimeLeft,
        address: bytes,
    ) -> _Answer:
        fields = [
            ("Content-Type", content_type),
            ("Content-Language", language),
            *self._common,
        ]
        sentences = self._sentences[language]
        if content_type is HTML:
            html = render_html(
                self._template, sentences, details, countdown, with_address=address != b""
            )
            before, mark, after = html.rpartition(ADDRESS_MARK)
            return _Answer(fields, (before.encode(), after.encode()) if mark else (html.encode(),))
        render = render_problem if content_type is PROBLEM else render_text
        return _Answer(fields, (render(sentences, details, countdown).encode(),))


@lru_cache(maxsize=4096)
def _public_text(address: Address) -> bytes:
    """Return the address where it is one on the Internet, else nothing.

    A visitor can read out his own, so that it can be exempted. Of a private one he learns nothing
    but how the network behind the proxy looks.
    """
    known = IPAddress(address.value, address.version)
    is_unicast = address.version == 4 or address.value >> 125 == 1  # noqa: PLR2004 (2000::/3)
    is_public = is_unicast and known.is_global() and not known.is_multicast()
    return str(known).encode() if is_public and address not in _DOCUMENTATION else b""


def _read_body(environ: WSGIEnvironment) -> None:
    """Read the request's body to its end, within bounds.

    A server that answers while the client still sends closes the connection on it, and the client
    sees a broken connection instead of the answer.
    """
    if environ.get("CONTENT_LENGTH") in _NO_BODY and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    # The stream is the server's, and so is what it raises: a client that hangs up, a bad chunk.
    with suppress(Exception):
        stream = get_input_stream(environ)
        began, size, left = time.monotonic(), 1, _BODY_LIMIT
        while left > 0:
            asked = time.monotonic()
            # A read waits until it has as much as it asks for. So it asks for more only as long
            # as the client is quick: one that drips would hold the worker.
            data = stream.read(size)
            now = time.monotonic()
            if not data or now - asked > _BODY_PAUSE or now - began > _BODY_SECONDS:
                return
            left -= len(data)
            size = min(size * 2, _BODY_CHUNK, left)
