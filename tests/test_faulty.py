"""Calls that fail and clocks that are wrong, as `faulty.py` plays them: never silently open."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from shim import run_with_faults

STRANGER, REMOVED, ADDED = "198.51.100.1", "203.0.113.7", "203.0.113.8"
CLIENTS = (STRANGER, REMOVED, ADDED)
ERRORS = [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE, errno.ELOOP]


def play(name: str, var: Path, *numbers: int) -> Any:
    return json.loads(run_with_faults("faulty.py", name, str(var), *map(str, numbers)))


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE], ids=errno.errorcode.get)
def test_request_with_a_failing_call_gets_an_answer(error: int, var: Path) -> None:
    for client, answer, afterwards in play("single", var, error):
        # The last good list may stand: it knows who was removed, and not who was added.
        assert answer in ([503] if client == STRANGER else [200, 503]), client
        assert afterwards == [503, 503, 200], client


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_last_known_state_stands_while_every_call_fails(error: int, var: Path) -> None:
    right = [503, 503, 200]
    assert play("every", var, error) == {
        "known": [[503, 200, 503], right],
        "unknown": [[503, 503, 503], right],
        "off": [[200, 200, 200], right],
    }


@pytest.mark.parametrize("ahead", [-86400, 0, 86400])
@pytest.mark.parametrize("tick", [0, 2])
def test_edit_is_seen_whatever_the_clocks_say(ahead: int, tick: int, var: Path) -> None:
    assert play("clock", var, ahead, tick) == []


def test_gate_stands_where_no_file_can_be_opened_any_more(var: Path) -> None:
    assert play("descriptors", var) == {
        "reached": "Too many open files",
        "during": [[503, 200, 503], [503, 503, 503]],
        "after": [[503, 503, 200]] * 2,
    }


def test_child_of_a_fork_beside_threads_sees_what_changes(var: Path) -> None:
    assert play("forks", var) == [[503, 503, 200]] * 20


def test_64_threads_at_once_see_each_change(var: Path) -> None:
    for turn, answers in enumerate(play("threads", var)):
        off, exempt = turn % 4 == 3, (ADDED, REMOVED)[turn % 2]
        expected = {client: 200 if off or client == exempt else 503 for client in CLIENTS}
        assert answers == sorted([client, code] for client, code in expected.items()), turn
