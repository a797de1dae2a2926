"""The front proxy, started as its README says, before a real PHP shop that shares its files."""

import json
import os
import queue
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Literal

import pytest
from helpers import Answer, call, load_cases, make_environ, shop, skip_without, unmeasured
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress
from servers import Connection, ask, free_port, running
from urllib3.util import SKIP_HEADER

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode

pytestmark = pytest.mark.servers

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "magento_front_proxy"
PHP_SHOP = HERE / "php_shop"
PROGRAMS = Path(sys.executable).parent
Place = tuple[str, int]

# All of 127.0.0.0/8 is this machine, so that each of these has an address of its own.
SHOP_SEES = "127.0.0.1"  # where the front proxy connects from
DEVELOPER = "127.0.0.2"
STRANGER = "127.0.0.3"
TLS_PROXY = "127.0.0.9"
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("front")


@pytest.fixture(scope="module")
def shop_var(room: Path) -> Path:
    directory = room / "var"
    directory.mkdir()
    return directory


@pytest.fixture
def mode(shop_var: Path) -> Iterator[MaintenanceMode]:
    mode = MaintenanceMode(shop_var)
    yield mode
    mode.disable(exemptions=[])


@contextmanager
def php_shop(room: Path, **env: str) -> Iterator[Place]:
    skip_without(shutil.which("php"), "Debian's php-cli")
    place = "127.0.0.1", free_port()
    options = ["-d", "post_max_size=0", "-d", "enable_post_data_reading=0"]
    command = ["php", *options, "-S", f"{place[0]}:{place[1]}", "index.php"]
    variables = unmeasured() | {"SHOP_VAR": str(room / "var"), "PHP_CLI_SERVER_WORKERS": "3"} | env
    with running(command, place, room / "php.log", cwd=PHP_SHOP, env=variables):
        yield place


@contextmanager
def front_proxy(
    room: Path, behind: Place, *, address: str = "127.0.0.1", **env: str
) -> Iterator[Place]:
    port = free_port()
    bind = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    variables = {"SHOP": f"http://{behind[0]}:{behind[1]}", "BIND": bind}
    variables |= {"MAINTENANCE_DIR": str(room / "var"), "PYTHONDONTWRITEBYTECODE": "1"}
    environ = unmeasured() | variables | env
    place = "127.0.0.1", port
    with running([PROGRAMS / "gunicorn"], place, room / "gunicorn.log", cwd=EXAMPLE, env=environ):
        yield place


@pytest.fixture(scope="module")
def php(room: Path, shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with php_shop(room) as place:
        yield place


@pytest.fixture(scope="module")
def front(room: Path, php: Place) -> Iterator[Place]:
    with front_proxy(room, php, MAINTENANCE_TRUSTED_PROXIES=TLS_PROXY) as place:
        yield place


def exchange(place: Place, request: bytes) -> bytes:
    """Send bytes, and no more; return all that comes."""
    with socket.create_connection(place, timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def echo(answer: Answer) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(answer.body)
    return seen


def headers_at_shop(
    front: Place, *headers: tuple[str, str], source: str = STRANGER
) -> dict[str, str]:
    seen: dict[str, str] = echo(ask(front, headers=headers, source=source))["headers"]
    return seen


# What the shop is told of the client.


def test_host_is_kept(front: Place) -> None:
    request = b"GET / HTTP/1.1\r\nHost: shop.example:8443\r\nConnection: close\r\n\r\n"
    seen = exchange(front, request)
    assert b'"host":"shop.example:8443"' in seen
    assert b'"x-forwarded-host":"shop.example:8443"' in seen


def test_request_without_host_gets_one(front: Place) -> None:
    assert f'"host":"127.0.0.1:{front[1]}"'.encode() in exchange(front, b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    ("source", "sent", "seen"),
    [
        pytest.param(STRANGER, [], STRANGER, id="alone"),
        pytest.param(STRANGER, ["203.0.113.7"], f"203.0.113.7, {STRANGER}", id="forged"),
        pytest.param(STRANGER, ["1.1.1.1", "2.2.2.2"], f"1.1.1.1,2.2.2.2, {STRANGER}", id="twice"),
        pytest.param(TLS_PROXY, ["203.0.113.7"], f"203.0.113.7, {TLS_PROXY}", id="from-a-proxy"),
    ],
)
def test_peer_is_appended(front: Place, source: str, sent: list[str], seen: str) -> None:
    headers = [("X-Forwarded-For", value) for value in sent]
    assert headers_at_shop(front, *headers, source=source)["x-forwarded-for"] == seen


HEARSAY = [
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "444"),
    ("Forwarded", "for=203.0.113.7"),
    ("X-Real-IP", "203.0.113.7"),
]


@pytest.mark.parametrize("source", [STRANGER, "127.0.0.1"])
def test_hearsay_of_a_stranger_never_reaches_the_shop(front: Place, source: str) -> None:
    seen = headers_at_shop(front, *HEARSAY, source=source)
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == seen["host"]
    assert not {"x-forwarded-port", "forwarded", "x-real-ip"} & set(seen)


def test_hearsay_of_a_trusted_proxy_is_kept(front: Place) -> None:
    connection = ("Connection", "X-Forwarded-Proto, X-Forwarded-For, Forwarded")
    seen = headers_at_shop(
        front, connection, ("X-Forwarded-For", DEVELOPER), *HEARSAY, source=TLS_PROXY
    )
    assert [seen[name.lower()] for name, _ in HEARSAY] == [value for _, value in HEARSAY]
    assert seen["x-forwarded-for"] == f"{DEVELOPER}, {TLS_PROXY}"


def test_trusted_proxy_that_says_nothing_is_spoken_for(front: Place) -> None:
    seen = headers_at_shop(front, source=TLS_PROXY)
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", seen["host"])


def test_nominated_fields_stop_at_the_proxy(front: Place) -> None:
    seen = headers_at_shop(
        front,
        ("Connection", "X-Secret, x-forwarded-for,Host, TE"),
        ("X-Secret", "1"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Cookie", "a=b"),
    )
    assert not {"x-secret", "te", "keep-alive", "proxy-connection"} & set(seen)
    assert seen["connection"] == "close"
    assert seen["cookie"] == "a=b"
    assert seen["x-forwarded-for"] == STRANGER
    assert seen["host"] == f"127.0.0.1:{front[1]}"


@pytest.mark.parametrize("source", [STRANGER, TLS_PROXY])
def test_fields_that_a_shop_would_obey_are_dropped(front: Place, source: str) -> None:
    obeyed = ["Proxy", "X-Original-URL", "X-Rewrite-URL"]
    seen = headers_at_shop(front, *[(name, "/admin") for name in obeyed], source=source)
    assert not {name.lower() for name in obeyed} & set(seen)


@pytest.mark.parametrize(
    "sent", [{}, {"accept-encoding": "gzip", "user-agent": "a"}], ids=["neither", "both"]
)
def test_proxy_adds_no_preferences_of_its_own(front: Place, sent: dict[str, str]) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    answer = exchange(front, f"GET / HTTP/1.0\r\n{fields}\r\n".encode())
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]
    names = {"accept-encoding", "user-agent"} & set(seen)
    assert {name: seen[name] for name in names} == sent


@pytest.mark.parametrize("name", ["User-Agent", "Cookie"])
def test_value_that_urllib3_acts_on_is_refused(front: Place, name: str) -> None:
    assert ask(front, headers=[(name, SKIP_HEADER)]).code == 400


@pytest.mark.parametrize("source", [STRANGER, "127.0.0.1"])
def test_underscores_forge_nothing(front: Place, source: str) -> None:
    forged = [("X_Forwarded_For", "203.0.113.7"), ("SCRIPT_NAME", "/x")]
    assert headers_at_shop(front, *forged, source=source)["x-forwarded-for"] == source


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [
        pytest.param("unix:", {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}),
        pytest.param("", {"x-forwarded-for": "", "x-forwarded-proto": "http"}),
    ],
    ids=["trusted", "a-stranger"],
)
def test_unix_socket(
    room: Path, php: Place, tmp_path: Path, trusted: str, seen: dict[str, str]
) -> None:
    path = str(tmp_path / "s")
    variables = {"SHOP": f"http://{php[0]}:{php[1]}", "BIND": f"unix:{path}"}
    variables |= {"MAINTENANCE_DIR": str(room / "var"), "MAINTENANCE_TRUSTED_PROXIES": trusted}
    environ = unmeasured() | variables
    headers = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]
    with running([PROGRAMS / "gunicorn"], path, room / "unix.log", cwd=EXAMPLE, env=environ):
        found = echo(ask(path, headers=headers))["headers"]
    assert {name: found[name] for name in seen} == seen


def test_client_of_a_listener_for_both_families_is_plain_ipv4(room: Path, php: Place) -> None:
    with front_proxy(room, php, address="::", MAINTENANCE_TRUSTED_PROXIES=TLS_PROXY) as place:
        assert headers_at_shop(place)["x-forwarded-for"] == STRANGER
        trusted = headers_at_shop(place, ("X-Forwarded-Proto", "https"), source=TLS_PROXY)
        assert trusted["x-forwarded-proto"] == "https"


# Requests and answers as they are.


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        pytest.param("/", "/", id="root"),
        pytest.param("/caf%C3%A9%2Fx?q=%C3%A9", "/caf%C3%A9%2Fx?q=%C3%A9", id="escapes"),
        pytest.param("/a%2Fb", "/a%2Fb", id="slash"),
        pytest.param("/%e9;v=1,2/(x)?a=1&a=2&b[]=%2f", "/%e9;v=1,2/(x)?a=1&a=2&b[]=%2f", id="odd"),
        pytest.param("/%2e%2e/%25", "/%2e%2e/%25", id="percent"),
        pytest.param("//other.example/x", "//other.example/x", id="two-slashes"),
        pytest.param("http://shop.example/a%2Fb?q", "/a%2Fb?q", id="absolute-form"),
        pytest.param("http://shop.example?q", "/?q", id="absolute-form-of-the-root"),
        pytest.param("/healthz#/../admin", "/healthz", id="fragment"),
    ],
)
def test_path_reaches_the_shop_as_it_was_sent(front: Place, sent: str, seen: str) -> None:
    request = f"GET {sent} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = exchange(front, request.encode("latin-1"))
    assert f'"target":"{seen}"'.encode() in answer


@pytest.mark.parametrize(
    ("request_line", "host", "code"),
    [
        pytest.param("CONNECT evil.example:80", "evil.example:80", b"501", id="connect"),
        pytest.param("GET /", "shop.example/x@evil.example", b"400", id="host-with-a-path"),
        pytest.param("GET /", 'shop.example"><script>', b"400", id="host-with-markup"),
        pytest.param("GET /", "", b"400", id="no-host"),
        pytest.param("GET /", "a\r\nHost: b", b"400", id="two-hosts"),
        pytest.param("GET /", "[2001:db8::7]:8443", b"200", id="ipv6"),
        pytest.param("GET http://evil.example/", "shop.example", b"200", id="absolute-form"),
    ],
)
def test_nobody_names_another_place(
    front: Place, request_line: str, host: str, code: bytes
) -> None:
    request = f"{request_line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = exchange(front, request.encode())
    assert answer.startswith(b"HTTP/1.1 " + code)
    assert (f'"host":"{host}"'.encode() in answer) == (code == b"200")


@pytest.mark.parametrize(
    ("framing", "code"),
    [
        pytest.param("Content-Length: 4\r\nTransfer-Encoding: chunked", b"400", id="both"),
        pytest.param("Content-Length: 4\r\nContent-Length: 5", b"400", id="two-lengths"),
        pytest.param("Content-Length: +4", b"400", id="signed"),
        pytest.param("Transfer-Encoding: chunked, identity", b"400", id="chunked-within"),
        pytest.param("Transfer-Encoding:\x0bchunked", b"400", id="vertical-tab"),
        pytest.param("Transfer-Encoding : chunked", b"400", id="blank-before-colon"),
        pytest.param("X: a\r\n folded", b"400", id="folded"),
        pytest.param("X: a\rContent-Length: 4", b"400", id="bare-return"),
    ],
)
def test_second_request_cannot_hide_in_the_first(front: Place, framing: str, code: bytes) -> None:
    hidden = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    request = f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode()
    answer = exchange(front, request + hidden)
    assert answer.startswith(b"HTTP/1.1 " + code)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"target":"/hidden"' not in answer


def test_cookies_are_not_folded(front: Place) -> None:
    sent = ask(front, "/cookies").all("Set-Cookie")
    assert sent == ["frontend=a%20b; path=/; HttpOnly", "form_key=x%2Cy; domain=shop.example"]


def test_redirect_is_the_shops(front: Place) -> None:
    answer = ask(front, "/redirect")
    assert (answer.code, answer["Location"]) == (302, "http://127.0.0.1:1/elsewhere?a=%C3%A9")


@pytest.mark.parametrize(
    ("method", "path", "code", "length"),
    [
        ("HEAD", "/download?pieces=3", 200, ["196608"]),
        ("GET", "/status?code=204", 204, []),
        ("GET", "/status?code=304", 304, []),
        ("HEAD", "/chunked?pieces=3", 200, []),
    ],
    ids=["head", "204", "304", "head-of-chunked"],
)
def test_answer_without_a_body_leaves_the_connection_in_step(
    front: Place, method: str, path: str, code: int, length: list[str]
) -> None:
    connection = Connection(front)
    for _ in range(2):
        answer = connection.ask(path, method)
        assert (answer.code, answer.body, answer.all("Content-Length")) == (code, b"", length)
    assert connection.ask("/x").code == 200
    connection.close()


PIECES = 60 * 16


def pieces(count: int) -> Iterator[bytes]:
    return (bytes([number % 256]) * 65536 for number in range(count))


def digest(count: int) -> str:
    hashed = sha256()
    for piece in pieces(count):
        hashed.update(piece)
    return hashed.hexdigest()


@pytest.mark.parametrize(
    ("count", "chunked"),
    [
        pytest.param(PIECES, False, id="60-megabytes"),
        pytest.param(PIECES, True, id="60-megabytes-chunked"),
        pytest.param(1, True, id="chunked"),
        pytest.param(0, True, id="chunked-nothing"),
    ],
)
def test_upload(front: Place, count: int, chunked: bool) -> None:  # noqa: FBT001 (from the table)
    connection = Connection(front)
    length = {} if chunked else {"Content-Length": str(count * 65536)}
    connection.request("POST", "/", pieces(count), length, encode_chunked=chunked)
    seen = json.loads(connection.getresponse().read())
    assert (seen["method"], seen["length"]) == ("POST", count * 65536)
    assert seen["sha256"] == digest(count)
    assert seen["headers"]["content-length"] == str(count * 65536)
    assert "transfer-encoding" not in seen["headers"]
    assert connection.ask("/x").code == 200
    connection.close()


def test_chunked_body_is_limited(front: Place) -> None:
    connection = Connection(front)
    connection.request("POST", "/", pieces(64 * 16 + 1), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_chunked_body_cannot_hide_a_request_by_naming_its_framing(front: Place) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    request = head + b"Connection: close, Transfer-Encoding\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    assert b'"length":4' in exchange(front, request)


def test_expectation_is_met_here(front: Place) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
    answer = exchange(front, head + b"Connection: close\r\n\r\nbody")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b'"length":4' in answer
    assert b"100-continue" not in answer


@pytest.mark.parametrize("path", ["/download", "/chunked"])
def test_download(front: Place, path: str) -> None:
    connection = Connection(front)
    connection.request("GET", f"{path}?pieces={PIECES}")
    answer = connection.getresponse()
    hashed = sha256()
    length = 0
    while piece := answer.read(MEGABYTE):
        hashed.update(piece)
        length += len(piece)
    assert (length, hashed.hexdigest()) == (PIECES * 65536, digest(PIECES))
    connection.close()


# A shop that is dead, slow or broken, and clients that are.

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
    "/compressed": OK + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\nwhole body",
    "/nominated": OK + b"Connection: X-Secret\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n",
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
        if path == "/late-chunk":
            self.wfile.write(CHUNKS + b"5\r\nfirst\r\n")
            self.wfile.write(self.passed_on.get(timeout=10))
            return
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


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Place]:
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
def broken_shop(shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with serving() as place:
        yield place


@pytest.fixture(scope="module")
def broken(room: Path, broken_shop: Place) -> Iterator[Place]:
    with front_proxy(room, broken_shop, SHOP_TIMEOUT="1") as front:
        yield front


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/whole", 200),
        ("/garbage", 502),
        ("/nothing", 502),
        ("/not-even-http", 502),
        ("/too-long", 502),
        ("/early-hints", 502),
        ("/odd-name", 502),
        ("/nul", 502),
        ("/odd-reason", 502),
        ("/length-and-chunks", 502),
        ("/two-lengths", 502),
        ("/same-lengths", 502),
        ("/listed-lengths", 502),
        ("/endless-length", 502),
        ("/negative-length", 502),
        ("/no-length", 502),
        ("/two-codings", 502),
        ("/other-coding", 502),
        ("/short-chunk", 502),
        ("/slow-body", 504),
        ("/slow", 504),
    ],
)
def test_failure_of_the_shop_is_told(broken: Place, room: Path, path: str, code: int) -> None:
    connection = Connection(broken)
    with (room / "gunicorn.log").open() as log:
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


def test_sigterm_lets_a_request_finish(room: Path, broken_shop: Place) -> None:
    variables = {"SHOP": f"http://127.0.0.1:{broken_shop[1]}", "MAINTENANCE_DIR": str(room / "var")}
    place = "127.0.0.1", free_port()
    environ = unmeasured() | variables | {"BIND": f"127.0.0.1:{place[1]}", "SHOP_TIMEOUT": "5"}
    command = [PROGRAMS / "gunicorn"]
    with running(command, place, room / "gunicorn.log", cwd=EXAMPLE, env=environ) as process:
        connection = Connection(place)
        connection.request("GET", "/late-chunk")
        answer = connection.getresponse()
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        BrokenShop.passed_on.put(b"4\r\nlast\r\n0\r\n\r\n")
        assert answer.read() == b"firstlast"
        # The other worker may have been starting, deaf to the signal: gunicorn then ends it late.
        assert process.wait(30) == 0
        connection.close()


def test_certificate_of_the_shop_is_checked(
    room: Path, shop_var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without(shutil.which("openssl"), "Debian's openssl")
    assert shop_var.is_dir()
    monkeypatch.chdir(tmp_path)
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    making += ["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*making, "-keyout", "key", "-out", "cert"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert", "key")
    with serving(context) as shop:
        url = f"https://localhost:{shop[1]}"
        for authorities, code in ({}, 502), ({"SSL_CERT_FILE": str(tmp_path / "cert")}, 200):
            with front_proxy(room, shop, SHOP=url, **authorities) as place:
                assert ask(place, "/whole").code == code


def test_date_and_server_are_told_once(broken: Place) -> None:
    answer = ask(broken, "/whole")
    assert answer["Server"] == "gunicorn"
    assert "2026 00:00:00" not in answer["Date"]


def test_dead_shop(room: Path, shop_var: Path) -> None:
    assert shop_var.is_dir()
    with front_proxy(room, ("127.0.0.1", free_port())) as place:
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
def test_body_that_is_none_is_refused(broken: Place, framing: bytes, code: bytes) -> None:
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
        pytest.param({"MAINTENANCE_DIRECTORY": "x"}, "MAINTENANCE_DIRECTORY", id="unknown"),
        pytest.param({"MAINTENANCE_TRUSTED_PROXIES": "*"}, "trusted_proxies: '*'", id="trust"),
    ],
)
def test_bad_configuration_is_one_line(variables: dict[str, str], line: str) -> None:
    given = {"SHOP": "http://127.0.0.1:8081"} if "no-shop" not in line and variables else {}
    environ = unmeasured() | {"BIND": f"127.0.0.1:{free_port()}"} | given | variables
    command = [PROGRAMS / "gunicorn"]
    finished = subprocess.run(
        command, cwd=EXAMPLE, env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("front_proxy: ")
    assert line in finished.stderr
    assert finished.stderr.count("\n") == 1


# Maintenance, by both.


def codes(*places: Place, source: str = STRANGER) -> tuple[int, ...]:
    return tuple(ask(place, source=source).code for place in places)


def run_php(*arguments: str | Path, given: str = "") -> str:
    php = shutil.which("php")
    skip_without(php, "Debian's php-cli")
    command = [str(php), *arguments]
    finished = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, text=True, check=True, timeout=30
    )
    return finished.stdout


def run_command(directory: Path, *arguments: str) -> None:
    command = [str(PROGRAMS / "maintenance-wsgi"), "--dir", str(directory), *arguments]
    subprocess.run(command, check=True, timeout=30)


def test_both_agree_at_once_whoever_toggles(
    front: Place, php: Place, mode: MaintenanceMode, shop_var: Path
) -> None:
    flag = shop_var / ".maintenance.flag"
    on: list[Callable[[], object]] = [
        lambda: run_command(shop_var, "enable", "--message", "moving"),
        lambda: run_php("-r", f"touch('{flag}');"),
    ]
    off: list[Callable[[], object]] = [
        lambda: run_command(shop_var, "disable"),
        lambda: run_php("-r", f"unlink('{flag}');"),
    ]
    for enable in on:
        for disable in off:
            enable()
            assert codes(front, php) == (503, 503)
            disable()
            assert codes(front, php) == (200, 200)
    assert not mode.is_enabled()


@pytest.fixture(scope="module")
def front_with_exempt_paths(room: Path, php: Place) -> Iterator[Place]:
    with front_proxy(room, php, MAINTENANCE_EXEMPT_PATHS="/healthz /webhooks/") as place:
        yield place


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/healthz", b"exempt"),
        ("/webhooks/a?b", b"exempt"),
        ("http://a/healthz", b"exempt"),
        ("/healthz/", b"on"),
        ("/healthz/../admin", b"on"),
        ("/healthz%2f..%2fadmin", b"on"),
        ("/healthz;/../admin", b"on"),
        ("/webhooks/../admin", b"on"),
        ("/webhooks/%2e%2e/admin", b"on"),
        ("/webhooks/..%2Fadmin", b"on"),
        ("/webhooks//admin", b"on"),
        ("//a/webhooks/x", b"on"),
        ("http://a/webhooks/../admin", b"on"),
        ("http://a/admin?/healthz", b"on"),
        ("http://a?/healthz", b"on"),
        ("/admin?/../healthz", b"on"),
    ],
)
def test_exempt_path_is_what_the_shop_serves(
    front_with_exempt_paths: Place, mode: MaintenanceMode, path: str, mark: bytes
) -> None:
    mode.enable()
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(front_with_exempt_paths, request)
    assert b"\r\nX-Maintenance-Mode: " + mark in answer


def test_blocked_visitor_gets_the_page_of_the_proxy(front: Place, mode: MaintenanceMode) -> None:
    mode.enable()
    answer = ask(front)
    assert (answer.mark, answer.all("X-Shop")) == ("on", [])


def test_list_is_obeyed_by_both_at_once_whoever_writes_it(
    front: Place, php: Place, mode: MaintenanceMode, shop_var: Path
) -> None:
    mode.enable()
    listed = shop_var / ".maintenance.ip"
    run_command(shop_var, "allow-ips", f"{SHOP_SEES}/32", DEVELOPER)
    assert codes(front, php, source=DEVELOPER) == (200, 200)
    assert codes(front, php, source=STRANGER) == (503, 503)
    run_php("-r", f"file_put_contents('{listed}', '{SHOP_SEES},{STRANGER}');")
    assert codes(front, php, source=DEVELOPER) == (503, 503)
    assert codes(front, php, source=STRANGER) == (200, 200)


@pytest.fixture
def closed(mode: MaintenanceMode) -> MaintenanceMode:
    mode.enable(exemptions=[DEVELOPER])
    return mode


@pytest.mark.usefixtures("closed")
def test_trap(front: Place) -> None:
    answer = ask(front, source=DEVELOPER)
    assert (answer.code, answer.body) == (503, b"shop: maintenance")
    assert answer.mark == "exempt"  # by the proxy, which did let them through


def test_proxy_in_the_shared_list_lets_everybody_in_who_comes_from_its_address(
    front: Place, closed: MaintenanceMode
) -> None:
    closed.add_exemptions([SHOP_SEES])
    assert ask(front, source=DEVELOPER).code == 200
    assert ask(front, source=STRANGER).code == 503
    # Another proxy on the same machine, which the front proxy does not know of.
    stranger = [("X-Forwarded-For", STRANGER)]
    assert ask(front, headers=stranger, source=SHOP_SEES).code == 200


@pytest.fixture(scope="module")
def trusting_php(room: Path, shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with php_shop(room, SHOP_TRUSTED_PROXY=SHOP_SEES) as place:
        yield place


@pytest.fixture(scope="module")
def trusting_front(room: Path, trusting_php: Place) -> Iterator[Place]:
    with front_proxy(room, trusting_php) as place:
        yield place


def test_remedy_the_shop_reads_the_header(
    trusting_front: Place, trusting_php: Place, closed: MaintenanceMode
) -> None:
    assert closed.is_enabled()
    admitted = ask(trusting_front, source=DEVELOPER)
    assert (admitted.code, admitted["X-Shop"]) == (200, "here")
    forged = [("X-Forwarded-For", DEVELOPER)]
    assert ask(trusting_front, headers=forged, source=STRANGER).mark == "on"
    # What the shop would say by itself, to the proxy and to whoever gets past it.
    appended = [("X-Forwarded-For", f"{DEVELOPER}, {STRANGER}")]
    assert ask(trusting_php, headers=appended, source=SHOP_SEES).code == 503
    assert ask(trusting_php, headers=forged, source=STRANGER).code == 503


@pytest.fixture(scope="module")
def own_directory(room: Path, shop_var: Path) -> Path:
    found = re.search(r"```console\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert found is not None
    directory = room / "front"
    steps = [line.removeprefix("$ ") for line in found[1].splitlines() if "gunicorn" not in line]
    script = "\n".join(steps).replace("/srv/shop/var", str(shop_var))
    script = script.replace("/srv/front", str(directory))
    script = script.replace("10.0.0.5", SHOP_SEES).replace("203.0.113.7", DEVELOPER)
    environ = os.environ | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-ec", script], env=environ, check=True, timeout=60)
    return directory


@pytest.fixture(scope="module")
def front_with_own_list(room: Path, php: Place, own_directory: Path) -> Iterator[Place]:
    with front_proxy(room, php, MAINTENANCE_DIR=str(own_directory)) as place:
        yield place


def test_remedy_two_lists(
    front_with_own_list: Place, php: Place, shop_var: Path, mode: MaintenanceMode
) -> None:
    assert mode.exemptions == (SHOP_SEES,)
    for _ in range(2):
        run_command(shop_var, "enable")
        assert codes(front_with_own_list, php) == (503, 503)
        assert ask(front_with_own_list, source=DEVELOPER)["X-Shop"] == "here"
        assert ask(front_with_own_list, source=SHOP_SEES).code == 503
        run_php("-r", f"unlink('{shop_var}/.maintenance.flag');")
        assert codes(front_with_own_list, php) == (200, 200)


def test_own_directory_shows_the_state_but_cannot_switch_off(
    front_with_own_list: Place, php: Place, own_directory: Path, mode: MaintenanceMode
) -> None:
    assert not MaintenanceMode(own_directory).is_enabled()
    run_command(own_directory, "enable")
    assert mode.is_enabled()
    assert MaintenanceMode(own_directory).is_enabled()
    assert codes(front_with_own_list, php) == (503, 503)
    run_command(own_directory, "disable")
    opened = ask(front_with_own_list)
    assert (opened.mark, opened.body) == (None, b"shop: maintenance")
    assert mode.is_enabled()
    link = own_directory / ".maintenance.flag"
    assert not link.is_symlink()
    link.symlink_to(mode.flag_path)


def test_unit_of_the_readme_starts_the_proxy(room: Path, php: Place) -> None:
    found = re.search(r"```ini\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert found is not None
    settings = [line.split("=", 1) for line in found[1].splitlines() if "=" in line]
    variables = dict(value.split("=", 1) for name, value in settings if name == "Environment")
    (command,) = (value for name, value in settings if name == "ExecStart")
    place = "127.0.0.1", free_port()
    variables |= {"SHOP": f"http://{php[0]}:{php[1]}", "MAINTENANCE_DIR": str(room / "var")}
    variables |= {"BIND": f"127.0.0.1:{place[1]}"}
    program = PROGRAMS / Path(command).name
    with running([program], place, room / "unit.log", cwd=EXAMPLE, env=unmeasured() | variables):
        assert ask(place)["X-Shop"] == "here"


NGINX = """
daemon off; master_process off; pid {room}/nginx.pid; error_log stderr; events {{}}
http {{
  access_log off; client_body_temp_path {room}; proxy_temp_path {room};
  fastcgi_temp_path {room}; uwsgi_temp_path {room}; scgi_temp_path {room};
  server {{ listen {place[0]}:{place[1]}; {recipe} location / {{ return 200 $remote_addr; }} }}
}}
"""


@pytest.mark.parametrize(
    ("source", "header", "client"),
    [
        pytest.param(DEVELOPER, [], DEVELOPER, id="direct"),
        pytest.param(STRANGER, [DEVELOPER], STRANGER, id="forged"),
        pytest.param(TLS_PROXY, [f"{DEVELOPER}, {STRANGER}"], STRANGER, id="through-both"),
    ],
)
def test_nginx_recipe_of_the_readme(
    room: Path, shop_var: Path, source: str, header: list[str], client: str
) -> None:
    skip_without(shutil.which("nginx"), "Debian's nginx-light")
    found = re.search(r"```nginx\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert found and shop_var.is_dir()  # noqa: PT018 (two things that must be there)
    recipe = found[1].replace("10.0.0.5", SHOP_SEES).replace("10.0.0.4", TLS_PROXY)
    place = "127.0.0.1", free_port()
    config = room / "nginx.conf"
    config.write_text(NGINX.format(room=room, place=place, recipe=recipe))
    headers = [("X-Forwarded-For", value) for value in header]
    with (
        running(["nginx", "-e", "stderr", "-c", config], place, room / "nginx.log"),
        front_proxy(room, place) as front,
    ):
        assert ask(front, headers=headers, source=source).body.decode() == client


# Magento's rule, in PHP.


def admitted_by_php(cases: list[dict[str, Any]]) -> list[bool]:
    decisions: list[bool] = json.loads(run_php(PHP_SHOP / "decide.php", given=json.dumps(cases)))
    return decisions


def php_case(listed: bytes | None, peer: str, *, flag: bool = True) -> dict[str, Any]:
    encoded = None if listed is None else b64encode(listed).decode()
    return {"flag": flag, "list": encoded, "peer": peer}


def test_rule_of_the_php_shop_is_magentos() -> None:
    rows = load_cases("exemptions.json")
    lists = [None if row["ip_file"] is None else row["ip_file"].encode() for row in rows]
    cases = [
        php_case(listed, row["remote_addr"], flag=row["flag"])
        for row, listed in zip(rows, lists, strict=True)
    ]
    decided = dict(zip([row["id"] for row in rows], admitted_by_php(cases), strict=True))
    assert decided == {row["id"]: row["magento_admits"] for row in rows}


def test_php_shop_skips_a_range_that_is_too_long() -> None:
    assert admitted_by_php([php_case(b"203.0.113.7/33", "203.0.113.7")]) == [False]


@st.composite
def entries_and_clients(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Networks of one family, and clients in and around them.

    Not drawn is what is decided differently on purpose: the other family, of which Magento
    compares the bits, mapped addresses, which are IPv4 here, and the unspecified one, no client.
    """
    families: list[tuple[Literal[4, 6], int]] = [(4, 32), (6, 128)]
    version, width = draw(st.sampled_from(families))
    drawn = draw(st.lists(st.tuples(st.ip_addresses(v=version), st.integers(0, width)), max_size=5))
    networks = [ip_network(f"{address}/{length}", strict=False) for address, length in drawn]
    entries = [str(network) for network in networks]
    numbers = {int(address) for address in draw(st.lists(st.ip_addresses(v=version)))}
    for network in networks:
        first, last = int(network[0]), int(network[-1])
        numbers |= {first - 1, first, last, last + 1}
    clients = [str(IPAddress(number, version)) for number in numbers if 0 < number < 1 << width]
    return _without_mapped(entries), _without_mapped(clients)


def _without_mapped(texts: list[str]) -> list[str]:
    return [text for text in texts if not text.startswith("::ffff:")]


@settings(max_examples=40, deadline=None)
@given(entries_and_clients())
def test_shop_and_proxy_admit_the_same_clients_by_a_written_list(
    drawn: tuple[list[str], list[str]],
) -> None:
    entries, clients = drawn
    with TemporaryDirectory() as directory:
        mode = MaintenanceMode(directory)
        mode.enable(exemptions=entries)
        listed = mode.list_bytes()
        gate = MaintenanceMiddleware(shop, mode)
        ours = {client: call(gate, make_environ(client)).code == 200 for client in clients}
    magentos = admitted_by_php([php_case(listed or None, client) for client in clients])
    assert dict(zip(clients, magentos, strict=True)) == ours
