"""Why a request is let through or blocked: a step-by-step account, from the code that decides.

"I exempted my address and am still locked out" has a handful of causes. Each of them shows here,
and has a hint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from maintenance_wsgi.diagnosis.hints import likely_causes
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.gate import READING, Gate, Outcome
from maintenance_wsgi.grammar import LINE_LIMIT, header, printable, readable_path, request_path
from maintenance_wsgi.networks import Address, NetworkSet
from maintenance_wsgi.request.client_ip import Hop, Reason, Resolution, header_entries
from maintenance_wsgi.state.exemptions import Entry, read_entries
from maintenance_wsgi.state.flag import Window
from maintenance_wsgi.state.store import FileStore

_MAX_HOPS = 20
_REASONS = {
    Reason.DIRECT_PEER: "the peer itself, which is not a trusted proxy",
    Reason.RIGHTMOST_UNTRUSTED: "the rightmost address that is not a trusted proxy",
    Reason.ALL_TRUSTED: "the leftmost address, as every hop is a trusted proxy",
    Reason.SINGLE_HEADER: "the one address in the header",
    Reason.UNKNOWN_PEER: "the peer is not an IP address",
    Reason.NO_HEADER: "the trusted proxy sent no header",
    Reason.EMPTY_ENTRY: "the search stopped at an empty entry",
    Reason.UNREADABLE_ENTRY: "the search stopped at an entry that is not an address",
}
_OUTCOMES = {
    Outcome.OFF: "let through: maintenance is off",
    Outcome.HEALTH: "answered by the gate itself: 200, as the path is one of health_paths",
    Outcome.EXEMPT_PATH: "let through: the path is exempt",
    Outcome.EXEMPT_CLIENT: "let through: the client is exempt",
    Outcome.BYPASS_LINK: "let through: by the bypass link, with a redirect and a cookie",
    Outcome.BYPASS_HEADER: "let through: by the bypass header",
    Outcome.BYPASS_COOKIE: "let through: by the bypass cookie",
    Outcome.WRITE_PATH: "let through: read-only mode, and the path is one of write_paths",
    Outcome.READ_ONLY: "let through: read-only mode, and the request only reads",
    Outcome.BLOCKED: "blocked: 503",
}
_PATHS = {
    Outcome.EXEMPT_PATH: "exempt",
    Outcome.HEALTH: "a health path",
    Outcome.WRITE_PATH: "a write path",
}
_EXEMPT = {Outcome.EXEMPT_CLIENT, *(found for found in Outcome if found.startswith("bypass"))}


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a request is decided; `str()` formats it as lines of text."""

    outcome: Outcome
    outcome_if_on: Outcome  # what becomes of the request while maintenance is on
    resolution: Resolution
    window: Window | None  # what the flag says, if that was asked
    header: str  # name of the one header that is read
    value: str  # what it holds
    ignored: tuple[Hop, ...]  # the entries of the header that were not read, from the right
    path: str
    matched: Entry | None  # the entry of the list that exempts the client
    listed: Sequence[Entry] | StateError  # the error if the list cannot be read
    hints: tuple[str, ...]  # likely causes, if the request is blocked

    def as_dict(self) -> dict[str, Any]:
        """Return what programs need: codes, addresses and booleans, all of JSON's types."""
        client = self.resolution.client
        return {
            "allowed": self.outcome.allowed,
            "outcome": self.outcome.value,
            "outcome_if_on": self.outcome_if_on.value,
            "client": None if client is None else str(client),
            "reason": self.resolution.reason.value,
            "matched_entry": self.matched and self.matched.text,
            "matched_line": self.matched and self.matched.line,
            "path": self.path,
            "peer": _hop_dict(self.resolution.peer),
            "header": self.header,
            "value": self.value,
            "hops": [_hop_dict(hop) for hop in self.resolution.hops],
            "ignored_hops": [_hop_dict(hop) for hop in self.ignored],
        }

    def __str__(self) -> str:
        """Return the steps as lines of text."""
        client = self.resolution.client
        value = f"'{printable(self.value, 200)}'" if self.value else "missing or blank"
        path = _PATHS.get(self.outcome_if_on, "not exempt")
        lines = [
            _line("verdict", _OUTCOMES[self.outcome]),
            _line("peer", _shown(self.resolution.peer), _trust(self.resolution.peer)),
            _line("header", self.header, value),
            *(_line(f" #{number}", *step) for number, step in enumerate(self._steps(), 1)),
            _line("client", str(client or "unknown"), _REASONS[self.resolution.reason]),
            _line("exempt", self._exemption()),
            _line("flag", "missing" if self.outcome is Outcome.OFF else "present", self._state()),
            _line("path", printable(self.path), path),
            *(_line("hint", hint) for hint in self.hints),
        ]
        return "\n".join(lines)

    def _state(self) -> str:
        window = self.window or Window()
        link = "a bypass link is in force" if window.bypass else ""
        return ", ".join(filter(None, ["read-only" if window.read_only else "", link]))

    def _steps(self) -> Iterator[tuple[str, str]]:
        hops = self.resolution.hops
        for hop in hops[:_MAX_HOPS]:
            yield _shown(hop), self._finding(hop)
        if len(hops) > _MAX_HOPS:
            # The hop that decides is always shown.
            yield "...", f"{len(hops) - _MAX_HOPS - 1} more, all trusted"
            yield _shown(hops[-1]), self._finding(hops[-1])
        for hop in self.ignored:
            yield _shown(hop), "ignored: a client can forge this"

    def _finding(self, hop: Hop) -> str:
        if self.resolution.reason is Reason.SINGLE_HEADER:
            return "the one address"
        if hop.address is None:
            return "not an address: the search stops here"
        return _trust(hop)

    def _exemption(self) -> str:
        if isinstance(self.listed, StateError):
            return f"unknown which entry: {printable(str(self.listed), LINE_LIMIT)}"
        if self.matched:
            return f"yes, by {self.matched.text} (line {self.matched.line} of the list)"
        if self.resolution.client is None:
            return "not looked up, as the client is unknown"
        valid = sum(entry.network is not None for entry in self.listed)
        invalid = len(self.listed) - valid
        more = f"; {invalid} more cannot be read" if invalid else ""
        return f"no: none of the {valid} valid entries match{more}"


def explain(environ: Mapping[str, Any], gate: Gate) -> Explanation:
    """Return how a gate decides a request; never raises."""
    resolver, reader = gate.resolver, gate.reader
    flag = reader.flag()
    decision = gate.decide(environ, flag)
    outcome = decision.outcome
    outcome_if_on = Outcome.BLOCKED if outcome is Outcome.OFF else outcome
    resolution = decision.resolution or resolver.resolve(environ)
    listed = _read_list(reader.directory)
    value = header(environ, resolver.key)
    read = len(resolution.hops)
    ignored = islice(header_entries(resolver.key, value), read, read + _MAX_HOPS)
    hints = ["X-Maintenance-Mode: exempt in a 503 means that the shop behind blocks on its own"]
    if outcome is Outcome.EXEMPT_CLIENT and resolution.reason is Reason.DIRECT_PEER:
        sent = f"--header '{resolver.header}: {resolution.client}'"
        hints.append(f"if a proxy is in front, give the proxy's address, and {sent}")
    if outcome_if_on not in _EXEMPT:
        entries = [] if isinstance(listed, StateError) else listed
        hints = list(likely_causes(environ, gate, resolution, entries))
    if outcome is Outcome.BLOCKED and decision.window and decision.window.read_only:
        methods = ", ".join(READING)
        hints.append(f"read-only: only {methods} pass, without Upgrade or a method override")
    if flag is None:
        hints.append(f"while maintenance is on, this request is {_OUTCOMES[outcome_if_on]}")
    return Explanation(
        outcome=outcome if flag else Outcome.OFF,
        outcome_if_on=outcome_if_on,
        resolution=resolution,
        window=decision.window,
        header=resolver.header,
        value=value,
        ignored=tuple(Hop(*entry) for entry in ignored),
        path=readable_path(request_path(environ)),
        matched=_matching(listed, resolution.client),
        listed=listed,
        hints=tuple(hints),
    )


def _read_list(directory: str) -> Sequence[Entry] | StateError:
    try:
        exemptions = FileStore(directory).read().exemptions
    except StateError as error:
        return error
    return exemptions if isinstance(exemptions, StateError) else list(read_entries(exemptions))


def _matching(listed: Sequence[Entry] | StateError, client: Address | None) -> Entry | None:
    if client is None or isinstance(listed, StateError):
        return None
    return next(
        (entry for entry in listed if entry.network and client in NetworkSet([entry.network])), None
    )


def _trust(hop: Hop) -> str:
    if hop.trusted_by:
        return f"trusted by {hop.trusted_by}"
    return "not trusted" if hop.address else "not an IP address"


def _shown(hop: Hop) -> str:
    return str(hop.address) if hop.address else printable(hop.text) or "''"


def _hop_dict(hop: Hop) -> dict[str, str | None]:
    address = None if hop.address is None else str(hop.address)
    return {"text": hop.text, "address": address, "trusted_by": hop.trusted_by}


def _line(name: str, text: str, finding: str = "") -> str:
    return f"{name:<9}{text:<20} {finding}".rstrip()
