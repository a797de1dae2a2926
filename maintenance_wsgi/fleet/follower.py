"""A node of a fleet: copies the fleet's state into two files; if Redis fails, they stay."""

import logging
import os
import random
import re
import secrets
import time
from contextlib import suppress

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.connection import RedisUnreachableError
from maintenance_wsgi.fleet.draining import NodeDrain
from maintenance_wsgi.fleet.nodes import (
    OFFLINE_AFTER,
    NodeIdentity,
    credible,
    fall_back,
    lost_revision,
    validate_name,
)
from maintenance_wsgi.fleet.store import ConflictError, RedisStore, Revision
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.ownership import Mark
from maintenance_wsgi.state.store import FileStore, Snapshot

_HEARTBEAT_SECONDS = 1.0
_SLICES = 10
_MIN_PAUSE, _MAX_PAUSE = 0.25, 5.0  # seconds between two attempts to reach Redis
_SHOWN = 4096  # bytes of a file in the log
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_DUPLICATE = "duplicate node: another follower has this name"
_RIVAL = "somebody else keeps changing the files; stop that program"
_UNMOUNTED = "not mounted any more; mount it again, or restart the follower if that is meant"
_logger = logging.getLogger("maintenance_wsgi")


class UnreportedError(StateError):
    """Redis refuses the heartbeat of a node that follows."""


class Follower:
    """Copies a fleet's state into the two files of a directory.

    It looks at the state once a second, and whenever a change is announced. A change of the files
    by hand is overwritten, and its content is logged. With `adopt` it becomes the fleet's state,
    unless it was made before the follower started or the fleet's state has changed as well. A state
    that is older than one that it has seen is a loss of Redis: the files stay as they are. Once it
    is on, a version is acknowledged when the requests that began before have ended, if the
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
        self._mark = Mark(target.directory, str(source), shared=adopt)
        self._drain = NodeDrain(target.directory)
        self._adopt = adopt
        self._stopping = False
        self._held: Revision | None = None  # what the files hold, as far as this follower knows
        self._known: Revision | None = None  # what was written last, into whatever directory
        self._written: Snapshot | None = None
        self._fault = ""  # of the files
        self._loss = ""  # of Redis
        self._told = ""
        self._place: tuple[int, int] | None = None
        self._was_mounted = False
        self._beat = self._overwritten_beat = 0
        self._rival_until = self._duplicate_until = 0.0
        self._joined = False
        self._unknown = False
        self._outage: type[StateError] | None = None
        self._pause = 0.0

    def stop(self) -> None:
        """Let `run` return, within a second."""
        self._stopping = True

    def run(self) -> None:
        """Copy the state until `stop`; whatever fails is tried again."""
        while not self._stopping:
            try:
                self._sync_until_stopped()
            except StateError as error:
                self._wait_for_retry(error)
        self._mark.release()
        with suppress(StateError):
            self._source.deregister(self._identity)

    def sync_once(self) -> int:
        """Copy the state once, and return its version; raise StateError if that is not possible."""
        self._sync(self._mark.claim(hold=False))
        self._source.deregister(self._identity)
        if self._told or not self._held:
            raise StateError(self._told or f"{self._source} has no state; the files are unchanged")
        return self._held.version

    def sync(self) -> None:
        """Copy the present state into the files; then acknowledge it, or report a fault."""
        self._sync(self._mark.claim())

    def _sync(self, other_source: str) -> None:
        self._beat += 1
        if not self._joined:  # the mark was written by another process
            self._mark.newest = credible(self._mark.newest)
        self._restore(other_source)
        if other_source:
            self._held, remedy = None, "stop that follower, or use another --dir"
            self._fault = f"{self._target}: follows {other_source}; {remedy}"
        else:
            self._check_files()
            self._take()
        self._report()

    def _restore(self, other_source: str) -> None:
        """Write what is known into a directory that has taken the place of another, as in a deploy.

        Redis is not asked first: while it is away, the new directory would open the site.
        """
        if self._place == (place := self._present_place()):
            return
        self._place, self._held, self._written = place, None, None
        known = self._known
        if known and known.name == self._mark.newest and place and not other_source:
            self._write(known)

    def _sync_until_stopped(self) -> None:
        self._mark.claim()  # also while Redis does not answer
        with self._source.subscribe() as wait:
            while not self._stopping:
                self.sync()
                for _ in range(_SLICES):  # in slices, so that `stop` takes effect soon
                    is_due = wait(_HEARTBEAT_SECONDS / _SLICES)
                    if is_due or self._place != self._present_place() or self._stopping:
                        break

    def _present_place(self) -> tuple[int, int] | None:
        """Return what tells the directory from another one that takes its name."""
        with suppress(OSError):
            status = os.stat(self._target.directory)
            return status.st_dev, status.st_ino
        return None

    def _take(self) -> None:
        """Write the present state into the files, unless it is older than one that was seen."""
        self._loss = ""
        while (present := self._source.present()) and not self._is_lost(present):
            if self._held and self._held.name == present:
                break
            revision = self._source.read_revision()
            if revision is None or self._is_lost(revision.name) or not self._write(revision):
                break
        if not present and not self._unknown:
            _logger.warning("%s has no state; the files stay as they are", self._source)
        self._unknown = not present

    def _is_lost(self, present: str) -> bool:
        """Tell whether Redis has lost what this node, or its predecessor, has seen."""
        lost = lost_revision(present, [self._mark.newest])
        self._loss = lost and f"{fall_back(lost, present)}; run enable or disable"
        return bool(lost)

    def _report(self) -> None:
        """Report how far this node is, and its faults; a new fault is logged."""
        faults = "; ".join(self._faults())
        if faults and faults != self._told:
            _logger.warning("%s: %s", self._identity.node, faults)
        # What was written may lie in a directory that is gone; the next look writes it anew.
        is_there = self._place == self._present_place()
        self._told, held = faults, self._held.name if self._held and is_there else ""
        is_duplicate = time.monotonic() < self._duplicate_until
        enabled = self._written is not None and self._written.flag is not None
        counting, undrained = self._drain.look(enabled=enabled)
        shown = "; ".join(filter(None, [_DUPLICATE if is_duplicate else "", faults, undrained]))
        seen = {"newest": self._mark.newest or held, "counting": str(counting)}
        try:
            before = self._source.heartbeat(self._identity, held, shown, seen)
        except RedisUnreachableError:
            raise
        except StateError as error:
            raise UnreportedError(f"{error}; this node follows, but cannot report it") from error
        # Before the first heartbeat it may be that of a predecessor that was killed.
        if self._joined and before not in {"", self._identity.instance}:
            if not is_duplicate:
                _logger.warning("%s: %s; give each its own --node", self._identity.node, _DUPLICATE)
            self._duplicate_until = time.monotonic() + OFFLINE_AFTER
        if self._outage:
            _logger.warning("%s is back", self._source)
        self._joined, self._outage, self._pause = True, None, 0.0

    def _faults(self) -> list[str]:
        is_mounted = os.path.ismount(self._target.directory)
        self._was_mounted = self._was_mounted or is_mounted
        faults = {
            self._loss: bool(self._loss),
            self._fault: bool(self._fault),
            f"{self._target}: {_RIVAL}": time.monotonic() < self._rival_until,
            f"{self._target}: {_UNMOUNTED}": self._was_mounted and not is_mounted,
        }
        return [*(fault for fault in faults if faults[fault]), *self._target.private_files()[:1]]

    def _write(self, revision: Revision) -> bool:
        self._mark.record(revision.name)
        try:
            found, _ = self._target.update(lambda _: revision.snapshot)
        except StateError as error:
            # The name of a temporary file differs each time, and would be logged each time.
            self._fault = _TEMPORARY.sub("", str(error))
            return False
        if found.flag is None:
            self._drain.begin_anew()
        # A new node's directory is empty; after a restart it holds what it held before.
        if found not in (revision.snapshot, self._written or Snapshot(None, b"")):
            self._note_overwritten(found)
        self._held = self._known = revision
        self._written, self._fault = revision.snapshot, ""
        state = f"{self._source}: {'off' if revision.snapshot.flag is None else 'on'}"
        _logger.info("%s: version %s of %s", self._identity.node, revision.version, state)
        return True

    def _note_overwritten(self, found: Snapshot) -> None:
        now, last = time.monotonic(), self._overwritten_beat
        self._overwritten_beat = self._beat
        if last and last == self._beat - 1:
            self._rival_until = now + OFFLINE_AFTER
        if now >= self._rival_until:
            _logger.warning("%s: overwritten by the fleet: %s", self._target, _shown(found))

    def _check_files(self) -> None:
        """Notice a change by hand: publish it, or have the fleet's state written again."""
        try:
            found = self._target.read()
        except StateError:
            found = None
        is_gone = self._place != self._present_place()  # then it was read as off
        if self._written is None or found == self._written or is_gone:
            return
        is_readable = not any(isinstance(value, StateError) for value in found or ())
        if self._adopt and self._held and found and is_readable:
            with suppress(ConflictError):
                self._held = self._known = self._source.write(self._held, found)
                self._written = found
                self._mark.record(self._held.name)
                published = f"version {self._held.version} of {self._source}"
                _logger.warning("%s: changed by hand, and published as %s", self._target, published)
                return
        self._held = None  # the files do not hold any more what this node acknowledged

    def _wait_for_retry(self, error: StateError) -> None:
        is_new, self._outage = self._outage is not type(error), type(error)
        is_read = isinstance(error, UnreportedError)
        stay = "" if is_read else "; the files stay as they are until it is back"
        _logger.log(logging.WARNING if is_new else logging.DEBUG, "%s%s", error, stay)
        self._source.close()
        longest = _HEARTBEAT_SECONDS if is_read else _MAX_PAUSE
        self._pause = min(max(2 * self._pause, _MIN_PAUSE), longest)
        # Random, so that not all nodes come back at the same moment.
        until = time.monotonic() + self._pause * random.uniform(0.5, 1)  # noqa: S311 (no secret)
        while not self._stopping and time.monotonic() < until:
            self._restore(self._mark.claim())
            time.sleep(0.1)


def _shown(found: Snapshot) -> str:
    flag = "no flag" if found.flag is None else f"flag {_quoted(found.flag)}"
    return f"{flag}, list {_quoted(found.exemptions)}"


def _quoted(value: bytes | StateError) -> str:
    return f"'{printable(value, _SHOWN)}'" if isinstance(value, bytes) else f"unreadable ({value})"
