"""Hostile input: known cases, mutations of them, odd environs, and 100 kB of whatever is slow.

This is the short run, the same each time. `tests/chaos/fuzz.py` goes on where it ends, guided by
coverage.
"""

import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.response.cors import CORSPolicy
from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.negotiation import HTML, choose_format, choose_language
from maintenance_wsgi.response.templates import (
    custom_template,
    load_templates,
    lone_tags,
    values_of,
)
from maintenance_wsgi.state.exemptions import parse_exemptions
from maintenance_wsgi.state.flag import Window, parse_flag
from tests.support.data import load_cases
from tests.support.oracles import SEPARATOR, TARGETS, TRUSTED, Gate, hostile

HOSTILE = load_cases("hostile.json")
short = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# What headers, lists and flags are made of.
PIECES = [
    *',"\\;: \t#[]%.=*_-/<>{}\0\n\r\x0b\x0c\x1f\x7f\x85\xa0\xe9\xff09a',
    *("\r\n", '\\"', ", ", "; ", "::", "for=", 'for="', "for=10.0.0.2,", "10.0.0.2, ", "10.0.0.2,"),
    *("fd00::1,", "1.1.1.1,", "::1 ", "10.0.0.0/8,", "x,", "x ", "0,", "a=b;", 'a="b",', ":_"),
    "%eth0",
    *('for="[fd00::1]:80",', "a=", "/..", "/a", "*/*;q=", "*/*;q=0.1,", "de,", "de-", "en;q=0.5,"),
    *("text/html;*=a,", "application/x+json,", 'a;b="', "{{ ", "{{message}}", "{{ message", "[["),
    '{"a":',
    *('"a":1,', "\\ud800", "9" * 40, "::ffff:", "\x1e", "\xef\xbb\xbf", "2033-12-01T18:00:00Z"),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: f"{case['target']}-{case['id']}")
def test_known_case(case: dict[str, Any]) -> None:
    TARGETS[case["target"]](SEPARATOR.join(part.encode("latin-1") for part in case["parts"]))


@st.composite
def mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = draw(st.sampled_from(seeds))
    pieces = st.sampled_from([piece.encode("latin-1") for piece in PIECES] + seeds)
    for _ in range(draw(st.integers(0, 4))):
        at, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 5))
        data = data[:at] + draw(pieces | st.binary(max_size=3)) + data[at + cut :]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_mutation(target: str) -> None:
    @short
    @given(mutations(hostile(target)))
    def check(data: bytes) -> None:
        TARGETS[target](data)

    check()


# No server sends what is no text, but a broken one does not get a traceback in its place.
ODD = st.one_of(
    st.none(),
    st.integers(),
    st.binary(max_size=9),
    st.text(max_size=9),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.integers(), st.integers(), max_size=1),
    st.sampled_from(PIECES),
    st.builds(object),
)
KEYS = [
    *("REMOTE_ADDR", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "CONTENT_LENGTH", "wsgi.input"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_TRANSFER_ENCODING"),
    *("HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE", "HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"),
    *("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "werkzeug.proxy_fix.orig", "wsgi.input_terminated"),
]
GATE = Gate()


@settings(short, max_examples=400)
@given(st.dictionaries(st.sampled_from(KEYS), ODD), st.booleans())
def test_odd_environ(environ: dict[str, Any], preflight: bool) -> None:  # noqa: FBT001 (drawn)
    if preflight:
        environ |= {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": "https://shop.example"}
    status, _ = GATE.ask(environ)
    assert status[:3] in {"503", "204"}


# Time.

SIZE = 100_000
ALLOWED = 0.1 if sys.gettrace() is None else 0.5  # seconds of work; coverage counts each line
CHEAP = ALLOWED / 10  # what is quicker at this size has no slope worth a look
CATALOGS = load_catalogs()
LANGUAGES = tuple(CATALOGS)
serial = count()


def resolved(header: str, before: str = "", after: str = "") -> Callable[[str], object]:
    resolver = ClientIPResolver(TRUSTED, header)
    key = f"HTTP_{header.upper().replace('-', '_')}"
    return lambda text: resolver.resolve({"REMOTE_ADDR": "10.0.0.1", key: f"{before}{text}{after}"})


def preflight(**fields: str) -> object:
    environ = {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": "https://shop.example"}
    asked = {f"HTTP_ACCESS_CONTROL_REQUEST_{name.upper()}": text for name, text in fields.items()}
    return CORSPolicy(["https://shop.example"]).preflight_headers(environ | asked)


def as_bytes(text: str) -> bytes:
    return text.encode("latin-1")


def in_page(message: str) -> object:
    values = values_of(Window(message=message), None, CATALOGS["en"], "")
    return load_templates()[HTML].bind(values, ())


# The serial number keeps the caches of Accept out of it.
READERS: dict[str, Callable[[str], object]] = {
    "x-forwarded-for": resolved("X-Forwarded-For"),
    "x-forwarded-for-trusted": resolved("X-Forwarded-For", after="10.0.0.2"),
    "forwarded": resolved("Forwarded"),
    "forwarded-trusted": resolved("Forwarded", after="for=10.0.0.2"),
    "forwarded-for": resolved("Forwarded", before="for="),
    "forwarded-quoted": resolved("Forwarded", before='for="', after='"'),
    "forwarded-after-quoted": resolved("Forwarded", before='a="', after='",for=10.0.0.2'),
    "single-address": resolved("X-Real-IP"),
    "peer": lambda text: ClientIPResolver(TRUSTED).resolve({"REMOTE_ADDR": text}),
    "accept": lambda text: choose_format(f"{next(serial)},{text}"),
    "accept-parameter": lambda text: choose_format(f"text/html;a{next(serial)}={text}"),
    "accept-language": lambda text: choose_language(f"{next(serial)},{text}", LANGUAGES),
    "preflight-method": lambda text: preflight(method=text),
    "preflight-headers": lambda text: preflight(method="GET", headers=text),
    "path": lambda text: ExemptPaths(["/a/"]).match({"PATH_INFO": f"/a/{text}"}),
    "flag": lambda text: parse_flag(as_bytes(text)),
    "flag-message": lambda text: parse_flag(b'{"message": "%b"}' % as_bytes(text)),
    "flag-messages": lambda text: parse_flag(b'{"messages": {"de": "%b"}}' % as_bytes(text)),
    "page": lambda text: custom_template(as_bytes(text)),
    "page-tags": lambda text: lone_tags(as_bytes(text)),
    "page-message": in_page,
}


def cost(action: Callable[[str], object], text: str, runs: int, enough: float) -> float:
    """Return the least seconds of work; the rest is what else the machine did."""
    least = float("inf")
    for _ in range(runs):
        began = time.thread_time()
        action(text)
        least = min(least, time.thread_time() - began)
        if least < enough:
            break
    return least


def shaped(piece: str, size: int) -> str:
    return (piece * (size // len(piece) + 1))[:size]


@pytest.mark.parametrize("reader", READERS)
def test_100_kb_of_anything_cost_little(reader: str) -> None:
    for piece in PIECES:
        spent = cost(READERS[reader], shaped(piece, SIZE), 25, ALLOWED)
        assert spent < ALLOWED, piece
        if spent > CHEAP:
            assert_linear(READERS[reader], piece, SIZE)


@pytest.mark.parametrize("piece", ["1.1.1.1,", "::1 ", "x\n", "#", "\xff", "0/"])
def test_time_for_a_list_follows_its_length(piece: str) -> None:
    assert_linear(lambda text: parse_exemptions(as_bytes(text)), piece, SIZE // 5)


def assert_linear(action: Callable[[str], object], piece: str, size: int) -> None:
    for _ in range(5):  # twice the length takes twice the time, unless the machine is busy
        half = cost(action, shaped(piece, size // 2), 4, 0)
        whole = cost(action, shaped(piece, size), 4, 0)
        if whole <= 3 * half + 0.005:
            return
    pytest.fail(f"{piece!r}: {half:.4f} s for half, {whole:.4f} s for the whole")
