"""What is seen from outside, and what is said of it."""

import ssl
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from maintenance_wsgi.diagnosis.verification import Visit, faults, parse_url, rounds
from tests.support.sites import Answering, answering
from tests.support.tls import make_certificate

PLAIN, END = b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"
ON = b"HTTP/1.1 503 Service Unavailable\r\nX-Maintenance-Mode: on" + END
EXEMPT = PLAIN + b"x-maintenance-mode: Exempt, exempt" + END


@pytest.mark.parametrize(
    ("url", "shown", "host", "port"),
    [
        ("http://shop.example", "http://shop.example/", "shop.example", 80),
        ("HTTPS://Shop.Example/A#b", "https://shop.example/A", "shop.example", 443),
        (
            "https://shop.example:8443/?a=b#c",
            "https://shop.example:8443/?a=b",
            "shop.example",
            8443,
        ),
        ("https://shop.example?a=b?c", "https://shop.example/?a=b?c", "shop.example", 443),
        ("http://[2001:DB8::1]:80/a", "http://[2001:db8::1]:80/a", "2001:db8::1", 80),
        ("http://192.0.2.1/", "http://192.0.2.1/", "192.0.2.1", 80),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80),
        ("http://a/ü b%20%/\r\nX: y", "http://a/%C3%BC%20b%20%/%0D%0AX:%20y", "a", 80),
        ("http://a/\udcff?q=ü&r=@", "http://a/%FF?q=%C3%BC&r=@", "a", 80),
    ],
)
def test_url_is_read(url: str, shown: str, host: str, port: int) -> None:
    site = parse_url(url)
    assert site is not None
    assert (str(site), site.host, site.port) == (shown, host, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "//shop.example/",
        "ftp://shop.example/",
        "http://",
        "http:///a",
        "http://anna@shop.example/",
        "http://anna:secret@shop.example/",
        "http://shop.example:0/",
        "http://shop.example:65536/",
        "http://shop.example:a/",
        "http://a b/",
        "http://a\r\nb/",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
        "http://[1:2]/",
        "http://[fe80::1%25eth0]/",
        "http://::1/",
        "http://shop.example\\@evil.example/",
    ],
)
def test_url_of_another_kind_is_not(url: str) -> None:
    assert parse_url(url) is None


def seen(port: int, *, on: bool, seconds: float = 1.5, scheme: str = "http") -> list[Visit]:
    """Return what is seen at the end of the time."""
    site = parse_url(f"{scheme}://127.0.0.1:{port}/?a=b")
    assert site is not None
    *_, last = rounds(site, on=on, seconds=seconds)
    return last


def said(port: int, *, on: bool, seconds: float = 1.5, scheme: str = "http") -> str:
    """Return the one sentence about it, without the URL; nothing if all is right."""
    site = parse_url(f"{scheme}://127.0.0.1:{port}/?a=b")
    assert site is not None
    (sentence,) = [*faults(site, seen(port, on=on, seconds=seconds, scheme=scheme), on=on)] or [""]
    return sentence.removeprefix(f"{site}: ")


def always(*pieces: bytes) -> Answering:
    return lambda _: iter(pieces)


@pytest.mark.parametrize(
    ("answer", "on"),
    [
        (ON, True),
        (EXEMPT, True),
        (b"HTTP/1.0 200 OK\r\nX-Maintenance-Mode: read-only" + END, True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>" + END + ON, True),
        (PLAIN + END[2:], False),
        (b"HTTP/1.1 404\r\nX-Maintenance-Mode: " + END, False),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://shop.example/" + END, False),
    ],
)
def test_right_answers_end_the_wait(answer: bytes, *, on: bool) -> None:
    began = time.monotonic()
    with answering(always(answer)) as port:
        (visit,) = seen(port, on=on, seconds=60)
    assert visit.wrong(on=on) == []
    assert (visit.address, len(visit.answers)) == ("127.0.0.1", 10)
    assert time.monotonic() - began < 30


def test_url_is_asked_as_it_is_and_then_with_random_queries() -> None:
    requests: list[bytes] = []

    def answer(request: bytes) -> Iterator[bytes]:
        requests.append(request)
        yield ON

    with answering(answer) as port:
        seen(port, on=True, seconds=30)
    host = f"Host: 127.0.0.1:{port}\r\n".encode()
    assert len(requests) == len(set(requests[4:])) + 4 == 10
    assert [request.split()[:2] for request in requests[:5]] == [[b"GET", b"/?a=b"]] * 5
    assert all(request.startswith(b"GET /?a=b&verify=") for request in requests[5:])
    assert all(host in request and request.endswith(END) for request in requests)


def test_it_is_asked_again_until_it_is_right() -> None:
    switched = threading.Event()
    timer = threading.Timer(1, switched.set)
    timer.start()
    with answering(lambda _: iter([ON if switched.is_set() else PLAIN + END])) as port:
        assert said(port, on=True, seconds=60) == ""
    timer.join()


STALE = b"HTTP/1.1 200 OK\r\nAge: 12\r\nVia: 1.1 varnish\r\nX-Cache: HIT" + END
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx" + END
MOVED = b"HTTP/1.1 301 Moved\r\nLocation: https://b.example/\x1b[2J" + END
ALL, HALF = "10 of 10 answers at 127.0.0.1 are ", "5 of 10 answers at 127.0.0.1 are "
FIRST = "request 1 of 10 at 127.0.0.1 got no answer "


@pytest.mark.parametrize(
    ("answer", "on", "sentence"),
    [
        pytest.param(
            always(PLAIN + END),
            True,
            f"{ALL}200 without X-Maintenance-Mode; let the application there read this directory,"
            " or use the URL of the one that does",
            id="another-application",
        ),
        pytest.param(
            lambda request: iter([ON if b"&verify=" in request else STALE]),
            True,
            f"{HALF}200 without X-Maintenance-Mode (Age: 12, Via: 1.1 varnish, X-Cache: HIT), and"
            " none with a random query, so a cache serves what it stored; purge that cache",
            id="cache",
        ),
        pytest.param(
            lambda request: iter([PLAIN + END if b"&verify=" in request else ON]),
            False,
            f"{HALF}503 with X-Maintenance-Mode: on, and none with a random query, so a cache"
            " serves what it stored; purge that cache",
            id="cache-of-the-503",
        ),
        pytest.param(
            always(BAD_GATEWAY),
            True,
            f"{ALL}502 without X-Maintenance-Mode (Server: nginx), which a proxy or a server makes"
            " in place of the application; start the application behind it, and let its answers"
            " through unchanged",
            id="proxy",
        ),
        pytest.param(
            always(BAD_GATEWAY),
            False,
            f"{ALL}502 without X-Maintenance-Mode (Server: nginx), which a proxy or a server makes"
            " in place of the application; start the application behind it, and let its answers"
            " through unchanged",
            id="proxy-off",
        ),
        pytest.param(
            always(MOVED),
            True,
            f"{ALL}301 without X-Maintenance-Mode (Location: https://b.example/\\x1b[2J);"
            " use --verify with the URL that they redirect to",
            id="redirect",
        ),
        pytest.param(
            always(EXEMPT),
            False,
            f"{ALL}200 with X-Maintenance-Mode: exempt; switch off the other application or"
            " directory that sends it, too",
            id="another-layer",
        ),
        pytest.param(
            always(b"HTTP/1.1 200 OK\r\nX-Maintenance-Mode: on, \x1b[2J" + END),
            True,
            f"{ALL}200 with X-Maintenance-Mode: \\x1b[2j, on; let the application there read this"
            " directory, or use the URL of the one that does",
            id="another-mark",
        ),
        pytest.param(
            always(b"SSH-2.0-OpenSSH_9.2" + END),
            True,
            f"{FIRST}(the connection was closed, or what came is not HTTP); start the server there,"
            " or correct the addresses of the host",
            id="ssh",
        ),
        pytest.param(
            always(b"HTTP/1.1 200 OK\r\n"),
            False,
            f"{FIRST}(the connection was closed, or what came is not HTTP); start the server there,"
            " or correct the addresses of the host",
            id="half",
        ),
        pytest.param(
            always(PLAIN, *[b"X-A: b\r\n"] * 101, b"\r\n"),
            False,
            f"{FIRST}(the connection was closed, or what came is not HTTP); start the server there,"
            " or correct the addresses of the host",
            id="many-fields",
        ),
        pytest.param(
            always(PLAIN, *[b"X-A: " + b"b" * 1000 + b"\r\n"] * 1000),
            False,
            f"{FIRST}(the connection was closed, or what came is not HTTP); start the server there,"
            " or correct the addresses of the host",
            id="long-header",
        ),
    ],
)
def test_what_is_wrong_is_said(answer: Answering, sentence: str, *, on: bool) -> None:
    with answering(answer) as port:
        assert said(port, on=on) == sentence


def test_one_server_of_two_behind_a_balancer_is_found() -> None:
    numbers = count()
    with answering(lambda _: iter([ON if next(numbers) % 2 else PLAIN + END])) as port:
        assert said(port, on=True) == (
            f"{HALF}200 without X-Maintenance-Mode;"
            " let every server behind that address read this directory"
        )


def drip(_: bytes) -> Iterator[bytes]:
    for byte in PLAIN + b"X-A: b\r\n" * 1000:
        time.sleep(0.05)
        yield bytes([byte])


def hang(_: bytes) -> Iterator[bytes]:
    time.sleep(8)
    yield b""


@pytest.mark.parametrize("answer", [drip, hang])
def test_server_that_takes_its_time_is_not_waited_for(answer: Answering) -> None:
    began = time.monotonic()
    with answering(answer) as port:
        assert said(port, on=False, seconds=1) == (
            f"{FIRST}(it takes too long);"
            " start the server there, or correct the addresses of the host"
        )
        assert time.monotonic() - began < 4


def test_last_round_that_was_cut_off_is_not_told() -> None:
    numbers = count()

    def answer(request: bytes) -> Iterator[bytes]:
        return hang(request) if next(numbers) > 10 else iter([PLAIN + END])

    with answering(answer) as port:
        assert said(port, on=True, seconds=2).startswith(f"{ALL}200 without X-Maintenance-Mode")


def test_refused_connection_is_told() -> None:
    with answering(always(ON)) as port:
        pass
    assert said(port, on=True).startswith(f"{FIRST}(Connection refused); start the server")


def test_name_without_addresses_is_told() -> None:
    site = parse_url("http://shop.invalid/")
    assert site is not None
    *_, last = rounds(site, on=True, seconds=0.1)
    (sentence,) = faults(site, last, on=True)
    assert sentence.startswith(
        "http://shop.invalid/: request 1 of 10 at shop.invalid got no answer"
    )


@pytest.mark.parametrize(
    ("name", "is_trusted", "reason"),
    [
        ("IP:127.0.0.1", True, ""),
        ("IP:127.0.0.1", False, "self-signed certificate"),
        (
            "DNS:shop.example",
            True,
            "IP address mismatch, certificate is not valid for '127.0.0.1'.",
        ),
    ],
)
def test_certificates_are_checked(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool
) -> None:
    certificate, key = make_certificate(tmp_path, name)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with answering(always(ON), context) as port:
        sentence = said(port, on=True, scheme="https", seconds=3 if reason else 60)
    remedy = "install one for this name, or use the name that it is for"
    assert sentence == (reason and f"{FIRST}(certificate is not valid: {reason}); {remedy}")


def test_plain_http_where_tls_is_expected() -> None:
    with answering(always(PLAIN + END)) as port:
        sentence = said(port, on=False, scheme="https")
    assert sentence.startswith(f"{FIRST}([SSL: ")
    assert sentence.endswith("); use http://, or the port that speaks TLS")
