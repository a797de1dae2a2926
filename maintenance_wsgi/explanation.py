"""Why a request is let through or blocked: the way to the answer, by the functions that decide.

"I exempted my address and am still locked out" has a handful of causes. Each shows here, and has
a hint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from netaddr import IPNetwork

from maintenance_wsgi.client_ip import (
    ClientIPResolver,
    Hop,
    Reason,
    is_unix_peer,
    peer_text,
)
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.exempt_paths import ExemptPaths
from maintenance_wsgi.exemptions import Entry, read_entries
from maintenance_wsgi.mode import MaintenanceMode
from maintenance_wsgi.networks import Address, NetworkSet, parse_node

_FORWARDING_HEADERS = (
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "CF-Connecting-IP",
    "True-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Client-IP",
    "X-Envoy-External-Address",
)
_PRIVATE = NetworkSet(
    map(
        IPNetwork,
        [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
        ],
    )
)
_SHOWN_HOPS = 20
_SHOWN_TEXT = 80
_REASONS = {
    Reason.DIRECT_PEER: "the peer itself: it is no trusted proxy",
    Reason.RIGHTMOST_UNTRUSTED: "the first hop from the right that is no trusted proxy",
    Reason.ALL_TRUSTED: "every hop is a trusted proxy: the leftmost",
    Reason.SINGLE_HEADER: "the one address in the header",
    Reason.UNKNOWN_PEER: "the peer is no IP address",
    Reason.NO_HEADER: "a trusted proxy that sends no header",
    Reason.EMPTY_ENTRY: "an empty entry ends the search",
    Reason.UNREADABLE_ENTRY: "what is no address ends the search",
}


class Verdict(StrEnum):
    """What becomes of a request, and by what."""

    OFF = "let through: maintenance is off"
    EXEMPT_PATH = "let through: the path is exempt"
    EXEMPT = "let through: the client is exempt"
    BLOCKED = "blocked: 503"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was looked at, and what was found of it."""

    text: str
    finding: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a request is decided; `str()` prints it.

    Attributes:
        peer: the other end of the connection.
        header: name of the one header that is read.
        value: what it holds, `repr`d and cut.
        hops: its entries from the right.
        client: the client's address, or None where it is unknown.
        reason: why it is.
        entry: what was found in the list.
        enabled: whether maintenance is on.
        path: the request's path.
        verdict: what becomes of the request.
        hints: what is often the matter where it looks like this.
    """

    peer: Step
    header: str
    value: str
    hops: tuple[Step, ...]
    client: str | None
    reason: Reason
    entry: str
    enabled: bool
    path: Step
    verdict: Verdict
    hints: tuple[str, ...]

    def __str__(self) -> str:
        """Return the steps as lines of text."""
        lines = [
            _line("peer", self.peer.text, self.peer.finding),
            _line("header", self.header, "missing or blank" if self.value == "''" else self.value),
            *(_line(f" #{n}", hop.text, hop.finding) for n, hop in enumerate(self.hops, 1)),
            _line("client", self.client or "unknown", _REASONS[self.reason]),
            _line("exempt", self.entry),
            _line("flag", "there" if self.enabled else "not there"),
            _line("path", self.path.text, self.path.finding),
            _line("verdict", self.verdict),
            *(_line("hint", hint) for hint in self.hints),
        ]
        return "\n".join(lines)


def _line(name: str, text: str, finding: str = "") -> str:
    return f"{name:<9}{text:<20} {finding}".rstrip()


def explain(
    environ: Mapping[str, Any],
    mode: MaintenanceMode,
    resolver: ClientIPResolver,
    exempt_paths: ExemptPaths,
) -> Explanation:
    """Return how a request is decided; never raises."""
    trace: list[Hop] = []
    client, reason = resolver.resolve(environ, trace)
    exempt_path = exempt_paths.match(environ)
    enabled = mode.is_enabled()
    verdict = _decide(client, mode, exempt_path=exempt_path)
    hints: list[str] = []
    if verdict is not Verdict.EXEMPT:
        hints += _hints(environ, mode, resolver, client, reason)
    if not enabled:
        hints.append(f"while maintenance is on, this request is {verdict}")
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    return Explanation(
        peer=_explain_peer(environ, resolver),
        header=resolver.header,
        value=ascii(resolver.header_value(environ))[:200],
        hops=tuple(_explain_hops(environ, resolver, trace)),
        client=None if client is None else str(client),
        reason=reason,
        entry=_explain_entry(client, mode),
        enabled=enabled,
        path=Step(_shown(path), "exempt" if exempt_path else "not exempt"),
        verdict=verdict if enabled else Verdict.OFF,
        hints=tuple(hints),
    )


def _decide(client: Address | None, mode: MaintenanceMode, *, exempt_path: bool) -> Verdict:
    if exempt_path:
        return Verdict.EXEMPT_PATH
    if client is not None and mode.exempts(client):
        return Verdict.EXEMPT
    return Verdict.BLOCKED


def _shown(text: object, length: int = _SHOWN_TEXT) -> str:
    # Text from the network goes to a terminal or a page: no control characters, no length.
    return ascii(text)[1:-1][:length] if isinstance(text, str) and text else "''"


def _explain_peer(environ: Mapping[str, Any], resolver: ClientIPResolver) -> Step:
    text = peer_text(environ)
    address = parse_node(text.strip(" \t")) if isinstance(text, str) else None
    if address is None:
        trusted = "unix:" if is_unix_peer(text) and resolver.trusts_unix else None
        return Step(_shown(text), f"trusted by {trusted}" if trusted else "no IP address")
    return Step(str(address), _trust(address, resolver))


def _trust(address: Address, resolver: ClientIPResolver) -> str:
    entry = resolver.trusting_entry(address)
    return f"trusted by {entry}" if entry else "not trusted"


def _explain_hops(
    environ: Mapping[str, Any], resolver: ClientIPResolver, trace: list[Hop]
) -> Iterator[Step]:
    for text, address in trace[:_SHOWN_HOPS]:
        yield _explain_hop(text, address, resolver)
    if len(trace) > _SHOWN_HOPS:
        # But never without the one that decides.
        yield Step("...", f"{len(trace) - _SHOWN_HOPS - 1} more, all trusted")
        yield _explain_hop(*trace[-1], resolver)
    for text, address in islice(resolver.hops(environ), len(trace), len(trace) + _SHOWN_HOPS):
        shown = _shown(text) if address is None else str(address)
        yield Step(shown, "not looked at: anybody can write this")


def _explain_hop(text: str, address: Address | None, resolver: ClientIPResolver) -> Step:
    if address is None:
        return Step(_shown(text), "no address: the search ends here")
    return Step(str(address), _trust(address, resolver))


def _explain_entry(client: Address | None, mode: MaintenanceMode) -> str:
    try:
        entries = _read_list(mode)
    except StateError as error:
        return f"no entry can be named: {error}"
    if client is None:
        return "not looked up: the client is unknown"
    good = [entry for entry in entries if entry.network is not None]
    for line, text, network in good:
        if network and client in NetworkSet([network]):
            return f"yes, by {text} (line {line} of the list)"
    bad = len(entries) - len(good)
    faults = f"; {bad} more cannot be read" if bad else ""
    return f"no: none of the {len(good)} good entries matches{faults}"


def _read_list(mode: MaintenanceMode) -> list[Entry]:
    return list(read_entries(mode.list_bytes()))


def _hints(
    environ: Mapping[str, Any],
    mode: MaintenanceMode,
    resolver: ClientIPResolver,
    client: Address | None,
    reason: Reason,
) -> Iterator[str]:
    yield from _trust_hints(environ, resolver, client, reason)
    for name in _sent_headers(environ, resolver):
        if name.lower() != resolver.header.lower():
            for address in _exempt_addresses(environ, name, mode):
                yield f"{name} holds {address}, which is exempt, but is not the header that is read"
    if client is not None:
        yield from _family_hint(client, mode)


def _trust_hints(
    environ: Mapping[str, Any], resolver: ClientIPResolver, client: Address | None, reason: Reason
) -> Iterator[str]:
    peer = _shown(peer_text(environ))
    header = resolver.header
    sent = _sent_headers(environ, resolver)
    if reason is Reason.DIRECT_PEER and sent:
        yield f"{sent[0]} is ignored: if {peer} is a proxy of yours, add it to the trusted proxies"
    if reason is Reason.UNKNOWN_PEER and is_unix_peer(peer_text(environ)):
        yield "a Unix socket? Then add 'unix:' to the trusted proxies"
    if reason is Reason.NO_HEADER:
        yield f"the proxy must send {header}; in nginx: {_nginx_line(header)}"
        if header.lower() == "forwarded":
            yield "and let client_ip_header be X-Forwarded-For: nginx does not speak RFC 7239"
        yield "or the server drops it: waitress does, unless clear_untrusted_proxy_headers is False"
    if client is not None and reason is Reason.RIGHTMOST_UNTRUSTED and client in _PRIVATE:
        yield f"{client} is private: one more proxy of yours? Then add it to the trusted proxies"


def _nginx_line(header: str) -> str:
    if header.lower() in {"x-forwarded-for", "forwarded"}:
        # nginx has no variable that writes an IPv6 address as RFC 7239 wants it.
        return "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    return f"proxy_set_header {header} $remote_addr;"


def _sent_headers(environ: Mapping[str, Any], resolver: ClientIPResolver) -> list[str]:
    """Return the forwarding headers that the request carries, the configured one first."""
    readers = [resolver, *(ClientIPResolver(header=name) for name in _FORWARDING_HEADERS)]
    sent = {
        reader.header.lower(): reader.header for reader in readers if reader.header_value(environ)
    }
    return list(sent.values())


def _exempt_addresses(environ: Mapping[str, Any], header: str, mode: MaintenanceMode) -> list[str]:
    hops = islice(ClientIPResolver(header=header).hops(environ), _SHOWN_HOPS)
    return [str(address) for _, address in hops if address is not None and mode.exempts(address)]


def _family_hint(client: Address, mode: MaintenanceMode) -> Iterator[str]:
    try:
        versions = {entry.network.version for entry in _read_list(mode) if entry.network}
    except StateError:
        return
    if versions and client.version not in versions:
        other = 10 - client.version
        yield f"the client came by IPv{client.version}, and the list holds IPv{other} alone"
