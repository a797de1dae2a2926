"""Real servers, real processes, real sockets."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("maintenance-wsgi")
EXEMPT = {"X-Forwarded-For": "203.0.113.66, 203.0.113.7"}
STRANGER = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}


class UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


Connect = Callable[[], HTTPConnection]


@contextmanager
def running(command: list[str], var: Path, sock: Path | None) -> Iterator[Connect]:
    """Start a server, wait until it says where it listens, end it afterwards."""
    environ = {**os.environ, "MAINTENANCE_DIR": str(var), "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, env=environ, cwd=HERE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        heard = next((line for line in process.stderr if "Listening at:" in line), "")
        assert heard, "the server did not start"
        if sock is not None:
            yield lambda: UnixConnection(str(sock))
        else:
            found = re.search(r"(\d+)(?: \(\d+\))?$", heard.strip())
            assert found is not None
            port = int(found[1])
            yield lambda: HTTPConnection("127.0.0.1", port, timeout=10)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)


def gunicorn(bind: str) -> list[str]:
    # A worker that is ended while it boots does not hear of it; gunicorn then kills it in time.
    options = ["--workers=2", "--threads=2", "--graceful-timeout=3", f"--bind={bind}"]
    return [sys.executable, "-m", "gunicorn", *options, "live_shop:application"]


def waitress(listen: str) -> list[str]:
    return [sys.executable, "live_shop.py", listen]


@pytest.fixture(params=["gunicorn-tcp", "gunicorn-unix", "waitress-tcp", "waitress-unix"])
def connect(
    request: pytest.FixtureRequest, var: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connect]:
    sock = tmp_path_factory.mktemp("s") / "s"
    commands = {
        "gunicorn-tcp": (gunicorn("127.0.0.1:0"), None),
        "gunicorn-unix": (gunicorn(f"unix:{sock}"), sock),
        "waitress-tcp": (waitress("listen=127.0.0.1:0"), None),
        "waitress-unix": (waitress(f"unix_socket={sock}"), sock),
    }
    command, path = commands[request.param]
    with running(command, var, path) as made:
        yield made


def ask(
    connect: Connect, path: str = "/", method: str = "GET", **headers: str
) -> tuple[HTTPResponse, bytes]:
    connection = connect()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def marks(connect: Connect, workers: int) -> set[str | None]:
    """Ask until as many workers have answered; return what they said of maintenance."""
    seen: dict[bytes, set[str | None]] = {}
    for _ in range(500):
        answer, pid = ask(connect, "/pid")
        seen.setdefault(pid, set()).add(answer.getheader("X-Maintenance-Mode"))
        if len(seen) == workers:
            break
    assert len(seen) == workers
    return set().union(*seen.values())


def test_live(connect: Connect, var: Path, request: pytest.FixtureRequest) -> None:
    mode = MaintenanceMode(var)
    workers = 2 if "gunicorn" in request.node.name else 1
    for _ in range(3):
        mode.enable()
        assert marks(connect, workers) == {"exempt"}
        mode.disable()
        assert marks(connect, workers) == {None}
    subprocess.run([COMMAND, "--dir", var, "enable", "-q", "--ip=203.0.113.7"], check=True)
    assert_only_the_exempt_client_gets_in(connect)
    subprocess.run([COMMAND, "--dir", var, "allow-ips", "-q", "198.51.100.1"], check=True)
    assert ask(connect, **EXEMPT)[0].status == 503
    assert ask(connect, **STRANGER)[0].status == 200


def assert_only_the_exempt_client_gets_in(connect: Connect) -> None:
    blocked, page = ask(connect, **STRANGER)
    assert blocked.status == 503
    assert blocked.getheader("Retry-After") == "300"
    assert int(blocked.getheader("Content-Length") or 0) == len(page)
    assert ask(connect)[0].status == 503
    headed, nothing = ask(connect, method="HEAD", **STRANGER)
    assert (headed.status, nothing) == (503, b"")
    assert headed.getheader("Content-Length") == str(len(page))
    admitted, body = ask(connect, "/stream", **EXEMPT)
    assert admitted.status == 200
    assert admitted.getheader("Cache-Control") == "private, no-store"
    assert body.endswith(b"\n999\n")


def test_connection_survives_the_answer(connect: Connect, var: Path) -> None:
    MaintenanceMode(var).enable()
    connection = connect()
    for body in (b"", b"x" * 100_000, b""):
        connection.request("POST", "/", body=body)
        answer = connection.getresponse()
        assert answer.status == 503
        answer.read()
    connection.close()
