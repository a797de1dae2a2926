"""Calls that fail and clocks that are wrong, as `faulty.py` plays them: never silently open."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from shim import run_with_faults

STRANGER, REMOVED, ADDED = "198.51.100.1", "203.0.113.7", "203.0.113.8"
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
