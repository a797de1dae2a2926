"""The state of a fleet, kept in Redis: many machines share it, and report how far they are.

In one slot of a cluster: the state, a hash with a `revision` that names it; the nodes, a hash with
the last heartbeat of each; and a channel, whose messages only signal that the state changed.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.connection import RedisConnection, RedisUnreachableError
from maintenance_wsgi.fleet.nodes import (
    FAULT_LIMIT,
    NAME_LIMIT,
    RECORD_LIMIT,
    Node,
    NodeIdentity,
    fall_back,
    lost_revision,
    node_of,
    report_of,
    seen_of,
    validate_name,
    version_of,
)
from maintenance_wsgi.fleet.replicas import CONFIRMATION_SECONDS, late_replicas
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.store import Change, Snapshot

_EXPIRY = 7 * 24 * 3600  # seconds
_NOTHING = Snapshot(None, b"")
_REVISION = re.compile(r"[0-9a-f]{16}-[0-9]{1,15}")
_UNKNOWN = (
    "unknown whether maintenance is on: Redis holds no state of this fleet, which is new, or its"
    " state was lost"
)
_REMEDY = "the nodes keep their files; run enable or disable to set the state anew"
_logger = logging.getLogger("maintenance_wsgi")

# Redis rolls nothing back: a command that may be refused (no right, no memory) must be the last to
# change anything, and PUBLISH changes nothing.
_WRITE = """
if (redis.call('HGET', KEYS[1], 'revision') or '') ~= ARGV[1] then return 0 end
redis.call('PUBLISH', ARGV[2], ARGV[3])
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'on', ARGV[4], 'flag', ARGV[5], 'list', ARGV[6])
return 1
"""
# Redis' own clock: the clock of a node may be wrong.
_HEARTBEAT = f"""
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. ARGV[2])
return string.sub(before or '', 1, {RECORD_LIMIT + 1})
"""
_DEREGISTER = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found and string.find(found, ARGV[2], 1, true) then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""
# What a node wrote is cut before it is sent: it may be of any size.
_NODES = f"""
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found do found[i] = string.sub(found[i], 1, {RECORD_LIMIT + 1}) end
return {{redis.call('TIME')[1], found}}
"""


class ConflictError(StateError):
    """Another process has changed the fleet's state since it was read."""


class Revision(NamedTuple):
    """One version of the fleet's state; its snapshot holds bytes only, never an error.

    The name is a random part and the version number: a Redis that fell back to an older copy gives
    a number again, but never a name. A number that goes down is a loss, and not an order.
    """

    name: str
    snapshot: Snapshot

    @property
    def version(self) -> int:
        """The version number."""
        return version_of(self.name) or 0


class FleetStatus(NamedTuple):
    """A fleet at one moment, in seconds since 1970 by Redis' clock; its nodes are sorted by name.

    `revision` is the name of the present revision, or an empty string for a fleet without a state.
    """

    now: int
    revision: str
    nodes: list[Node]

    @property
    def seen(self) -> dict[str, str]:
        """The newest revision that each node has seen, and the name of a node that has seen it."""
        live = [node for node in self.nodes if node.newest and self.now - node.seen <= _EXPIRY]
        return {node.newest: node.name for node in live}

    @property
    def fallen_back(self) -> bool:
        """Whether Redis has lost a revision that a node has seen."""
        return bool(lost_revision(self.revision, self.seen))


class Acknowledgements(NamedTuple):
    """How far the nodes are; `offline` are those that were so since the wait began."""

    acknowledged: list[Node]
    missing: list[Node]
    offline: list[Node]


class RedisStore:
    """The state that a fleet shares.

    The constructor raises ConfigError if the name is not valid. Every method but `close` raises
    StateError if Redis does not answer or refuses.

    Args:
        connection: to the Redis that holds the state.
        fleet: the name of the fleet; one Redis may hold several.
        create: whether `update` may create the state of a fleet that has none. Otherwise it is
            refused, because it is unknown then whether maintenance is on.

    Attributes:
        revision: the state that this store has last read or written, or None if there was none.
        unconfirmed: whether a replica of Redis may not have what `update` left; the log names it.
    """

    def __init__(
        self, connection: RedisConnection, fleet: str = "default", *, create: bool = False
    ) -> None:
        self.connection: RedisConnection = connection
        self.fleet: str = validate_name("--fleet", fleet)
        self.revision: Revision | None = None
        self.unconfirmed: bool = False
        self._updated: Revision | None = None
        self._create = create
        self._state_key = f"maintenance-wsgi:{{{fleet}}}:state"
        self._nodes_key = f"maintenance-wsgi:{{{fleet}}}:nodes"
        self._channel = f"maintenance-wsgi:{{{fleet}}}:changes"

    def __str__(self) -> str:
        return f"fleet {self.fleet!r} at {self.connection.place}"

    def close(self) -> None:
        """Close the connections; the next command opens new ones."""
        self.connection.close()

    def read(self) -> Snapshot:
        """Return the present state; raise StateError if the fleet has none, or an older one."""
        seen = self.nodes().seen | self._own()  # first: a node may report what is written next
        found = self.read_revision()
        if fault := self._fault(found, seen):
            raise StateError(f"{fault}; {_REMEDY}")
        return found.snapshot if found else _NOTHING

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        """Replace the state by what `change` makes of it; return the states before and after.

        If another process is faster, `change` is called again with the state that it wrote. This
        ends: in each round one of the competing writers succeeds. A StateError means that nothing
        is changed; or its message says that it is not known whether the change was made.
        """
        # A connection that was idle for the whole of a `window()` block may be dead.
        self.close()
        if not self._create:
            self.read()  # raises if it is not known whether maintenance is on
        while True:
            with suppress(ConflictError):
                before, after = self._try_update(change)
                # Later reads must not replace it: `--wait` would accept another operator's state.
                self._updated = self.revision
                self._confirm()
                return before, after

    def _try_update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        found = self.read_revision()
        if not (found or self._create):
            raise StateError(f"{self}: {_UNKNOWN}; {_REMEDY}")
        before = found.snapshot if found else _NOTHING
        after = change(before)
        try:
            # If a node reports a revision that was written since, the write is a conflict.
            seen = self._own() | (self.nodes().seen if self._create else {})
        except RedisUnreachableError:  # while its clients are paused; the write tells
            if after == before:
                raise
            seen = self._own()
        fault = self._fault(found, seen)
        if fault or after != before:
            self._write_anew(found, after, fault, seen)
            with suppress(StateError):  # the change has been made
                self.prune()
        return before, after

    def _write_anew(
        self, found: Revision | None, snapshot: Snapshot, fault: str, seen: Mapping[str, str]
    ) -> None:
        written = self.write(found, snapshot, above=seen)
        if found is None:
            _logger.warning("%s: no state existed yet; it has been created", self)
        elif fault:
            older = "what was not given is from the older state"
            _logger.warning("%s; begun anew with version %s; %s", fault, written.version, older)

    def _status_of_update(self) -> FleetStatus:
        """Return how far the nodes are with what `update` left; raise StateError if that is gone.

        A node that was away during the change may have come back with a newer state that Redis has
        lost: what `update` left is written once more, above that.
        """
        status, updated = self.nodes(), self._updated
        if updated is None or status.revision != updated.name:
            what = "another process has changed the state again; see status"
            if updated and lost_revision(status.revision, [updated.name]):
                what = f"{fall_back(updated.name, status.revision)}; {_REMEDY}"
            raise StateError(f"{self}: {what}")
        if status.fallen_back:
            fault = self._fault(updated, status.seen)
            self._write_anew(updated, updated.snapshot, fault, status.seen)
            self._updated = self.revision
            self._confirm()
            status = self.nodes()
        return status

    def _confirm(self) -> None:
        """Wait until the replicas of Redis have what was written; otherwise say so."""
        self.unconfirmed = False
        try:
            late = late_replicas(self.connection, self._state_key)
        except StateError as error:
            self.unconfirmed = isinstance(error, RedisUnreachableError)
            _logger.warning("%s; it is not known whether replicas of Redis have the change", error)
            return
        if late:
            self.unconfirmed = True
            lost = f"{' '.join(late)} did not confirm it within {CONFIRMATION_SECONDS} s"
            remedy = "if Redis fails over now, it may be lost; repair the replicas"
            _logger.warning("%s: the change was made, but %s: %s", self, lost, remedy)

    def _fault(self, found: Revision | None, seen: Mapping[str, str]) -> str:
        """Return why it is not known whether maintenance is on, or an empty string."""
        if found is None:
            return f"{self}: {_UNKNOWN}"
        if not (lost := lost_revision(found.name, seen)):
            return ""
        return f"{self}: {fall_back(lost, found.name)} (as seen by {seen[lost]})"

    def _own(self) -> dict[str, str]:
        return {self._updated.name: "this process"} if self._updated else {}

    def read_revision(self) -> Revision | None:
        """Return the present state and its name, or None if the fleet has no state."""
        with self.connection.client() as client:
            fields = client.hgetall(self._state_key)
        self.revision = self._parse(fields) if fields else None
        return self.revision

    def _parse(self, fields: dict[bytes, bytes]) -> Revision:
        name = fields.get(b"revision", b"").decode("latin-1")
        if not _REVISION.fullmatch(name):
            foreign = f"{self._state_key!r} is not a maintenance-wsgi key"
            raise StateError(f"{self}: {foreign}; use another --fleet")
        # Only a clear "off" opens the site; a flag that was lost counts as an empty one.
        flag = None if fields.get(b"on") == b"0" else fields.get(b"flag", b"")
        return Revision(name, Snapshot(flag, fields.get(b"list", b"")))

    def write(
        self, before: Revision | None, snapshot: Snapshot, above: Iterable[str] = ()
    ) -> Revision:
        """Replace the state that was read before, None if there was none; announce the new one.

        The new version is above those of the revisions in `above`. Raises ConflictError if the
        present state is not `before`, and an error in `snapshot`.
        """
        for value in snapshot:
            if isinstance(value, StateError):
                raise value
        switch = (b"0", b"") if snapshot.flag is None else (b"1", snapshot.flag)
        expected = before.name if before else ""
        version = 1 + max(version_of(name) or 0 for name in (expected, *above))
        name = f"{secrets.token_hex(8)}-{version}"
        arguments = [expected, self._channel, name, *switch, snapshot.exemptions]
        try:
            with self.connection.client() as client:
                written = client.eval(_WRITE, 1, self._state_key, *arguments)
        except RedisUnreachableError as error:
            unsure = f"{error}; the change may have been made: see status"
            raise RedisUnreachableError(unsure) from None
        if not written:
            raise ConflictError(f"{self}: another process has changed the state; read it again")
        self.revision = Revision(name, snapshot)
        return self.revision

    def acknowledgements(
        self, seconds: float, *, strict: bool = False
    ) -> Iterator[Acknowledgements]:
        """Yield how far the nodes are, until each holds what `update` left, or `seconds` are over.

        Waits for every node that is live at the start or joins later; with `strict` also for those
        that are offline. A node that ends cleanly is dropped; a node that goes offline still
        counts. Raises StateError if another process has changed the state since.
        """
        deadline = time.monotonic() + seconds
        awaited: set[str] = set()
        while True:
            status = self._status_of_update()
            silent = {node.name for node in status.nodes if node.health == "offline"}
            awaited |= {node.name for node in status.nodes if strict or node.name not in silent}
            live = [node for node in status.nodes if node.name in awaited]
            unproven = silent if strict else ()
            done = {node.name for node in live if node.acknowledged and node.name not in unproven}
            found = Acknowledgements(
                acknowledged=[node for node in live if node.name in done],
                missing=[node for node in live if node.name not in done],
                offline=[node for node in status.nodes if node.name not in awaited],
            )
            yield found
            if (found.acknowledged and not found.missing) or time.monotonic() >= deadline:
                return
            time.sleep(0.1)

    def nodes(self) -> FleetStatus:
        """Return the nodes and how far they are."""
        now, records = self._records()
        present = self.present()  # now: a node reports nothing newer than the state that is read
        nodes = [node_of(name, record, now, present) for name, record in records.items()]
        return FleetStatus(now, present, sorted(nodes, key=lambda node: node.name))

    def _records(self) -> tuple[int, dict[bytes, bytes]]:
        with self.connection.client() as client:
            now, found = client.eval(_NODES, 1, self._nodes_key)
        pairs = zip(found[::2], found[1::2], strict=True)
        return int(now), {name: record for name, record in pairs if len(name) <= NAME_LIMIT}

    def present(self) -> str:
        """Return the name of the present revision; empty if there is none."""
        with self.connection.client() as client:
            return (client.hget(self._state_key, "revision") or b"").decode("latin-1")

    def heartbeat(
        self, who: NodeIdentity, revision: str, fault: str, seen: dict[str, str] | None = None
    ) -> str:
        """Record that a follower lives, the name of the revision that it has written, and a fault.

        `seen` holds `newest`, the newest revision that it has seen, if that is another one, and
        `counting`, how many of its processes count their requests. Returns the instance that sent
        the last heartbeat under this node's name, or an empty string.
        """
        shown = printable(fault, FAULT_LIMIT)
        report = {"instance": who.instance, "revision": revision, "fault": shown}
        record = json.dumps(report | {"newest": revision} | (seen or {}))
        with self.connection.client() as client:
            before = client.eval(_HEARTBEAT, 1, self._nodes_key, who.node, record)
        return report_of(before)["instance"]

    def deregister(self, who: NodeIdentity) -> None:
        """Remove a follower from the list, unless another process has taken its name."""
        with self.connection.client() as client:
            client.eval(_DEREGISTER, 1, self._nodes_key, who.node, json.dumps(who.instance))

    def prune(self) -> None:
        """Remove the nodes that have not been seen for a week, and log their names."""
        now, records = self._records()
        expired = [name for name, record in records.items() if now - seen_of(record, now) > _EXPIRY]
        if expired:
            with self.connection.client() as client:
                client.hdel(self._nodes_key, *expired)
            names = ", ".join(printable(name, NAME_LIMIT) for name in expired)
            _logger.warning("%s: not seen for a week and removed: %s", self, names)

    @contextmanager
    def subscribe(self) -> Iterator[Callable[[float], bool]]:
        """Yield a function that waits for changes, at most some seconds; it tells if any came.

        If this user may not subscribe, it always waits, and the log says so.
        """
        with self.connection.client() as client:
            channel = client.pubsub(ignore_subscribe_messages=True)
            try:
                yield partial(_wait, channel) if self._is_told(channel) else _sleep
            finally:
                channel.close()

    def _is_told(self, channel: Any) -> bool:  # noqa: ANN401 (redis-py's types vary)
        try:
            with self.connection.client():  # which translates errors
                channel.subscribe(self._channel)
                channel.get_message(timeout=5)
        except RedisUnreachableError:
            raise
        except StateError as error:
            _logger.warning("%s; changes are seen once a second", error)
            return False
        return True


def _wait(channel: Any, seconds: float) -> bool:  # noqa: ANN401 (redis-py's types vary)
    if not channel.get_message(timeout=seconds):
        return False
    while channel.get_message(timeout=0):
        pass  # several messages at once need one look at the state only
    return True


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
