"""Programs that the tests start, and plain HTTP to talk to them."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from helpers import Answer

# Where a program listens: host and port, or the path of a Unix socket.
Listener = tuple[str, int] | str


def free_port() -> int:
    """Return a port for a program that cannot choose one itself and say which.

    No connection holds it at any address of either family, as those of past clients do.
    """
    both = socket.has_dualstack_ipv6()
    host, family = ("::", socket.AF_INET6) if both else ("127.0.0.1", socket.AF_INET)
    with socket.create_server((host, 0), family=family, dualstack_ipv6=both) as listener:
        port: int = listener.getsockname()[1]
        return port


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
        self.putrequest(method, path)
        for name, value in headers:
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


@contextmanager
def running(
    command: Sequence[str | os.PathLike[str]],
    listener: Listener,
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program, wait until it accepts connections, end it and whatever it started.

    What it prints is in `log`, and in the failure where it does not start.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_it_listens(process, listener, log)
        yield process
    finally:
        _end(process)


def _wait_until_it_listens(
    process: "subprocess.Popen[bytes]", listener: Listener, log: Path
) -> None:
    deadline = time.monotonic() + 30
    while True:
        connection = Connection(listener)
        try:
            connection.connect()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{process.args!r} does not run:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
        else:
            return
        finally:
            connection.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.terminate()
        # A worker that still boots does not hear it; its master waits for it.
        process.wait(6)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
    finally:
        # Children that outlive their parent are ours too: the session is our own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
