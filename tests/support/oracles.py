"""What must hold of any input, whoever wrote it.

Each target takes bytes and asserts. Hypothesis draws them in `test_properties.py`, atheris in
`fuzz.py`. Texts of a request are latin-1, as servers make them (PEP 3333). If a target takes
several texts, `SEPARATOR` stands between them.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from html import escape
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from wsgiref.types import WSGIEnvironment

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.arguments import MAX_SECONDS
from maintenance_wsgi.networks import format_network
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.response.cors import CORSPolicy
from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.negotiation import (
    HTML,
    PROBLEM,
    TEXT,
    choose_format,
    choose_language,
)
from maintenance_wsgi.response.templates import (
    CUSTOM_PLACEHOLDERS,
    custom_template,
    load_templates,
    values_of,
)
from maintenance_wsgi.state.exemptions import (
    append_to,
    canonical_entries,
    cut_from,
    parse_entries,
    parse_exemptions,
    render_exemptions,
)
from maintenance_wsgi.state.flag import Window, parse_flag
from tests.support.data import load_cases
from tests.support.wsgi import shop

SEPARATOR = b"\x1e"
Target = Callable[[bytes], None]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PROXY = "10.0.0.1"
TRUSTED = ["10.0.0.0/8", "fd00::/8"]
CLIENT = ip_address("198.51.100.7")
ORIGIN = "https://shop.example"
_TRUSTED = [ip_network(entry) for entry in TRUSTED]
_SENTENCES = load_catalogs()
_LANGUAGES = tuple(_SENTENCES)
_TEMPLATES = load_templates()
# What a message becomes in HTML beside its own text.
_MARKUP = re.compile(
    r'</?p\b[^>]*>|<a dir="ltr" href="https://[^"<>]+" rel="noopener nofollow">|</a>'
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f]")


# What the standard library reads.


def plain_networks(data: bytes) -> Iterator[tuple[str, Network]]:
    """Yield the entries that `ipaddress` can read; it reads more spellings than we do."""
    text = data.removeprefix(b"\xef\xbb\xbf").strip(b" \t\n\r\0\x0b").decode("latin-1")
    for line in re.split("[\r\n]", text):
        for entry in re.split("[, \t]", line.split("#")[0]):
            try:
                network = ip_network(entry, strict=False)
            except ValueError:
                continue
            mapped = getattr(network[0], "ipv4_mapped", None)
            if mapped is not None and network.prefixlen >= 96:
                network = ip_network((mapped, network.prefixlen - 96))
            if "%" not in entry:  # a zone
                yield entry, network


def lies_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == n.version and address in n for n in networks)


def spelled(value: str) -> Iterator[Address]:
    """Yield all addresses that stand in a text, with a port or without."""
    for text in re.findall(r"[0-9A-Fa-f:.]+", value):
        for part in (text, text.rstrip(":"), text.rpartition(":")[0]):
            try:
                address = ip_address(part)
            except ValueError:
                continue
            yield getattr(address, "ipv4_mapped", None) or address
            break


def is_trusted(address: Address) -> bool:
    return lies_in(address, _TRUSTED)


# The targets.


def resolve(header: str, value: str, peer: str = PROXY) -> Address | None:
    key = f"HTTP_{header.upper().replace('-', '_')}"
    address = _resolver(header).resolve({"REMOTE_ADDR": peer, key: value}).client
    return None if address is None else ip_address(str(address))


@cache
def _resolver(header: str) -> ClientIPResolver:
    return ClientIPResolver(TRUSTED, header)


def x_forwarded_for(data: bytes) -> None:
    value = data.decode("latin-1")
    found = resolve("X-Forwarded-For", value)
    assert found is None or found in spelled(value)
    if found and is_trusted(found):
        assert all(map(is_trusted, spelled(value)))
    assert resolve("X-Forwarded-For", value, str(CLIENT)) == CLIENT
    # What a client sends stands left of what the proxies append.
    for appended, expected in [(CLIENT, CLIENT), ("unknown", None), ("", None)]:
        assert resolve("X-Forwarded-For", f"{value}, {appended}, 10.0.0.2") == expected


def forwarded(data: bytes) -> None:
    value = data.decode("latin-1")
    found = resolve("Forwarded", value)
    assert found is None or found in spelled(value.replace("\\", ""))
    assert resolve("Forwarded", value, str(CLIENT)) == CLIENT
    # None where a quote was left open: that locks out nobody but who opened it.
    assert resolve("Forwarded", f"{value}, for={CLIENT}") in {CLIENT, None}
    assert resolve("Forwarded", f'{value}, for={CLIENT}, for="[fd00::1]:80"') in {CLIENT, None}


def single_address(data: bytes) -> None:
    value = data.decode("latin-1")
    found = resolve("X-Real-IP", value)
    assert found is None or found in spelled(value)
    # A peer is read as the header is, and is asked for the client if it is trusted.
    expected = CLIENT if found and is_trusted(found) else found
    assert resolve("X-Real-IP", str(CLIENT), value) == expected


def exemption_list(data: bytes) -> None:
    found = parse_exemptions(data)
    ours = _ranges(found.networks)
    assert ours <= _ranges(dict(plain_networks(data)).values())
    # Nothing that stands on a line hides the next one, or what stands before it.
    for longer in (data + b"\n8.8.8.8", b"8.8.8.8\n" + data):
        if data[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
            assert (4, 0x08080808, 0x08080808) in _ranges(parse_exemptions(longer).networks)
    assert str(found.invalid).isascii()
    assert not _CONTROL.search(str(found.invalid))
    again = parse_exemptions(render_exemptions(found.networks))
    assert (_ranges(again.networks), again.invalid.count) == (ours, 0)
    entries = canonical_entries(found.networks)
    # An edit changes what it names, and neither opens nor closes the list for another client.
    added = append_to(data, parse_entries([str(CLIENT)]))
    assert canonical_entries(parse_exemptions(added).networks) == tuple(
        dict.fromkeys([*entries, str(CLIENT)])
    )
    for network in found.networks[:20]:
        left = parse_exemptions(cut_from(data, (network,)))
        assert canonical_entries(left.networks) == tuple(
            entry for entry in entries if entry != format_network(network)
        )


def _ranges(networks: Iterable[object]) -> set[tuple[int, int, int]]:
    plain = [ip_network(str(network)) for network in networks]
    return {(network.version, int(network[0]), int(network[-1])) for network in plain}


def flag(data: bytes) -> None:
    details, problems = parse_flag(data)
    for problem in problems:
        assert problem.isprintable()
    assert details.retry_after is None or 0 <= details.retry_after <= MAX_SECONDS
    for time in (details.until, details.since):
        assert time is None or time.utcoffset() is not None
    for text in (details.message, details.by):
        assert text is None or not _CONTROL.search(re.sub("[\t\n]", "", text))
    for language in ("", *(details.messages or {})):
        _render(details, language)


def _render(details: Window, language: str) -> None:
    late = {"client_ip": "\1", "retry_after": "7"}  # which no message holds
    for sentences in (_SENTENCES["en"], _SENTENCES["ar"]):
        values = values_of(details, 5 if details.until else None, sentences, language)
        message = values["message"] or sentences.detail
        page, harmless = (
            _MARKUP.sub("", answered(HTML, {**values, "message": text}, late))
            for text in (message, "-")
        )
        for letter in ("<", ">", '"', "'", "\0", "\1"):
            assert page.count(letter) == harmless.count(letter)
        problem = json.loads(answered(PROBLEM, values, {"retry_after": "7"}))
        assert (problem["detail"], problem["retry_after"]) == (message, 7)
        assert message in answered(TEXT, values, late)


def answered(content_type: str, values: Mapping[str, str], late: Mapping[str, str]) -> str:
    return _TEMPLATES[content_type].bind(values, late).fill(late).decode()


def accept(data: bytes) -> None:
    value = data.decode("latin-1")
    lower = value.lower()
    found = choose_format(value)
    assert found in {HTML, PROBLEM, TEXT}
    assert found != PROBLEM or "json" in lower or "application/*" in lower
    assert found != TEXT or "text/plain" in lower
    language = choose_language(value, _LANGUAGES)
    assert language in {None, *_LANGUAGES}
    assert language is None or {language[:2].lower(), "iw"} & set(re.findall("[a-z]{2}", lower))


def cross_origin(data: bytes) -> None:
    origin, method, names = _texts(data, 3)
    environ = {
        "REQUEST_METHOD": "OPTIONS",
        "HTTP_ORIGIN": origin,
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": method,
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": names,
    }
    for allowed in (ORIGIN, "*"):
        policy = CORSPolicy([allowed])
        for fields in (policy.answer_headers(environ), policy.preflight_headers(environ)):
            _assert_fields(fields)
            given = dict(fields)
            assert len(given) == len(fields)
            assert given.get("Access-Control-Allow-Origin", allowed) == allowed
            assert not fields or allowed in {"*", origin}
            assert ("Access-Control-Allow-Credentials" in given) == (
                bool(fields) and allowed != "*"
            )
            assert given.get("Access-Control-Allow-Methods", method) == method


def own_page(data: bytes) -> None:
    page, _, message = data.partition(SEPARATOR)
    details = Window(message=message.decode("utf-8", "replace"))
    values = values_of(details, None, _SENTENCES["en"], "")
    late = {"retry_after": "7", "client_ip": "8.8.4.4"}
    filled = custom_template(page).bind(values, late).fill(late)
    for letter in (b"<", b">", b'"'):
        assert filled.count(letter) <= page.count(letter)
    if re.search(rb"\{\{[#/]| {4}|[\x1e\x1f]", page):
        return
    texts = dict.fromkeys(CUSTOM_PLACEHOLDERS, "") | {
        "message": escape(details.message or ""),
        "retry_after": "7",
        "client_ip": "8.8.4.4",
        "language": "en",
    }
    for number, name in enumerate(texts):
        for spaces in range(16):
            spelled = f"{{{{{' ' * (spaces // 4)}{name}{' ' * (spaces % 4)}}}}}"
            page = page.replace(spelled.encode(), b"\x1e%d\x1f" % number)
    for number, text in enumerate(texts.values()):
        page = page.replace(b"\x1e%d\x1f" % number, text.encode())
    assert filled == page


class Gate:
    """The middleware before a shop, with the two files that an input holds."""

    def __init__(self) -> None:
        self._directory = TemporaryDirectory()
        var = Path(self._directory.name)
        self.flag, self.list = var / ".maintenance.flag", var / ".maintenance.ip"
        self.flag.touch()
        self.middleware = MaintenanceMiddleware(
            shop,
            var,
            trusted_proxies=TRUSTED,
            exempt_paths=["/healthz", "/webhooks/"],
            cors_origins=["*"],
        )

    def ask(self, environ: WSGIEnvironment) -> tuple[str, dict[str, str]]:
        """Return status and fields of an answer that is sound, whatever was asked."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, fields: list[tuple[str, str]], *_: object) -> Any:
            started.append((status, fields))

        body = b"".join(self.middleware(environ, start_response))
        ((status, fields),) = started
        _assert_fields(fields)
        given = dict(fields)
        if status.startswith("503"):
            assert len(given) == len(fields)
            assert given["X-Maintenance-Mode"] == "on"
            assert given["Cache-Control"] == "no-store"
            assert environ.get("REQUEST_METHOD") == "HEAD" or given["Content-Length"] == str(
                len(body)
            )
        str(self.middleware.explain(environ)).encode()
        return status, given


_GATE_KEYS = (
    "REMOTE_ADDR",
    "HTTP_X_FORWARDED_FOR",
    "PATH_INFO",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_ORIGIN",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD",
    "REQUEST_METHOD",
    "CONTENT_LENGTH",
)


@cache
def _gate() -> Gate:
    return Gate()


def whole_request(data: bytes) -> None:
    """Ask with what the input holds, in the order of `_GATE_KEYS`, after the list."""
    listed, *texts = _texts(data, 1 + len(_GATE_KEYS))
    environ: WSGIEnvironment = dict(zip(_GATE_KEYS, texts, strict=True))
    gate = _gate()
    gate.list.write_bytes(listed.encode("latin-1"))
    status, fields = gate.ask(environ)
    networks = [network for _, network in plain_networks(listed.encode("latin-1"))]
    client = resolve("X-Forwarded-For", environ["HTTP_X_FORWARDED_FOR"], environ["REMOTE_ADDR"])
    path = environ["PATH_INFO"]
    below = path.startswith("/webhooks/") and not re.search(r"//|/\.\.?(/|\Z)", path)
    by_path = path == "/healthz" or below
    assert status[:3] in {"200", "503", "204"}
    if status.startswith("200"):
        assert by_path or (client is not None and lies_in(client, networks))
        assert fields["X-Maintenance-Mode"] == "exempt"
    assert environ.get("maintenance_wsgi.exempt", False) == (
        status.startswith("200") and not by_path
    )


def _texts(data: bytes, count: int) -> list[str]:
    texts = [text.decode("latin-1") for text in data.split(SEPARATOR)]
    return [*texts, *[""] * count][:count]


def _assert_fields(fields: list[tuple[str, str]]) -> None:
    for name, value in fields:
        assert _TOKEN.fullmatch(name)
        assert not _CONTROL.search(value)
        assert len(value) <= 1000
        value.encode("latin-1")


TARGETS: dict[str, Target] = {
    "exemption_list": exemption_list,
    "flag": flag,
    "x_forwarded_for": x_forwarded_for,
    "forwarded": forwarded,
    "single_address": single_address,
    "accept": accept,
    "cross_origin": cross_origin,
    "own_page": own_page,
    "whole_request": whole_request,
}


def hostile(target: str) -> list[bytes]:
    """Return what was found, and what tells much, to begin with."""
    cases = [case for case in load_cases("hostile.json") if case["target"] == target]
    return [SEPARATOR.join(part.encode("latin-1") for part in case["parts"]) for case in cases]
