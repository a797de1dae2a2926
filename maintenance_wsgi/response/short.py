"""The short answers that the gate gives by itself."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi.request.bypass import location, set_cookie


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
