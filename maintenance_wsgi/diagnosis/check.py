"""What would go wrong in a maintenance window, found before it begins."""

import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from netaddr import IPNetwork

from maintenance_wsgi.diagnosis.permissions import User
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.networks import parse_network
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.response.templates import CUSTOM_PLACEHOLDERS, PAGE_LIMIT, TRANSLATED_PAGE
from maintenance_wsgi.state import files
from maintenance_wsgi.state.exemptions import (
    LIST_LIMIT,
    LIST_NAME,
    Entry,
    printable_entry,
    read_entries,
)
from maintenance_wsgi.state.flag import FLAG_LIMIT, FLAG_NAME, parse_flag

_LOOPBACK = [IPNetwork("127.0.0.0/8"), IPNetwork("::1/128")]
_CSS_REFERENCE = re.compile(r"url\(\s*['\"]?\s*(?!data:|#)([^'\")\s]+)|@import\s+['\"]([^'\"]+)")
_LOADING = {"src", "srcset", "poster", "data", "background", "xlink:href"}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "apple-touch-icon"}
_ANY_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}|\{%.*?%\}", re.DOTALL)
# Shorter prefixes than these are too wide for an office: a mistake, or an open door.
_WIDEST = {4: 8, 6: 16}


def check(
    directory: str,
    user: User,
    trusted_proxies: Iterable[str] = (),
    page: str | None = None,
) -> Iterator[str]:
    """Yield a line for each thing that would go wrong, with its remedy.

    Args:
        directory: the directory of the two files.
        user: the user that the web server runs as.
        trusted_proxies: those of the middleware.
        page: the middleware's own page, a file or a directory.

    Raises:
        ConfigError: a trusted proxy is not valid.
    """
    ClientIPResolver(trusted_proxies)
    proxies = [network for entry in trusted_proxies if (network := parse_network(entry))]
    if fault := files.directory_error(directory):
        yield fault
    else:
        yield from _check_directory(directory, user)
        yield from _check_flag(os.path.join(directory, FLAG_NAME), user)
        yield from _check_list(os.path.join(directory, LIST_NAME), user, proxies)
    if page is not None:
        yield from _check_pages(page, user)


def _check_directory(directory: str, user: User) -> Iterator[str]:
    closed = user.first_unsearchable_parent(os.path.join(directory, FLAG_NAME))
    if closed:
        yield f"{closed}: {user.name} cannot search it; run chmod o+x {closed}"
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        yield (f"{directory}: you cannot write in it, so enable will fail; run enable as its owner")


def _check_readable(path: str, user: User, limit: int) -> Iterator[str]:
    if os.path.islink(path) and not os.path.exists(path):
        yield f"{path}: is a dangling symlink; create its target, or remove the link"
    elif os.path.lexists(path):
        try:
            files.read_bytes(path, limit=limit)
            readable = user.can_read(path)
        except PermissionError:
            yield f"{path}: you cannot read it; run this as root to check it for {user.name}"
        except OSError as error:
            yield f"{path}: {error.strerror}; put a regular file of at most {limit} bytes there"
        else:
            if not readable:
                yield f"{path}: {user.name} cannot read it; run chmod o+r {path}"


def _check_flag(path: str, user: User) -> Iterator[str]:
    yield from _check_readable(path, user, FLAG_LIMIT)
    window, problems = parse_flag(_bytes(path, FLAG_LIMIT))
    for problem in problems:
        yield f"{path}: {problem}; replace it: run enable with an option such as --message"
    if window.until and window.until <= datetime.now(UTC):
        until = window.until.isoformat()
        yield f"{path}: the planned end {until} is in the past; use enable --until with a later one"


def _check_list(path: str, user: User, proxies: list[IPNetwork]) -> Iterator[str]:
    yield from _check_readable(path, user, LIST_LIMIT)
    for entry in read_entries(_bytes(path, LIST_LIMIT)):
        if fault := _fault(entry, proxies):
            yield f"{path}: line {entry.line}: '{printable_entry(entry.text)}' {fault}"


def _fault(entry: Entry, proxies: list[IPNetwork]) -> str:
    network = entry.network
    if network is None:
        return "is not a valid IP address or network; correct it"
    if network.prefixlen < _WIDEST[network.version]:
        return "exempts the whole Internet or much of it; list the networks that you mean"
    if any(_overlap(network, loopback) for loopback in _LOOPBACK):
        return "exempts this host, and every client behind a proxy that runs on it; remove it"
    if any(_overlap(network, proxy) for proxy in proxies):
        return "covers a trusted proxy; exempt the clients behind it instead"
    return ""


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.first <= other.last and other.first <= one.last


def _bytes(path: str, limit: int) -> bytes:
    try:
        return files.read_bytes(path, limit=limit)[0]
    except OSError:
        return b""  # _check_readable has told why


def _check_pages(page: str, user: User) -> Iterator[str]:
    if not os.path.isdir(page):
        yield from _check_page(page, user)
        return
    general = os.path.join(page, "page.html")
    for path in sorted({general, *map(str, Path(page).glob("page.*html"))}):
        if path != general and not TRANSLATED_PAGE.fullmatch(os.path.basename(path)):
            yield f"{path}: is never served; name it after a language tag, page.pt-BR.html"
        else:
            yield from _check_page(path, user)


def _check_page(path: str, user: User) -> Iterator[str]:
    if not os.path.lexists(path):
        yield f"{path}: does not exist, so that the built-in page is served; create it"
        return
    unreadable = list(_check_readable(path, user, PAGE_LIMIT))
    yield from unreadable
    if not unreadable:
        page = _bytes(path, PAGE_LIMIT).decode("utf-8", "replace")
        yield from (f"{path}: {fault}" for fault in _page_faults(page))


def _page_faults(page: str) -> Iterator[str]:
    references = _References()
    references.feed(page)
    for reference in references.found:
        shown = printable(reference, 64)
        yield f"loads '{shown}', which gets a 503 too; put it inline, or in exempt_paths"
    for placeholder in _ANY_PLACEHOLDER.finditer(page):
        if (placeholder[1] or "").strip() not in CUSTOM_PLACEHOLDERS:
            known = ", ".join(CUSTOM_PLACEHOLDERS)
            shown = printable(placeholder[0], 64)
            yield f"'{shown}' is not a placeholder and is sent as it is; use one of {known}"


class _References(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the references of an element."""
        self._inside = tag
        attributes = {name: value or "" for name, value in attrs}
        is_loading_link = bool(_LOADING_LINKS & set(attributes.get("rel", "").lower().split()))
        loading = _LOADING | ({"href"} if is_loading_link or tag in {"image", "use"} else set())
        for name in loading & attributes.keys():
            if not attributes[name].strip().startswith(("data:", "#")):
                self.found.append(attributes[name])
        self._collect_css(attributes.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Collect what a stylesheet loads."""
        if self._inside == "style":
            self._collect_css(data)

    def _collect_css(self, css: str) -> None:
        self.found += [match[1] or match[2] for match in _CSS_REFERENCE.finditer(css)]
