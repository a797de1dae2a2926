"""A node of a fleet: copies the fleet's state into two files; if Redis fails, they stay."""

import logging
import random
import re
import secrets
import time
from contextlib import suppress

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.connection import RedisUnreachableError
from maintenance_wsgi.fleet.draining import NodeDrain
from maintenance_wsgi.fleet.nodes import OFFLINE_AFTER, NodeIdentity, validate_name
from maintenance_wsgi.fleet.store import ConflictError, RedisStore, Revision
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.store import FileStore, Snapshot

_HEARTBEAT_SECONDS = 1.0
_SLICES = 5
_MIN_PAUSE, _MAX_PAUSE = 0.25, 5.0  # seconds between two attempts to reach Redis
_SHOWN = 4096  # bytes of a file in the log
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_DUPLICATE = "duplicate node: another follower has this name"
_logger = logging.getLogger("maintenance_wsgi")


class Follower:
    """Copies a fleet's state into the two files of a directory.

    It looks at the state once a second, and whenever a change is announced. A change of the files
    by hand is overwritten, and its content is logged. With `adopt` it becomes the fleet's state,
    unless it was made before the follower started or the fleet's state has changed as well. Once
    it is on, a version is acknowledged when the requests that began before have ended, if the
    application counts them.

    Every other node of the fleet needs another name. The constructor raises ConfigError if `node`
    is not a valid name; the methods raise StateError if Redis does not answer or refuses.
    """

    def __init__(
        self, source: RedisStore, target: FileStore, node: str, *, adopt: bool = False
    ) -> None:
        self._source = source
        self._target = target
        self._identity = NodeIdentity(validate_name("--node", node), secrets.token_hex(8))
        self._drain = NodeDrain(target.directory)
        self._adopt = adopt
        self._stopping = False
        self._held: Revision | None = None  # what the files hold, as far as this follower knows
        self._written: Snapshot | None = None
        self._fault = ""
        self._name_conflict_until = 0.0
        self._joined = False
        self._unknown = False
        self._connected = True
        self._pause = 0.0

    def stop(self) -> None:
        """Let `run` return, within a second."""
        self._stopping = True

    def run(self) -> None:
        """Copy the state until `stop`; only a refusal of the first heartbeat raises StateError."""
        while not self._stopping:
            try:
                self._sync_until_stopped()
            except StateError as error:
                if not self._joined and not isinstance(error, RedisUnreachableError):
                    raise
                self._wait_for_retry(error)
        with suppress(StateError):
            self._source.deregister(self._identity)

    def sync_once(self) -> int:
        """Copy the state once, and return its version; raise StateError if that is not possible."""
        self.sync()
        self._source.deregister(self._identity)
        if self._fault or not self._held:
            raise StateError(self._fault or f"{self._source} has no state; the files are unchanged")
        return self._held.version

    def sync(self) -> None:
        """Copy the present state into the files; acknowledge it, or report a fault of the files."""
        self._check_files()
        present = self._heartbeat()
        while present and (self._held is None or self._held.name != present):
            revision = self._source.read_revision()
            written = revision is not None and self._write(revision)
            present = self._heartbeat()
            if not written:
                break
        if not present and not self._unknown:
            _logger.warning("%s has no state; the files stay as they are", self._source)
        self._unknown = not present

    def _sync_until_stopped(self) -> None:
        with self._source.subscribe() as wait:
            while not self._stopping:
                self.sync()
                for _ in range(_SLICES):  # in slices, so that `stop` takes effect soon
                    if wait(_HEARTBEAT_SECONDS / _SLICES) or self._stopping:
                        break

    def _heartbeat(self) -> str:
        """Report this node; return the name of the present revision, or an empty string."""
        held = self._held.name if self._held else ""
        conflict = time.monotonic() < self._name_conflict_until
        enabled = self._written is not None and self._written.flag is not None
        counting, undrained = self._drain.look(enabled=enabled)
        faults = "; ".join(filter(None, [_DUPLICATE if conflict else "", self._fault, undrained]))
        present, before = self._source.heartbeat(self._identity, held, faults, counting=counting)
        # Before the first heartbeat it may be that of a predecessor that was killed.
        if self._joined and before not in {"", self._identity.instance}:
            if not conflict:
                _logger.warning("%s: %s; give each its own --node", self._identity.node, _DUPLICATE)
            self._name_conflict_until = time.monotonic() + OFFLINE_AFTER
        self._joined = True
        if not self._connected:
            _logger.warning("%s is back", self._source)
        self._connected, self._pause = True, 0.0
        return present

    def _write(self, revision: Revision) -> bool:
        try:
            found, _ = self._target.update(lambda _: revision.snapshot)
        except StateError as error:
            # The name of a temporary file differs each time, and would be logged each time.
            fault = _TEMPORARY.sub("", str(error))
            if fault != self._fault:
                _logger.warning("%s", fault)
            self._fault = fault
            return False
        # A new node's directory is empty; after a restart it holds what it held before.
        if found not in (revision.snapshot, self._written or Snapshot(None, b"")):
            _logger.warning("%s: overwritten by the fleet: %s", self._target, _shown(found))
        self._held, self._written, self._fault = revision, revision.snapshot, ""
        state = f"{self._source}: {'off' if revision.snapshot.flag is None else 'on'}"
        _logger.info("%s: version %s of %s", self._identity.node, revision.version, state)
        return True

    def _check_files(self) -> None:
        """Notice a change by hand: publish it, or have the fleet's state written again."""
        try:
            found = self._target.read()
        except StateError:
            found = None
        if self._written is None or found == self._written:
            return
        is_readable = not any(isinstance(value, StateError) for value in found or ())
        if self._adopt and self._held and found and is_readable:
            with suppress(ConflictError):
                self._held, self._written = self._source.write(self._held, found), found
                published = f"version {self._held.version} of {self._source}"
                _logger.warning("%s: changed by hand, and published as %s", self._target, published)
                return
        self._held = None  # the files do not hold any more what this node acknowledged

    def _wait_for_retry(self, error: StateError) -> None:
        level = logging.WARNING if self._connected else logging.DEBUG
        _logger.log(level, "%s; the files stay as they are until it is back", error)
        self._connected = False
        self._source.close()
        self._pause = min(max(2 * self._pause, _MIN_PAUSE), _MAX_PAUSE)
        # Random, so that not all nodes come back at the same moment.
        until = time.monotonic() + self._pause * random.uniform(0.5, 1)  # noqa: S311 (no secret)
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.1)


def _shown(found: Snapshot) -> str:
    flag = "no flag" if found.flag is None else f"flag {_quoted(found.flag)}"
    return f"{flag}, list {_quoted(found.exemptions)}"


def _quoted(value: bytes | StateError) -> str:
    return f"'{printable(value, _SHOWN)}'" if isinstance(value, bytes) else f"unreadable ({value})"
