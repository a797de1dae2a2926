"""Read-only mode, kept by the database too: the gate stops the methods, SQLite stops the writes."""

from collections.abc import Callable

from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse

Answer = Callable[[HttpRequest], HttpResponse]


class ReadOnlyDatabase:
    """Puts the database in its read-only mode for the requests that only read.

    The gate lets a GET through, because its promise is about methods; a careless view may still
    write. So while `maintenance_wsgi.read_only` is true, SQLite refuses every write.
    """

    def __init__(self, answer: Answer) -> None:
        """Remember what answers."""
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request, with the database in the mode that is right for it."""
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA query_only = {int(is_read_only(request))}")
        return self.answer(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Say why a view could not write."""
        if isinstance(error, OperationalError) and is_read_only(request):
            return HttpResponse("Nothing can be saved at the moment.\n", status=503)
        return None


def is_read_only(request: HttpRequest) -> bool:
    """Tell whether a request passes only to read; one to `write_paths` writes its session."""
    is_reading = request.method in {"GET", "HEAD", "OPTIONS", "QUERY"}
    return is_reading and request.META.get("maintenance_wsgi.read_only", False)
