"""Blocked requests whose bodies do not end hold no worker for long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from socket import SHUT_WR, socket

import pytest

from tests.live.servers.test_servers import (
    EXEMPT,
    SERVERS,
    STRANGER,
    Live,
    started,
)
from tests.support.http import Connection, ask
from tests.support.processes import make_open_folder, wait_for
from tests.support.slow_clients import SLOW_BODIES, slow_clients

pytestmark = pytest.mark.servers

# Two seconds are promised; a busy machine needs some more.
MOST = 4
# The options with which a server answers four requests at once, if it needs any.
AT_ONCE = {
    "gunicorn-sync": "--workers=4",
    "gunicorn-gthread": "--workers=1 --threads=4",
    "gunicorn-preload": "--workers=1 --threads=4",
    "cheroot": "--threads=4",
    "granian": "--workers=1 --blocking-threads=4",
}
# These take the whole body before they call the application, or before they send its answer.
BUFFERING = {"waitress", "mod_wsgi"}
ANSWERING = [name for name in SERVERS if name not in BUFFERING]
REACHING = b"GET /reached HTTP/1.1\r\nHost: shop.example\r\n\r\n"
REACHED = b"The shop was reached"
REACHABLE = {"MAINTENANCE_EXEMPT_PATHS": "/reached"}


@pytest.fixture(scope="module", params=SERVERS)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """Start a server that answers four requests at once; maintenance is on."""
    server = SERVERS[request.param]
    server = replace(server, command=f"{server.command} {AT_ONCE.get(request.param, '')}")
    with (
        make_open_folder() as folder,
        started(server, "tcp", folder, "live_shop:application", **REACHABLE) as live,
    ):
        live.mode.enable(exemptions=["203.0.113.7"])
        yield live


@pytest.mark.parametrize("kind", SLOW_BODIES)
def test_other_visitors_are_answered(kind: str, live: Live) -> None:
    with slow_clients(kind, live.listener):
        began = time.monotonic()
        assert ask(live.listener, "/", "GET", STRANGER).code == 503
        assert ask(live.listener, "/", "GET", EXEMPT).code == 200
        assert time.monotonic() - began < MOST


@pytest.mark.parametrize("kind", SLOW_BODIES)
@pytest.mark.parametrize("live", ANSWERING, indirect=True)
def test_slow_client_gets_the_answer(kind: str, live: Live) -> None:
    began = time.monotonic()
    with slow_clients(kind, live.listener) as sockets:
        for sock in sockets:
            with HTTPResponse(sock) as answer:
                answer.begin()
                assert (answer.status, answer.getheader("X-Maintenance-Mode")) == (503, "on")
                assert len(answer.read()) == int(answer.getheader("Content-Length", ""))
        assert time.monotonic() - began < MOST


def all_of(sock: socket) -> bytes:
    """Read until the server ends the connection, however it does."""
    received = b""
    with suppress(ConnectionError):
        while piece := sock.recv(65536):
            received += piece
    return received


@contextmanager
def reaching_the_shop_once(live: Live) -> Iterator[None]:
    """Let nothing of the block reach the shop, and then one request that may."""
    log = live.var.parent / "log"
    before = log.read_bytes().count(REACHED)
    yield
    assert ask(live.listener, "/reached").code == 200
    wait_for(lambda: log.read_bytes().count(REACHED) > before)
    assert log.read_bytes().count(REACHED) == before + 1


@pytest.mark.parametrize("kind", SLOW_BODIES)
@pytest.mark.parametrize("live", ANSWERING, indirect=True)
def test_rest_of_a_body_is_not_a_request(kind: str, live: Live) -> None:
    with reaching_the_shop_once(live), slow_clients(kind, live.listener, 1) as [sock]:
        assert sock.recv(13) == b"HTTP/1.1 503 "
        with suppress(OSError):  # the server has ended this connection
            sock.sendall(b"\r\n\r\n" + REACHING * 2)
            sock.shutdown(SHUT_WR)
        all_of(sock)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: %d\r\n\r\n%b" % (len(REACHING), REACHING),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(REACHING), REACHING),
    ],
    ids=["length", "chunks"],
)
def test_body_is_not_a_request(body: bytes, live: Live) -> None:
    connection = Connection(live.listener)
    connection.connect()
    last = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
    with reaching_the_shop_once(live):
        connection.sock.sendall(b"POST / HTTP/1.1\r\nHost: shop.example\r\n" + body + last)
        assert all_of(connection.sock).startswith(b"HTTP/1.1 503 ")
    connection.close()


def test_chunks_are_not_requests_to_uwsgi(tmp_path: Path) -> None:
    """With this option it reads no chunks, and the connection is there for another request."""
    command = SERVERS["uwsgi"].command.replace("--http-socket", "--http11-socket")
    server = replace(SERVERS["uwsgi"], command=command)
    with started(server, "tcp", tmp_path, "live_shop:application", **REACHABLE) as live:
        live.mode.enable()
        connection = Connection(live.listener)
        connection.connect()
        with reaching_the_shop_once(live):
            head = b"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sock.sendall(head)
            assert connection.sock.recv(13) == b"HTTP/1.1 503 "
            connection.sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(REACHING), REACHING))
            assert b"HTTP/1.1" not in all_of(connection.sock)
        connection.close()
