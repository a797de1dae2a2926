"""The application that the tests put behind proxies: it wants to be cached, and counts."""

import json
from collections.abc import Iterable
from itertools import count
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi import MaintenanceMiddleware

_numbers = count()


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    fields = [("Content-Type", "text/plain")]
    path = environ["PATH_INFO"]
    if path.startswith("/cached/"):
        # nginx obeys the second, whatever the first says.
        fields += [("Cache-Control", "public, max-age=3600"), ("X-Accel-Expires", "3600")]
    if path.startswith("/private/"):
        fields.append(("Cache-Control", f"private, {path.split('/')[2]}"))
    if path.startswith("/briefly/"):
        # HAProxy 2.6 reads on behind an age that is the last word, into what was there before.
        fields.append(("Cache-Control", "max-age=1, public"))
    if path.endswith(("/seen", "/environ")):
        fields.append(("Cache-Control", "no-store"))  # Varnish keeps what says nothing of it
    start_response("200 OK", fields)
    if path == "/seen":
        return [environ["HTTP_X_FORWARDED_FOR"].encode()]
    if path.endswith("/environ"):
        strings = {key: value for key, value in environ.items() if isinstance(value, str)}
        return [json.dumps(strings).encode()]
    if path.startswith("/cached/links/"):
        hosts = (environ.get(f"HTTP_{name}", "") for name in ("HOST", "X_FORWARDED_HOST"))
        return [" ".join(hosts).encode()]
    return [b"%d" % next(_numbers)]


application = MaintenanceMiddleware.from_environ(shop)
