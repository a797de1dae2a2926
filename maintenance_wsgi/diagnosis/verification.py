"""What visitors get, asked from outside: at each address of a host, with a cache and past it.

The addresses themselves are asked, so the proxies that the environment names (`http_proxy`) are not
used. Nothing but GET is sent, no redirect is followed, and no body is read.
"""

import asyncio
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException, parse_headers
from io import BytesIO
from secrets import token_hex
from typing import NamedTuple
from urllib.parse import quote

from maintenance_wsgi.grammar import printable
from maintenance_wsgi.networks import parse_address

_ADDRESSES = 16  # that are asked
_TIMES = 5  # requests in a row: a balancer must not hide one server of several
_PATIENCE, _PAUSE = 10, 0.5  # seconds for an answer, and between two rounds
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|(?:[0-9a-z._-]|[^\x00-\x7f])+)(?::([0-9]{1,5}))?([/?][^#]*)?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_KEPT = "/?%:@!$&'()*+,;=~"  # what a path and a query may hold (RFC 3986 section 3.3)
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_MARK, _ON = "X-Maintenance-Mode", {"on", "read-only", "exempt"}
_TOLD = ("Location", "Server", "Age", "Via", "X-Cache", "Cache-Status", "CF-Cache-Status")
_REDIRECT, _SERVER_ERROR = "3", 500
_logger = logging.getLogger("maintenance_wsgi")


class Site(NamedTuple):
    """What a URL names, in ASCII."""

    scheme: str
    authority: str  # host and port, as the Host header has them
    host: str  # a name or an address, without brackets
    port: int
    target: str  # path and query

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


class Answer(NamedTuple):
    """What was seen of one answer, printable; `fault` says why there is none."""

    status: int = 0
    marks: frozenset[str] = frozenset()  # values of X-Maintenance-Mode
    details: str = ""
    fault: str = ""

    def __str__(self) -> str:
        mark = (
            f"with {_MARK}: {', '.join(sorted(self.marks))}" if self.marks else f"without {_MARK}"
        )
        return f"{self.status} {mark}{self.details and f' ({self.details})'}"

    def is_right(self, *, on: bool) -> bool:
        """Tell whether a visitor should get it while maintenance is on, or off."""
        if on:
            return bool(self.marks) and self.marks <= _ON
        return not self.marks and 0 < self.status < _SERVER_ERROR


class Visit(NamedTuple):
    """The answers of an address: to the URL, then to it with a random query; a fault ends them."""

    address: str
    answers: Sequence[Answer]

    def wrong(self, *, on: bool) -> list[Answer]:
        """Return the answers that a visitor should not get."""
        return [answer for answer in self.answers if not answer.is_right(on=on)]


def parse_url(value: str) -> Site | None:
    """Return the site that a URL names, or None; a user would give away a password."""
    match, name = _URL.fullmatch(value), ""
    with suppress(UnicodeError):  # a label of the name is empty or too long
        name = match[2].lower().encode("idna").decode() if match else ""
    host = name.strip("[]")
    if match and name and (host == name or parse_address(host)):
        scheme, port = match[1].lower(), match[3]
        target = quote(match[4] or "/", _KEPT, errors="surrogateescape")
        number = int(port or _PORTS[scheme])
        if 0 < number < 2**16:
            authority = name + (f":{port}" if port else "")
            return Site(scheme, authority, host, number, "/" * (target[0] == "?") + target)
    return None


def rounds(site: Site, *, on: bool, seconds: float) -> Iterator[list[Visit]]:
    """Yield the visits of all addresses, again and again until all are right or time is over."""
    deadline, addresses = time.monotonic() + seconds, _addresses(site)
    context = ssl.create_default_context() if site.scheme == "https" else None
    known: list[Visit] = []
    while True:
        found = asyncio.run(_visit_all(site, addresses, context, deadline))
        is_right, left = not any(each.wrong(on=on) for each in found), deadline - time.monotonic()
        # A round that the end of the time cuts off says less than the one before.
        known = found if is_right or left > 0 or not known else known
        yield known
        if is_right or left < _PAUSE:
            return
        time.sleep(_PAUSE)


def faults(site: Site, visits: Sequence[Visit], *, on: bool) -> Iterator[str]:
    """Yield a sentence with a remedy for each thing that is wrong; none if all is right."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for visit in visits:
        if visit.wrong(on=on):
            groups.setdefault(_fault(visit, on=on), []).append(visit.address)
    right = ", ".join(visit.address for visit in visits if not visit.wrong(on=on))
    contrast = f", while those at {right} are right" if right else ""
    for (subject, seen, remedy), addresses in groups.items():
        yield f"{site}: {subject} at {', '.join(addresses)} {seen}{contrast}; {remedy}"


def _fault(visit: Visit, *, on: bool) -> tuple[str, str, str]:
    """Return which answers are wrong, what they are, and the remedy."""
    answers, wrong = visit.answers, visit.wrong(on=on)
    if fault := wrong[0].fault:
        remedy = "start the server there, or correct the addresses of the host"
        if fault.startswith("certificate"):
            remedy = "install one for this name, or use the name that it is for"
        elif "WRONG_VERSION_NUMBER" in fault or "RECORD_LAYER_FAILURE" in fault:  # of OpenSSL
            remedy = "use http://, or the port that speaks TLS"
        return f"request {len(answers)} of {2 * _TIMES}", f"got no answer ({fault})", remedy
    first, seen = wrong[0], f"are {wrong[0]}"
    if answers[_TIMES:] and all(answer.is_right(on=on) for answer in answers[_TIMES:]):
        seen += ", and none with a random query, so a cache serves what it stored"
        remedy = "purge that cache"
    elif first.marks and not on:
        remedy = "switch off the other application or directory that sends it, too"
    elif first.status >= _SERVER_ERROR:
        seen += ", which a proxy or a server makes in place of the application"
        remedy = "start the application behind it, and let its answers through unchanged"
    elif len(wrong) < len(answers):
        remedy = "let every server behind that address read this directory"
    elif str(first.status).startswith(_REDIRECT):
        remedy = "use --verify with the URL that they redirect to"
    else:
        remedy = (
            "let the application there read this directory, or use the URL of the one that does"
        )
    missing = bool(answers[-1].fault)
    return f"{len(wrong) - missing} of {len(answers) - missing} answers", seen, remedy


def _addresses(site: Site) -> list[str]:
    """Return the addresses of the host to which this machine has a route."""
    try:
        found = socket.getaddrinfo(site.host, site.port, type=socket.SOCK_STREAM)
    except OSError:
        return [site.host]  # asking it tells why
    places = {str(place[0]): (family, place) for family, *_, place in found}
    asked = [address for address in places if _has_route(*places[address])] or list(places)
    if missed := [address for address in places if address not in asked[:_ADDRESSES]]:
        reason = f"only {_ADDRESSES} addresses are, if this machine has a route to them"
        _logger.warning("%s: not asked at %s: %s", site, ", ".join(missed), reason)
    return asked[:_ADDRESSES]


def _has_route(family: int, place: tuple[object, ...]) -> bool:
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing
        probe.connect(place)
        return True
    return False


async def _visit_all(
    site: Site, addresses: list[str], context: ssl.SSLContext | None, deadline: float
) -> list[Visit]:
    return await asyncio.gather(*(_visit(site, each, context, deadline) for each in addresses))


async def _visit(
    site: Site, address: str, context: ssl.SSLContext | None, deadline: float
) -> Visit:
    answers: list[Answer] = []
    joint = "&" if "?" in site.target else "?"
    while len(answers) < 2 * _TIMES:
        unseen = f"{joint}verify={token_hex(8)}" if len(answers) >= _TIMES else ""
        try:
            # For the whole answer: a server may send its header byte by byte.
            async with asyncio.timeout(min(_PATIENCE, deadline - time.monotonic())):
                answers.append(await _ask(site, address, site.target + unseen, context))
        except (OSError, EOFError, HTTPException, asyncio.LimitOverrunError) as error:
            answers.append(Answer(fault=printable(_reason(error), 200)))
            break
    return Visit(address, answers)


async def _ask(site: Site, address: str, target: str, context: ssl.SSLContext | None) -> Answer:
    """Send one request over a connection of its own."""
    reader, writer = await asyncio.open_connection(
        address, site.port, ssl=context, server_hostname=site.host if context else None
    )
    try:
        fields = "User-Agent: maintenance-wsgi\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {site.authority}\r\n{fields}".encode())
        head = b"HTTP/1.1 100"
        while head.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):  # RFC 9110 section 15.2
            head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.transport.abort()
    status = _STATUS.match(head)
    if status is None:
        raise HTTPException
    headers = parse_headers(BytesIO(head.partition(b"\n")[2]))
    marks = ",".join(headers.get_all(_MARK, ())).lower().split(",")
    told = [f"{name}: {value}" for name in _TOLD if (value := headers.get(name))]
    details = ", ".join(printable(text, 200) for text in told)
    return Answer(int(status[1]), frozenset(map(printable, map(str.strip, marks))) - {""}, details)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:  # asyncio's own words name the address again
        return os.strerror(error.errno)
    return "the connection was closed, or what came is not HTTP"
