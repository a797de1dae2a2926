"""A shop that is dead, slow or broken, and clients that are."""

import os
import queue
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from tests.live.front_proxy.shops import EXAMPLE, MEGABYTE, Place, exchange, front_proxy
from tests.support.http import Connection, ask
from tests.support.processes import PROGRAMS, held_port, run, running, unmeasured
from tests.support.tls import make_certificate

pytestmark = pytest.mark.servers

OK = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: shop\r\n"
LENGTH = OK + b"Content-Length: 10\r\n\r\n"
MUCH = OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MANY = CHUNKS + b"C350\r\n" + b"x" * 50_000 + b"\r\n"
FAILURES = {
    "/garbage": b"\x00 what?\r\n\r\n",
    "/nothing": b"",
    "/not-even-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/too-long": OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "/early-hints": b"HTTP/1.1 103 Early Hints\r\n\r\n" + LENGTH + b"whole body",
    "/odd-name": OK + b"X(: a\r\nContent-Length: 10\r\n\r\nwhole body",
    "/nul": OK + b"X: a\0\r\nContent-Length: 10\r\n\r\nwhole body",
    "/odd-reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 10\r\n\r\nwhole body",
    "/length-and-chunks": CHUNKS[:-2] + b"Content-Length: 50\r\n\r\nA\r\nwhole body\r\n0\r\n\r\n",
    "/two-lengths": OK + b"Content-Length: 10\r\nContent-Length: 50\r\n\r\nwhole body",
    "/same-lengths": OK + b"Content-Length: 10\r\nContent-Length: 10\r\n\r\nwhole body",
    "/listed-lengths": OK + b"Content-Length: 10, 10\r\n\r\nwhole body",
    "/endless-length": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nwhole body",
    "/negative-length": OK + b"Content-Length: -1\r\n\r\nwhole body",
    "/no-length": OK + b"Content-Length: ten\r\n\r\nwhole body",
    "/two-codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "/other-coding": OK + b"Transfer-Encoding: gzip\r\n\r\nwhole body",
    "/short-chunk": CHUNKS + b"A\r\nhalf",
    "/slow": b"",
    "/slow-body": LENGTH + b"half",
}
HALVES = {
    "/cut-length": MUCH,
    "/cut-chunk": MANY + b"C350\r\nhalf",
    "/cut-between-chunks": MANY,
    "/stalled-length": MUCH,
    "/stalled-chunk": MANY,
    "/reset-chunk": MANY,
    "/reset-without-length": b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 50_000,
}
ODDITIES = {
    "/folded": OK + b"X: a\r\n b\r\nContent-Length: 10\r\n\r\nwhole body",
    "/compressed": OK + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\nwhole body",
    "/nominated": OK + b"Connection: X-Secret\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n",
}
ANSWERS = FAILURES | HALVES | ODDITIES


class BrokenShop(StreamRequestHandler):
    passed_on: queue.Queue[bytes] = queue.Queue()
    gone: queue.Queue[bytes] = queue.Queue()

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        if path == "/endless":
            self.send_without_end()
        if path == "/late-chunk":
            self.wfile.write(CHUNKS + b"5\r\nfirst\r\n")
            self.wfile.write(self.passed_on.get(timeout=10))
            return
        self.wfile.write(ANSWERS.get(path, LENGTH + b"whole body"))
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


@contextmanager
def broken_shop(context: ssl.SSLContext | None = None) -> Iterator[Place]:
    with Resetting(("127.0.0.1", 0), BrokenShop) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def broken(folder: Path, shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with broken_shop() as place, front_proxy(folder, place, SHOP_TIMEOUT="1") as front:
        yield front


@pytest.mark.parametrize("path", ["/whole", *FAILURES])
def test_failure_of_the_shop_is_told(broken: Place, folder: Path, path: str) -> None:
    code = 200 if path == "/whole" else 504 if path.startswith("/slow") else 502
    connection = Connection(broken)
    with (folder / "gunicorn.log").open() as log:
        log.seek(0, os.SEEK_END)
        for _ in range(2):
            assert connection.ask(path).code == code
        assert connection.ask("/whole").body == b"whole body"
        logged = [line for line in log if not line.startswith("[")]  # those are gunicorn's
    connection.close()
    assert len(logged) == (0 if code == 200 else 2), logged


def test_folded_field_becomes_one_line(broken: Place) -> None:
    answer = ask(broken, "/folded")
    assert (answer.code, answer["X"], answer.body) == (200, "a b", b"whole body")


def test_compressed_answer_is_passed_on_as_it_is(broken: Place) -> None:
    answer = ask(broken, "/compressed")
    assert (answer["Content-Encoding"], answer.body) == ("gzip", b"whole body")


def test_field_that_the_shop_nominates_stops_at_the_proxy(broken: Place) -> None:
    answer = ask(broken, "/nominated")
    assert (answer.code, answer.all("X-Secret")) == (200, [])


def test_chunk_is_passed_on_before_the_next_one_comes(broken: Place) -> None:
    connection = Connection(broken)
    connection.request("GET", "/late-chunk")
    answer = connection.getresponse()
    assert answer.read(5) == b"first"
    BrokenShop.passed_on.put(b"4\r\nlast\r\n0\r\n\r\n")
    assert answer.read() == b"last"
    connection.close()


def test_sigterm_lets_a_request_finish(folder: Path, shop_var: Path) -> None:
    command, log = [PROGRAMS / "gunicorn"], folder / "gunicorn.log"
    with broken_shop() as shop, held_port() as port:
        place = "127.0.0.1", port
        variables = {"BIND": f"127.0.0.1:{port}", "MAINTENANCE_DIR": str(shop_var)}
        environ = unmeasured(SHOP=f"http://127.0.0.1:{shop[1]}", SHOP_TIMEOUT="5", **variables)
        with running(command, place, log, cwd=EXAMPLE, env=environ) as process:
            connection = Connection(place)
            connection.request("GET", "/late-chunk")
            answer = connection.getresponse()
            process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            BrokenShop.passed_on.put(b"4\r\nlast\r\n0\r\n\r\n")
            assert answer.read() == b"firstlast"
            # If the other worker was still starting, it missed the signal, and gunicorn ends late.
            assert process.wait(30) == 0
            connection.close()


def test_certificate_of_the_shop_is_checked(folder: Path, shop_var: Path, tmp_path: Path) -> None:
    assert shop_var.is_dir()
    certificate, key = make_certificate(tmp_path, "DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with broken_shop(context) as shop:
        url = f"https://localhost:{shop[1]}"
        for authorities, code in ({}, 502), ({"SSL_CERT_FILE": str(certificate)}, 200):
            with front_proxy(folder, shop, SHOP=url, **authorities) as place:
                assert ask(place, "/whole").code == code


def test_date_and_server_are_told_once(broken: Place) -> None:
    answer = ask(broken, "/whole")
    assert answer["Server"] == "gunicorn"
    assert "2026 00:00:00" not in answer["Date"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "no_such_shop.invalid"])
def test_dead_shop(folder: Path, shop_var: Path, host: str) -> None:
    assert shop_var.is_dir()
    with held_port() as port, front_proxy(folder, (host, port)) as place:
        assert ask(place, method="POST", body=b"x" * MEGABYTE).code == 502
        assert ask(place, method="HEAD").body == b""


@pytest.mark.parametrize("path", HALVES)
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
        pytest.param({}, "SHOP: '' is not a valid shop URL", id="no-shop"),
        pytest.param({"SHOP": "127.0.0.1:80"}, "SHOP: '127.0.0.1:80' is not", id="no-scheme"),
        pytest.param({"SHOP": "ftp://shop"}, "SHOP: 'ftp://shop' is not", id="scheme"),
        pytest.param({"SHOP": "http://"}, "SHOP: 'http://' is not", id="no-host"),
        pytest.param({"SHOP": "http://shop/de"}, "SHOP: 'http://shop/de' is not", id="path"),
        pytest.param({"SHOP": "http://shop:99999"}, "SHOP: 'http://shop:99999' is not", id="port"),
        pytest.param({"SHOP": "http://shop:0"}, "SHOP: 'http://shop:0' is not", id="port-zero"),
        pytest.param({"SHOP": "http://[::::]"}, "SHOP: 'http://[::::]' is not", id="ipv6"),
        pytest.param({"SHOP_TIMEOUT": "1m"}, "SHOP_TIMEOUT: '1m' is not a valid", id="timeout"),
        pytest.param({"SHOP_TIMEOUT": "0"}, "SHOP_TIMEOUT: '0' is not a valid", id="no-time"),
        pytest.param({"MAINTENANCE_DR": "x"}, "MAINTENANCE_DR: unknown option", id="mistyped"),
        pytest.param({"MAINTENANCE_TRUSTED_PROXIES": "*"}, "trusted_proxies: '*'", id="trust"),
    ],
)
def test_bad_configuration_is_one_line(variables: dict[str, str], line: str) -> None:
    given = {"SHOP": "http://127.0.0.1:8081"} if "no-shop" not in line and variables else {}
    environ = unmeasured() | {"BIND": "127.0.0.1:0"} | given | variables
    finished = run(PROGRAMS / "gunicorn", cwd=EXAMPLE, env=environ, code=1)
    assert finished.stderr.startswith("front_proxy: ")
    assert line in finished.stderr
    assert finished.stderr.count("\n") == 1
