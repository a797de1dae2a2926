"""What the shop is told of the client."""

import json
from pathlib import Path

import pytest
from urllib3.util import SKIP_HEADER

from tests.live.front_proxy.shops import (
    DEVELOPER,
    EXAMPLE,
    STRANGER,
    TLS_PROXY,
    Place,
    echo,
    exchange,
    front_proxy,
    headers_at_shop,
)
from tests.support.http import ask
from tests.support.processes import PROGRAMS, running, unmeasured

pytestmark = pytest.mark.servers


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
    folder: Path, php: Place, tmp_path: Path, trusted: str, seen: dict[str, str]
) -> None:
    path = str(tmp_path / "s")
    variables = {"SHOP": f"http://{php[0]}:{php[1]}", "BIND": f"unix:{path}"}
    variables |= {"MAINTENANCE_DIR": str(folder / "var"), "MAINTENANCE_TRUSTED_PROXIES": trusted}
    environ = unmeasured() | variables
    headers = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]
    with running([PROGRAMS / "gunicorn"], path, folder / "unix.log", cwd=EXAMPLE, env=environ):
        found = echo(ask(path, headers=headers))["headers"]
    assert {name: found[name] for name in seen} == seen


def test_client_of_a_listener_for_both_families_is_plain_ipv4(folder: Path, php: Place) -> None:
    with front_proxy(folder, php, address="::", MAINTENANCE_TRUSTED_PROXIES=TLS_PROXY) as place:
        assert headers_at_shop(place)["x-forwarded-for"] == STRANGER
        trusted = headers_at_shop(place, ("X-Forwarded-Proto", "https"), source=TLS_PROXY)
        assert trusted["x-forwarded-proto"] == "https"
