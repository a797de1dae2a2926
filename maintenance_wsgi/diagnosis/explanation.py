"""Why a request is let through or blocked: the way to the answer, by the functions that decide.

"I exempted my address and am still locked out" has a handful of causes. Each shows here, and has
a hint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from maintenance_wsgi.diagnosis.hints import likely_causes, printable
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.networks import Address, NetworkSet, parse_forwarded_address
from maintenance_wsgi.request.client_ip import (
    ClientIPResolver,
    Reason,
    is_unix_peer,
    peer_of,
)
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.request.forwarded import Hop
from maintenance_wsgi.state.mode import MaintenanceMode

_SHOWN_HOPS = 20
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
        hints += likely_causes(environ, mode, resolver, client, reason)
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
        path=Step(printable(path), "exempt" if exempt_path else "not exempt"),
        verdict=verdict if enabled else Verdict.OFF,
        hints=tuple(hints),
    )


def _decide(client: Address | None, mode: MaintenanceMode, *, exempt_path: bool) -> Verdict:
    if exempt_path:
        return Verdict.EXEMPT_PATH
    if client is not None and mode.exempts(client):
        return Verdict.EXEMPT
    return Verdict.BLOCKED


def _explain_peer(environ: Mapping[str, Any], resolver: ClientIPResolver) -> Step:
    text = peer_of(environ)
    address = parse_forwarded_address(text.strip(" \t")) if isinstance(text, str) else None
    if address is None:
        trusted = "unix:" if is_unix_peer(text) and resolver.trusts_unix else None
        return Step(printable(text), f"trusted by {trusted}" if trusted else "no IP address")
    return Step(str(address), _trust(address, resolver))


def _trust(address: Address, resolver: ClientIPResolver) -> str:
    entry = resolver.matching_proxy(address)
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
        shown = printable(text) if address is None else str(address)
        yield Step(shown, "not looked at: anybody can write this")


def _explain_hop(text: str, address: Address | None, resolver: ClientIPResolver) -> Step:
    if address is None:
        return Step(printable(text), "no address: the search ends here")
    return Step(str(address), _trust(address, resolver))


def _explain_entry(client: Address | None, mode: MaintenanceMode) -> str:
    try:
        entries = mode.entries()
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
