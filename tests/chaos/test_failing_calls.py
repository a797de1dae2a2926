"""Calls that fail and clocks that are wrong, as `faulty.py` plays them: never silently open."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import run_with_faults

STRANGER, REMOVED, ADDED = "198.51.100.1", "203.0.113.7", "203.0.113.8"
CLIENTS = (STRANGER, REMOVED, ADDED)
Play = Callable[..., Any]


@pytest.fixture
def play(faults: Path, var: Path) -> Play:
    def play_scenario(name: str, *numbers: int) -> Any:
        printed = run_with_faults(faults, "faulty.py", name, str(var), *map(str, numbers))
        return json.loads(printed)

    return play_scenario


def test_request_with_a_failing_call_gets_an_answer(play: Play) -> None:
    for client, answer, afterwards in play("single", errno.EIO):
        # The last good list may stand: it knows who was removed, and not who was added.
        assert answer in ([503] if client == STRANGER else [200, 503]), client
        assert afterwards == [503, 503, 200], client


@pytest.mark.parametrize("error", [errno.EACCES, errno.ESTALE], ids=errno.errorcode.get)
def test_last_known_state_stands_while_every_call_fails(error: int, play: Play) -> None:
    right = [503, 503, 200]
    assert play("every", error) == {
        "known": [[503, 200, 503], right],
        "unknown": [[503, 503, 503], right],
        "off": [[200, 200, 200], right],
    }


@pytest.mark.parametrize(("ahead", "tick"), [(-86400, 0), (0, 2), (86400, 2)])
def test_edit_is_seen_whatever_the_clocks_say(ahead: int, tick: int, play: Play) -> None:
    assert play("clock", ahead, tick) == []


def test_gate_stands_where_no_file_can_be_opened_any_more(play: Play) -> None:
    assert play("descriptors") == {
        "reached": "Too many open files",
        "during": [[503, 200, 503], [503, 503, 503]],
        "after": [[503, 503, 200]] * 2,
    }


def test_child_of_a_fork_beside_threads_sees_what_changes(play: Play) -> None:
    assert play("forks") == [[503, 503, 200]] * 12


def test_64_threads_at_once_see_each_change(play: Play) -> None:
    for turn, answers in enumerate(play("threads")):
        off, exempt = turn % 4 == 3, (ADDED, REMOVED)[turn % 2]
        expected = {client: 200 if off or client == exempt else 503 for client in CLIENTS}
        assert answers == sorted([client, code] for client, code in expected.items()), turn
