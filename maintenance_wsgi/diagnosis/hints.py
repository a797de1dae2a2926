"""Likely reasons why a request was blocked, derived from the request.

A wrong trust in proxies is silent otherwise: the wrong clients are locked out, and no operator can
see why. So the log has a warning for it, at most one a minute.
"""

import logging
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from maintenance_wsgi.config import Options
from maintenance_wsgi.gate import Gate
from maintenance_wsgi.grammar import environ_key, header, printable, request_path
from maintenance_wsgi.networks import is_public
from maintenance_wsgi.request.client_ip import (
    ClientIPResolver,
    Reason,
    Resolution,
    header_entries,
    is_unix_peer,
    peer_of,
)
from maintenance_wsgi.state.exemptions import Entry

_logger = logging.getLogger("maintenance_wsgi")
_WARNING_INTERVAL = 60.0  # seconds
# Headers in which proxies and CDNs send the client's address.
_USUAL_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
_CDN_HEADERS = ("CF-Connecting-IP", "True-Client-IP", "Fastly-Client-IP", "Fly-Client-IP")
_OTHER_HEADERS = ("X-Azure-ClientIP", "X-Azure-SocketIP", "X-Client-IP", "X-Envoy-External-Address")
_HEADER_KEYS = {name: environ_key(name) for name in _USUAL_HEADERS + _CDN_HEADERS + _OTHER_HEADERS}
_MAX_HOPS = 20
# A blocked client of this kind is the rule, and no sign of a misconfigured proxy.
_WELL_CONFIGURED = {Reason.RIGHTMOST_UNTRUSTED, Reason.ALL_TRUSTED, Reason.SINGLE_HEADER}
_BAD_ENTRIES = {
    Reason.EMPTY_ENTRY: "an empty entry",
    Reason.UNREADABLE_ENTRY: "an entry that is not an address",
}


def likely_causes(
    environ: Mapping[str, Any], gate: Gate, resolution: Resolution, listed: Sequence[Entry]
) -> Iterator[str]:
    """Yield a hint for each usual mistake that a blocked request shows."""
    yield from _trust_causes(environ, gate.resolver, resolution)
    path = request_path(environ)
    for near in (path.removesuffix("/"), f"{path}/"):
        if near != path and gate.exempt_paths.match({"PATH_INFO": near}):
            yield f"the path is one slash away from '{printable(near)}', which is exempt"
    for name, key in _HEADER_KEYS.items():
        if key != gate.resolver.key:
            for _, address in islice(header_entries(key, header(environ, key)), _MAX_HOPS):
                if address and gate.reader.exempts(address):
                    yield f"{name} holds {address}, which is exempt, but {name} is not read"
    versions = {entry.network.version for entry in listed if entry.network}
    client = resolution.client
    if client and versions and client.version not in versions:
        yield f"the client uses IPv{client.version}; the list has only IPv{versions.pop()} entries"


def _trust_causes(
    environ: Mapping[str, Any], resolver: ClientIPResolver, resolution: Resolution
) -> Iterator[str]:
    """Yield what is wrong with the trust in proxies."""
    peer = printable(peer_of(environ)) or "''"
    name, client, reason = resolver.header, resolution.client, resolution.reason
    if reason is Reason.DIRECT_PEER and (sent := next(iter(_sent_headers(environ, resolver)), "")):
        yield (
            f"{sent} is ignored: {peer} is not a trusted proxy; if it is one of your proxies,"
            f" add it to trusted_proxies, and set client_ip_header if it does not use {name}"
        )
    elif reason is Reason.UNKNOWN_PEER:
        if is_unix_peer(peer_of(environ)):
            yield f"the peer {peer} is a Unix socket; if it is your proxy's, trust 'unix:'"
        else:
            yield (
                f"the server calls its peer '{peer}', which is not an IP address and not known for"
                " a Unix socket, so the client is unknown"
            )
    elif reason is Reason.NO_HEADER:
        yield (
            f"{name} is missing: the trusted proxy did not send it; configure the proxy,"
            f" in nginx: {_nginx_line(name)}"
        )
        if resolver.key == "HTTP_FORWARDED":
            yield "nginx cannot write RFC 7239; set client_ip_header to X-Forwarded-For"
        yield (
            f"the server may drop {name}: waitress does so unless clear_untrusted_proxy_headers"
            " is False"
        )
    elif reason in _BAD_ENTRIES:
        yield f"{name} has {_BAD_ENTRIES[reason]} where the client's address is expected"
    elif reason is Reason.RIGHTMOST_UNTRUSTED and client and not is_public(client):
        yield (
            f"{client} is a private address; if it is another of your proxies, add it to"
            " trusted_proxies"
        )


def _nginx_line(name: str) -> str:
    if name.lower() in {"x-forwarded-for", "forwarded"}:
        # nginx has no variable that holds an IPv6 address in the form of RFC 7239.
        return "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    return f"proxy_set_header {name} $remote_addr;"


def _sent_headers(environ: Mapping[str, Any], resolver: ClientIPResolver) -> dict[str, str]:
    """Return the forwarding headers of a request; the one that is read comes first."""
    others = {name: key for name, key in _HEADER_KEYS.items() if key != resolver.key}
    keys = {resolver.header: resolver.key} | others
    return {name: value for name, key in keys.items() if (value := header(environ, key))}


class ProxyWarnings:
    """Logs the first likely cause of a blocked request if the proxies look misconfigured."""

    def __init__(self, resolver: ClientIPResolver, options: Options) -> None:
        self._resolver, self._options = resolver, options
        self._next_warning = 0.0
        self._held_back = 0

    def __call__(self, environ: Mapping[str, Any], resolution: Resolution) -> None:
        """Warn of a blocked request, at most once a minute."""
        if resolution.reason in _WELL_CONFIGURED:
            return
        cause = next(_trust_causes(environ, self._resolver, resolution), "")
        if not cause:
            return
        now = time.monotonic()
        if now < self._next_warning:
            self._held_back += 1
            return
        held_back, self._held_back = self._held_back, 0
        self._next_warning = now + _WARNING_INTERVAL
        more = f" ({held_back} more of this kind since the last warning)" if held_back else ""
        peer = printable(str(resolution.peer.address or resolution.peer.text))
        command = ["maintenance-wsgi", "--dir", self._options.directory, "explain", peer]
        for name, value in _sent_headers(environ, self._resolver).items():
            # A list is read from its end.
            command += ["--header", f"{name}: {printable(value[-100:], 100)}"]
        seen = shlex.join([*command, *self._options.arguments()])
        shown = (peer or "''", cause, more, seen)
        _logger.warning("blocked a request from %s: %s%s; to see why, run: %s", *shown)
