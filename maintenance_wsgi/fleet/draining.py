"""The requests of a node that began before the fleet was switched on."""

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state.in_flight import Lock, describe, open_book


class NodeDrain:
    """Looks after the earlier requests of a node's directory, from one switch to the next."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._earlier: list[Lock] | None = None  # None while maintenance is off

    def look(self, *, enabled: bool) -> tuple[int, str]:
        """Return how many processes count their requests, and which earlier ones still run.

        Args:
            enabled: whether the files say that maintenance is on, since before this call.
        """
        try:
            book = open_book(self._directory)
        except StateError:
            return 0, ""  # no application counts here
        try:
            if not enabled:
                self._earlier = None
            elif self._earlier is None:
                self._earlier = book.running()
            else:
                self._earlier = book.remaining(self._earlier)
            earlier = self._earlier or []
            fault = f"earlier requests still run: {describe(earlier)}" if earlier else ""
            return book.counting(earlier), fault
        except StateError as error:
            return 0, str(error)
