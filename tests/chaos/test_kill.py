"""Killed or failing at any call on the directory: the old state or the new one, no mixture."""

import errno
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.faults import KILL, run_with_faults

FLAG, LIST = ".maintenance.flag", ".maintenance.ip"
OFF = {LIST: "203.0.113.7"}
ON = OFF | {FLAG: '{"message": "a"}'}
LINKED = ON | {LIST: "-> shared", "shared": "203.0.113.7"}
CASES = {
    "enable-with-list": (OFF, ["enable", "--message=b", "--ip=203.0.113.8"]),
    "enable-while-on": (ON, ["enable", "--message=b", "--ip=203.0.113.8"]),
    "add": (ON, ["allow-ips", "--add", "203.0.113.8"]),
    "set-linked": (LINKED, ["allow-ips", "203.0.113.8"]),
    "empty-linked": (LINKED, ["allow-ips", "--none"]),
    "disable-with-list": (ON, ["disable", "--ip=203.0.113.8"]),
}
FAILURES = [
    ("enable-with-list", errno.ENOSPC),
    ("enable-while-on", errno.EDQUOT),
    ("add", errno.EIO),
    ("set-linked", errno.ESTALE),
    ("empty-linked", errno.EIO),
    ("disable-with-list", errno.EIO),
]
State = tuple[Any, str | None]


@pytest.fixture
def var() -> Iterator[Path]:
    """Make a directory in memory, where `fsync` takes no time, if there is one."""
    memory = Path("/dev/shm")  # noqa: S108 (the directory below it is our own)
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def state(outcome: dict[str, Any]) -> State:
    """Return what the files say: the flag's message, or whatever else is in it, and the list."""
    flag = outcome["files"].get(FLAG)
    with suppress(ValueError):
        flag = None if flag is None else {"message": json.loads(flag).get("message")}
    return flag, outcome["files"].get(LIST)


def is_plain(outcome: dict[str, Any]) -> bool:
    """Tell whether the site was closed by an empty flag, because more could not be written."""
    return "without the values that were given" in outcome.get("said", "")


def answers(of: State) -> dict[str, int]:
    """Return what each client is to get."""
    flag, text = of
    exempt = (text or "").split(",")
    clients = ("203.0.113.7", "203.0.113.8", "198.51.100.1")
    return {client: 200 if flag is None or client in exempt else 503 for client in clients}


def sweep(faults: Path, var: Path, error: int, case: str) -> list[dict[str, Any]]:
    before, arguments = CASES[case]
    given = [str(var), str(error), json.dumps(before), *arguments]
    printed = run_with_faults(faults, "sweep.py", *given)
    return [json.loads(line) for line in printed.splitlines()]


def check(outcomes: list[dict[str, Any]], before: dict[str, str]) -> None:
    """Check what every fault has to leave: the last attempt meets none, and shows the new state."""
    old, new = state({"files": before | {LIST: "203.0.113.7"}}), state(outcomes[-1])
    assert outcomes[-1]["code"] == 0
    assert new != old
    for outcome in outcomes:
        found = state(outcome)
        # The list goes first: who it admits is settled before the site is opened or closed. Only
        # a killed command cannot put it back.
        killed = [(old[0], new[1])] if outcome["code"] < 0 else []
        plain = [("", old[1])] if is_plain(outcome) else []
        assert found in [old, new, *killed, *plain], outcome
        assert outcome["answers"] == answers(found), outcome
        assert outcome["links"] == ([LIST] if "shared" in before else []), outcome


@pytest.mark.parametrize("case", CASES)
def test_killed_command_leaves_the_old_state_or_the_new(case: str, faults: Path, var: Path) -> None:
    outcomes = sweep(faults, var, KILL, case)
    check(outcomes, CASES[case][0])
    for outcome in outcomes[:-1]:
        assert outcome["code"] == -9, outcome
        others = set(outcome["files"]) - {FLAG, LIST, "shared"}
        assert all(name.endswith(".tmp") for name in others), outcome
        again = outcome["again"]
        assert (again["code"], state(again)) == (0, state(outcomes[-1])), outcome
        assert again["answers"] == answers(state(again)), outcome
        assert set(again["files"]) <= {FLAG, LIST, "shared"}, outcome


@pytest.mark.parametrize(("case", "error"), FAILURES)
def test_failing_call_leaves_the_old_state_or_the_new(
    case: str, error: int, faults: Path, var: Path
) -> None:
    outcomes = sweep(faults, var, error, case)
    check(outcomes, CASES[case][0])
    for outcome in outcomes:
        assert set(outcome["files"]) <= {FLAG, LIST, "shared"}, outcome
        assert "Traceback" not in outcome["said"], outcome
        assert ".tmp" not in outcome["said"], outcome
        if outcome["code"] == 0 and not is_plain(outcome):
            assert state(outcome) == state(outcomes[-1]), outcome
        elif outcome["code"] == 0:
            assert state(outcome)[0] == "", outcome
        else:
            assert outcome["code"] == 1, outcome
            assert "Error: " in outcome["said"], outcome
    remedies = {errno.ENOSPC: "; free some space", errno.EDQUOT: "; free some of the owner's quota"}
    assert any(remedies.get(error, "") in outcome["said"] for outcome in outcomes)
