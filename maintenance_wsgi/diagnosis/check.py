"""What would go wrong in a maintenance window, found before it begins."""

import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from shlex import quote
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket

from netaddr import IPNetwork

from maintenance_wsgi.config import Options
from maintenance_wsgi.diagnosis.permissions import User
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.networks import format_network, parse_network
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.response.templates import (
    CUSTOM_PLACEHOLDERS,
    FREE_TEXTS,
    PAGE_LIMIT,
    lone_tags,
    translated_pages,
)
from maintenance_wsgi.state import exemptions, files
from maintenance_wsgi.state.flag import FLAG_LIMIT, FLAG_NAME, parse_flag
from maintenance_wsgi.state.store import REMEDIES

_LOOPBACK = [IPNetwork("127.0.0.0/8"), IPNetwork("::1/128")]
_CSS_REFERENCE = re.compile(r"url\(\s*['\"]?\s*(?!data:|#)([^'\")\s]+)|@import\s+['\"]([^'\"]+)")
_LOADING = {"src", "srcset", "poster", "data", "background", "xlink:href"}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "apple-touch-icon"}
_ANY_PLACEHOLDER = re.compile(r"\{\{[#/]?(.*?)\}\}|\{%.*?%\}", re.DOTALL)
_FREE_TEXT = re.compile(rf"\{{\{{ *(?:{'|'.join(FREE_TEXTS)}) *\}}\}}")
_QUOTED = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')""")
# Attributes that hold more than text: an address, styles, a document.
_INTERPRETED = {"href", "src", "action", "formaction", "style", "srcdoc"}
# Shorter prefixes than these are too wide for an office: a mistake, or an open door.
_WIDEST = {4: 8, 6: 16}


def check(options: Options, user: User) -> Iterator[str]:
    """Yield a line for each thing that would go wrong, with its remedy.

    The web server runs as `user`; the options are the middleware's.

    Raises:
        ConfigError: an option is not valid.
    """
    ClientIPResolver(options.trusted_proxies, options.client_ip_header)
    exempt = ExemptPaths(options.exempt_paths)
    ExemptPaths(options.write_paths, "write_paths")
    ExemptPaths(options.health_paths, "health_paths")
    directory = options.directory
    yield from _check_ways([directory, *([options.page] if options.page else [])], user)
    if fault := files.directory_error(directory):
        yield fault
    else:
        yield from _check_directory(directory)
        yield from _check_flag(os.path.join(directory, FLAG_NAME), user)
        list_path = os.path.join(directory, exemptions.LIST_NAME)
        yield from _check_list(list_path, user, options.trusted_proxies)
    if options.page is not None:
        yield from _check_pages(options.page, user, exempt)


def _check_ways(places: Sequence[str], user: User) -> Iterator[str]:
    names = (
        FLAG_NAME,
        exemptions.LIST_NAME,
        "page.html",
    )  # each may be a link that leads elsewhere
    paths = [os.path.join(place, name) for place in places for name in names]
    for closed in dict.fromkeys(filter(None, map(user.first_unsearchable_parent, paths))):
        yield f"{closed}: {user.name} cannot search it; run chmod o+x {quote(closed)}"


def _check_directory(directory: str) -> Iterator[str]:
    system = os.statvfs(directory)
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        is_read_only = system.f_flag & os.ST_RDONLY
        number = errno.EROFS if is_read_only else errno.EACCES if os.geteuid() else errno.EPERM
        yield f"{directory}: you cannot write in it, so enable will fail{REMEDIES[number]}"
    elif system.f_blocks and not system.f_bavail:  # some file systems in memory have no blocks
        remedy = "free some space, since enable could not write a message"
        yield f"{directory}: its file system is full; {remedy}"
    for name in (FLAG_NAME, exemptions.LIST_NAME):
        yield from _check_mount(os.path.join(directory, name))


def _check_mount(path: str) -> Iterator[str]:
    point = re.escape(os.path.realpath(path).replace(" ", r"\040"))
    with suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
        if re.search(rf"^(\S+ ){{4}}{point} ", mounts, re.MULTILINE):
            is_gone = os.stat(path).st_nlink == 0
            fault = "was removed where it comes from" if is_gone else "cannot be replaced"
            yield f"{path}: {fault}{REMEDIES[errno.EBUSY]}"


def _read(path: str, user: User, limit: int) -> tuple[list[str], bytes]:
    """Return the fault of a file, if it has one, and the bytes of it that can be read."""
    if os.path.islink(path) and not os.path.exists(path):
        return [f"{path}: is a dangling symlink; create its target, or remove the link"], b""
    if not os.path.lexists(path):
        return [], b""
    try:
        contents = files.read_file(path, limit)
        readable = user.can_read(path)
    except PermissionError:
        return [f"{path}: you cannot read it; run this as root to check it for {user.name}"], b""
    except OSError as error:
        return [f"{path}: {error.strerror}; put a regular file of at most {limit} bytes there"], b""
    if not contents.is_own:
        return [
            f"{path}: belongs to uid {contents.status.st_uid}; change its owner with chown"
        ], b""
    fault = f"{path}: {user.name} cannot read it; run chmod o+r {quote(path)}"
    return [] if readable else [fault], contents.data


def _check_flag(path: str, user: User) -> Iterator[str]:
    faults, data = _read(path, user, FLAG_LIMIT)
    yield from faults
    window, problems = parse_flag(data)
    for problem in problems:
        yield f"{path}: {problem}; run enable, which replaces it"
    if window.until and window.until <= datetime.now(UTC):
        until = window.until.isoformat()
        yield f"{path}: the planned end {until} is in the past; use enable --until with a later one"


def _check_list(path: str, user: User, trusted_proxies: Sequence[str]) -> Iterator[str]:
    faults, data = _read(path, user, exemptions.LIST_LIMIT)
    yield from faults
    found = (
        f"line {entry.line}: {exemptions.quoted(entry.text)} {fault}"
        for entry in exemptions.read_entries(data)
        if (fault := _fault(entry, trusted_proxies))
    )
    yield from _first_ten(path, found)


def _first_ten(path: str, faults: Iterator[str]) -> Iterator[str]:
    yield from (f"{path}: {fault}" for fault in islice(faults, 10))
    if count := sum(1 for _ in faults):
        yield f"{path}: and {count} more"


def _fault(entry: exemptions.Entry, trusted_proxies: Sequence[str]) -> str:
    if entry.network:
        return danger(entry.network, trusted_proxies)
    remedy = f"use {entry.meant}" if entry.meant else "correct it"
    return f"is not a valid IP address or network, and hides what follows it; {remedy}"


def danger(network: IPNetwork, trusted_proxies: Sequence[str]) -> str:
    """Return why a network should not be exempt, with a remedy; otherwise an empty string."""
    if network.prefixlen < _WIDEST[network.version]:
        return "exempts the whole Internet or much of it; list the networks that you mean"
    if _is_own(network) or any(_overlap(network, loopback) for loopback in _LOOPBACK):
        return "exempts this host, and every client behind a proxy that runs on it; remove it"
    if _is_gateway(network):
        return "is this host's gateway, and may stand for every client behind it; remove it"
    if any(_overlap(network, proxy) for proxy in map(parse_network, trusted_proxies) if proxy):
        return "covers a trusted proxy; exempt the clients behind it instead"
    return ""


def _is_own(network: IPNetwork) -> bool:
    family = AF_INET if network.version == 4 else AF_INET6  # noqa: PLR2004 (IPv4)
    source = ""
    with suppress(OSError), socket(family, SOCK_DGRAM) as probe:
        # Sends nothing. Only an address of this host is reached from the same address.
        probe.connect((str(network.ip), 9))
        source = probe.getsockname()[0]
    return source == format_network(network)


def _is_gateway(network: IPNetwork) -> bool:
    number, routes = int.from_bytes(network.ip.packed, sys.byteorder), ""
    with suppress(OSError):
        routes = Path("/proc/net/route").read_text(encoding="ascii")
    return f"\t00000000\t{number:08X}\t" in routes


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.first <= other.last and other.first <= one.last


def _check_pages(page: str, user: User, exempt: ExemptPaths) -> Iterator[str]:
    if not os.path.isdir(page):
        yield from _check_page(page, user, exempt)
        return
    names = {"page.html", *(path.name for path in Path(page).glob("page.*html"))}
    served = {"page.html", *translated_pages(names).values()}
    for name in sorted(names):
        path = os.path.join(page, name)
        if name in served:
            yield from _check_page(path, user, exempt)
        else:
            yield f"{path}: is never served; name it after a language tag, page.pt-BR.html"


def _check_page(path: str, user: User, exempt: ExemptPaths) -> Iterator[str]:
    if not os.path.lexists(path):
        yield f"{path}: does not exist; create it"
        return
    faults, data = _read(path, user, PAGE_LIMIT)
    yield from faults or _first_ten(path, _page_faults(data, exempt))


def _page_faults(data: bytes, exempt: ExemptPaths) -> Iterator[str]:
    if not data.strip():
        yield "is empty; write a page into it"
    if data.startswith(exemptions.UTF_16_MARKS):
        yield "is in UTF-16, in which no placeholder is found; save it as UTF-8"
    page, parser = data.decode(errors="replace"), _PageParser()
    parser.feed(page)
    for reference in parser.references:
        if not exempt.match({"PATH_INFO": reference.partition("?")[0]}):
            shown = printable(reference, 64)
            yield f"loads '{shown}', which gets a 503 too; put it inline, or in exempt_paths"
    for unsafe, place in parser.unsafe:
        remedy = "put it into the text, or into a quoted attribute"
        yield f"'{unsafe}' is not safe in {place}; {remedy}"
    for lone in lone_tags(page.encode()):
        yield f"'{lone}' begins or ends no section and is sent as it is; add its other end"
    for placeholder in _ANY_PLACEHOLDER.finditer(page):
        if (placeholder[1] or "").strip() not in CUSTOM_PLACEHOLDERS:
            known, shown = ", ".join(CUSTOM_PLACEHOLDERS), printable(placeholder[0], 64)
            yield f"'{shown}' is not a placeholder and is sent as it is; use one of {known}"


class _PageParser(HTMLParser):
    """Collects what a page loads, and where it holds a placeholder that is not safe there."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.unsafe: list[tuple[str, str]] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect from the attributes of an element."""
        self._inside = tag
        attributes = {name: value or "" for name, value in attrs}
        is_loading_link = bool(_LOADING_LINKS & set(attributes.get("rel", "").lower().split()))
        loading = _LOADING | ({"href"} if is_loading_link or tag in {"image", "use"} else set())
        for name in loading & attributes.keys():
            if not attributes[name].strip().startswith(("data:", "#")):
                self.references.append(attributes[name])
        self._collect_css(attributes.get("style", ""))
        self._collect_unsafe(_QUOTED.sub("=", self.get_starttag_text() or ""), f"<{tag}>, unquoted")
        for name, value in attributes.items():
            if name.startswith("on") or name in _INTERPRETED:
                self._collect_unsafe(value, f"the attribute {printable(name, 64)}")

    def handle_endtag(self, _tag: str) -> None:
        """Leave an element."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Collect from what is not HTML: a stylesheet or a script."""
        if self._inside == "style":
            self._collect_css(data)
        if self._inside in {"style", "script"}:
            self._collect_unsafe(data, f"<{self._inside}>")

    def _collect_css(self, css: str) -> None:
        self.references += [match[1] or match[2] for match in _CSS_REFERENCE.finditer(css)]

    def _collect_unsafe(self, text: str, place: str) -> None:
        self.unsafe += [(match[0], place) for match in _FREE_TEXT.finditer(text)]
