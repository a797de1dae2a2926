"""A node of a fleet: copies the fleet's state into the two files of a directory.

It reports which version it has written. The application reads only the files; if Redis fails, they
stay as they are.
"""

import logging
import random
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.connection import RedisUnreachableError
from maintenance_wsgi.fleet.nodes import OFFLINE_AFTER, NodeIdentity, validate_name
from maintenance_wsgi.fleet.store import ConflictError, RedisStore, Revision
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.store import FileStore, Snapshot

_HEARTBEAT_SECONDS = 1.0
_SLICES = 5
_MIN_PAUSE, _MAX_PAUSE = 0.25, 5.0  # seconds between two attempts to reach Redis
_SHOWN = 4096  # bytes of a file in the log
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_logger = logging.getLogger("maintenance_wsgi")


class Follower:
    """Copies a fleet's state into the two files of a directory.

    It looks at the state once a second, and whenever a change is announced. A change of the files
    by hand is overwritten, and its content is logged. With `adopt` it becomes the fleet's state,
    unless it was made before the follower started or the fleet's state has changed as well.

    Args:
        source: the fleet's state.
        target: the two files.
        node: the name of this node; every other node of the fleet needs another name.
        adopt: whether a change by hand is published.

    Raises:
        ConfigError: the node's name is not valid.
    """

    def __init__(
        self, source: RedisStore, target: FileStore, node: str, *, adopt: bool = False
    ) -> None:
        self._source = source
        self._target = target
        self._identity = NodeIdentity(validate_name("--node", node), secrets.token_hex(8))
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
        """Copy the state until `stop` is called, then leave the fleet.

        Raises:
            StateError: Redis refuses the first heartbeat; nothing is changed.
        """
        while not self._stopping:
            try:
                self._sync_until_stopped()
            except StateError as error:
                if not self._joined and not isinstance(error, RedisUnreachableError):
                    raise
                self._log_lost_connection(error)
                self._source.close()
                self._wait_for_retry()
        with suppress(StateError):
            self._source.deregister(self._identity)

    def sync_once(self) -> int:
        """Copy the present state once, and leave the fleet.

        Returns:
            The number of the version that the files hold now.

        Raises:
            StateError: the state cannot be copied, or the fleet has none.
        """
        self.sync()
        self._source.deregister(self._identity)
        if self._fault or not self._held:
            raise StateError(self._fault or f"{self._source} has no state; the files are unchanged")
        return self._held.version

    def sync(self) -> None:
        """Copy the present state into the files, and acknowledge it.

        Raises:
            StateError: Redis does not answer or refuses. A fault of the files is reported to the
                fleet instead.
        """
        self._check_files()
        present = self._heartbeat()
        while present not in {"", self._held_name()}:
            revision = self._source.read_revision()
            written = revision is not None and self._write(revision)
            present = self._heartbeat()
            if not written:
                break
        if (not present) is not self._unknown:
            self._unknown = not present
            if self._unknown:
                _logger.warning("%s has no state; the files stay as they are", self._source)

    def _sync_until_stopped(self) -> None:
        with self._source.subscribe() as wait:
            while not self._stopping:
                self.sync()
                self._wait_for_change(wait)

    def _wait_for_change(self, wait: Callable[[float], bool]) -> None:
        for _ in range(_SLICES):  # in slices, so that `stop` takes effect soon
            if self._stopping or wait(_HEARTBEAT_SECONDS / _SLICES):
                return

    def _heartbeat(self) -> str:
        """Report this node; return the name of the present revision, or an empty string."""
        conflict = time.monotonic() < self._name_conflict_until
        reported = "duplicate node: another follower has this name" if conflict else ""
        faults = "; ".join(filter(None, [self._fault, reported]))
        present, before = self._source.heartbeat(self._identity, self._held_name(), faults)
        # Before the first heartbeat it may be that of a predecessor that was killed.
        if self._joined and before not in {"", self._identity.instance}:
            if not conflict:
                _logger.warning(
                    "%s: duplicate node: another follower has this name; give each its own --node",
                    self._identity.node,
                )
            self._name_conflict_until = time.monotonic() + OFFLINE_AFTER
        self._joined = True
        if not self._connected:
            _logger.warning("%s is back", self._source)
        self._connected, self._pause = True, 0.0
        return present

    def _held_name(self) -> str:
        return self._held.name if self._held else ""

    def _write(self, revision: Revision) -> bool:
        try:
            found, _ = self._target.update(lambda _: revision.snapshot)
        except StateError as error:
            self._report_fault(str(error))
            return False
        # A new node's directory is empty; after a restart it holds what it held before.
        expected = self._written or Snapshot(None, b"")
        if found not in (revision.snapshot, expected):
            _logger.warning("%s: overwritten by the fleet: %s", self._target, _shown(found))
        self._held, self._written, self._fault = revision, revision.snapshot, ""
        state = "off" if revision.snapshot.flag is None else "on"
        _logger.info(
            "%s: version %s of %s: %s", self._identity.node, revision.version, self._source, state
        )
        return True

    def _check_files(self) -> None:
        """Notice a change by hand: publish it, or have the fleet's state written again."""
        try:
            found = self._target.read()
        except StateError:
            found = None
        if self._written is None or found == self._written:
            return
        if self._adopt and self._held and found and _is_readable(found):
            self._publish(self._held, found)
        else:
            self._held = None  # the files do not hold any more what this node acknowledged

    def _publish(self, held: Revision, found: Snapshot) -> None:
        try:
            self._held = self._source.write(held, found)
        except ConflictError:
            self._held = None
            return
        self._written = found
        _logger.warning(
            "%s: changed by hand, and published as version %s of %s",
            self._target,
            self._held.version,
            self._source,
        )

    def _report_fault(self, fault: str) -> None:
        # The name of a temporary file differs each time, and would be logged each time.
        fault = _TEMPORARY.sub("", fault)
        if fault != self._fault:
            _logger.warning("%s", fault)
        self._fault = fault

    def _log_lost_connection(self, error: StateError) -> None:
        level = logging.WARNING if self._connected else logging.DEBUG
        _logger.log(level, "%s; the files stay as they are until it is back", error)
        self._connected = False

    def _wait_for_retry(self) -> None:
        self._pause = min(max(2 * self._pause, _MIN_PAUSE), _MAX_PAUSE)
        # Random, so that not all nodes come back at the same moment.
        until = time.monotonic() + self._pause * random.uniform(0.5, 1)  # noqa: S311 (no secret)
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.1)


def _is_readable(found: Snapshot) -> bool:
    return not any(isinstance(value, StateError) for value in found)


def _shown(found: Snapshot) -> str:
    """Return what the files held, for the log."""
    flag = "no flag" if found.flag is None else f"flag {_quoted(found.flag)}"
    return f"{flag}, list {_quoted(found.exemptions)}"


def _quoted(value: bytes | StateError) -> str:
    return f"'{printable(value, _SHOWN)}'" if isinstance(value, bytes) else f"unreadable ({value})"
