"""The state of a fleet, kept in Redis: many machines share it, and report how far they are.

Three keys in one slot of a cluster: the state, a hash with a `revision` that names it; the nodes,
a hash with the last heartbeat of each; and a channel, whose messages only signal that the state
changed.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.connection import RedisConnection, RedisUnreachableError
from maintenance_wsgi.fleet.nodes import (
    NAME_LIMIT,
    Node,
    NodeIdentity,
    node_of,
    report_of,
    seen_of,
    validate_name,
    version_of,
)
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.store import Change, Snapshot

_EXPIRY = 7 * 24 * 3600  # seconds
_POLL_SECONDS = 0.1
_REVISION = re.compile(r"[0-9a-f]{16}-[0-9]{1,15}")
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
_HEARTBEAT = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. ARGV[2])
return before or ''
"""
_DEREGISTER = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found and string.find(found, ARGV[2], 1, true) then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""
_NODES = "return {redis.call('TIME')[1], redis.call('HGETALL', KEYS[1])}"


class ConflictError(StateError):
    """Another process has changed the fleet's state since it was read."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of the fleet's state.

    Attributes:
        name: a random part, which makes it unique, and the version number. A Redis that fell back
            to an older copy gives a number again, but never a name.
        snapshot: the state; holds bytes only, never an error.
    """

    name: str
    snapshot: Snapshot

    @property
    def version(self) -> int:
        """The version number."""
        return version_of(self.name) or 0


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """A fleet at one moment.

    Attributes:
        now: seconds since 1970 by Redis' clock.
        revision: the name of the present revision; empty if there is no state.
        nodes: sorted by name.
    """

    now: int
    revision: str
    nodes: list[Node]


@dataclass(frozen=True, slots=True)
class Acknowledgements:
    """How far the nodes of a fleet are.

    Attributes:
        acknowledged: nodes whose files hold the present state.
        missing: nodes that were live since the wait began, and have not acknowledged it.
        offline: nodes that were offline all the time; nothing waits for them.
    """

    acknowledged: list[Node]
    missing: list[Node]
    offline: list[Node]


class RedisStore:
    """The state that a fleet shares.

    Args:
        connection: to the Redis that holds the state.
        fleet: the fleet to read and change; one Redis may hold several.
        create: whether `update` may create the state of a fleet that has none. Otherwise it is
            refused, because it is unknown then whether maintenance is on.

    Attributes:
        connection: as given.
        fleet: the name of the fleet.
        revision: the state that this store has last read or written, or None if there was none.

    Raises:
        ConfigError: the name is not valid.
    """

    def __init__(
        self, connection: RedisConnection, fleet: str = "default", *, create: bool = False
    ) -> None:
        self.connection: RedisConnection = connection
        self.fleet: str = validate_name("--fleet", fleet)
        self.revision: Revision | None = None
        self._updated: Revision | None = None
        self._create = create
        self._state_key = f"maintenance-wsgi:{{{fleet}}}:state"
        self._nodes_key = f"maintenance-wsgi:{{{fleet}}}:nodes"
        self._channel = f"maintenance-wsgi:{{{fleet}}}:changes"

    def __str__(self) -> str:
        return f"fleet {self.fleet!r} at {self.connection.address}"

    def close(self) -> None:
        """Close the connections; the next command opens new ones."""
        self.connection.close()

    def read(self) -> Snapshot:
        """Return the present state.

        Raises:
            StateError: Redis does not answer or refuses, or the fleet has no state.
        """
        found = self.read_revision()
        if found is None:
            raise self._unknown()
        return found.snapshot

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        """Replace the state by what `change` makes of it, or leave it as it is.

        If another process is faster, `change` is called again with the state that it wrote. This
        ends: in each round one of the competing writers succeeds.

        Returns:
            The state before and the state after.

        Raises:
            StateError: Redis does not answer or refuses, or the fleet has no state and `create`
                was not given. Nothing is changed; or it is not known whether the change was made,
                and the message says so.
        """
        # A connection that was idle for the whole of a `window()` block may be dead.
        self.close()
        while True:
            with suppress(ConflictError):
                before, after = self._try_update(change)
                # Later reads must not replace it: `--wait` would accept another operator's state.
                self._updated = self.revision
                return before, after

    def _try_update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        found = self.read_revision()
        if found is None and not self._create:
            raise self._unknown()
        before = found.snapshot if found else Snapshot(None, b"")
        after = change(before)
        if found is None or after != before:
            self.write(found, after)
            if found is None:
                _logger.warning("%s: no state existed yet; it has been created", self)
            with suppress(StateError):  # the change has been made
                self.prune()
        return before, after

    def read_revision(self) -> Revision | None:
        """Return the present state and its name, or None if the fleet has no state.

        Raises:
            StateError: Redis does not answer or refuses, or the key belongs to another program.
        """
        with self.connection.client() as client:
            fields = client.hgetall(self._state_key)
        self.revision = self._parse(fields) if fields else None
        return self.revision

    def _parse(self, fields: dict[bytes, bytes]) -> Revision:
        name = fields.get(b"revision", b"").decode("latin-1")
        if not _REVISION.fullmatch(name):
            raise StateError(
                f"{self}: {self._state_key!r} is not a maintenance-wsgi key; use another --fleet"
            )
        # Only a clear "off" opens the site; a flag that was lost counts as an empty one.
        flag = None if fields.get(b"on") == b"0" else fields.get(b"flag", b"")
        return Revision(name, Snapshot(flag, fields.get(b"list", b"")))

    def write(self, before: Revision | None, snapshot: Snapshot) -> Revision:
        """Replace the state that was read before, and announce the new one.

        Args:
            before: the revision to replace, or None if the fleet had no state.
            snapshot: the new state.

        Returns:
            The new revision.

        Raises:
            ConflictError: the present state is not `before`; nothing is changed.
            StateError: Redis does not answer or refuses, or `snapshot` holds an error.
        """
        flag, exemptions = snapshot
        for value in (flag, exemptions):
            if isinstance(value, StateError):
                raise value
        switch = (b"0", b"") if flag is None else (b"1", flag)
        expected, version = (before.name, before.version) if before else ("", 0)
        name = f"{secrets.token_hex(8)}-{version + 1}"
        arguments = [expected, self._channel, name, *switch, exemptions]
        try:
            with self.connection.client() as client:
                written = client.eval(_WRITE, 1, self._state_key, *arguments)
        except RedisUnreachableError as error:
            raise RedisUnreachableError(
                f"{error}; the change may have been made: see status"
            ) from None
        if not written:
            raise ConflictError(f"{self}: another process has changed the state; read it again")
        self.revision = Revision(name, snapshot)
        return self.revision

    def acknowledgements(self, seconds: float) -> Iterator[Acknowledgements]:
        """Wait until every node has acknowledged the state that the last `update` left.

        Waits for every node that is live at the start or joins later. A node that ends cleanly is
        dropped; a node that goes offline still counts.

        Args:
            seconds: the longest time to wait.

        Yields:
            How far the nodes are, ten times a second; the last one is the result.

        Raises:
            StateError: Redis does not answer or refuses, or another process has changed the state
                since the last `update`.
        """
        deadline = time.monotonic() + seconds
        awaited: set[str] = set()
        while True:
            status = self.nodes()
            if self._updated is None or status.revision != self._updated.name:
                raise StateError(f"{self}: another process has changed the state again; see status")
            awaited |= {node.name for node in status.nodes if node.health != "offline"}
            found = _acknowledgements_of(status.nodes, awaited)
            yield found
            if (found.acknowledged and not found.missing) or time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def nodes(self) -> FleetStatus:
        """Return the nodes and how far they are.

        Raises:
            StateError: Redis does not answer or refuses.
        """
        now, records = self._records()
        with self.connection.client() as client:
            present = (client.hget(self._state_key, "revision") or b"").decode("latin-1")
        nodes = [node_of(name, record, now, present) for name, record in records.items()]
        return FleetStatus(now, present, sorted(nodes, key=lambda node: node.name))

    def _records(self) -> tuple[int, dict[bytes, bytes]]:
        """Return Redis' time, and each node's last heartbeat by the node's name."""
        with self.connection.client() as client:
            now, found = client.eval(_NODES, 1, self._nodes_key)
        return int(now), dict(zip(found[::2], found[1::2], strict=True))

    def heartbeat(self, who: NodeIdentity, revision: str, fault: str) -> tuple[str, str]:
        """Record that a follower lives, and the revision that it has written.

        Args:
            who: the follower.
            revision: the name of the revision that its files hold, or empty.
            fault: why it cannot follow, or empty.

        Returns:
            The name of the present revision, empty if the fleet has no state. And the instance
            that sent the last heartbeat under this node's name, empty if there was none.

        Raises:
            StateError: Redis does not answer or refuses.
        """
        record = json.dumps({"instance": who.instance, "revision": revision, "fault": fault})
        with self.connection.client() as client:
            before = client.eval(_HEARTBEAT, 1, self._nodes_key, who.node, record)
            present = client.hget(self._state_key, "revision")
        return (present or b"").decode("latin-1"), report_of(before)["instance"]

    def deregister(self, who: NodeIdentity) -> None:
        """Remove a follower from the list, unless another process has taken its name.

        Raises:
            StateError: Redis does not answer or refuses.
        """
        with self.connection.client() as client:
            client.eval(_DEREGISTER, 1, self._nodes_key, who.node, json.dumps(who.instance))

    def prune(self) -> None:
        """Remove the nodes that have not been seen for a week, and log their names.

        Raises:
            StateError: Redis does not answer or refuses.
        """
        now, records = self._records()
        expired = [name for name, record in records.items() if now - seen_of(record) > _EXPIRY]
        if expired:
            with self.connection.client() as client:
                client.hdel(self._nodes_key, *expired)
            names = ", ".join(printable(name, NAME_LIMIT) for name in expired)
            _logger.warning("%s: not seen for a week and removed: %s", self, names)

    @contextmanager
    def subscribe(self) -> Iterator[Callable[[float], bool]]:
        """Listen for changes for the time of a block.

        Yields:
            A function that waits for the next changes, at most for the given seconds, and tells
            whether there were any.

        Raises:
            StateError: Redis does not answer or refuses.
        """
        with self.connection.client() as client:
            channel = client.pubsub(ignore_subscribe_messages=True)
            try:
                channel.subscribe(self._channel)
                channel.get_message(timeout=5)  # raises if this user may not subscribe
                yield lambda seconds: _wait(channel, seconds)
            finally:
                channel.close()

    def _unknown(self) -> StateError:
        return StateError(
            f"{self}: unknown whether maintenance is on: Redis holds no state of this fleet, which"
            " is new, or its state was lost; the nodes keep their files; run enable or disable to"
            " create the state"
        )


def _acknowledgements_of(nodes: list[Node], awaited: set[str]) -> Acknowledgements:
    live = [node for node in nodes if node.name in awaited]
    return Acknowledgements(
        acknowledged=[node for node in live if node.acknowledged],
        missing=[node for node in live if not node.acknowledged],
        offline=[node for node in nodes if node.name not in awaited],
    )


def _wait(channel: Any, seconds: float) -> bool:  # noqa: ANN401 (redis-py's types vary)
    if not channel.get_message(timeout=seconds):
        return False
    while channel.get_message(timeout=0):
        pass  # several messages at once need one look at the state only
    return True
