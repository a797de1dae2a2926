"""The body of the 503: the built-in page, a custom page, a problem document or plain text.

A custom page is an HTML file, or a directory with one file per language. Four placeholders in it
are filled in, escaped: `{{ message }}`, `{{ retry_after }}` (seconds), `{{ until }}` (RFC 3339) and
`{{ client_ip }}` (the visitor's address, if it is public). A value that is not known is left empty.
Everything else is served as it is.
"""

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from html import escape
from importlib.resources import files

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.response.languages import Catalog
from maintenance_wsgi.response.negotiation import HTML, choose_language
from maintenance_wsgi.state.cached_file import CachedFile
from maintenance_wsgi.state.files import NOT_FOUND
from maintenance_wsgi.state.flag import Window

PAGE_LIMIT = 1024 * 1024  # bytes
CUSTOM_PLACEHOLDERS = ("message", "retry_after", "until", "client_ip")
_PLACEHOLDERS = ("language", "direction", "title", "message", "planned", "retry", "address")
_FOOTER = re.compile(rb"<footer>.*</footer>\n")
_CACHE_SIZE = 64  # answers that a renderer keeps
TRANSLATED_PAGE = re.compile(r"page\.([0-9A-Za-z-]+)\.html")


@dataclass(slots=True)
class TimeLeft:
    """Time left until the planned end."""

    retry_after: int | None  # seconds for `Retry-After`; None for no such header
    minutes: int | None  # until the planned end; 0 if it is past, None if no end is planned


class Template:
    """An HTML page with `{{ name }}` placeholders.

    Args:
        page: the bytes of the page. If they are not UTF-8, the page must name its charset itself.
        placeholders: the names to fill in; any other is left as it is.
        language: the tag of the page's language (RFC 5646); None if it is not known.
    """

    def __init__(
        self, page: bytes, placeholders: Iterable[str], language: str | None = None
    ) -> None:
        pattern = rf"\{{\{{ *({'|'.join(placeholders)}) *\}}\}}".encode()
        self._parts = re.split(pattern, page)
        self._names = [(i, self._parts[i].decode()) for i in range(1, len(self._parts), 2)]
        # The response headers that describe the page.
        self.headers: list[tuple[str, str]] = [("Content-Type", _html_type(page))]
        if language:
            self.headers.append(("Content-Language", language))

    def fill(self, **values: str) -> bytes:
        """Return the page with `values`, which are HTML, in place of its placeholders."""
        parts = self._parts.copy()
        for index, name in self._names:
            parts[index] = values[name].encode()
        return b"".join(parts)


def _html_type(page: bytes) -> str:
    try:
        page.decode()
    except UnicodeDecodeError:
        return "text/html"
    return HTML


def load_pages() -> tuple[Template, Template]:
    """Return the built-in page twice, without and with the visitor's address."""
    page = (files("maintenance_wsgi.response") / "pages/page.html").read_bytes()
    return Template(_FOOTER.sub(b"", page), _PLACEHOLDERS), Template(page, _PLACEHOLDERS)


# Most visitors get the same answer, so that the renderers keep their latest results.
@lru_cache(maxsize=_CACHE_SIZE)
def render_page(
    page: Template, catalog: Catalog, message: str, until: datetime | None, minutes: int | None
) -> Template:
    """Return the built-in page with only `client_ip` left to fill in."""
    values = {
        "language": catalog.language,
        "direction": catalog.direction,
        "title": catalog.title,
        # A placeholder in the message must not be filled in with the rest.
        "message": _to_html(message).replace("{{", "&#123;&#123;"),
        "planned": _planned_html(catalog, until, minutes),
        "retry": catalog.retry,
        "address": catalog.address.format(address='<span dir="ltr">{{ client_ip }}</span>'),
    }
    rendered = Template(page.fill(**values), ["client_ip"], catalog.language)
    rendered.headers.append(("Content-Security-Policy", _policy_of(rendered)))
    return rendered


def _policy_of(page: Template) -> str:
    """Return a policy that allows the page its own style and icon, and nothing else (CSP 3)."""
    style = page.fill(client_ip="").partition(b"<style>")[2].partition(b"</style>")[0]
    digest = b64encode(sha256(style).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    )


@lru_cache(maxsize=_CACHE_SIZE)
def render_problem(
    catalog: Catalog, message: str, until: datetime | None, retry_after: int | None
) -> bytes:
    """Return the problem document (RFC 9457); its title is the status phrase (section 4.2.1)."""
    members = {
        "type": "about:blank",
        "title": catalog.unavailable,
        "status": 503,
        "detail": message,
        "retry_after": retry_after,
        "until": until and until.isoformat(),
    }
    known = {name: value for name, value in members.items() if value is not None}
    return json.dumps(known, ensure_ascii=False).encode()


@lru_cache(maxsize=_CACHE_SIZE)
def render_text(
    catalog: Catalog, message: str, until: datetime | None, minutes: int | None
) -> bytes:
    """Return the plain text."""
    planned = "\n".join(filter(None, _planned(catalog, until, minutes)))
    return ("\n\n".join(filter(None, [catalog.title, message, planned])) + "\n").encode()


def _planned(catalog: Catalog, until: datetime | None, minutes: int | None) -> tuple[str, str]:
    """Return the time left as a sentence, which needs no time zone, and the planned end in UTC."""
    if minutes is None or until is None:
        return "", ""
    if minutes == 0:
        return catalog.overdue, ""
    is_today = until.date() == datetime.now(UTC).date()
    clock = f"{until:%H:%M} UTC" if is_today else f"{until:%Y-%m-%d %H:%M} UTC"
    return catalog.format_time_left(minutes), clock


def _planned_html(catalog: Catalog, until: datetime | None, minutes: int | None) -> str:
    sentence, clock = _planned(catalog, until, minutes)
    if until and clock:
        sentence += f'\n<time datetime="{until.isoformat(timespec="seconds")}">{clock}</time>'
    return f"<p>{sentence}</p>\n" if sentence else ""


def custom_values(window: Window, left: TimeLeft, address: str) -> dict[str, str]:
    """Return the values of a custom page's placeholders."""
    return {
        "message": _to_html(window.message),
        "retry_after": _to_html(left.retry_after),
        "until": _to_html(window.until and window.until.isoformat()),
        "client_ip": _to_html(address),
    }


def _to_html(value: object) -> str:
    return "" if value is None else escape(str(value))


class CustomPage:
    """The operator's own page; its files are read again when they change.

    Args:
        path: an HTML file, or a directory with `page.html` and `page.<language>.html`.

    Raises:
        ConfigError: the page does not exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = absolute_path("page", path)
        if not os.path.exists(self._path):
            raise ConfigError(f"page: {self._path!r} cannot be found; create it, or correct it")
        self._files: dict[str, CachedFile[Template]] = {}

    def select(self, accept_language: str) -> Template | None:
        """Return the page for an `Accept-Language` value; None if none can be read, logged once."""
        try:
            names = os.listdir(self._path)
        except OSError:
            return self._read(self._path)
        offered = tuple(match[1] for name in names if (match := TRANSLATED_PAGE.fullmatch(name)))
        if language := choose_language(accept_language, offered):
            page = self._read(os.path.join(self._path, f"page.{language}.html"), language)
            if page:
                return page
        return self._read(os.path.join(self._path, "page.html"))

    def _read(self, path: str, language: str | None = None) -> Template | None:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = CachedFile(
                path,
                lambda contents: Template(contents.data, CUSTOM_PLACEHOLDERS, language),
                limit=PAGE_LIMIT,
                fallback="the built-in page is served",
            )
        try:
            return file.read()
        except NOT_FOUND as error:
            file.warn_once(error)
            return None
