"""Django and SQLite in read-only mode: the gate stops the methods, the database stops the writes.

    MAINTENANCE_DIR=/srv/shop/var gunicorn read_only_django:application
    maintenance-wsgi --dir /srv/shop/var enable --read-only

in this directory shows it: `/` is a list of notes, a form there adds one, and `/visit` is a view
that writes on GET, as a careless one does. The gate lets such a GET through, because its promise is
about methods. So while `maintenance_wsgi.read_only` is true, the connection is put in SQLite's own
read-only mode, and the write fails. With PostgreSQL, take
`SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY`, or a user that may only read.
"""

import os
from collections.abc import Callable
from html import escape

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from maintenance_wsgi import MaintenanceMiddleware

Answer = Callable[[HttpRequest], HttpResponse]


class ReadOnlyDatabase:
    """Puts the database in its read-only mode for the requests that only read."""

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


def notes(request: HttpRequest) -> HttpResponse:
    """Show the notes, and add one."""
    with connection.cursor() as cursor:
        if request.method == "POST":
            cursor.execute("INSERT INTO notes VALUES (%s)", [request.POST.get("note", "")])
            return HttpResponseRedirect("/")
        cursor.execute("SELECT note FROM notes")
        items = "".join(f"<li>{escape(note)}</li>" for (note,) in cursor.fetchall())
    return HttpResponse(f"<ul>{items}</ul><form method=post><input name=note><button>Add</button>")


def visit(_: HttpRequest) -> HttpResponse:
    """Write on GET, as no view should."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES ('a visit')")
    return HttpResponse("Welcome\n")


urlpatterns = [path("", notes), path("visit", visit)]
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.ReadOnlyDatabase"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("SHOP_DATABASE", "notes.sqlite3"),
        }
    },
)
django.setup()
with connection.cursor() as first:
    first.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT)")
application = MaintenanceMiddleware.from_environ(get_wsgi_application())
