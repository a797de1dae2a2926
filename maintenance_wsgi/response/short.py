"""The short answers that the gate gives by itself."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi.request.bypass import location, set_cookie
from maintenance_wsgi.response.request_body import read_body

_HEALTHY = b"ok\n"


def answer_link(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the bypass link: set the cookie, and take the secret out of the address bar."""
    headers = [
        ("Location", location(environ)),
        ("Set-Cookie", set_cookie(environ)),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Maintenance-Mode", "exempt"),
        ("Content-Type", "text/plain"),
        ("Content-Length", "0"),
    ]
    start_response("303 See Other", headers)
    return []


def answer_health(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a health check: this node shows its page, whatever the application does."""
    complete = read_body(environ)
    headers = [
        ("Content-Type", "text/plain"),
        ("Content-Length", str(len(_HEALTHY))),
        ("Cache-Control", "no-store"),
        ("X-Maintenance-Mode", "on"),
    ]
    start_response("200 OK", headers)
    return complete([] if environ.get("REQUEST_METHOD") == "HEAD" else [_HEALTHY])
