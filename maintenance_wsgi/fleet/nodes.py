"""The nodes of a fleet: how they are named, and what each wrote of itself."""

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from maintenance_wsgi.errors import ConfigError

SILENT_AFTER = 5  # seconds
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")


class NodeIdentity(NamedTuple):
    """Who acknowledges: a node's name, and what tells two processes of one name apart."""

    node: str
    instance: str


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of a node.

    Attributes:
        name: its own.
        version: which one it has written; None before the first.
        seen: when it was last heard of, in seconds since 1970 by Redis' clock.
        state: `current`, `behind`, `faulty`, or `silent` for more than five seconds.
        fault: why it cannot do as it should, or empty.
        acknowledged: whether it has said that its files hold the present state.
    """

    name: str
    version: int | None
    seen: int
    state: str
    fault: str
    acknowledged: bool


def validate_name(option: str, name: str) -> str:
    """Return the name of a fleet or a node where it may be one.

    Raises:
        ConfigError: it is empty, too long, or holds something else than letters, digits and `._-`.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{option}: {name[:64]!a} is no name; write letters, digits, '.', '_', '-'"
        )
    return name


def version_of(revision: str) -> int | None:
    """Return the number in a revision's name, for people, or None where there is none."""
    number = revision.rpartition("-")[2]
    return int(number) if re.fullmatch(r"[0-9]{1,15}", number) else None


def members_of(record: bytes) -> dict[str, str]:
    """Return what a follower wrote of itself; anybody may have written something else."""
    try:
        found = json.loads(record.partition(b" ")[2])
        return {name: str(found[name]) for name in ("instance", "revision", "fault")}
    except (ValueError, KeyError, TypeError):
        return {"instance": "", "revision": "", "fault": "its record cannot be read"}


def node_of(name: str, record: bytes, now: int, present: str) -> Node:
    """Return what is known of a node from what it wrote, at a time by Redis' clock."""
    members = members_of(record)
    seconds = record.partition(b" ")[0]
    seen = int(seconds) if re.fullmatch(rb"[0-9]{1,10}", seconds) else 0
    is_present = members["revision"] == present
    state = "current" if is_present else "behind"
    if members["fault"]:
        state = "faulty"
    if now - seen > SILENT_AFTER:
        state = "silent"
    return Node(
        name=ascii(name)[1:-1],
        version=version_of(members["revision"]),
        seen=seen,
        state=state,
        fault=ascii(members["fault"])[1:-1],
        acknowledged=is_present and not members["fault"],
    )
