"""The nodes of a fleet: their names, and what each of them reported."""

import json
import re
from dataclasses import dataclass

from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.grammar import printable

OFFLINE_AFTER = 5  # seconds
NAME_LIMIT = 253  # characters, as of a host name
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_FAULT_LIMIT = 1000  # characters: paths and a remedy


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """One follower.

    Attributes:
        node: the name of its node.
        instance: a random string, which no other process of the same name has.
    """

    node: str
    instance: str


@dataclass(frozen=True, slots=True)
class Node:
    """What a node reported.

    Attributes:
        name: the node's name; safe to print.
        version: the number of the version that its files hold, or None before the first.
        seen: time of its last heartbeat, in seconds since 1970 by Redis' clock.
        health: `current`, `behind`, `faulty`, or `offline` if its last heartbeat is more than
            five seconds old.
        fault: why the node cannot follow, or empty; safe to print.
        acknowledged: whether the node reported that its files hold the present state.
    """

    name: str
    version: int | None
    seen: int
    health: str
    fault: str
    acknowledged: bool


def validate_name(option: str, name: str) -> str:
    """Return `name` if a fleet or a node may have it.

    Args:
        option: the option that gave the name, for the message.
        name: 1 to 253 letters, digits and `._-`.

    Raises:
        ConfigError: the name is not valid.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{option}: {printable(name)!r} is not a valid name; use letters, digits, '.', '_', '-'"
        )
    return name


def version_of(revision: str) -> int | None:
    """Return the version number in a revision's name, or None if it holds no number."""
    number = revision.rpartition("-")[2]
    return int(number) if re.fullmatch(r"[0-9]{1,15}", number) else None


def report_of(record: bytes) -> dict[str, str]:
    """Return what a follower reported; any bytes are accepted.

    Returns:
        The strings `instance`, `revision` and `fault`.
    """
    try:
        found = json.loads(record.partition(b" ")[2])
        return {name: str(found[name]) for name in ("instance", "revision", "fault")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"instance": "", "revision": "", "fault": "its record cannot be read"}


def seen_of(record: bytes) -> int:
    """Return the time of a record, in seconds since 1970; 0 if it holds no time."""
    seconds = record.partition(b" ")[0]
    return int(seconds) if re.fullmatch(rb"[0-9]{1,10}", seconds) else 0


def node_of(name: bytes, record: bytes, now: int, present: str) -> Node:
    """Return what a node reported.

    Args:
        name: the node's name; another program may have written any bytes.
        record: the node's last heartbeat; likewise.
        now: seconds since 1970 by Redis' clock.
        present: the name of the present revision, or empty.
    """
    report, seen = report_of(record), seen_of(record)
    is_present = report["revision"] == present
    health = "current" if is_present else "behind"
    if report["fault"]:
        health = "faulty"
    if now - seen > OFFLINE_AFTER:
        health = "offline"
    return Node(
        name=printable(name, NAME_LIMIT),
        version=version_of(report["revision"]),
        seen=seen,
        health=health,
        fault=printable(report["fault"], _FAULT_LIMIT),
        acknowledged=is_present and not report["fault"],
    )
