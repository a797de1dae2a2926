"""Maintenance mode of a whole fleet: the same as that of a directory, in a copy of its own.

Before a change the two files are fetched from Redis, then the inherited code changes them as it
changes any, and what they hold is published where nobody else was faster.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from netaddr import IPNetwork

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.fleet.nodes import Node
from maintenance_wsgi.fleet.store import ConflictError, Fleet, Revision
from maintenance_wsgi.state.mode import Hold, MaintenanceMode, Status

T = TypeVar("T")

_logger = logging.getLogger("maintenance_wsgi")


class Acknowledgements(NamedTuple):
    """Who has acknowledged, who of those that live has not, and who is silent since before."""

    acknowledged: list[Node]
    missing: list[Node]
    silent: list[Node]


class FleetMode(MaintenanceMode):
    """The state of a fleet, read and written.

    Args:
        fleet: whose.
        directory: an empty one, for the copy.
        begins: whether a change may begin the state of a fleet that has none. Else it is refused:
            nobody knows then whether maintenance is on.

    Raises:
        StateError: where Redis cannot be asked; nothing is changed.
    """

    def __init__(self, fleet: Fleet, directory: str, *, begins: bool = False) -> None:
        super().__init__(directory)
        self.fleet: Fleet = fleet
        self.revision: Revision | None = None
        self._begins = begins
        self._copy = MaintenanceMode(directory)

    def status(self) -> Status:
        """Return what the fleet's state says now.

        Raises:
            StateError: the fleet has none, so that nobody knows.
        """
        self._fetch()
        if self.revision is None:
            raise self._unknown()
        return super().status()

    def acknowledgements(self, seconds: float) -> Iterator[Acknowledgements]:
        """Yield who has acknowledged this state, again and again until all have.

        Asked is who lives at the beginning or comes meanwhile; who leaves in an orderly way is
        not waited for, who falls silent is. Ends after so many seconds in any case.

        Raises:
            StateError: somebody else has changed the state meanwhile.
        """
        deadline = time.monotonic() + seconds
        asked: set[str] = set()
        while True:
            _, revision, nodes = self.fleet.survey()
            if self.revision is None or revision != self.revision.name:
                raise StateError(f"{self.fleet}: somebody else has changed it again; see status")
            asked |= {node.name for node in nodes if node.state != "silent"}
            called = [node for node in nodes if node.name in asked]
            missing = [node for node in called if not node.acknowledged]
            silent = [node for node in nodes if node.name not in asked]
            yield Acknowledgements([node for node in called if node.acknowledged], missing, silent)
            if (called and not missing) or time.monotonic() >= deadline:
                return
            time.sleep(0.1)

    @contextmanager
    def _changing(self) -> Iterator[ExitStack]:
        # A connection that has been idle since the beginning of a block may be dead.
        self.fleet.close()
        self._fetch()
        if self.revision is None and not self._begins:
            raise self._unknown()
        with super()._changing() as changes:
            yield changes
        contents = self._copy.contents()
        before = self.revision
        if before is not None and contents == before.contents:
            return
        self.revision = self.fleet.write(before, contents)
        if before is None:
            _logger.warning("%s: nothing was known of it, its state begins here", self.fleet)
        with suppress(StateError):  # the change is made
            if forgotten := self.fleet.forget():
                names = ", ".join(forgotten)
                _logger.warning("%s: silent for a week, and forgotten: %s", self.fleet, names)

    def _fetch(self) -> None:
        self.revision = self.fleet.read()
        if self.revision is not None:
            self._copy.put(self.revision.contents)

    def _unknown(self) -> StateError:
        return StateError(
            f"{self.fleet}: unknown whether maintenance is on: Redis holds no state of it, as it is"
            " new, or was lost. The nodes keep what they have; enable or disable begins it anew"
        )

    # What a block does is right whatever state it finds: somebody faster is no reason to fail.

    def _hold(self, given: dict[str, Any], networks: tuple[IPNetwork, ...] | None) -> Hold:
        return _insisting(lambda: super(FleetMode, self)._hold(given, networks))

    def _release(self, hold: Hold) -> None:
        _insisting(lambda: super(FleetMode, self)._release(hold))


def _insisting(change: Callable[[], T]) -> T:
    while True:
        # It ends: of those who are at it at once, one gets through each time.
        with suppress(ConflictError):
            return change()
