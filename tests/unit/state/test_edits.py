"""Each change of the state, without a disk."""

import json

import pytest

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state import edits
from maintenance_wsgi.state.exemptions import parse_entries
from maintenance_wsgi.state.flag import Window
from maintenance_wsgi.state.store import Change, Snapshot

OFF = Snapshot(None, b"10.0.0.0/8")
TOUCHED = Snapshot(b"", b"")
GARBAGE = Snapshot(b"back at 5", b"")
SAYING = Snapshot(b'{"message": "a", "ticket": 7}', b"")
UNREADABLE = Snapshot(StateError("flag"), StateError("list"))
SIGNED = Window(by="anna@web1")
NETWORKS = parse_entries(["203.0.113.7"])


def members(found: Snapshot) -> dict[str, object]:
    assert isinstance(found.flag, bytes)
    flag: dict[str, object] = json.loads(found.flag)
    return flag


@pytest.mark.parametrize(
    ("found", "given", "flag"),
    [
        pytest.param(OFF, Window(message="a", by="b"), {"message": "a", "by": "b"}, id="off"),
        pytest.param(TOUCHED, Window(message="a"), {"message": "a"}, id="touched"),
        pytest.param(GARBAGE, Window(retry_after=5), {"retry_after": 5}, id="garbage"),
        pytest.param(UNREADABLE, Window(message="a"), {"message": "a"}, id="unreadable"),
        pytest.param(
            Snapshot(b'{"by": "x", "ticket": 7, "message": "a"}', b""),
            Window(message="b", by="y"),
            {"by": "x", "ticket": 7, "message": "b"},
            id="only-given-values-change",
        ),
        pytest.param(
            Snapshot(b'{"by": "x", "holders": ["run 1"]}', b""),
            SIGNED,
            {"by": "x"},
            id="operator-makes-a-block-permanent",
        ),
        pytest.param(GARBAGE, SIGNED, {"by": "anna@web1"}, id="garbage-without-values"),
        pytest.param(
            Snapshot(b'{"by": "x", "ticket": 7, "retry_after": "soon"}', b""),
            SIGNED,
            {"by": "x", "ticket": 7},
            id="value-that-is-not-valid",
        ),
    ],
)
def test_enable_writes_the_flag(found: Snapshot, given: Window, flag: dict[str, object]) -> None:
    assert members(edits.enable(found, given, None, ())) == flag


@pytest.mark.parametrize(
    ("kept", "given", "messages"),
    [
        pytest.param({"de": "a"}, {"DE": "b"}, {"de": "b"}, id="replaced"),
        pytest.param({"de": "a", "DE": "b", "fr": "c"}, {"De": ""}, {"fr": "c"}, id="taken-back"),
        pytest.param({"fr": "c"}, {"de": "a", "DE": "b"}, {"fr": "c", "de": "b"}, id="given-twice"),
    ],
)
def test_language_tags_that_differ_only_in_case_are_the_same(
    kept: dict[str, str], given: dict[str, str], messages: dict[str, str]
) -> None:
    found = Snapshot(json.dumps({"messages": kept}).encode(), b"")
    assert members(edits.enable(found, Window(messages=given), None, ()))["messages"] == messages


@pytest.mark.parametrize("found", [TOUCHED, SAYING, UNREADABLE], ids=["touched", "said", "bad"])
def test_enable_without_values_keeps_the_flag_of_an_operator(found: Snapshot) -> None:
    assert edits.enable(found, SIGNED, None, ()) == found


@pytest.mark.parametrize("found", [OFF, TOUCHED, UNREADABLE], ids=["off", "touched", "bad"])
def test_disable_removes_the_flag_whatever_it_is(found: Snapshot) -> None:
    assert edits.disable(found, None) == found._replace(flag=None)
    assert edits.disable(found, NETWORKS) == Snapshot(None, b"203.0.113.7")


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b"203.0.113.7"), (b"# x\n::1 nope\n", b"# x\n::1 nope\n203.0.113.7\n")],
)
def test_list_is_extended(before: bytes, after: bytes) -> None:
    assert edits.extend_list(Snapshot(None, before), NETWORKS) == Snapshot(None, after)
    assert edits.enable(Snapshot(b"", before), SIGNED, None, NETWORKS) == Snapshot(b"", after)
    assert edits.remove_from_list(Snapshot(None, after), NETWORKS) == Snapshot(None, before)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: edits.extend_list(found, NETWORKS), id="extend"),
        pytest.param(lambda found: edits.remove_from_list(found, NETWORKS), id="remove"),
        pytest.param(lambda found: edits.enable(found, SIGNED, None, NETWORKS), id="enable"),
        pytest.param(
            lambda found: edits.hold(found._replace(flag=None), "a", SIGNED, NETWORKS), id="hold"
        ),
    ],
)
def test_change_that_needs_an_unreadable_file_is_refused(change: Change) -> None:
    with pytest.raises(StateError):
        change(UNREADABLE)


def test_holds_end_with_the_last_and_put_back_only_what_is_theirs() -> None:
    first = edits.hold(OFF, "first", SIGNED, NETWORKS)
    assert (members(first)["holders"], first.exemptions) == (["first"], b"203.0.113.7")
    both = edits.hold(first, "second", Window(message="ignored"), None)
    assert members(both) == {"by": "anna@web1", "holders": ["first", "second"]}
    lists = (b"10.0.0.0/8", b"203.0.113.7")
    left = edits.release(both, "first", lists)
    assert (members(left)["holders"], left.exemptions) == (["second"], b"10.0.0.0/8")
    assert edits.release(left, "second", None) == OFF
    changed = both._replace(exemptions=b"198.51.100.9")
    assert edits.release(changed, "first", lists).exemptions == b"198.51.100.9"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(OFF, id="switched-off-since"),
        pytest.param(TOUCHED, id="set-by-an-operator"),
        pytest.param(Snapshot(b'{"holders": ["other"]}', b""), id="of-another"),
        pytest.param(Snapshot(b'{"holders": "mine"}', b""), id="not-a-list"),
        pytest.param(UNREADABLE, id="unreadable"),
    ],
)
def test_release_changes_nothing_that_is_not_held(found: Snapshot) -> None:
    assert edits.release(found, "mine", (b"1.1.1.1", found.exemptions)) == found  # type: ignore[arg-type] # bad on purpose


def test_hold_leaves_the_flag_of_an_operator_alone() -> None:
    assert edits.hold(TOUCHED, "run", Window(message="a"), NETWORKS) == TOUCHED
