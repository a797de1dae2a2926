import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from maintenance_wsgi import ConfigError, ConfigTypeError, MaintenanceMiddleware
from maintenance_wsgi.request.client_ip import ClientIPResolver, Reason
from tests.support.data import load_cases
from tests.support.wsgi import call, header_environ, make_environ, shop

TRUSTED = ["10.0.0.0/8", "fd00::/8"]
CASES = load_cases("client_ip.json")
CONFIGURABLE = [
    case
    for case in CASES
    if not any(
        entry.endswith(("/0", "/255.0.0.0")) and case["config_may_reject"]
        for entry in case["trusted_proxies"]
    )
]


def environ_of(case: dict[str, Any]) -> dict[str, str]:
    return {"REMOTE_ADDR": case["remote_addr"], **header_environ(case["headers"])}


@pytest.mark.parametrize("case", CONFIGURABLE, ids=lambda case: case["id"])
def test_given_case(case: dict[str, Any]) -> None:
    resolver = ClientIPResolver(case["trusted_proxies"], case["header"])
    address = resolver.resolve(environ_of(case)).client
    answer = address and str(address)
    assert answer == case["expected"]
    assert answer not in case["must_not"]


def test_given_trust_in_everybody_is_refused() -> None:
    refused = [case for case in CASES if case not in CONFIGURABLE]
    assert refused
    for case in refused:
        with pytest.raises(ConfigError):
            ClientIPResolver(case["trusted_proxies"], case["header"])


def test_forged_address_of_a_given_case_is_never_let_in(var: Path, flag: Path) -> None:
    flag.touch()
    for case in CONFIGURABLE:
        middleware = MaintenanceMiddleware(
            shop,
            var,
            trusted_proxies=case["trusted_proxies"],
            client_ip_header=case["header"],
        )
        for forbidden in case["must_not"]:
            # A text that is no address cannot be exempt; nor can it be answered.
            if forbidden.replace(".", "").replace(":", "").isalnum():
                (var / ".maintenance.ip").write_text(forbidden)
                environ = make_environ(case["remote_addr"], **header_environ(case["headers"]))
                assert call(middleware, environ).code == 503, case["id"]


def test_network_inside_another_one_may_be_trusted_too() -> None:
    resolver = ClientIPResolver(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3"], "X-Forwarded-For")
    for proxy in ("10.0.0.1", "10.1.2.3", "10.255.0.1"):
        environ = make_environ(proxy, HTTP_X_FORWARDED_FOR="203.0.113.7")
        assert str(resolver.resolve(environ).client) == "203.0.113.7"


def test_limits_of_the_promise(var: Path, flag: Path) -> None:
    flag.touch()
    (var / ".maintenance.ip").write_text("198.51.100.7")
    middleware = MaintenanceMiddleware(shop, var, trusted_proxies=TRUSTED)
    named = {"HTTP_X_FORWARDED_FOR": "198.51.100.7"}
    # A visitor in a network that is trusted as a whole names any address,
    assert call(middleware, make_environ("10.1.2.3", **named)).code == 200
    assert call(middleware, make_environ("192.0.2.9", **named)).code == 503
    # and whoever shares an exempt address is exempt.
    assert call(middleware, make_environ("198.51.100.7", HTTP_COOKIE="somebody=else")).code == 200


@pytest.mark.parametrize(
    ("peer", "header", "value", "reason"),
    [
        ("192.0.2.9", "X-Forwarded-For", "198.51.100.7", Reason.DIRECT_PEER),
        ("10.0.0.1", "X-Forwarded-For", "198.51.100.7", Reason.RIGHTMOST_UNTRUSTED),
        ("10.0.0.1", "X-Forwarded-For", "10.0.0.9, 10.0.0.2", Reason.ALL_TRUSTED),
        ("10.0.0.1", "X-Real-IP", "198.51.100.7", Reason.SINGLE_HEADER),
        ("10.0.0.1", "X-Real-IP", "1.2.3.4, 1.2.3.4", Reason.UNREADABLE_ENTRY),
        ("10.0.0.1", "X-Forwarded-For", " \t ", Reason.NO_HEADER),
        ("10.0.0.1", "X-Forwarded-For", "1.2.3.4, ", Reason.EMPTY_ENTRY),
        ("10.0.0.1", "X-Forwarded-For", ", 10.0.0.2", Reason.EMPTY_ENTRY),
        ("10.0.0.1", "X-Forwarded-For", ",", Reason.EMPTY_ENTRY),
        ("10.0.0.1", "X-Forwarded-For", "X1.2.3.4X", Reason.UNREADABLE_ENTRY),
        ("10.0.0.1", "Forwarded", "Xfor=1.2.3.4", Reason.UNREADABLE_ENTRY),
        ("10.0.0.1", "X-Forwarded-For", "1.2.3.4, x", Reason.UNREADABLE_ENTRY),
        ("10.0.0.1", "Forwarded", 'for=1.2.3.4, for="5.6.7.8', Reason.UNREADABLE_ENTRY),
        ("", "X-Forwarded-For", "198.51.100.7", Reason.UNKNOWN_PEER),
    ],
)
def test_resolution_has_its_reason(peer: str, header: str, value: str, reason: Reason) -> None:
    environ = {"REMOTE_ADDR": peer, **header_environ([(header, value)])}
    assert ClientIPResolver(TRUSTED, header).resolve(environ).reason is reason


@pytest.mark.parametrize(
    "peer", [None, "", "unix:", "unix:/run/app.sock", "localhost", "<local>", "0.0.0.0", "@"]
)
def test_unix_socket_is_trusted_only_where_it_is_named(peer: str | None) -> None:
    environ = {"HTTP_X_FORWARDED_FOR": "198.51.100.7"}
    if peer is not None:
        environ["REMOTE_ADDR"] = peer
    assert ClientIPResolver(TRUSTED).resolve(environ).client is None
    assert str(ClientIPResolver(["unix:"]).resolve(environ).client) == "198.51.100.7"


@pytest.mark.parametrize("peer", ["example.com", "10.1", "b''", "127.0.0.1x", b"", 7, [], {}])
def test_other_peers_are_unknown_even_so(peer: object) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": "198.51.100.7"}
    assert ClientIPResolver(["unix:", *TRUSTED]).resolve(environ).client is None


def test_peer_is_what_a_proxy_fix_outside_has_kept() -> None:
    environ = {
        "REMOTE_ADDR": "203.0.113.66",
        "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "10.0.0.1"},
        "HTTP_X_FORWARDED_FOR": "198.51.100.7",
    }
    assert str(ClientIPResolver(TRUSTED).resolve(environ).client) == "198.51.100.7"
    assert str(ClientIPResolver().resolve(environ).client) == "10.0.0.1"


@pytest.mark.parametrize("value", [None, 7, b"198.51.100.7", ["198.51.100.7"]])
def test_header_that_is_no_text_is_missing(value: object) -> None:
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": value}
    assert ClientIPResolver(TRUSTED).resolve(environ).reason is Reason.NO_HEADER


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ('FOR="198.51.100.7"', "198.51.100.7"),
        (r'for="198\.51.100.7"', "198.51.100.7"),
        ('for=198.51.100.7;host=shop.example:8080;proto="https"', "198.51.100.7"),
        ('for="198.51.100.7:_x"', "198.51.100.7"),
        (' ; for=198.51.100.7 ; ;by="_a,b;for=1.2.3.4"', "198.51.100.7"),
        ("for=198.51.100.7;proto=http;Proto=https", None),
        ('for="2001:db8::7"', None),
        ('for="::1:80"', None),
        ('for="2001::"', None),
        ('for="[2001:db8::7]:_port"', "2001:db8::7"),
        ('for="198.51.100.7"x', None),
        ("for=198.51.100.7;secret", None),
        ("proto=https", None),
    ],
)
def test_forwarded_is_read_as_rfc_7239_is_written(value: str, address: str | None) -> None:
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_FORWARDED": value}
    found = ClientIPResolver(TRUSTED, "forwarded").resolve(environ).client
    assert (found and str(found)) == address


@pytest.mark.parametrize(
    ("trusted", "error", "named"),
    [
        pytest.param("10.0.0.0/8", ConfigTypeError, "10.0.0.0/8", id="one-text"),
        pytest.param(b"10.0.0.1", ConfigTypeError, "10.0.0.1", id="bytes"),
        pytest.param(7, ConfigTypeError, "7", id="no-list"),
        pytest.param([7], ConfigTypeError, "7", id="no-text"),
        pytest.param(["*"], ConfigError, r"\*", id="star"),
        pytest.param(["proxy.example"], ConfigError, "proxy.example", id="host-name"),
        pytest.param(["fe80::1%eth0"], ConfigError, "fe80::1%eth0", id="zone"),
        pytest.param(["010.0.0.1"], ConfigError, "010.0.0.1", id="leading-zero"),
        pytest.param([""], ConfigError, "''", id="empty"),
        pytest.param(["10.0.0.1", "::/0"], ConfigError, "::/0", id="everybody"),
        pytest.param(["::ffff:0:0/96"], ConfigError, "::ffff:0:0/96", id="everybody-mapped"),
    ],
)
def test_trusted_proxy_is_refused_by_name(trusted: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        ClientIPResolver(trusted)


@pytest.mark.parametrize("header", ["", "X Forwarded", "X-Forwarded-For:", "a\nb", "é"])
def test_header_that_is_no_token_is_refused(header: str) -> None:
    with pytest.raises(ConfigError, match="client_ip_header"):
        ClientIPResolver(header=header)


def test_header_must_be_a_text() -> None:
    with pytest.raises(ConfigTypeError, match="client_ip_header"):
        ClientIPResolver(header=None)  # type: ignore[arg-type] # the misuse under test


HEADERS = st.one_of(
    st.text(max_size=80),
    st.text('0123456789.:,;="\\ \tforunkwFOR[]%_', max_size=80),
    st.lists(st.ip_addresses().map(str), max_size=6).map(", ".join),
    st.lists(st.ip_addresses().map(lambda a: f'for="[{a}]:80"'), max_size=6).map(",".join),
)


@given(HEADERS)
def test_answer_is_trusted_only_where_every_hop_is(value: str) -> None:
    environ = {"REMOTE_ADDR": "10.0.0.1", **header_environ([("X-Forwarded-For", value)])}
    found = ClientIPResolver(TRUSTED).resolve(environ)
    trusted = found.client and any(str(found.client) in IPNetwork(entry) for entry in TRUSTED)
    assert bool(trusted) == (found.reason is Reason.ALL_TRUSTED)


def test_reasons_keep_their_names() -> None:
    """`explain --json` prints them."""
    assert {str(reason) for reason in Reason} == {
        "direct_peer",
        "rightmost_untrusted",
        "all_trusted",
        "single_header",
        "unknown_peer",
        "no_header",
        "empty_entry",
        "unreadable_entry",
    }


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("203.0.113.7:46532", "203.0.113.7"),
        ("2001:db8:1:2:aaaa:bbbb:cccc:dddd:46532", "2001:db8:1:2:aaaa:bbbb:cccc:dddd"),
        ("2001:db8:1:2::9:46532", "2001:db8:1:2::9"),
        ("2001:db8:5::9:4653", "2001:db8:5::9"),
        ("2001:db8:5::beef:1234", "2001:db8:5::beef"),
        ("203.0.113.7", None),
        ("203.0.113.7:80:90", None),
        ("203.0.113.7:65536", None),
        ("2001:db8:5::beef", None),
        (":80", None),
        ("0.0.0.0:80", None),
    ],
)
def test_viewer_address_is_cut_at_its_last_colon(value: str, client: str | None) -> None:
    resolver = ClientIPResolver(TRUSTED, "CloudFront-Viewer-Address")
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_CLOUDFRONT_VIEWER_ADDRESS": value}
    found = resolver.resolve(environ)
    assert (found.client and str(found.client)) == client
    assert [hop.text for hop in found.hops] == [value]


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("HTTP_X_REAL_IP", "use X-Real-IP"),
        ("X_Forwarded_For", "use X-Forwarded-For"),
        ("HTTP_CF_CONNECTING_IP", "use CF-Connecting-IP"),
        ("http_x_real_ip", "use X-Real-IP"),
        ("X-Real_IP", "use X-Real-IP"),
        ("REMOTE_ADDR", "use trusted_proxies=\\[\\]"),
    ],
)
def test_key_of_an_environ_is_refused_with_the_right_spelling(name: str, spelling: str) -> None:
    with pytest.raises(ConfigError, match=spelling):
        ClientIPResolver(TRUSTED, name)


def test_peer_of_eventlets_unix_socket_is_trusted_as_one() -> None:
    environ = {"REMOTE_ADDR": "unix", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    assert str(ClientIPResolver(["unix:"]).resolve(environ).client) == "203.0.113.7"


def test_clients_that_do_not_come_again_are_forgotten() -> None:
    resolver = ClientIPResolver(["10.0.0.1"])
    tracemalloc.start()
    for number in range(5000):
        client = f"198.51.{number // 250}.{number % 250}"
        resolver.resolve({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": client})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 300_000
