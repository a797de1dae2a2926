import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance_wsgi import EntryError, MaintenanceMiddleware
from maintenance_wsgi.state.exemptions import (
    append_to,
    canonical_entries,
    cut_from,
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
    ],
)
def test_list_is_read_leniently(
    data: bytes, entries: tuple[str, ...], bad: list[tuple[int, str]] | None
) -> None:
    found = parse_exemptions(data)
    assert canonical_entries(found.networks) == entries
    if bad is not None:
        assert [(entry.line, entry.text) for entry in found.invalid.first] == bad


def test_list_is_written_as_magento_writes_it() -> None:
    networks = parse_entries(["10.1.2.3/8", "2001:DB8::1", "2001:db8::1/128", "::ffff:1.2.3.4"])
    assert render_exemptions(networks) == b"10.0.0.0/8,2001:db8::1,1.2.3.4"


def test_refused_entries_are_all_named() -> None:
    with pytest.raises(EntryError, match=r"'nope', '1\.2\.3\.256'") as caught:
        parse_entries(["nope", "1.2.3.4", "1.2.3.256"])
    assert caught.value.texts == ("nope", "1.2.3.256")


def test_many_invalid_entries_are_counted() -> None:
    assert str(parse_exemptions(b"a,b").invalid) == "'a' (line 1), 'b' (line 1)"
    assert "more" not in str(parse_exemptions(b",x" * 10).invalid)
    words = [f"bad{number}" for number in range(12)]
    invalid = parse_exemptions(",".join(words).encode()).invalid
    assert str(invalid).endswith("'bad9' (line 1) and 2 more")
    assert (invalid.count, len(invalid.first)) == (12, 10)
    with pytest.raises(EntryError, match="and 2 more"):
        parse_entries(words)


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        ("10.20.30.0 255.255.255.0", "10.20.30.0/24"),
        ("10.20.30.0/0.0.0.255", "10.20.30.0/24"),
        ("203.0.113.0 /24", "203.0.113.0/24"),
        (
            "203.0.113.10 - 203.0.113.20",
            "203.0.113.10/31,203.0.113.12/30,203.0.113.16/30,203.0.113.20",
        ),
        ("203.0.113.10-203.0.113.11", "203.0.113.10/31"),
        ("203.0.113.*", "203.0.113.0/24"),
        ("1.1.1.1,[2001:db8::1]:443", "2001:db8::1"),
        ("203.0.113.7:80", "203.0.113.7"),
    ],
)
def test_spelling_that_was_meant_is_told(data: str, meant: str) -> None:
    assert f", use {meant})" in str(parse_exemptions(data.encode()).invalid)


@pytest.mark.parametrize(
    "data", ["10.0.0.0/255.0.255.0", "a - b", "203.0.113.20-203.0.113.10", "x" * 999]
)
def test_spelling_that_is_not_clear_is_not_guessed(data: str) -> None:
    assert "use" not in str(parse_exemptions(data.encode()).invalid)


@pytest.mark.parametrize(
    "entry",
    [
        "0.0.0.1",
        "0.0.0.0/8",
        "224.0.0.5",
        "239.0.0.0/8",
        "255.255.255.0",
        "ff02::1",
        "::",
        "ff00::/8",
    ],
)
def test_address_that_no_client_has_is_refused(entry: str) -> None:
    assert parse_exemptions(entry.encode()).networks == ()
    with pytest.raises(EntryError, match="is not a valid"):
        parse_entries([entry])


@pytest.mark.parametrize(
    "entry", ["0.0.0.0/0", "::/0", "240.0.0.1", "::1", "fe80::1", "1.0.0.0", "192.0.0.0/2"]
)
def test_network_that_holds_clients_is_taken(entry: str) -> None:
    assert len(parse_entries([entry])) == len(parse_exemptions(entry.encode()).networks) == 1


@pytest.mark.parametrize("entry", [" 203.0.113.7", "203.0.113.7\r", "\t203.0.113.7\n"])
def test_blanks_around_a_given_entry_are_dropped(entry: str) -> None:
    assert canonical_entries(parse_entries([entry])) == ("203.0.113.7",)


COMMENTS = [
    "# {}",
    "; {}",
    "// {}",
    "-- {}",
    "* {}",
    "!{}",
    "[{}]",
    "'{}'",
    '"{}",',
    "rem {}",
    "1.1.1.1 // {}",
]
COMMENTS += [
    "1.1.1.1 #{}",
    "1.1.1.1 ;{}",
    "1.1.1.1 ; x, {}",
    "allow {}",
    "{{x}} {}",
    "-{}",
    "_ {}",
    "x {},",
]


@pytest.mark.parametrize("comment", COMMENTS)
def test_address_that_is_commented_out_or_only_mentioned_is_not_exempt(comment: str) -> None:
    data = f"203.0.113.7\n{comment.format('203.0.113.9')}\n203.0.113.8"
    entries = canonical_entries(parse_exemptions(data.encode()).networks)
    assert "203.0.113.9" not in entries
    assert {"203.0.113.7", "203.0.113.8"} <= set(entries)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encoding_is_told_by_its_mark(encoding: str) -> None:
    mark = "\ufeff" if encoding[-2:] in {"le", "be"} else ""
    found = parse_exemptions(f"{mark}203.0.113.7\r\n2001:db8::/32".encode(encoding))
    assert canonical_entries(found.networks) == ("203.0.113.7", "2001:db8::/32")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"", b"1.1.1.1,::1", id="empty"),
        pytest.param(b" \n", b"1.1.1.1,::1 \n", id="blank"),
        pytest.param(b"2.2.2.2", b"2.2.2.2,1.1.1.1,::1", id="magento"),
        pytest.param(b"2.2.2.2, \n", b"2.2.2.2,1.1.1.1,::1 \n", id="one-line"),
        pytest.param(b"# a", b"# a\n1.1.1.1\n::1", id="comment"),
        pytest.param(b"2.2.2.2 ; a\r\n", b"2.2.2.2 ; a\r\n1.1.1.1\r\n::1\r\n", id="windows"),
        pytest.param(b"2.2.2.2\r3.3.3.3", b"2.2.2.2\r3.3.3.3\r1.1.1.1\r::1", id="old-mac"),
        pytest.param(b"# B\xfcro\n\0", b"# B\xfcro\n1.1.1.1\n::1\n\0", id="latin-1"),
        pytest.param(b"::1, nope", b"::1, nope,1.1.1.1", id="invalid-and-listed"),
        pytest.param(b"0::1\n1.1.1.1 # a", b"0::1\n1.1.1.1 # a", id="all-listed"),
    ],
)
def test_entries_are_appended(before: bytes, after: bytes) -> None:
    assert append_to(before, parse_entries(["1.1.1.1", "::1"])) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"1.1.1.1", b"", id="last"),
        pytest.param(b"\n1.1.1.1 1.1.1.1\n\n", b"", id="last-and-line-ends"),
        pytest.param(b"2.2.2.2,1.1.1.1,3.3.3.3", b"2.2.2.2,3.3.3.3", id="magento"),
        pytest.param(b"2.2.2.2\n1.1.1.1\n3.3.3.3\n", b"2.2.2.2\n3.3.3.3\n", id="line"),
        pytest.param(b"2.2.2.2\r\n1.1.1.1\r\n", b"2.2.2.2\r\n", id="last-line"),
        pytest.param(b" \n\n1.1.1.1\n \n2.2.2.2", b" \n\n \n2.2.2.2", id="blank-lines-stay"),
        pytest.param(b"1.1.1.1 # anna\n2.2.2.2\n", b"# anna\n2.2.2.2\n", id="comment-stays"),
        pytest.param(b"# 1.1.1.1\n1.1.1.1\n", b"# 1.1.1.1\n", id="commented-out"),
        pytest.param(b"2.2.2.2, 1.1.1.1 // a\n", b"2.2.2.2 // a\n", id="comment-of-a-word"),
        pytest.param(b"1.1.1.1 2.2.2.2, x\n\n# B\xfcro", b"2.2.2.2, x\n\n# B\xfcro", id="latin-1"),
        pytest.param(b"1.1.1.1,-5 x,2.2.2.2", b"2.2.2.2", id="no-new-comment"),
        pytest.param(b"2.2.2.2,3.3.3.3\0,1.1.1.1", b"2.2.2.2", id="no-new-entry"),
        pytest.param(b"1.1.1.1 anna 3.3.3.3,2.2.2.2", b"anna 3.3.3.3,2.2.2.2", id="hidden"),
        pytest.param(b"::ffff:1.1.1.1/128,1.1.1.0/24", b"1.1.1.0/24", id="other-spelling"),
        pytest.param(
            b"# a\nanna 1.1.1.1, 2.2.2.2 # b\n1.1.1.1\n",
            b"# a\nanna, 2.2.2.2 # b\n",
            id="comma-that-ends-what-a-word-hides",
        ),
        pytest.param(b"# a\n1.1.1.1 ::1\xc2\xa0\n", b"# a\n::1\xc2\xa0\n", id="no-break-space"),
        pytest.param(b"# a\n\xc2\xa0 1.1.1.1,1.1.1.1\n", b"# a\n\xc2\xa0\n", id="space-stays"),
        pytest.param(b"1.1.1.1 2.2.2.2 # a \n", b"2.2.2.2 # a \n", id="end-of-a-comment"),
    ],
)
def test_entries_are_cut(before: bytes, after: bytes) -> None:
    assert cut_from(before, parse_entries(["1.1.1.1"])) == after


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1.1.1.1", "2.2.2.2", "::1", "anna", "::1\xa0", "\xa0", ""]),
            st.sampled_from([",", " ", "\t, ", "\n", " # b\r\n", "\n; 1.1.1.1, 2.2.2.2 \n"]),
        )
    )
)
def test_cut_leaves_the_other_entries_and_every_comment(parts: list[tuple[str, str]]) -> None:
    data = "".join(word + separator for word, separator in parts).encode()
    networks = parse_exemptions(data).networks
    for cut in set(networks):
        left = cut_from(data, (cut,))
        assert parse_exemptions(left).networks == tuple(n for n in networks if n != cut)
        assert re.findall(b"[#;][^\r\n]*", left) == re.findall(b"[#;][^\r\n]*", data)


@given(st.lists(st.ip_addresses(), max_size=8), st.sampled_from([",", " ", "\n", ", ", "\r\n#x\n"]))
def test_what_is_written_reads_the_same(addresses: list[object], separator: str) -> None:
    first = parse_exemptions(separator.join(map(str, addresses)).encode()).networks
    again = parse_exemptions(render_exemptions(first))
    assert canonical_entries(again.networks) == canonical_entries(first)
    assert not again.invalid.count
