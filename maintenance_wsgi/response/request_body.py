"""The body of a blocked request, which must not hold its worker for more than two seconds.

A client that is still sending when its connection is closed may not see the answer, so the body is
read. But a server's stream waits for a client that stops. So a body is read only from a socket,
which can do without waiting.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from wsgiref.types import InputStream, WSGIEnvironment

from werkzeug.wsgi import ClosingIterator

_SECONDS = 2
_CHUNK = 64 * 1024  # bytes


def read_body(environ: WSGIEnvironment) -> Callable[[list[bytes]], Iterable[bytes]]:
    """Read the request's body as far as it comes in time; return what completes the answer.

    If the body was not read to its end, the connection ends with the answer.
    """
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    if environ.get("CONTENT_LENGTH") in {None, "", "0"} and not chunked:
        return list
    deadline = time.monotonic() + _SECONDS
    # The client has hung up, the length is not a number, or the server shows no socket.
    with suppress(OSError, ValueError, KeyError):
        held = _server_socket(environ)
        # A server's reader of chunks takes the beginning of a chunk's size for the size.
        if held and not chunked and _is_read(environ, held, deadline):
            return list
        descriptor = held.fileno() if held else sys.modules["uwsgi"].connection_fd()
        connection = socket.socket(fileno=os.dup(descriptor))
        if time.monotonic() >= deadline:
            # Servers read the rest themselves: cheroot before the answer, gunicorn after it.
            connection.shutdown(socket.SHUT_RD)
        return partial(ClosingIterator, callbacks=partial(_end, connection, deadline))
    return list


def _server_socket(environ: WSGIEnvironment) -> socket.socket | None:
    """Return the connection as the server holds it, if it carries no other request."""
    stream = environ.get("wsgi.input")
    # wsgiref's stream is a buffered reader of the socket; cheroot's stream holds one.
    reader = getattr(getattr(stream, "rfile", stream), "raw", None)
    named = environ.get("gunicorn.socket", environ.get("werkzeug.socket"))
    found: socket.socket | None = named or getattr(reader, "_sock", None)
    return None if str(environ.get("SERVER_PROTOCOL")).startswith("HTTP/2") else found


def _is_read(environ: WSGIEnvironment, server_socket: socket.socket, deadline: float) -> bool:
    """Read a body of known length; tell whether all of it came in time."""
    stream: InputStream = environ["wsgi.input"]
    stream = getattr(stream, "reader", stream)  # gunicorn's own counts a wait as a failure
    length = int(environ["CONTENT_LENGTH"])
    return _receive(server_socket, stream.read, length, deadline) == length


def _receive(
    connection: socket.socket, read: Callable[[int], bytes], most: int, deadline: float
) -> int:
    """Read until the deadline or the end; return how many bytes came."""
    poll, timeout, received = select.poll(), connection.gettimeout(), 0
    poll.register(connection, select.POLLIN)
    connection.settimeout(0)
    while received < most and (seconds := deadline - time.monotonic()) > 0:
        data = None
        with suppress(OSError, TypeError):  # nothing has come; cheroot takes its length
            data = read(min(most - received, _CHUNK))
        if data is None:
            poll.poll(seconds * 1000)
        elif data:
            received += len(data)
        else:
            break
    connection.settimeout(timeout)
    return received


def _end(connection: socket.socket, deadline: float) -> None:
    """End a connection so that the client gets the answer (RFC 9112 section 9.6)."""
    with connection, suppress(OSError):  # the client has hung up
        connection.shutdown(socket.SHUT_WR)
        _receive(connection, connection.recv, sys.maxsize, deadline)
        connection.shutdown(socket.SHUT_RDWR)
        # The server must not take what is left of the body for another request.
        while connection.recv(_CHUNK):
            pass
