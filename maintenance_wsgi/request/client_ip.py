"""Which address is the client, when proxies stand between.

Anybody can send `X-Forwarded-For`. It is worth something only where it was written by a proxy of
your own, so the header is looked at only when the connection comes from a trusted proxy, exactly
one header is ever read, and its entries are believed from the right, hop by hop, as long as
trusted proxies wrote them. Whatever cannot be read ends the search with no client at all: to skip
it, to fall back to another header or to answer the proxy's own address lets strangers in.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from netaddr import IPNetwork

from maintenance_wsgi.errors import ConfigError, ConfigTypeError, string_tuple
from maintenance_wsgi.networks import (
    Address,
    NetworkSet,
    format_network,
    parse_forwarded_address,
    parse_network,
)
from maintenance_wsgi.request.forwarded import OWS, TOKEN, Hop, forwarded_hops

_UNIX = "unix:"
# What servers report as the peer of a Unix socket: gunicorn and cheroot an empty text, waitress
# "localhost", werkzeug "<local>", uWSGI "0.0.0.0", others "@" or nothing at all.
_UNIX_PEERS = {"", "localhost", "<local>", "0.0.0.0", "@"}  # noqa: S104 (a text to compare with, no socket is bound)
# So many clients are kept, if what was said of them has no more characters than that.
_KEPT, _MAX_KEPT = 1024, 300


class Reason(StrEnum):
    """Why the client is what it is, or why there is none."""

    DIRECT_PEER = "direct_peer"
    RIGHTMOST_UNTRUSTED = "rightmost_untrusted"
    ALL_TRUSTED = "all_trusted"
    SINGLE_HEADER = "single_header"
    UNKNOWN_PEER = "unknown_peer"
    NO_HEADER = "no_header"
    EMPTY_ENTRY = "empty_entry"
    UNREADABLE_ENTRY = "unreadable_entry"


class ClientIPResolver:
    """Resolves the client's address from a WSGI environ.

    Args:
        trusted_proxies: addresses and networks whose header is believed, and `"unix:"` for
            whatever connects through a Unix socket.
        header: name of the one header to read. `X-Forwarded-For` and `Forwarded` (RFC 7239) are
            lists of hops; any other holds one address.

    Raises:
        ConfigError: a trusted proxy is no address or network, or is everybody (`/0`); the header
            is no token (RFC 9110 section 5.6.2).
        ConfigTypeError: a text stands where a list is meant, or something else than text.
    """

    def __init__(
        self, trusted_proxies: Iterable[str] = (), header: str = "X-Forwarded-For"
    ) -> None:
        entries = string_tuple("trusted_proxies", trusted_proxies)
        self.header = header
        self._key = _environ_key(header)
        self._hops = _LIST_HEADERS.get(self._key)
        self.trusts_unix: bool = _UNIX in entries
        self._networks = _trusted_networks(entry for entry in entries if entry != _UNIX)
        self._trusted = NetworkSet(self._networks)
        # The same few clients come again and again, over the same few proxies.
        self._resolve_again = lru_cache(_KEPT)(self._resolve)

    def resolve(
        self, environ: Mapping[str, Any], trace: list[Hop] | None = None
    ) -> tuple[Address | None, Reason]:
        """Return the client of a request, or None, and why; never raises.

        The hops that were looked at are appended to `trace`, where one is given.
        """
        text, value = peer_of(environ), environ.get(self._key, "")
        if trace is None and type(text) is str and type(value) is str and len(value) <= _MAX_KEPT:
            return self._resolve_again(text, value)
        return self._resolve(text, value, trace)

    def _resolve(
        self, text: object, value: object, trace: list[Hop] | None = None
    ) -> tuple[Address | None, Reason]:
        peer = parse_forwarded_address(text.strip(OWS)) if isinstance(text, str) else None
        if peer is None:
            if not (self.trusts_unix and is_unix_peer(text)):
                return None, Reason.UNKNOWN_PEER
        elif peer not in self._trusted:
            return peer, Reason.DIRECT_PEER
        return self._resolve_header(_header_text(value), trace)

    def header_value(self, environ: Mapping[str, Any]) -> str:
        """Return the configured header's value, or an empty text where it is missing or blank."""
        return _header_text(environ.get(self._key))

    def _resolve_header(self, value: str, trace: list[Hop] | None) -> tuple[Address | None, Reason]:
        if not value:
            # CVE-2022-31813: `Connection: X-Forwarded-For` made a proxy drop its own header.
            # Its address must not be lent to whoever does that.
            return None, Reason.NO_HEADER
        if self._hops is None:
            address = parse_forwarded_address(value)
            return address, Reason.SINGLE_HEADER if address else Reason.UNREADABLE_ENTRY
        address = None
        for hop in self._hops(value):
            if trace is not None:
                trace.append(hop)
            text, address = hop
            if address is None:
                return None, Reason.UNREADABLE_ENTRY if text else Reason.EMPTY_ENTRY
            if address not in self._trusted:
                return address, Reason.RIGHTMOST_UNTRUSTED
        return address, Reason.ALL_TRUSTED

    def hops(self, environ: Mapping[str, Any]) -> Iterator[Hop]:
        """Yield all that the header holds, from the right; a header of one address has one hop."""
        value = self.header_value(environ)
        if self._hops:
            return self._hops(value) if value else iter(())
        return iter([(value, parse_forwarded_address(value))] if value else ())

    def matching_proxy(self, address: Address) -> str | None:
        """Return the trusted proxy or network that an address belongs to, or None."""
        for network in self._networks:
            if address in NetworkSet([network]):
                return format_network(network)
        return None


def _environ_key(header: str) -> str:
    if not isinstance(header, str):
        raise ConfigTypeError(f"client_ip_header takes one header name, not {header!r}")
    if not TOKEN.fullmatch(header):
        raise ConfigError(
            f"client_ip_header: {header!r} is no header name; write X-Forwarded-For,"
            " Forwarded or the one header that your proxy sets"
        )
    return f"HTTP_{header.upper().replace('-', '_')}"


def _trusted_networks(entries: Iterable[str]) -> tuple[IPNetwork, ...]:
    networks = []
    for entry in entries:
        network = parse_network(entry)
        if network is None:
            raise ConfigError(
                f"trusted_proxies: {entry!r} is no IP address, network or 'unix:'; write"
                " 10.0.0.1 or 10.0.0.0/8 (host names, netmasks, zones and * are refused)"
            )
        if network.prefixlen == 0:
            raise ConfigError(
                f"trusted_proxies: {entry!r} would let every client name its own address;"
                " list the networks of your proxies"
            )
        networks.append(network)
    return tuple(networks)


def peer_of(environ: Mapping[str, Any]) -> object:
    """Return what the server reports as the other end of the connection, whatever it is."""
    # A ProxyFix outside has put a header's text in REMOTE_ADDR and kept the socket's word here.
    original = environ.get("werkzeug.proxy_fix.orig")
    source = original if isinstance(original, dict) else environ
    return source.get("REMOTE_ADDR")


def _header_text(value: object) -> str:
    return value.strip(OWS) if isinstance(value, str) else ""


def is_unix_peer(text: object) -> bool:
    """Tell whether this is what a server reports of a Unix socket."""
    if not isinstance(text, str):
        return text is None
    return text in _UNIX_PEERS or text.startswith(_UNIX)


def _forwarded_for_hops(value: str) -> Iterator[Hop]:
    # X-Forwarded-For has no quoting: a quote that a client opens must not swallow the entry that
    # the proxy appends. Cut from the right, so that the cost follows the trusted hops.
    end = len(value)
    while end >= 0:
        comma = value.rfind(",", 0, end)
        text = value[comma + 1 : end].strip(OWS)
        yield text, parse_forwarded_address(text)
        end = comma


_LIST_HEADERS: dict[str, Callable[[str], Iterator[Hop]]] = {
    "HTTP_X_FORWARDED_FOR": _forwarded_for_hops,
    "HTTP_FORWARDED": forwarded_hops,
}
