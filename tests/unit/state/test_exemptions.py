from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance_wsgi import EntryError, MaintenanceMiddleware
from maintenance_wsgi.state.exemptions import (
    Entry,
    canonical_entries,
    format_invalid,
    parse_entries,
    parse_exemptions,
    render_exemptions,
)
from tests.support.data import load_cases
from tests.support.wsgi import call, make_environ, shop


@pytest.mark.parametrize("case", load_cases("exemptions.json"), ids=lambda case: case["id"])
def test_given_case(case: dict[str, Any], var: Path, flag: Path, ip_list: Path) -> None:
    if case["flag"]:
        flag.touch()
    if case["ip_file"] is not None:
        ip_list.write_bytes(case["ip_file"].encode())
    answer = call(MaintenanceMiddleware(shop, var), make_environ(case["remote_addr"]))
    assert answer.code in {200, 503}
    if case["admitted"] != "either":
        assert (answer.code == 200) is case["admitted"]


@pytest.mark.parametrize(
    ("data", "entries", "bad"),
    [
        pytest.param(b"", (), [], id="empty"),
        pytest.param(b"1.2.3.4,1.2.3.5", ("1.2.3.4", "1.2.3.5"), [], id="commas"),
        pytest.param(b"1.2.3.4 1.2.3.5\t::1", ("1.2.3.4", "1.2.3.5", "::1"), [], id="blanks"),
        pytest.param(b"1.2.3.4\r\n1.2.3.5\r::1\n", ("1.2.3.4", "1.2.3.5", "::1"), [], id="lines"),
        pytest.param(b"# office\n1.2.3.4#me, 1.2.3.5\n", ("1.2.3.4",), [], id="comments"),
        pytest.param(b"\xef\xbb\xbf1.2.3.4", ("1.2.3.4",), [], id="byte-order-mark"),
        pytest.param(b"\0\n1.2.3.4\x0b\0", ("1.2.3.4",), [], id="what-magento-trims"),
        pytest.param(b"X1.2.3.4X", (), [(1, "X1.2.3.4X")], id="no-more-than-that"),
        pytest.param(
            b"1.2.3.4,\xff5.6.7.8,::1", ("1.2.3.4", "::1"), [(1, "\\xff5.6.7.8")], id="bytes"
        ),
        pytest.param(
            b"\n\n1.2.3.4\nnope # x\n,1.2.3.0/33",
            ("1.2.3.4",),
            [(4, "nope"), (5, "1.2.3.0/33")],
            id="bad-entries-have-lines",
        ),
        pytest.param(b"none", (), [(1, "none")], id="the-word-none"),
        pytest.param("1.2.3.4".encode("utf-16"), (), None, id="utf-16"),
    ],
)
def test_list_is_read_leniently(
    data: bytes, entries: tuple[str, ...], bad: list[tuple[int, str]] | None
) -> None:
    found = parse_exemptions(data)
    assert canonical_entries(found.networks) == entries
    if bad is not None:
        assert found.invalid == tuple(Entry(line, text, None) for line, text in bad)
    assert found.has_comments == (b"#" in data)


def test_list_is_written_as_magento_writes_it() -> None:
    networks = parse_entries(["10.1.2.3/8", "2001:DB8::1", "2001:db8::1/128", "::ffff:1.2.3.4"])
    assert render_exemptions(networks) == b"10.0.0.0/8,2001:db8::1,1.2.3.4"


def test_refused_entries_are_all_named() -> None:
    with pytest.raises(EntryError, match=r"'nope', '1\.2\.3\.256'") as caught:
        parse_entries(["nope", "1.2.3.4", "1.2.3.256"])
    assert caught.value.texts == ("nope", "1.2.3.256")


def test_many_bad_entries_are_counted() -> None:
    assert format_invalid(parse_exemptions(b"a b").invalid) == "'a' (line 1), 'b' (line 1)"
    assert "more" not in format_invalid(parse_exemptions(b" x" * 10).invalid)
    assert format_invalid(parse_exemptions(b" x" * 11).invalid).endswith("and 1 more")
    texts = [f"bad{number}" for number in range(12)]
    assert format_invalid(parse_exemptions(" ".join(texts).encode()).invalid).endswith("and 2 more")
    with pytest.raises(EntryError, match="and 2 more"):
        parse_entries(texts)


@given(st.lists(st.ip_addresses(), max_size=8), st.sampled_from([",", " ", "\n", ", ", "\r\n#x\n"]))
def test_what_is_written_reads_the_same(addresses: list[object], separator: str) -> None:
    first = parse_exemptions(separator.join(map(str, addresses)).encode()).networks
    again = parse_exemptions(render_exemptions(first))
    assert canonical_entries(again.networks) == canonical_entries(first)
    assert not again.invalid
