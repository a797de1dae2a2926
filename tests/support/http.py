"""Plain HTTP to talk to the servers that the tests start."""

import socket
from collections.abc import Iterable
from http.client import HTTPConnection

from tests.support.wsgi import Answer

# Where a program listens: host and port, or the path of a Unix socket.
Listener = tuple[str, int] | str


class Connection(HTTPConnection):
    """Connects to a listener of either kind; over TCP from an address of one's choice."""

    def __init__(self, listener: Listener, source: str | None = None, timeout: float = 20) -> None:
        host, port = ("localhost", 80) if isinstance(listener, str) else listener
        super().__init__(host, port, timeout, source_address=(source, 0) if source else None)
        self.path = listener if isinstance(listener, str) else None

    def connect(self) -> None:
        if self.path is None:
            super().connect()
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.path)

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Answer:
        """Send a request with just these headers, doubled ones too; return the answer."""
        fields = list(headers)
        self.putrequest(method, path, skip_host="Host" in dict(fields))
        for name, value in fields:
            self.putheader(name, value)
        if body is not None:
            self.putheader("Content-Length", str(len(body)))
        self.endheaders(body)
        response = self.getresponse()
        status = f"{response.status} {response.reason}"
        return Answer(status, response.getheaders(), response.read())


def ask(
    listener: Listener,
    path: str = "/",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    *,
    body: bytes | None = None,
    source: str | None = None,
) -> Answer:
    """Send one request over a connection of its own."""
    connection = Connection(listener, source)
    try:
        return connection.ask(path, method, headers, body)
    finally:
        connection.close()
