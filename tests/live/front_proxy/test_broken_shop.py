"""A shop that is dead, slow or broken, and clients that are."""

import os
import queue
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from tests.live.front_proxy.shops import (
    EXAMPLE,
    MEGABYTE,
    Place,
    exchange,
    front_proxy,
)
from tests.support.http import Connection, ask
from tests.support.processes import (
    PROGRAMS,
    free_port,
    run,
    unmeasured,
)

pytestmark = pytest.mark.servers

OK = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: shop\r\n"

LENGTH = OK + b"Content-Length: 10\r\n\r\n"

MUCH = OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000

CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"

MANY = CHUNKS + b"C350\r\n" + b"x" * 50_000 + b"\r\n"

BROKEN = {
    "/garbage": b"\x00 what?\r\n\r\n",
    "/nothing": b"",
    "/not-even-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/too-long": OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "/early-hints": b"HTTP/1.1 103 Early Hints\r\n\r\n" + LENGTH + b"whole body",
    "/folded": OK + b"X: a\r\n b\r\nContent-Length: 10\r\n\r\nwhole body",
    "/nul": OK + b"X: a\0\r\nContent-Length: 10\r\n\r\nwhole body",
    "/odd-reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 10\r\n\r\nwhole body",
    "/length-and-chunks": CHUNKS[:-2] + b"Content-Length: 50\r\n\r\nA\r\nwhole body\r\n0\r\n\r\n",
    "/two-lengths": OK + b"Content-Length: 10\r\nContent-Length: 50\r\n\r\nwhole body",
    "/negative-length": OK + b"Content-Length: -1\r\n\r\nwhole body",
    "/no-length": OK + b"Content-Length: ten\r\n\r\nwhole body",
    "/other-coding": OK + b"Transfer-Encoding: gzip\r\n\r\nwhole body",
    "/short-chunk": CHUNKS + b"A\r\nhalf",
    "/cut-length": MUCH,
    "/cut-chunk": MANY + b"C350\r\nhalf",
    "/cut-between-chunks": MANY,
    "/stalled-length": MUCH,
    "/stalled-chunk": MANY,
    "/reset-chunk": MANY,
    "/reset-without-length": b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 50_000,
    "/slow": b"",
    "/slow-body": LENGTH + b"half",
}


class BrokenShop(StreamRequestHandler):
    passed_on: queue.Queue[bytes] = queue.Queue()
    gone: queue.Queue[bytes] = queue.Queue()

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        if path == "/endless":
            self.send_without_end()
        self.wfile.write(BROKEN.get(path, LENGTH + b"whole body"))
        if path.startswith(("/slow", "/stalled")):
            self.rfile.read()  # until the proxy gives up
        if path.startswith("/reset"):
            self.passed_on.get(timeout=10)  # the reset would overtake what was sent
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send_without_end(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
            while True:
                self.wfile.write(bytes(65536))
        except OSError:
            self.gone.put(b"endless")


class Resetting(ThreadingTCPServer):
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the farewell that would make an end of a reset


@pytest.fixture(scope="module")
def broken(folder: Path, shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with Resetting(("127.0.0.1", 0), BrokenShop) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            place = "127.0.0.1", server.server_address[1]
            with front_proxy(folder, place, SHOP_TIMEOUT="1") as front:
                yield front
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/whole", 200),
        ("/garbage", 502),
        ("/nothing", 502),
        ("/not-even-http", 502),
        ("/too-long", 502),
        ("/early-hints", 502),
        ("/folded", 502),
        ("/nul", 502),
        ("/odd-reason", 502),
        ("/length-and-chunks", 502),
        ("/two-lengths", 502),
        ("/negative-length", 502),
        ("/no-length", 502),
        ("/other-coding", 502),
        ("/short-chunk", 502),
        ("/slow-body", 502),
        ("/slow", 504),
    ],
)
def test_failure_of_the_shop_is_told(broken: Place, folder: Path, path: str, code: int) -> None:
    connection = Connection(broken)
    with (folder / "gunicorn.log").open() as log:
        log.seek(0, os.SEEK_END)
        for _ in range(2):
            assert connection.ask(path).code == code
        assert connection.ask("/whole").body == b"whole body"
        logged = [line for line in log if not line.startswith("[")]  # those are gunicorn's
    connection.close()
    assert len(logged) == (0 if code == 200 else 2), logged


def test_date_and_server_are_told_once(broken: Place) -> None:
    answer = ask(broken, "/whole")
    assert answer["Server"] == "gunicorn"
    assert "2026 00:00:00" not in answer["Date"]


def test_dead_shop(folder: Path, shop_var: Path) -> None:
    assert shop_var.is_dir()
    with front_proxy(folder, ("127.0.0.1", free_port())) as place:
        assert ask(place, method="POST", body=b"x" * MEGABYTE).code == 502
        assert ask(place, method="HEAD").body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/cut-length",
        "/cut-chunk",
        "/cut-between-chunks",
        "/stalled-length",
        "/stalled-chunk",
        "/reset-chunk",
        "/reset-without-length",
    ],
)
def test_half_an_answer_is_cut_off_too(broken: Place, path: str) -> None:
    with socket.create_connection(broken, timeout=20) as connection:
        # The answer to the second must not be taken for the rest of the first.
        requests = [f"GET {each} HTTP/1.1\r\nHost: a\r\n\r\n" for each in (path, "/whole")]
        connection.sendall("".join(requests).encode())
        answer = connection.recv(65536)
        if "reset" in path:
            BrokenShop.passed_on.put(answer)
        answer += b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1") == 1
    assert 0 < answer.count(b"x") <= 50_000
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("framing", "code"),
    [
        pytest.param(b"Content-Length: 100\r\n\r\nhalf", b"400", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf", b"400", id="chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400", id="no-chunk"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"501", id="gzip"),
    ],
)
def test_invalid_request_body_is_refused(broken: Place, framing: bytes, code: bytes) -> None:
    answer = exchange(broken, b"POST /slow HTTP/1.1\r\nHost: a\r\n" + framing)
    assert answer.startswith(b"HTTP/1.1 " + code)


def test_client_that_leaves_ends_the_shops_work(broken: Place) -> None:
    connection = Connection(broken)
    connection.request("GET", "/endless")
    assert connection.getresponse().read(MEGABYTE) == bytes(MEGABYTE)
    connection.close()
    assert BrokenShop.gone.get(timeout=10) == b"endless"
    assert ask(broken, "/whole").code == 200


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        pytest.param({}, "SHOP: '' is no place of a shop", id="no-shop"),
        pytest.param({"SHOP": "127.0.0.1:80"}, "SHOP: '127.0.0.1:80' is no place", id="no-scheme"),
        pytest.param({"SHOP": "ftp://shop"}, "SHOP: 'ftp://shop' is no place", id="scheme"),
        pytest.param({"SHOP": "http://"}, "SHOP: 'http://' is no place", id="no-host"),
        pytest.param({"SHOP": "http://shop/de"}, "SHOP: 'http://shop/de' is no place", id="path"),
        pytest.param({"SHOP": "http://shop:99999"}, "Port out of range", id="port"),
        pytest.param({"SHOP_TIMEOUT": "1m"}, "SHOP_TIMEOUT: '1m' is no number", id="timeout"),
        pytest.param({"SHOP_TIMEOUT": "0"}, "SHOP_TIMEOUT: '0' is no number", id="no-time"),
        pytest.param({"MAINTENANCE_DIRECTORY": "x"}, "MAINTENANCE_DIRECTORY", id="unknown"),
        pytest.param({"MAINTENANCE_TRUSTED_PROXIES": "*"}, "trusted_proxies: '*'", id="trust"),
    ],
)
def test_bad_configuration_is_one_line(variables: dict[str, str], line: str) -> None:
    given = {"SHOP": "http://127.0.0.1:8081"} if "no-shop" not in line and variables else {}
    environ = unmeasured() | {"BIND": f"127.0.0.1:{free_port()}"} | given | variables
    finished = run(PROGRAMS / "gunicorn", cwd=EXAMPLE, env=environ, code=1)
    assert finished.stderr.startswith("front_proxy: ")
    assert line in finished.stderr
    assert finished.stderr.count("\n") == 1
