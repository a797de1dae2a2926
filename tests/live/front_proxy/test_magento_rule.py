"""Magento's rule, in PHP: shop and proxy admit the same clients."""

import json
from base64 import b64encode
from ipaddress import ip_network
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.state.exemptions import has_clients
from tests.live.front_proxy.shops import PHP_SHOP, run_php
from tests.support.data import load_cases
from tests.support.wsgi import call, make_environ, shop

pytestmark = pytest.mark.servers


def admitted_by_php(cases: list[dict[str, Any]]) -> list[bool]:
    decisions: list[bool] = json.loads(run_php(PHP_SHOP / "decide.php", given=json.dumps(cases)))
    return decisions


def php_case(listed: bytes | None, peer: str, *, flag: bool = True) -> dict[str, Any]:
    encoded = None if listed is None else b64encode(listed).decode()
    return {"flag": flag, "list": encoded, "peer": peer}


def test_rule_of_the_php_shop_is_magentos() -> None:
    rows = load_cases("exemptions.json")
    lists = [None if row["ip_file"] is None else row["ip_file"].encode() for row in rows]
    cases = [
        php_case(listed, row["remote_addr"], flag=row["flag"])
        for row, listed in zip(rows, lists, strict=True)
    ]
    decided = dict(zip([row["id"] for row in rows], admitted_by_php(cases), strict=True))
    assert decided == {row["id"]: row["magento_admits"] for row in rows}


def test_php_shop_skips_a_range_that_is_too_long() -> None:
    assert admitted_by_php([php_case(b"203.0.113.7/33", "203.0.113.7")]) == [False]


@st.composite
def entries_and_clients(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Networks of one family, and clients in and around them.

    Not drawn is what is decided differently on purpose: the other family, of which Magento
    compares the bits, mapped addresses, which are IPv4 here, and addresses that no client has.
    """
    families: list[tuple[Literal[4, 6], int]] = [(4, 32), (6, 128)]
    version, width = draw(st.sampled_from(families))
    drawn = draw(st.lists(st.tuples(st.ip_addresses(v=version), st.integers(0, width)), max_size=5))
    networks = [ip_network(f"{address}/{length}", strict=False) for address, length in drawn]
    entries = [str(found) for found in networks if has_clients(IPNetwork(str(found)))]
    numbers = {int(address) for address in draw(st.lists(st.ip_addresses(v=version)))}
    for network in networks:
        first, last = int(network[0]), int(network[-1])
        numbers |= {first - 1, first, last, last + 1}
    clients = [str(IPAddress(number, version)) for number in numbers if 0 < number < 1 << width]
    return _without_mapped(entries), _without_mapped(clients)


def _without_mapped(texts: list[str]) -> list[str]:
    return [text for text in texts if not text.startswith("::ffff:")]


@settings(max_examples=40, deadline=None)
@given(entries_and_clients())
def test_shop_and_proxy_admit_the_same_clients_by_a_written_list(
    drawn: tuple[list[str], list[str]],
) -> None:
    entries, clients = drawn
    with TemporaryDirectory() as directory:
        mode = MaintenanceMode(directory)
        mode.enable(exemptions=entries)
        listed = mode.store.read().exemptions
        assert isinstance(listed, bytes)
        gate = MaintenanceMiddleware(shop, mode)
        ours = {client: call(gate, make_environ(client)).code == 200 for client in clients}
    magentos = admitted_by_php([php_case(listed or None, client) for client in clients])
    assert dict(zip(clients, magentos, strict=True)) == ours
