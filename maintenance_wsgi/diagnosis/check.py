"""What would go wrong in a maintenance window, found before it begins."""

import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from netaddr import IPNetwork

from maintenance_wsgi.networks import parse_network
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.response.templates import PAGE_LIMIT
from maintenance_wsgi.state import files
from maintenance_wsgi.state.exemptions import Entry, read_entries
from maintenance_wsgi.state.flag import parse_flag
from maintenance_wsgi.state.reader import FLAG_LIMIT, FLAG_NAME, LIST_LIMIT, LIST_NAME
from maintenance_wsgi.state.users import User

_LOOPBACK = [IPNetwork("127.0.0.0/8"), IPNetwork("::1/128")]
_CSS_REFERENCE = re.compile(r"url\(\s*['\"]?\s*(?!data:|#)([^'\")\s]+)|@import\s+['\"]([^'\"]+)")
_LOADING = {"src", "srcset", "poster", "data", "background", "xlink:href"}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "apple-touch-icon"}
# No office has a network shorter than these.
_WIDEST = {4: 8, 6: 16}


def check(
    directory: str,
    user: User,
    trusted_proxies: Iterable[str] = (),
    page: str | None = None,
) -> Iterator[str]:
    """Yield a line for each thing that would go wrong, with its remedy.

    Args:
        directory: of the two files.
        user: whom the web server runs as.
        trusted_proxies: the middleware's.
        page: the middleware's own page, a file or a directory.

    Raises:
        ConfigError: a trusted proxy is refused.
    """
    ClientIPResolver(trusted_proxies)
    proxies = [network for entry in trusted_proxies if (network := parse_network(entry))]
    fault = files.directory_error(directory)
    if fault:
        yield fault
    else:
        yield from _check_way(directory, user)
        yield from _check_flag(os.path.join(directory, FLAG_NAME), user)
        yield from _check_list(os.path.join(directory, LIST_NAME), user, proxies)
    if page is not None:
        for path in _page_files(page):
            yield from _check_page(path, user)


def _check_way(directory: str, user: User) -> Iterator[str]:
    closed = user.first_unsearchable_parent(os.path.join(directory, FLAG_NAME))
    if closed:
        yield f"{closed}: {user.name} cannot search it; chmod o+x {closed}"
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        yield f"{directory}: you cannot write there, so that enable will fail; run it as its owner"


def _check_readable(path: str, user: User, limit: int) -> Iterator[str]:
    if os.path.islink(path) and not os.path.exists(path):
        yield f"{path}: links to what is not there; create its target, or remove the link"
    elif os.path.lexists(path):
        try:
            files.read_bytes(path, limit=limit)
            readable = user.can_read(path)
        except PermissionError:
            yield f"{path}: you cannot read it; run this as root to see for {user.name}"
        except OSError as error:
            yield f"{path}: {error.strerror}; put a regular file of at most {limit} bytes there"
        else:
            if not readable:
                yield f"{path}: {user.name} cannot read it; chmod o+r {path}"


def _check_flag(path: str, user: User) -> Iterator[str]:
    yield from _check_readable(path, user, FLAG_LIMIT)
    details, problems = parse_flag(_bytes(path, FLAG_LIMIT))
    for problem in problems:
        yield f"{path}: {problem}; write it anew with enable"
    if details.until and details.until <= datetime.now(UTC):
        until = details.until.isoformat()
        yield f"{path}: the planned end, {until}, is past; give another with enable --until"


def _check_list(path: str, user: User, proxies: list[IPNetwork]) -> Iterator[str]:
    yield from _check_readable(path, user, LIST_LIMIT)
    for entry in read_entries(_bytes(path, LIST_LIMIT)):
        fault = _fault(entry, proxies)
        if fault:
            yield f"{path}: line {entry.line}: {entry.text[:64]!a} {fault}"


def _fault(entry: Entry, proxies: list[IPNetwork]) -> str:
    network = entry.network
    if network is None:
        return "is no IP address or network; correct it"
    if network.prefixlen < _WIDEST[network.version]:
        return "exempts the whole Internet or much of it; name the networks that you mean"
    if any(_overlap(network, loopback) for loopback in _LOOPBACK):
        return "exempts whatever runs on this machine, a proxy and all behind it too; remove it"
    if any(_overlap(network, proxy) for proxy in proxies):
        return "covers a trusted proxy; exempt the people behind it instead"
    return ""


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.first <= other.last and other.first <= one.last


def _bytes(path: str, limit: int) -> bytes:
    try:
        return files.read_bytes(path, limit=limit)[0]
    except OSError:
        return b""  # which _check_readable has told


def _page_files(page: str) -> list[str]:
    if not os.path.isdir(page):
        return [page]
    found = sorted(str(path) for path in Path(page).glob("page.*html"))
    general = os.path.join(page, "page.html")
    return found if general in found else [general, *found]


def _check_page(path: str, user: User) -> Iterator[str]:
    if not os.path.lexists(path):
        yield f"{path}: there is no such page; create it, or the built-in page is served"
        return
    unreadable = list(_check_readable(path, user, PAGE_LIMIT))
    yield from unreadable
    if unreadable:
        return
    html = _Page()
    html.feed(_bytes(path, PAGE_LIMIT).decode("utf-8", "replace"))
    for reference in html.references:
        shown = ascii(reference[:64])
        yield f"{path}: loads {shown}, which gets a 503 too; put it inline, or in exempt_paths"
    for name, example in html.missing():
        yield f"{path}: has no {name}; add {example}"


class _Page(HTMLParser):
    """Collects what a page has and loads."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self._found: set[str] = set()
        self._inside = ""

    def missing(self) -> Iterator[tuple[str, str]]:
        """Yield what every page should have and this one lacks, with an example."""
        wanted = {
            "title": "<title>Down for maintenance</title>",
            "language": '<html lang="en">',
            "viewport": '<meta name="viewport" content="width=device-width">',
        }
        return ((name, wanted[name]) for name in wanted if name not in self._found)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the references of an element, and what it stands for."""
        self._inside = tag
        attributes = {name: value or "" for name, value in attrs}
        if tag == "html" and attributes.get("lang"):
            self._found.add("language")
        if tag == "meta" and attributes.get("name") == "viewport":
            self._found.add("viewport")
        is_loading_link = bool(_LOADING_LINKS & set(attributes.get("rel", "").lower().split()))
        loading = _LOADING | ({"href"} if is_loading_link or tag in {"image", "use"} else set())
        for name in loading & attributes.keys():
            if not attributes[name].strip().startswith(("data:", "#")):
                self.references.append(attributes[name])
        self._note_css(attributes.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Note a title's text, and what a stylesheet loads."""
        if self._inside == "title" and data.strip():
            self._found.add("title")
        if self._inside == "style":
            self._note_css(data)

    def _note_css(self, css: str) -> None:
        self.references += [match[1] or match[2] for match in _CSS_REFERENCE.finditer(css)]
