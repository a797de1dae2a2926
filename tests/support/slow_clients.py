"""Clients that begin to send a body, and stop or hardly go on."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from socket import socket

from tests.support.http import Connection, Listener
from tests.support.processes import meanwhile

# The last field of the request, and what is sent of the body at once.
SLOW_BODIES = {
    "silent": b"Content-Length: 1000000\r\n\r\n",
    "dripping": b"Content-Length: 1000000\r\n\r\nx",
    "stopped": b"Transfer-Encoding: chunked\r\n\r\n400\r\nx",
}


@contextmanager
def slow_clients(kind: str, listener: Listener, count: int = 4) -> Iterator[list[socket]]:
    """Send requests whose bodies do not end; one that drips gets 2 bytes a second."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            connection = Connection(listener)
            stack.callback(connection.close)
            connection.connect()
            head = b"POST /upload HTTP/1.1\r\nHost: shop.example\r\n"
            connection.sock.sendall(head + SLOW_BODIES[kind])
            sockets.append(connection.sock)
        if kind == "dripping":
            stack.enter_context(meanwhile(lambda: _drip(sockets)))
        yield sockets


def _drip(sockets: list[socket]) -> None:
    for sock in sockets:
        with suppress(OSError):  # the server has ended this connection
            sock.sendall(b"x")
    time.sleep(0.5)
