import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from maintenance_wsgi.networks import (
    Address,
    NetworkSet,
    format_network,
    is_public,
    parse_address,
    parse_forwarded_address,
    parse_network,
)

NETWORKS = st.one_of(
    st.builds(lambda a, n: f"{a}/{n}", st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds(lambda a, n: f"{a}/{n}", st.ip_addresses(v=6), st.integers(0, 128)),
)

# The blocks of the IANA registries of special-purpose addresses, and of what is not unicast.
SPECIAL = [
    *("0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32"),
    *("192.0.0.10/32", "192.0.0.170/31", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
    *("192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"),
    *("::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"),
    *("100:0:0:1::/64", "2000::/3", "2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128"),
    *("2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28"),
    *("2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48"),
    *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
]
ADDRESSES = st.one_of(
    st.ip_addresses(), *(st.ip_addresses(network=block) for block in SPECIAL)
).map(lambda address: Address(address.version, int(address)))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        pytest.param("203.0.113.7", "203.0.113.7", id="v4"),
        pytest.param("2001:DB8:0::1", "2001:db8::1", id="v6-spelling"),
        pytest.param("2001:db8::0.0.0.1", "2001:db8::1", id="v6-dotted-tail"),
        pytest.param("::ffff:203.0.113.7", "203.0.113.7", id="mapped"),
        pytest.param("::FFFF:cb00:7107", "203.0.113.7", id="mapped-hex"),
        pytest.param("64:ff9b::c633:6407", "64:ff9b::c633:6407", id="nat64-is-not-folded"),
        pytest.param("::", "::", id="unspecified"),
        pytest.param(
            "2001:0db8:ffff:ffff:ffff:ffff:255.255.255.255",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            id="longest",
        ),
    ],
)
def test_address_is_read_in_any_spelling(text: str, canonical: str) -> None:
    assert str(parse_address(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1", "127.1", "010.0.0.1", "0x7f.0.0.1", "3325256711", "256.0.0.1"),
        *("1.2.3", "1.2.3.4.5", "1.2.3.4.", " 1.2.3.4", "1.2.3.4\n", "1.2.3.4\0"),
        *("１.2.3.4", "1.2.3.٤", "1.2.3.4/32", "1.2.3.4:80", "[::1]", "::1%eth0", ":::"),
        *("1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "::ffff:1.2.3", "::ffff:1.2.3.04"),
        *("1.2.3.4::", "localhost", "none", "*", ":" * 50_000, "1" * 50_000),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert parse_address(text) is None
    assert parse_network(text) is None or text == "1.2.3.4/32"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::ff/64", "2001:db8::/64"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:1.2.3.0/24", "::/24"),
        ("10.0.0.0/", None),
        ("10.0.0.0/08", None),
        ("10.0.0.0/+8", None),
        ("10.0.0.0/-1", None),
        ("10.0.0.0/8.0", None),
        ("10.0.0.0/ 8", None),
        ("10.0.0.0/33", None),
        ("10.0.0.0/8/8", None),
        ("10.0.0.0/255.0.0.0", None),
        ("10.0.0.0/٨", None),
        ("::/129", None),
        ("::/999999999999999999999999", None),
        ("10/8", None),
    ],
)
def test_network(text: str, canonical: str | None) -> None:
    network = parse_network(text)
    assert (network and format_network(network)) == canonical


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[::ffff:198.51.100.7]:1", "198.51.100.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%en0.5]:80", "fe80::1"),
        ("2001:db8::7%eth0", None),
        ("169.254.0.1%eth0", None),
        ("fe80::1%", None),
        ('fe80::1%"x', None),
        ("fe80::1% :", None),
        ("198.51.100.7:", None),
        ("198.51.100.7:65535", "198.51.100.7"),
        ("198.51.100.7:65536", None),
        ("198.51.100.7:+80", None),
        ("[198.51.100.7]:80", None),
        ("[2001:db8::7", None),
        ("[2001:db8::7]x", None),
        ("[]:80", None),
        ("0.0.0.0", None),
        ("0.0.0.0:80", None),
        ("::", None),
        ("::ffff:0.0.0.0", None),
        ("1.2.3.4" + ":" * 50_000, None),
    ],
)
def test_node_with_port_brackets_or_zone(text: str, address: str | None) -> None:
    node = parse_forwarded_address(text)
    assert (node and str(node)) == address


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    for parse in (parse_address, parse_network, parse_forwarded_address):
        parse(text)


@given(st.text("0123456789abcdefABCDEF:./%[]x ", max_size=50))
def test_address_is_read_only_where_the_standard_library_agrees(text: str) -> None:
    address = parse_address(text)
    if address is not None:
        expected = ipaddress.ip_address(text)
        mapped = getattr(expected, "ipv4_mapped", None) or expected
        assert address == (mapped.version, int(mapped))


@given(ADDRESSES)
def test_address_text_round_trips(address: Address) -> None:
    parsed = parse_address(str(address))
    assert parsed is not None
    assert parse_address(str(parsed)) == parsed


@given(st.lists(NETWORKS, max_size=12), st.lists(ADDRESSES, max_size=5))
def test_set_agrees_with_a_linear_scan(texts: list[str], others: list[Address]) -> None:
    networks: list[IPNetwork] = [n for n in map(parse_network, texts) if n is not None]
    edges = [
        Address(network.version, value)
        for network in networks
        for value in (network.first - 1, network.first, network.last, network.last + 1)
        if 0 <= value < 2 ** (32 if network.version == 4 else 128)
    ]
    found = NetworkSet(networks)
    for address in edges + others:
        assert (address in found) == any(
            network.version == address.version and network.first <= address.value <= network.last
            for network in networks
        )


def test_families_never_meet() -> None:
    everything = NetworkSet([IPNetwork("0.0.0.0/0")])
    assert Address(4, 2**32 - 1) in everything
    assert Address(6, 1) not in everything


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        pytest.param("2001:db8:0:0:8000::/65", "2001:db8:0:0:8000::", "2001:db8::", id="upper"),
        pytest.param("2001:db8::/65", "2001:db8::7fff:0:0:0", "2001:db8:0:0:8000::", id="lower"),
        pytest.param("2001:db8::1", "2001:db8::1", "2001:db8::", id="one-before"),
        pytest.param("2001:db8::1", "2001:db8::1", "2001:db8::2", id="one-after"),
        pytest.param(
            "2001:db8::ffff:ffff:ffff:ffff",
            "2001:db8::ffff:ffff:ffff:ffff",
            "2001:db8:0:1::",
            id="last",
        ),
        pytest.param(f"{'ffff:' * 7}fffe", f"{'ffff:' * 7}fffe", f"{'ffff:' * 7}ffff", id="end"),
        pytest.param("8000::/1", f"{'ffff:' * 7}ffff", "7fff::", id="to-the-end"),
    ],
)
def test_neighbours_are_told_apart(network: str, inside: str, outside: str) -> None:
    half = NetworkSet([IPNetwork(network)])
    within, beside = parse_address(inside), parse_address(outside)
    assert within is not None
    assert beside is not None
    assert within in half
    assert beside not in half


def is_public_by_netaddr(address: Address) -> bool:
    known = IPAddress(address.value, address.version)
    is_unicast = not known.is_multicast() and (
        address.version == 4 or known in IPNetwork("2000::/3")
    )
    # netaddr does not know the newer documentation network (RFC 9637).
    return is_unicast and known.is_global() and known not in IPNetwork("3fff::/20")


@pytest.mark.parametrize("block", SPECIAL)
def test_public_addresses_begin_and_end_where_netaddr_says(block: str) -> None:
    network = IPNetwork(block)
    for value in (network.first - 1, network.first, network.last, network.last + 1):
        if 0 <= value < 1 << (32 if network.version == 4 else 128):
            address = Address(network.version, value)
            assert is_public(address) == is_public_by_netaddr(address), str(address)


@given(ADDRESSES)
def test_any_address_is_public_if_netaddr_says_so(address: Address) -> None:
    assert is_public(address) == is_public_by_netaddr(address)
