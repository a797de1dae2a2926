"""A fleet: many machines that share one state, which lies in Redis, and tell how far they are.

Three keys, in one slot of a cluster: the state, a hash whose `revision` names it; the nodes, a
hash with what each has acknowledged; and a channel, whose messages say no more than "look".
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.connection import RedisConnection, RedisUnreachableError
from maintenance_wsgi.fleet.nodes import (
    Node,
    NodeIdentity,
    members_of,
    node_of,
    validate_name,
    version_of,
)
from maintenance_wsgi.state.store import Contents

_FORGOTTEN_AFTER = 7 * 24 * 3600
_REVISION = re.compile(r"[0-9a-f]{16}-[0-9]{1,15}")

# Redis rolls nothing back: what may be refused (no right, no memory) is one command, the last.
_WRITE = """
if (redis.call('HGET', KEYS[1], 'revision') or '') ~= ARGV[1] then return 0 end
redis.call('PUBLISH', ARGV[2], ARGV[3])
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'on', ARGV[4], 'flag', ARGV[5], 'list', ARGV[6])
return 1
"""
# Redis' own clock: that of a node may be wrong.
_BEAT = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. ARGV[2])
return before or ''
"""
_LEAVE = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found and string.find(found, ARGV[2], 1, true) then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""
_SURVEY = "return {redis.call('TIME')[1], redis.call('HGETALL', KEYS[1])}"


class ConflictError(StateError):
    """Somebody else has changed the fleet's state meanwhile."""


class Revision(NamedTuple):
    """One state of a fleet, and its name: a number, and what makes it the only one of that name.

    A Redis that was lost, or fell back to an older copy, counts on from there.
    """

    name: str
    contents: Contents

    @property
    def version(self) -> int:
        """The number alone, for people."""
        return version_of(self.name) or 0


class Survey(NamedTuple):
    """A fleet at one moment: Redis' time, the present revision's name, and the nodes by name."""

    now: int
    revision: str
    nodes: list[Node]


class Fleet:
    """The state that a fleet shares.

    Args:
        url: of the Redis, as `RedisConnection` takes it.
        name: tells several fleets in one Redis apart.

    Raises:
        ConfigError: the URL or the name is none.
    """

    def __init__(self, url: str, name: str = "default") -> None:
        self.name: str = validate_name("--name", name)
        self._server = RedisConnection(url)
        self._state_key = f"maintenance-wsgi:{{{name}}}:state"
        self._nodes_key = f"maintenance-wsgi:{{{name}}}:nodes"
        self._channel = f"maintenance-wsgi:{{{name}}}:changes"
        self.redacted_url: str = self._server.redacted_url

    def __str__(self) -> str:
        return f"fleet {self.name!r} at {self._server.place}"

    def close(self) -> None:
        """End the connections; the next question makes new ones."""
        self._server.close()

    def read(self) -> Revision | None:
        """Return the present state, or None where there is none."""
        with self._server.asked() as client:
            fields = client.hgetall(self._state_key)
        if not fields:
            return None
        flag = fields.get(b"flag") if fields.get(b"on") == b"1" else None
        revision = fields.get(b"revision", b"").decode("latin-1")
        if not _REVISION.fullmatch(revision):
            raise StateError(
                f"{self}: {self._state_key!r} holds something else; take another --name"
            )
        return Revision(revision, Contents(flag, fields.get(b"list", b"")))

    def write(self, before: Revision | None, contents: Contents) -> Revision:
        """Replace the state that was read before, and announce it.

        Raises:
            ConflictError: it is another by now; nothing is changed.
        """
        name = f"{secrets.token_hex(8)}-{before.version + 1 if before else 1}"
        switch = (b"0", b"") if contents.flag is None else (b"1", contents.flag)
        expected = before.name if before else ""
        arguments = [expected, self._channel, name, *switch, contents.exempt]
        try:
            with self._server.asked() as client:
                written = client.eval(_WRITE, 1, self._state_key, *arguments)
        except RedisUnreachableError as error:
            raise RedisUnreachableError(
                f"{error}; the change may have been made: see status"
            ) from None
        if not written:
            raise ConflictError(
                f"{self}: somebody else has changed it meanwhile; nothing was changed:"
                " look at status, and try again"
            )
        return Revision(name, contents)

    def beat(self, who: NodeIdentity, revision: str, fault: str) -> tuple[str, str]:
        """Say that a follower lives, and which revision it has written.

        Returns the present revision's name, empty where there is none; and which instance was
        heard of last under the follower's name.
        """
        record = json.dumps({"instance": who.instance, "revision": revision, "fault": fault})
        with self._server.asked() as client:
            before = client.eval(_BEAT, 1, self._nodes_key, who.node, record)
            present = client.hget(self._state_key, "revision")
        return (present or b"").decode("latin-1"), members_of(before)["instance"]

    def leave(self, who: NodeIdentity) -> None:
        """Take a follower off the list, unless another has its name by now."""
        with self._server.asked() as client:
            client.eval(_LEAVE, 1, self._nodes_key, who.node, json.dumps(who.instance))

    def survey(self) -> Survey:
        """Return who follows, and how far they are."""
        with self._server.asked() as client:
            now, found = client.eval(_SURVEY, 1, self._nodes_key)
            present = (client.hget(self._state_key, "revision") or b"").decode("latin-1")
        records = zip(found[::2], found[1::2], strict=True)
        nodes = [node_of(name.decode("latin-1"), text, int(now), present) for name, text in records]
        return Survey(int(now), present, sorted(nodes, key=lambda node: node.name))

    def forget(self) -> list[str]:
        """Take off the list who has been silent for more than a week, and return their names."""
        now, _, nodes = self.survey()
        names = [node.name for node in nodes if now - node.seen > _FORGOTTEN_AFTER]
        if names:
            with self._server.asked() as client:
                client.hdel(self._nodes_key, *names)
        return names

    @contextmanager
    def announcements(self) -> Iterator[Callable[[float], bool]]:
        """Listen for changes.

        Yields what waits for the next ones, at most so many seconds, and tells whether they came.
        """
        with self._server.asked() as client:
            channel = client.pubsub(ignore_subscribe_messages=True)
            try:
                channel.subscribe(self._channel)
                channel.get_message(timeout=5)  # which tells whether that is allowed
                yield lambda seconds: _wait(channel, seconds)
            finally:
                channel.close()


def _wait(channel: Any, seconds: float) -> bool:  # noqa: ANN401 (redis-py's types vary)
    if not channel.get_message(timeout=seconds):
        return False
    while channel.get_message(timeout=0):
        pass  # several at once are one: look
    return True
