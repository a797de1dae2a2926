"""A node of a fleet: its two files follow the fleet's state, and it says how far they are.

The application goes on reading the files alone. Whatever becomes of Redis, they stay as they are.
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
from maintenance_wsgi.fleet.nodes import SILENT_AFTER, NodeIdentity, validate_name, version_of
from maintenance_wsgi.fleet.store import ConflictError, Fleet, Revision
from maintenance_wsgi.state.mode import MaintenanceMode
from maintenance_wsgi.state.store import Contents

_BEAT_SECONDS = 1.0
_SLICES = 5
_LONGEST_PAUSE = 5.0  # seconds between two attempts to reach Redis
_SHOWN = 4096
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_logger = logging.getLogger("maintenance_wsgi")


class Follower:
    """Mirrors a fleet's state into the two files of a directory.

    It looks once a second and whenever a change is announced. A change of the files that is not
    the fleet's is overwritten, and what it was is logged; with `adopt` it becomes the fleet's,
    unless it was made before the follower began, or the fleet's state has changed as well.

    Args:
        fleet: whose state.
        mode: the files.
        node: the name to acknowledge under; no other node of the fleet may have it.
        adopt: whether a change by hand is published.

    Raises:
        ConfigError: the node's name is none.
    """

    def __init__(
        self, fleet: Fleet, mode: MaintenanceMode, node: str, *, adopt: bool = False
    ) -> None:
        self._fleet = fleet
        self._mode = mode
        self._who = NodeIdentity(validate_name("--node", node), secrets.token_hex(8))
        self._adopt = adopt
        self._ending = False
        self._held = ""  # the name of the revision that the files hold
        self._written: Contents | None = None
        self._fault = ""
        self._twin_until = 0.0
        self._beaten = False
        self._unknown = False
        self._lost = ""
        self._pause = 0.0

    def end(self) -> None:
        """Let `follow` return, within a second."""
        self._ending = True

    def follow(self) -> None:
        """Mirror the state until `end` is called, then leave the fleet.

        Raises:
            StateError: Redis refused at the very beginning; nothing is changed.
        """
        while not self._ending:
            try:
                self._follow()
            except StateError as error:
                if not self._beaten and not isinstance(error, RedisUnreachableError):
                    raise
                self._complain_of_loss(error)
                self._fleet.close()
                self._wait_before_next()
        with suppress(StateError):
            self._fleet.leave(self._who)

    def take(self) -> int | None:
        """Mirror the present state once, and leave; return the version's number.

        Raises:
            StateError: it could not be done, or nobody knows the state.
        """
        self.sync()
        self._fleet.leave(self._who)
        if self._fault or not self._held:
            raise StateError(self._fault or f"{self._fleet} has no state; the files stay")
        return version_of(self._held)

    def _follow(self) -> None:
        with self._fleet.announcements() as wait:
            while not self._ending:
                self.sync()
                self._rest(wait)

    def _rest(self, wait: Callable[[float], bool]) -> None:
        for _ in range(_SLICES):  # so that it ends soon when it is told to
            if self._ending or wait(_BEAT_SECONDS / _SLICES):
                return

    def sync(self) -> None:
        """Write what the fleet's state is now, and acknowledge it.

        Raises:
            StateError: Redis cannot be asked. A fault of the files is acknowledged instead.
        """
        self._look_for_changes_by_hand()
        present = self._beat()
        while present not in {"", self._held}:
            revision = self._fleet.read()
            written = revision is not None and self._write(revision)
            present = self._beat()
            if not written:
                break
        if (not present) is not self._unknown:
            self._unknown = not present
            if self._unknown:
                _logger.warning("%s has no state; the files stay as they are", self._fleet)

    def _beat(self) -> str:
        twin = time.monotonic() < self._twin_until
        said = "another follower has this name" if twin else ""
        faults = "; ".join(filter(None, [self._fault, said]))
        present, before = self._fleet.beat(self._who, self._held, faults)
        # The first time it may be the one before this one, that was killed.
        if self._beaten and before not in {"", self._who.instance}:
            if not twin:
                _logger.warning(
                    "%s: another follower has this name too; give each its own --node",
                    self._who.node,
                )
            self._twin_until = time.monotonic() + SILENT_AFTER
        self._beaten = True
        if self._lost:
            _logger.warning("%s is back", self._fleet)
        self._lost, self._pause = "", 0.0
        return present

    def _write(self, revision: Revision) -> bool:
        found, shown = self._found()
        try:
            if found != revision.contents:
                self._mode.put(revision.contents)
        except StateError as error:
            self._note_fault(str(error))
            return False
        # Before the first time the files may be a new node's, or what it held when it went away.
        expected = self._written or Contents(None, b"")
        if found not in {revision.contents, expected}:
            _logger.warning("%s: overwritten by the fleet: %s", self._mode.directory, shown)
        self._held, self._written, self._fault = revision.name, revision.contents, ""
        state = "off" if revision.contents.flag is None else "on"
        _logger.info(
            "%s: version %s of %s: %s", self._who.node, revision.version, self._fleet, state
        )
        return True

    def _look_for_changes_by_hand(self) -> None:
        found, _ = self._found()
        if self._written is None or found == self._written:
            return
        if self._adopt and self._held and found:
            self._publish(found)
        else:
            self._held = ""  # no longer what was acknowledged: it is written anew

    def _publish(self, found: Contents) -> None:
        before = Revision(self._held, found)
        try:
            revision = self._fleet.write(before, found)
        except ConflictError:
            self._held = ""
            return
        self._held, self._written = revision.name, found
        _logger.warning(
            "%s: changed by hand, and published as version %s of %s",
            self._mode.directory,
            revision.version,
            self._fleet,
        )

    def _found(self) -> tuple[Contents | None, str]:
        """Return what the files hold, None where they cannot be read, and a text for the log."""
        try:
            found = self._mode.contents()
        except StateError as error:
            return None, str(error)
        flag = "no flag" if found.flag is None else f"flag {_shown(found.flag)}"
        return found, f"{flag}, list {_shown(found.exempt)}"

    def _note_fault(self, fault: str) -> None:
        # The name of a temporary file is another each time.
        fault = _TEMPORARY.sub("", fault)
        if fault != self._fault:
            _logger.warning("%s", fault)
        self._fault = fault

    def _complain_of_loss(self, error: StateError) -> None:
        level = logging.DEBUG if self._lost else logging.WARNING
        _logger.log(level, "%s; the files stay as they are until it is back", error)
        self._lost = str(error)

    def _wait_before_next(self) -> None:
        self._pause = min(max(2 * self._pause, 0.25), _LONGEST_PAUSE)
        # Not all nodes at once.
        until = time.monotonic() + self._pause * random.uniform(0.5, 1)  # noqa: S311 (no secret)
        while not self._ending and time.monotonic() < until:
            time.sleep(0.1)


def _shown(data: bytes) -> str:
    more = f" and {len(data) - _SHOWN} bytes more" if len(data) > _SHOWN else ""
    return f"{data[:_SHOWN]!a}{more}"
