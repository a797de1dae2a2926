"""The requests of a node that began before the fleet was switched on."""

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state.in_flight import Lock, describe, find_book


class NodeDrain:
    """Looks after the earlier requests of a node's directory, from one switch to the next."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._earlier: list[Lock] | None = None  # None while maintenance is off

    def begin_anew(self) -> None:
        """Take all requests that run for earlier ones: the files were off, and let some in."""
        self._earlier = None

    def look(self, *, enabled: bool) -> tuple[int, str]:
        """Return how many processes count their requests, and which earlier ones still run.

        `enabled` tells whether the files have switched maintenance on, before this call.
        """
        try:
            if not (book := find_book(self._directory)):
                return 0, ""
            earlier: list[Lock] = []
            if enabled:
                is_new = self._earlier is None
                earlier = book.running() if is_new else book.remaining(self._earlier or [])
            self._earlier = earlier if enabled else None
            fault = f"earlier requests still run: {describe(earlier)}" if earlier else ""
            return book.counting(earlier), fault
        except StateError as error:
            return 0, str(error)
