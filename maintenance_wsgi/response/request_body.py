"""The body of a blocked request, which holds its worker for two seconds at most.

The body is read, because a client that is still sending when its connection is closed may not see
the answer. But it is read only if the server shows the socket: the server's own stream would wait
for a client that stops sending.
"""

import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from wsgiref.types import InputStream, WSGIEnvironment

from werkzeug.wsgi import ClosingIterator

_SECONDS = 2
_CHUNK = 64 * 1024  # bytes


def read_body(environ: WSGIEnvironment) -> Callable[[list[bytes]], Iterable[bytes]]:
    """Read the request's body, as far as it comes in time.

    Returns:
        What makes the answer of its parts. If the body was not read to its end, this answer ends
        the connection.
    """
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    if environ.get("CONTENT_LENGTH") in (None, "", "0") and not chunked:
        return list
    deadline = time.monotonic() + _SECONDS
    # The server shows no socket, the client has hung up, or the length is not a number.
    with suppress(Exception):
        server_socket = _server_socket(environ)
        if server_socket is None:
            connection = _uwsgi_connection(environ, deadline)
        # Unless they wait, the servers' readers of chunks take a part of a chunk's size for it all.
        elif not chunked and _is_read(environ, server_socket, deadline):
            return list
        else:
            connection = socket.socket(fileno=os.dup(server_socket.fileno()))
        if time.monotonic() >= deadline:
            # Servers read what is left: cheroot before the answer, gunicorn after it.
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


def _uwsgi_connection(environ: WSGIEnvironment, deadline: float) -> socket.socket:
    """Read the body but for its end, which may be in uWSGI's buffer; return the connection."""
    uwsgi = sys.modules["uwsgi"]
    connection = socket.socket(fileno=os.dup(uwsgi.connection_fd()))
    length = int(environ.get("CONTENT_LENGTH") or 0)
    _receive(connection, connection.recv, length - uwsgi.buffer_size, deadline)
    return connection


def _is_read(environ: WSGIEnvironment, server_socket: socket.socket, deadline: float) -> bool:
    """Read a body of known length; tell whether all of it came in time."""
    stream: InputStream = environ["wsgi.input"]
    stream = getattr(stream, "reader", stream)  # gunicorn's own remembers a wait as a failure
    length, timeout = int(environ["CONTENT_LENGTH"]), server_socket.gettimeout()
    received = _receive(server_socket, stream.read, length, deadline)
    server_socket.settimeout(timeout)
    return received == length


def _receive(
    connection: socket.socket, read: Callable[[int], bytes], most: int, deadline: float
) -> int:
    """Read without waiting, until the deadline or the end; return how many bytes came."""
    connection.settimeout(0)
    poll, received = select.poll(), 0
    poll.register(connection, select.POLLIN)
    while received < most and (seconds := deadline - time.monotonic()) > 0:
        data = None
        with suppress(OSError, TypeError):  # nothing has come; cheroot counts its bytes
            data = read(min(most - received, _CHUNK))
        if data is None:
            poll.poll(seconds * 1000)
        elif data:
            received += len(data)
        else:
            break
    return received


def _end(connection: socket.socket, deadline: float) -> None:
    """End a connection so that the client gets the answer (RFC 9112 section 9.6)."""
    with connection, suppress(OSError):  # the client has hung up
        connection.shutdown(socket.SHUT_WR)
        _receive(connection, connection.recv, sys.maxsize, deadline)
        connection.shutdown(socket.SHUT_RDWR)
        # The server must not take what is left of the body for another request.
        deque(iter(partial(connection.recv, _CHUNK), b""), maxlen=0)
