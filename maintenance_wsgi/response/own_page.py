"""The operator's own maintenance page: an HTML file, or a directory with one a language.

A page is served as it is. Four placeholders may stand in it, and are filled in escaped:
`{{ message }}`, `{{ retry_after }}` (seconds), `{{ until }}` (RFC 3339) and `{{ client_ip }}` (the
visitor's address, where it is a public one). What is not known is left empty.
"""

import os
import re
from html import escape
from typing import NamedTuple

from maintenance_wsgi.errors import absolute_path
from maintenance_wsgi.response.negotiation import HTML, choose_language
from maintenance_wsgi.response.templates import TimeLeft
from maintenance_wsgi.state.cached_file import CachedFile
from maintenance_wsgi.state.files import NOT_FOUND
from maintenance_wsgi.state.flag import Window

PAGE_LIMIT = 1024 * 1024
_OTHERWISE = "the built-in page is served"
_PLACEHOLDER = re.compile(rb"\{\{ *(message|retry_after|until|client_ip) *\}\}")
_TRANSLATED = re.compile(r"page\.([0-9A-Za-z-]+)\.html")


class OwnHTML(NamedTuple):
    """A page to be filled in.

    Attributes:
        parts: its bytes, with the name of a placeholder between each two.
        fields: the header fields that describe it.
    """

    parts: tuple[bytes, ...]
    fields: list[tuple[str, str]]

    def fill(self, details: Window, countdown: TimeLeft, address: bytes) -> bytes:
        """Return the page's bytes with what is known in place of the placeholders."""
        known = {
            b"message": details.message,
            b"retry_after": countdown.retry_after,
            b"until": details.until and details.until.isoformat(),
            b"client_ip": address.decode(),
        }
        values = {name: "" if value is None else str(value) for name, value in known.items()}
        filled = list(self.parts)
        filled[1::2] = (escape(values[name]).encode() for name in self.parts[1::2])
        return b"".join(filled)


class CustomPage:
    """Follows the page's files; each request sees the present ones.

    Args:
        path: an HTML file, or a directory with `page.html` and `page.<language>.html`. It need
            not be there yet.

    Raises:
        ConfigError: `path` is no name of a file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = absolute_path("page", path)
        self._followed: dict[str, CachedFile[OwnHTML]] = {}

    def find(self, accept_language: str) -> OwnHTML | None:
        """Return the page for a visitor, or None where none can be read, which is logged once."""
        try:
            names = os.listdir(self._path)
        except OSError:
            return self._read(self._path)
        offered = tuple(match[1] for name in names if (match := _TRANSLATED.fullmatch(name)))
        language = choose_language(accept_language, offered)
        if language:
            page = self._read(os.path.join(self._path, f"page.{language}.html"))
            if page:
                return page._replace(fields=[*page.fields, ("Content-Language", language)])
        return self._read(os.path.join(self._path, "page.html"))

    def _read(self, path: str) -> OwnHTML | None:
        followed = self._followed.get(path)
        if followed is None:
            followed = CachedFile(path, parse_html, limit=PAGE_LIMIT, otherwise=_OTHERWISE)
            self._followed[path] = followed
        try:
            return followed.read()
        except NOT_FOUND as error:
            followed.complain(error)
            return None


def parse_html(data: bytes) -> OwnHTML:
    """Split a page at its placeholders; a page that is no UTF-8 must name its charset itself."""
    try:
        data.decode()
    except UnicodeDecodeError:
        content_type = "text/html"
    else:
        content_type = HTML
    return OwnHTML(tuple(_PLACEHOLDER.split(data)), [("Content-Type", content_type)])
