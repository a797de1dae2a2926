"""The nodes of a fleet: their names, and what each of them reported."""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.grammar import printable

OFFLINE_AFTER = 5  # seconds
NAME_LIMIT = 253  # characters, as of a host name
_COUNT = re.compile(r"[0-9]{1,6}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
RECORD_LIMIT = 4096  # bytes of a heartbeat
FAULT_LIMIT = 200  # characters
_REPORTED = ("instance", "revision", "fault", "newest", "counting")
_SET_BACK = 60  # seconds by which Redis' clock may have been set back
# A node may forge its report: the state, whose version may have a digit more, must be able to go on
# above it.
_CREDIBLE = re.compile(r"[0-9a-f]{16}-[0-9]{1,14}")


class NodeIdentity(NamedTuple):
    """One follower: the name of its node, and a random string that no other follower has."""

    node: str
    instance: str


class Node(NamedTuple):
    """What a node reported; every string is safe to print.

    Attributes:
        version: the number of the version that its files hold, or None before the first.
        seen: time of its last heartbeat, in seconds since 1970 by Redis' clock.
        health: `current`, `behind`, `faulty`, or `offline` after five seconds without a heartbeat.
        fault: why the node cannot follow, or empty.
        acknowledged: whether the node reported that its files hold the present state, and that no
            request runs which began before it was switched on.
        newest: name of the newest revision that it has seen, or empty.
        counting: how many of its processes count their requests.
    """

    name: str
    version: int | None
    seen: int
    health: str
    fault: str
    acknowledged: bool
    newest: str
    counting: int


def validate_name(option: str, name: str) -> str:
    """Return the name of a fleet or a node, which `option` gave; raise ConfigError if invalid."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{option}: {printable(name)!r} is not a valid name; use letters, digits, '.', '_', '-'"
        )
    return name


def version_of(revision: str) -> int | None:
    """Return the version number in a revision's name, or None if it holds no number."""
    number = revision.rpartition("-")[2]
    return int(number) if re.fullmatch(r"[0-9]{1,15}", number) else None


def credible(revision: str) -> str:
    """Return a revision's name that was not read from the state itself; empty if it is forged."""
    return revision if _CREDIBLE.fullmatch(revision) else ""


def lost_revision(present: str, seen: Iterable[str]) -> str:
    """Return the newest of the revisions that Redis had and has lost, by its name; or empty.

    A number never goes down, and two revisions with one number are two states: a split.
    """
    number = version_of(present) or 0
    lost = [name for name in seen if name != present and (version_of(name) or -1) >= number]
    return max(lost, key=lambda name: version_of(name) or 0, default="")


def fall_back(lost: str, present: str) -> str:
    """Return what to tell of a lost revision."""
    was, now = version_of(lost), version_of(present)
    shown = f"another {now}" if was == now else now or "nothing"
    return f"Redis fell back from {was} to {shown}: unknown whether maintenance is on"


def report_of(record: bytes) -> dict[str, str]:
    """Return the strings of a heartbeat; any bytes are accepted."""
    try:
        found = json.loads(record.partition(b" ")[2]) if len(record) <= RECORD_LIMIT else {}
        # What an older follower does not report.
        found = {"counting": "0", "newest": found["revision"]} | found
        # Nothing but a string can be added to one.
        return {name: "" + found[name] for name in _REPORTED}
    except (ValueError, KeyError, TypeError, RecursionError):
        return dict.fromkeys(_REPORTED, "") | {"fault": "its record cannot be read"}


def seen_of(record: bytes, now: int) -> int:
    """Return the time of a heartbeat, in seconds since 1970, at most `now`; 0 if it holds none."""
    match = re.match(rb"([0-9]{1,10}) ", record)
    # Redis writes the time itself: one far in the future is forged, and would never expire.
    return min(int(match[1]), now) if match and int(match[1]) <= now + _SET_BACK else 0


def node_of(name: bytes, record: bytes, now: int, present: str) -> Node:
    """Return a node, by its last heartbeat; another program may have written any bytes there."""
    report, seen = report_of(record), seen_of(record, now)
    is_present, fault = report["revision"] == present, report["fault"]
    health = "current" if is_present else "behind"
    if fault:
        health = "faulty"
    return Node(
        name=printable(name, NAME_LIMIT),
        version=version_of(report["revision"]),
        seen=seen,
        health="offline" if now - seen > OFFLINE_AFTER else health,
        fault=printable(fault, FAULT_LIMIT),
        acknowledged=is_present and not fault,
        newest=credible(report["newest"]),
        counting=int(report["counting"]) if _COUNT.fullmatch(report["counting"]) else 0,
    )
