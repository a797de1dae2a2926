"""Strings to IP addresses or networks, and sets of networks.

One strict grammar serves the exemption list, the trusted proxies, proxy headers and the peer that
the server reports. A parser that reads more than that (octal, short forms, host names, Unicode
digits) has been used to bypass address filters: CVE-2021-29921, CVE-2021-28918.

IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is folded to IPv4, because a dual-stack listener
reports its IPv4 clients that way. Otherwise IPv4 and IPv6 never match each other.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal, NamedTuple

from netaddr import (
    AddrFormatError,
    IPAddress,
    IPNetwork,
    glob_to_cidrs,
    iprange_to_cidrs,
    valid_glob,
)

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_ADDRESS = re.compile(rf"{_IPV4}|[0-9A-Fa-f:]*:(?:[0-9A-Fa-f]*|{_IPV4})")
# Each request of a new client comes here, and to look up a method takes time.
_is_spelled_well, _to_int = _ADDRESS.fullmatch, int.from_bytes
_RANGE = re.compile(rf"({_IPV4})[ \t]*-[ \t]*({_IPV4})")
_NETMASK = re.compile(rf"({_IPV4})(?:[ \t]*/[ \t]*|[ \t]+/?)({_IPV4}|[0-9]{{1,2}})")
_PREFIX_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
_ZONE = re.compile(r"[0-9A-Za-z._~-]+")
_WIDTH = {4: 32, 6: 128}
_MAPPED_PREFIX_LENGTH = 96
_MAX_PORT = 65535
_MAX_IPV4, _MAX_IPV6 = (1 << 32) - 1, (1 << 128) - 1
_MAPPED = 0xFFFF  # ::ffff:0:0/96 without its last 32 bits
_LINK_LOCAL = 0xFE80 >> 6  # fe80::/10 without its last 118 bits (RFC 4291 section 2.5.6)
_LOW = (1 << 64) - 1
_SHIFT = 129  # bits of an end, which may be one more than the last address
_END = (1 << _SHIFT) - 1
# The longest address, ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255, has 45 characters. A longer
# string is refused before a pattern, int() or the cache sees it.
_MAX_ADDRESS = 45
# The same with brackets, a zone of up to 27 characters and a port.
_MAX_FORWARDED_ADDRESS = 80


class Address(NamedTuple):
    """An IP address as two numbers, which are faster to look up than netaddr's objects."""

    version: Literal[4, 6]
    value: int  # of 32 or 128 bits, unsigned

    def __str__(self) -> str:
        """Return the canonical spelling (RFC 5952)."""
        version, value = self
        if version == 4:  # noqa: PLR2004 (IPv4)
            return inet_ntop(AF_INET, value.to_bytes(4))
        return inet_ntop(AF_INET6, value.to_bytes(16))


def parse_address(value: str) -> Address | None:
    """Return the address that a string spells, or None; an IPv4-mapped one becomes IPv4."""
    if len(value) > _MAX_ADDRESS or not _is_spelled_well(value):
        return None
    try:
        if ":" not in value:
            return Address(4, _to_int(inet_pton(AF_INET, value)))
        number = _to_int(inet_pton(AF_INET6, value))
    except OSError:
        return None
    return Address(4, number & _MAX_IPV4) if number >> 32 == _MAPPED else Address(6, number)


def parse_network(value: str) -> IPNetwork | None:
    """Return the network that an address or `address/prefix length` spells, or None.

    Host bits are masked. An IPv4-mapped network of /96 or longer becomes IPv4.
    """
    host, slash, length = value.partition("/")
    address = parse_address(host)
    if address is None or (slash and not _PREFIX_LENGTH.fullmatch(length)):
        return None
    version, number = address
    width = _WIDTH[6 if ":" in host else 4]
    prefix = int(length) if slash else width
    if prefix > width:
        return None
    if width > _WIDTH[version]:  # IPv4-mapped
        if prefix >= _MAPPED_PREFIX_LENGTH:
            prefix -= _MAPPED_PREFIX_LENGTH
        else:
            version, number = 6, _MAPPED << 32 | number
    network = IPNetwork((number, prefix), version=version)
    return network.cidr if slash else network


def parse_forwarded_address(value: str) -> Address | None:
    """Return the client's address as a proxy or a server writes it, or None.

    Accepted are `v4`, `v4:port`, `v6`, `[v6]` and `[v6]:port`. A zone is accepted only on a
    link-local address, and dropped (RFC 4007 section 11). The unspecified address is never a
    client's.
    """
    address = parse_address(value) or _parse_with_port(value)
    return address if address and address.value else None


def _parse_with_port(value: str) -> Address | None:
    if len(value) > _MAX_FORWARDED_ADDRESS:
        return None
    host = value
    if match := _HOST_AND_PORT.fullmatch(value):
        host = match["v6"] or match["v4"]
        brackets_around_ipv4 = match["v6"] and ":" not in host
        if brackets_around_ipv4 or int(match["port"] or 0) > _MAX_PORT:
            return None
    host, percent, zone = host.partition("%")
    if not percent:
        return parse_address(host)
    address = parse_address(host)
    is_link_local = address and address.version == 6 and address.value >> 118 == _LINK_LOCAL  # noqa: PLR2004 (IPv6)
    return address if is_link_local and _ZONE.fullmatch(zone) else None


def intended_networks(value: str) -> str:
    """Return the CIDR spelling of an IPv4 range, netmask or glob, or of an address with a port.

    Returns:
        Networks joined by commas; an empty string if the meaning is not clear.
    """
    value = value.strip()
    with suppress(AddrFormatError):
        if len(value) > _MAX_FORWARDED_ADDRESS:
            return ""
        if match := _RANGE.fullmatch(value):
            is_ascending = IPAddress(match[1]) <= IPAddress(match[2])
            return _joined(iprange_to_cidrs(match[1], match[2])) if is_ascending else ""
        if match := _NETMASK.fullmatch(value):
            network = format_network(IPNetwork(f"{match[1]}/{match[2]}").cidr)
            return network if network != value else ""
        if valid_glob(value):
            return _joined(glob_to_cidrs(value))
    address = parse_forwarded_address(value)
    return str(address) if address and str(address) != value else ""


def _joined(networks: list[IPNetwork]) -> str:
    return ",".join(map(format_network, networks))


def format_network(network: IPNetwork) -> str:
    """Return the canonical spelling: an address, or `network/prefix length`."""
    is_address = network.prefixlen == _WIDTH[network.version]
    return str(network.ip if is_address else network)


class NetworkSet:
    """An immutable set of networks: `address in networks` costs one bisection at any size.

    The networks of a family are merged and kept as the sorted bounds of their ranges: the first
    address and the one after the last, in turn. An address lies inside if an odd number of bounds
    is at or below it. The networks themselves are not kept: a bound needs 4 bytes, 16 of IPv6.
    """

    __slots__ = ("_count", "_ipv4", "_ipv6_high", "_ipv6_low")

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        # One number holds a range: the first address in the high bits, the end in the low ones.
        # A million pairs instead would fragment the heap.
        ranges: dict[int, list[int]] = {4: [], 6: []}
        for network in networks:
            ranges[network.version].append(network.first << _SHIFT | network.last + 1)
        self._count = len(ranges[4]) + len(ranges[6])
        # Of four bytes, so that more of a long list stays in the processor's cache.
        self._ipv4 = array("I", _merged_bounds(ranges[4], _MAX_IPV4))
        ipv6 = _merged_bounds(ranges[6], _MAX_IPV6)
        # An array cannot hold numbers of 128 bits, and a list of them needs three times the memory.
        self._ipv6_high = array("Q", (bound >> 64 for bound in ipv6))
        self._ipv6_low = array("Q", (bound & _LOW for bound in ipv6))

    def __len__(self) -> int:
        """Return the number of networks that were given."""
        return self._count

    def __contains__(self, address: Address) -> bool:
        version, value = address
        if version == 4:  # noqa: PLR2004 (IPv4)
            return bisect_right(self._ipv4, value) & 1 == 1
        high, low = value >> 64, value & _LOW
        start = bisect_left(self._ipv6_high, high)
        end = bisect_right(self._ipv6_high, high, start)
        return bisect_right(self._ipv6_low, low, start, end) & 1 == 1


def _merged_bounds(ranges: list[int], last: int) -> list[int]:
    ranges.sort()
    bounds: list[int] = []
    for packed in ranges:
        first, end = packed >> _SHIFT, packed & _END
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += (first, end)
    if bounds and bounds[-1] > last:
        bounds.pop()  # no address lies behind it
    return bounds


# What the IANA special-purpose registries (RFC 6890, updated by RFC 8190) do not call globally
# reachable, with the documentation of RFC 9637; and what is not global unicast: 224.0.0.0/4
# (RFC 5771), and all but 2000::/3 (RFC 4291 section 2.4).
_NOT_PUBLIC_IPV4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
_NOT_PUBLIC_IPV6 = (
    *("::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1"),
)
# Parts of these that the registries do call globally reachable.
_PUBLIC_PARTS = (
    *("192.0.0.9", "192.0.0.10", "2001:1::1", "2001:1::2"),
    *("2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28"),
)
# netaddr goes through the same networks one by one, which takes 20 times as long.
_not_public = NetworkSet(map(IPNetwork, _NOT_PUBLIC_IPV4 + _NOT_PUBLIC_IPV6))
_public_after_all = NetworkSet(map(IPNetwork, _PUBLIC_PARTS))


def is_public(address: Address) -> bool:
    """Tell whether an address is a client's on the Internet: global unicast, not documentation."""
    return address not in _not_public or address in _public_after_all
