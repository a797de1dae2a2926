"""Which address is the client, when proxies stand between.

Any client can send `X-Forwarded-For`. The header is evidence only if a proxy of your own wrote it.
So it is read only if the connection comes from a trusted proxy, exactly one header is ever read,
and its entries are believed from the right, hop by hop, as long as trusted proxies wrote them. An
entry that cannot be read ends the search, and the client is unknown. Skipping the entry, trying
another header or returning the proxy's address would let strangers in.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from netaddr import IPNetwork

from maintenance_wsgi.arguments import string_tuple
from maintenance_wsgi.errors import ConfigError, ConfigTypeError
from maintenance_wsgi.grammar import OWS, TOKEN, environ_key
from maintenance_wsgi.networks import (
    Address,
    format_network,
    is_public,
    parse_address,
    parse_forwarded_address,
    parse_network,
)
from maintenance_wsgi.request.forwarded import forwarded_entries

_UNIX = "unix:"
# What servers report as the peer of a Unix socket: gunicorn and cheroot an empty string, waitress
# "localhost", werkzeug "<local>", uWSGI "0.0.0.0", eventlet "unix", others "@" or nothing at all.
_UNIX_PEERS = {"", "localhost", "<local>", "0.0.0.0", "@", "unix"}  # noqa: S104 (not bound)
_MAX_PORT = 65535
_CLOUDFRONT = "HTTP_CLOUDFRONT_VIEWER_ADDRESS"
_CACHED_CLIENTS, _CACHED_PEERS = 64, 64
_MAX_CACHED_LENGTH = 300  # characters of a peer or of a header


class Reason(StrEnum):
    """Why the client is what it is, or why it is unknown."""

    DIRECT_PEER = "direct_peer"
    RIGHTMOST_UNTRUSTED = "rightmost_untrusted"
    ALL_TRUSTED = "all_trusted"
    SINGLE_HEADER = "single_header"
    UNKNOWN_PEER = "unknown_peer"
    NO_HEADER = "no_header"
    EMPTY_ENTRY = "empty_entry"
    UNREADABLE_ENTRY = "unreadable_entry"


# To look up a member of an enum takes 70 ns.
_ALL_TRUSTED, _RIGHTMOST_UNTRUSTED = Reason.ALL_TRUSTED, Reason.RIGHTMOST_UNTRUSTED
_NO_HEADER = Reason.NO_HEADER


# Each new client takes two hops and a resolution; a NamedTuple takes twice as long to make.
@dataclass(slots=True)
class Hop:
    """One station on a request's way: the peer, or an entry of the header."""

    text: str  # what the server or a proxy wrote
    address: Address | None  # the address that this spells
    trusted_by: str | None = None  # the entry of `trusted_proxies` that covers the address


@dataclass(slots=True)
class Resolution:
    """Which address is the client of a request, and how it was found."""

    peer: Hop
    hops: tuple[Hop, ...]  # the entries of the header that were read, from the right
    client: Address | None  # None: unknown
    reason: Reason
    _public_client: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def public_client(self) -> str:
        """The client's address as a page may show it; empty if it is unknown or not public.

        A visitor reads out the address, so that an operator can exempt it. A private address would
        only tell the visitor about the network behind the proxy.
        """
        if self._public_client is None:
            client = self.client
            self._public_client = str(client) if client and is_public(client) else ""
        return self._public_client


class ClientIPResolver:
    """Resolves the client's address from a WSGI environ.

    Args:
        trusted_proxies: addresses and networks whose header is believed, and `"unix:"` for
            connections through a Unix socket.
        header: name of the one header to read. `X-Forwarded-For` and `Forwarded` (RFC 7239) are
            lists of hops; any other header holds one address.

    Raises:
        ConfigError: a trusted proxy or the header's name is not valid, or `/0` is trusted.
    """

    def __init__(
        self, trusted_proxies: Iterable[str] = (), header: str = "X-Forwarded-For"
    ) -> None:
        entries = string_tuple("trusted_proxies", trusted_proxies)
        if not isinstance(header, str):
            raise ConfigTypeError(
                f"client_ip_header: {header!r} is not a string; pass a header name"
            )
        if not TOKEN.fullmatch(header) or "_" in header:
            raise ConfigError(
                f"client_ip_header: {header!r} is not a valid header name;"
                f" use {_header_spelling(header)}"
            )
        self.header: str = header
        self.key: str = environ_key(header)
        self._unix = _UNIX if _UNIX in entries else None
        networks = [_trusted_network(entry) for entry in entries if entry != _UNIX]
        self._trusted = _TrustedNetworks(networks)
        # Most clients are new, and a few load the page again. To forget all of them now and then
        # takes less time than to keep the order of the latest.
        self._resolved: dict[tuple[str, str], Resolution] = {}
        # The proxies are always the same; new clients must not drive them out.
        self._read_peer_cached = lru_cache(_CACHED_PEERS)(self._read_peer)

    def resolve(self, environ: Mapping[str, Any]) -> Resolution:
        """Return the client of a request, and how it was found; never raises."""
        peer, value = peer_of(environ), environ.get(self.key, "")
        if type(peer) is not str or type(value) is not str or len(value) > _MAX_CACHED_LENGTH:
            return self._resolve(peer, value)
        key, known = (peer, value), self._resolved
        if (found := known.get(key)) is None:
            if len(known) >= _CACHED_CLIENTS:
                known.clear()
            found = known[key] = self._resolve(peer, value)
        return found

    def _resolve(self, peer_text: object, value: object) -> Resolution:
        is_string = type(peer_text) is str
        peer = self._read_peer_cached(peer_text) if is_string else self._read_peer(peer_text)
        if peer.trusted_by is None:
            reason = Reason.DIRECT_PEER if peer.address else Reason.UNKNOWN_PEER
            return Resolution(peer, (), peer.address, reason)
        return self._walk(peer, value.strip(OWS) if isinstance(value, str) else "")

    def _read_peer(self, peer: object) -> Hop:
        text = peer if isinstance(peer, str) else ""
        address = parse_forwarded_address(text.strip(OWS))
        if address is not None:
            return Hop(text, address, self._trusted.match(address))
        return Hop(text, None, self._unix if is_unix_peer(peer) else None)

    def _walk(self, peer: Hop, value: str) -> Resolution:
        hops: list[Hop] = []
        address, reason = None, _NO_HEADER
        for text, address in header_entries(self.key, value):
            trusted_by = None if address is None else self._trusted.match(address)
            hops.append(Hop(text, address, trusted_by))
            if address is None:
                reason = Reason.UNREADABLE_ENTRY if text else Reason.EMPTY_ENTRY
            elif self.key not in _LIST_HEADERS:
                reason = Reason.SINGLE_HEADER
            else:
                reason = _ALL_TRUSTED if trusted_by else _RIGHTMOST_UNTRUSTED
            if reason is not _ALL_TRUSTED:
                break
        # CVE-2022-31813: `Connection: X-Forwarded-For` made a proxy drop its own header. Falling
        # back to the proxy's address would exempt such a client.
        return Resolution(peer, tuple(hops), address, reason)


class _TrustedNetworks:
    """Finds the network that covers an address, in one bisection.

    Networks are nested or disjoint. Of nested networks the widest is kept: it says enough.
    """

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        # The first of each covers nothing, so that a search always finds one.
        self._firsts: dict[int, list[int]] = {4: [-1], 6: [-1]}
        self._lasts: dict[int, list[tuple[int, str]]] = {4: [(-1, "")], 6: [(-1, "")]}
        for network in sorted(networks, key=lambda network: (network.first, -network.last)):
            if network.first > self._lasts[network.version][-1][0]:
                self._firsts[network.version].append(network.first)
                self._lasts[network.version].append((network.last, format_network(network)))

    def match(self, address: Address) -> str | None:
        """Return the network that covers `address`, or None."""
        version, value = address
        last, name = self._lasts[version][bisect_right(self._firsts[version], value) - 1]
        return name if value <= last else None


def _trusted_network(entry: str) -> IPNetwork:
    network = parse_network(entry)
    if network is None:
        raise ConfigError(
            f"trusted_proxies: {entry!r} is not a valid IP address, network or 'unix:'; use"
            " 10.0.0.1 or 10.0.0.0/8 (host names, netmasks, zones and * are refused)"
        )
    if network.prefixlen == 0:
        raise ConfigError(
            f"trusted_proxies: {entry!r} would let every client name its own address;"
            " list the networks of your proxies"
        )
    return network


def _header_spelling(name: str) -> str:
    """Return what was meant by the name of an environ's key, which servers and proxies drop."""
    if name.upper() == "REMOTE_ADDR":
        return "trusted_proxies=[], so that the peer is the client"
    if "_" not in name or not TOKEN.fullmatch(name):
        return "X-Forwarded-For, Forwarded or the one header that your proxy sets"
    words = re.sub("^http-", "", name.replace("_", "-"), flags=re.IGNORECASE).title()
    return words.replace("Ip", "IP").replace("Cf-", "CF-")


def peer_of(environ: Mapping[str, Any]) -> object:
    """Return what the server reports as the other end of the connection, of whatever type."""
    # A ProxyFix outside has overwritten REMOTE_ADDR from a header, and kept the peer here.
    original = environ.get("werkzeug.proxy_fix.orig")
    return (original if isinstance(original, dict) else environ).get("REMOTE_ADDR")


def is_unix_peer(peer: object) -> bool:
    """Tell whether this is what a server reports as the peer of a Unix socket."""
    if not isinstance(peer, str):
        return peer is None
    return peer in _UNIX_PEERS or peer.startswith(_UNIX)


def header_entries(key: str, value: str) -> Iterable[tuple[str, Address | None]]:
    """Return each entry of a header's stripped value from the right, and the address it spells."""
    if not value:
        return ()
    split = _LIST_HEADERS.get(key)
    # Most values are one entry, and a generator takes longer than a list of one.
    if split and (split is forwarded_entries or "," in value):
        return split(value)
    parse = _parse_viewer_address if key == _CLOUDFRONT else parse_forwarded_address
    return [(value, parse(value))]


def _parse_viewer_address(value: str) -> Address | None:
    # CloudFront writes `address:port` and does not bracket IPv6: a port of four digits would be
    # read as the last group of another client's address.
    host, _, port = value.rpartition(":")
    is_port = re.fullmatch("[0-9]{1,5}", port) and int(port) <= _MAX_PORT
    address = parse_address(host) if is_port else None
    return address if address and address.value else None


def _forwarded_for_entries(value: str) -> Iterator[tuple[str, Address | None]]:
    # X-Forwarded-For has no quoting: a quote that a client opens must not swallow the entry that
    # the proxy appends. Cut from the right, so that the cost follows the trusted hops.
    end = len(value)
    while end >= 0:
        comma = value.rfind(",", 0, end)
        text = value[comma + 1 : end].strip(OWS)
        yield text, parse_forwarded_address(text)
        end = comma


_LIST_HEADERS: dict[str, Callable[[str], Iterator[tuple[str, Address | None]]]] = {
    "HTTP_X_FORWARDED_FOR": _forwarded_for_entries,
    "HTTP_FORWARDED": forwarded_entries,
}
