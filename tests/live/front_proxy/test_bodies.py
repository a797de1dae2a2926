"""Requests and answers pass as they are."""

import json
from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.live.front_proxy.shops import MEGABYTE, Place, exchange
from tests.support.http import Connection, ask

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        pytest.param("/", "/", id="root"),
        pytest.param("/caf%C3%A9%2Fx?q=%C3%A9", "/caf%C3%A9%2Fx?q=%C3%A9", id="escapes"),
        pytest.param("/a%2Fb", "/a%2Fb", id="slash"),
        pytest.param("/%e9;v=1,2/(x)?a=1&a=2&b[]=%2f", "/%e9;v=1,2/(x)?a=1&a=2&b[]=%2f", id="odd"),
        pytest.param("/<a>^`{b}|", "/<a>^`{b}|", id="not-escaped"),
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
