"""The application that the tests put behind proxies: it wants to be cached, and counts."""

from collections.abc import Iterable
from itertools import count
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi import MaintenanceMiddleware

_numbers = count()


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    fields = [("Content-Type", "text/plain")]
    path = environ["PATH_INFO"]
    if path.startswith("/cached/"):
        fields.append(("Cache-Control", "public, max-age=3600"))
    if path.startswith("/briefly/"):
        # HAProxy 2.6 reads on behind an age that is the last word, into what was there before.
        fields.append(("Cache-Control", "max-age=1, public"))
    if path == "/seen":
        fields.append(("Cache-Control", "no-store"))  # Varnish keeps what says nothing of it
    start_response("200 OK", fields)
    if path == "/seen":
        return [environ["HTTP_X_FORWARDED_FOR"].encode()]
    return [b"%d" % next(_numbers)]


application = MaintenanceMiddleware.from_environ(shop)
