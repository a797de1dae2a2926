"""The body of a blocked request, over a connection whose one end is the server's."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from types import SimpleNamespace
from typing import Any, NoReturn
from wsgiref.types import WSGIEnvironment

import pytest

from maintenance_wsgi.response.request_body import read_body
from tests.support.wsgi import make_environ

LENGTH = 1_000_000


@dataclass(frozen=True)
class Ends:
    """Both ends of a connection, and the stream that the server reads its end by."""

    server: socket.socket
    stream: BufferedReader
    client: socket.socket

    def environ(self, **extra: Any) -> WSGIEnvironment:
        return make_environ(REQUEST_METHOD="POST", **extra) | {"wsgi.input": self.stream}

    def read(self) -> bytes:
        """Read what the server would take for another request."""
        with suppress(ConnectionResetError):
            return self.stream.read()
        return b""


class Waiting:
    """The stream of a server that shows no socket: a read may wait for ever."""

    def read(self, _: int = -1) -> NoReturn:
        pytest.fail("it was read")


@pytest.fixture
def ends() -> Iterator[Ends]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
        server.makefile("rb") as stream,
    ):
        yield Ends(server, stream, client)


def send_answer(complete: Callable[[list[bytes]], Iterable[bytes]]) -> None:
    """Send an answer as far as a server does."""
    answer = complete([b"answer"])
    assert list(answer) == [b"answer"]
    getattr(answer, "close", lambda: None)()


@contextmanager
def taking(least: float, most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began < most


@contextmanager
def sending(client: socket.socket, parts: Iterable[bytes], pause: float = 0) -> Iterator[None]:
    """Send in a thread, until the connection ends."""

    def send() -> None:
        with suppress(OSError):
            for part in parts:
                client.sendall(part)
                time.sleep(pause)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join(20)


@pytest.mark.parametrize("timeout", [None, 10])
@pytest.mark.parametrize(
    ("parts", "pause"),
    [([b"x"], 0), ([bytes(LENGTH)] * 20, 0), ([b"x" * 10_000] * 5, 0.1)],
    ids=["small", "large", "slow"],
)
def test_connection_goes_on_after_the_body(
    parts: list[bytes], pause: float, timeout: float | None, ends: Ends
) -> None:
    ends.server.settimeout(timeout)
    environ = ends.environ(CONTENT_LENGTH=str(len(b"".join(parts))))
    with sending(ends.client, [*parts, b"next"], pause):
        send_answer(read_body(environ))
        assert ends.stream.read(4) == b"next"
    assert ends.server.gettimeout() == timeout


DROPS = pytest.mark.parametrize("drops", [[], [b"x"] * 10], ids=["silent", "dripping"])


@DROPS
def test_body_is_cut_off_in_time(drops: list[bytes], ends: Ends) -> None:
    with sending(ends.client, drops, 0.5), taking(2, 3.5):
        complete = read_body(ends.environ(CONTENT_LENGTH=str(LENGTH)))
        assert len(ends.read()) < len(drops) + 1  # cheroot reads on before it sends the answer
        send_answer(complete)
    with suppress(OSError):
        ends.client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert ends.read() == b""


@DROPS
def test_chunks_are_cut_off_in_time(drops: list[bytes], ends: Ends) -> None:
    ends.client.sendall(b"400\r\nx")
    with sending(ends.client, drops, 0.5), taking(1.9, 3.5):
        send_answer(read_body(ends.environ(HTTP_TRANSFER_ENCODING="chunked")))
    with suppress(OSError):
        ends.client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert ends.read() == b""


def test_client_that_sends_fast_is_cut_off_in_time(ends: Ends) -> None:
    with sending(ends.client, [bytes(LENGTH)] * 100_000), taking(2, 3.5):
        send_answer(read_body(ends.environ(CONTENT_LENGTH=str(LENGTH * 1_000_000))))


def test_chunks_may_end_after_the_answer(ends: Ends) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b"400\r\n" + bytes(0x400) + b"\r\n"] * 1000
        assert ends.client.recv(1) == b""  # the end of the answer
        ends.client.shutdown(socket.SHUT_WR)

    with taking(0, 1.5):
        complete = read_body(ends.environ(HTTP_TRANSFER_ENCODING="chunked"))
        with sending(ends.client, chunks()):
            send_answer(complete)
    assert ends.read() == b""


@pytest.fixture
def in_uwsgi(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> WSGIEnvironment:
    """Return a request under uWSGI, which has the connection behind its module, not its stream."""
    module = SimpleNamespace(connection_fd=ends.server.fileno, buffer_size=4096)
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    return ends.environ(CONTENT_LENGTH=str(LENGTH)) | {"wsgi.input": Waiting()}


def test_upload_to_uwsgi_is_read_before_the_answer(in_uwsgi: WSGIEnvironment, ends: Ends) -> None:
    with sending(ends.client, [bytes(LENGTH)]), taking(0, 1.5):
        complete = read_body(in_uwsgi)
    ends.client.shutdown(socket.SHUT_WR)
    with taking(0, 1.5):
        send_answer(complete)
    assert ends.read() == b""


@DROPS
def test_body_to_uwsgi_is_cut_off_in_time(
    drops: list[bytes], in_uwsgi: WSGIEnvironment, ends: Ends
) -> None:
    with sending(ends.client, drops, 0.5), taking(2, 3.5):
        send_answer(read_body(in_uwsgi))
    assert ends.read() == b""


@pytest.mark.parametrize("sent", [b"", b"x" * 70_000], ids=["nothing", "a-part"])
def test_client_hangs_up(sent: bytes, ends: Ends) -> None:
    ends.client.sendall(sent)
    ends.client.close()
    with taking(0, 1.5):
        send_answer(read_body(ends.environ(CONTENT_LENGTH=str(LENGTH))))


@pytest.mark.parametrize("length", ["nonsense", "-1"])
def test_length_that_is_not_valid(length: str, ends: Ends) -> None:
    with taking(0, 3.5):
        send_answer(read_body(ends.environ(CONTENT_LENGTH=length)))


@pytest.mark.parametrize(
    "fields",
    [
        {"CONTENT_LENGTH": "7"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"CONTENT_LENGTH": "0"},
        {"CONTENT_LENGTH": ""},
        {},
    ],
    ids=str,
)
def test_nothing_is_read_without_a_socket(fields: dict[str, str]) -> None:
    environ = make_environ(**fields) | {"wsgi.input": Waiting()}
    assert read_body(environ)([b"answer"]) == [b"answer"]


def test_connection_of_many_requests_is_left_alone(ends: Ends) -> None:
    ends.client.sendall(b"frame")
    environ = ends.environ(CONTENT_LENGTH="7", SERVER_PROTOCOL="HTTP/2.0")
    assert read_body(environ)([b"answer"]) == [b"answer"]
    assert ends.server.recv(5) == b"frame"
