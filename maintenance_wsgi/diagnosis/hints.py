"""Likely reasons why a request was blocked, derived from the request.

A wrong trust in proxies is silent otherwise: the wrong clients are locked out, and no operator can
see why. So the log has a warning for it, at most one a minute.
"""

import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netaddr import IPNetwork

from maintenance_wsgi.config import Options
from maintenance_wsgi.gate import Gate
from maintenance_wsgi.grammar import environ_key, header, printable, readable_path, request_path
from maintenance_wsgi.networks import Address, NetworkSet, parse_forwarded_address
from maintenance_wsgi.request.bypass import is_sent
from maintenance_wsgi.request.client_ip import (
    ClientIPResolver,
    Reason,
    Resolution,
    is_unix_peer,
    peer_of,
)
from maintenance_wsgi.state.exemptions import Entry

_logger = logging.getLogger("maintenance_wsgi")
_WARNING_INTERVAL = 60.0  # seconds
# Headers in which proxies and CDNs send the client's address.
_USUAL_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
_CDN_HEADERS = ("CF-Connecting-IP", "True-Client-IP", "Fastly-Client-IP", "Fly-Client-IP")
_AZURE_HEADERS = ("X-Azure-ClientIP", "X-Azure-SocketIP")
_OTHER_HEADERS = ("X-Client-IP", "X-Cluster-Client-IP", "X-Envoy-External-Address")
_NAMES = _USUAL_HEADERS + _CDN_HEADERS + _AZURE_HEADERS + _OTHER_HEADERS
_HEADERS = {environ_key(name): name for name in _NAMES}
_MAX_WORDS = 100  # of a header that are looked at
_PRIVATE_IPV4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_PRIVATE = NetworkSet(map(IPNetwork, (*_PRIVATE_IPV4, "::1/128", "fc00::/7")))
# A blocked client of this kind is the rule, and no sign of a misconfigured proxy.
_WELL_CONFIGURED = {Reason.RIGHTMOST_UNTRUSTED, Reason.ALL_TRUSTED, Reason.SINGLE_HEADER}


def likely_causes(
    environ: Mapping[str, Any], gate: Gate, resolution: Resolution, listed: Sequence[Entry]
) -> Iterator[str]:
    """Yield a hint for each usual mistake that a blocked request shows."""
    yield from _trust_causes(environ, gate.resolver, resolution)
    if is_sent(environ):
        flag = gate.reader.flag()
        window = flag and gate.reader.window(flag)
        fault = "no link is in force; run enable --bypass"
        if window and window.bypass:
            fault = "not of the link that is in force"
        yield f"a bypass link, header or cookie is sent, but {fault}"
    path = request_path(environ)
    for near in (path.removesuffix("/"), f"{path}/"):
        if near != path and gate.exempt_paths.match({"PATH_INFO": near}):
            shown = printable(readable_path(near))
            yield f"the path is one slash away from '{shown}', which is exempt"
    for key, value in environ.items():
        if key.startswith("HTTP_") and key != gate.resolver.key and isinstance(value, str):
            name = _HEADERS.get(key) or key[5:].replace("_", "-").title()
            words = map(parse_forwarded_address, re.split(r'[\s,;="]+', value)[:_MAX_WORDS])
            for address in dict.fromkeys(filter(gate.reader.exempts, filter(None, words))):
                yield f"{name} holds {address}, which is exempt, but {name} is not read"
    if header(environ, "HTTP_X_ORIGINAL_FORWARDED_FOR"):
        remedy = "set use-forwarded-headers in its ConfigMap if the proxy in front of it is yours"
        yield f"ingress-nginx moved X-Forwarded-For to X-Original-Forwarded-For; {remedy}"
    if resolution.client and not gate.reader.exempts(resolution.client):
        yield from _address_causes(resolution.client, listed)


def _address_causes(client: Address, listed: Sequence[Entry]) -> Iterator[str]:
    """Yield why no entry covers an address that is near one, or of another family."""
    version, value = client
    networks = [entry.network for entry in listed if entry.network]
    own = [network for network in networks if network.version == version]
    if version == 4 and value >> 28 == 0xF:  # noqa: PLR2004 (240.0.0.0/4)
        yield f"{client} is what Cloudflare makes of an IPv6 address; switch Pseudo IPv4 off"
    elif networks and not own:
        yield f"the client uses IPv{version}; the list has only IPv{networks[0].version} entries"
    elif any(network.prefixlen > 64 and network.first >> 64 == value >> 64 for network in own):  # noqa: PLR2004 (bits)
        prefix = Address(6, value >> 64 << 64)
        yield f"{prefix}/64 would cover the client: IPv6 addresses change daily, the /64 does not"
    elif own and not any(network.first >> 80 == value >> 80 for network in own):
        yield f"none of the IPv6 entries is near {client}"


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
    elif reason is Reason.DIRECT_PEER and client and client in _PRIVATE:
        yield (
            f"{peer} is private, and no header names the visitor; if Docker or a TCP balancer gives"
            " it to every visitor, never exempt it; use the PROXY protocol or Docker's host network"
        )
    elif reason is Reason.UNKNOWN_PEER and is_unix_peer(peer_of(environ)):
        yield f"the peer {peer} is a Unix socket; if it is your proxy's, trust 'unix:'"
    elif reason is Reason.UNKNOWN_PEER:
        yield f"the peer '{peer}' is not an IP address, and not known for a Unix socket"
    elif reason is Reason.NO_HEADER:
        # nginx has no variable that holds an IPv6 address in the form of RFC 7239.
        is_list = resolver.key in {"HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED"}
        line = "X-Forwarded-For $proxy_add_x_forwarded_for" if is_list else f"{name} $remote_addr"
        yield f"{name} is missing: the proxy did not send it; in nginx: proxy_set_header {line};"
        if resolver.key == "HTTP_FORWARDED":
            yield "nginx cannot write RFC 7239; set client_ip_header to X-Forwarded-For"
        yield f"waitress drops {name} unless clear_untrusted_proxy_headers is False"
    elif reason in {Reason.EMPTY_ENTRY, Reason.UNREADABLE_ENTRY}:
        kind = "empty" if reason is Reason.EMPTY_ENTRY else "unreadable"
        yield f"{name} has an {kind} entry where the client's address is expected"
    elif reason is Reason.RIGHTMOST_UNTRUSTED and client and client in _PRIVATE:
        yield f"{client} is private; if it is another of your proxies, add it to trusted_proxies"


def _sent_headers(environ: Mapping[str, Any], resolver: ClientIPResolver) -> dict[str, str]:
    """Return the forwarding headers of a request; the one that is read comes first."""
    names = {resolver.key: resolver.header} | _HEADERS
    return {name: value for key, name in names.items() if (value := header(environ, key))}


class ProxyWarnings:
    """Logs the first likely cause of a blocked request if the proxies look misconfigured."""

    def __init__(self, resolver: ClientIPResolver, options: Options) -> None:
        self._resolver, self._options = resolver, options
        self._next_warning = 0.0
        self._held_back = 0
        self._is_translation_told = False

    def __call__(self, environ: Mapping[str, Any], resolution: Resolution) -> None:
        """Warn of a blocked request, at most once a minute; of translated addresses only once."""
        if resolution.reason in _WELL_CONFIGURED:
            return
        cause = next(_trust_causes(environ, self._resolver, resolution), "")
        sent = _sent_headers(environ, self._resolver)
        is_translated = resolution.reason is Reason.DIRECT_PEER and not sent
        # In an intranet this is the rule.
        if not cause or (is_translated and self._is_translation_told):
            return
        now = time.monotonic()
        if now < self._next_warning:
            self._held_back += 1
            return
        self._is_translation_told |= is_translated
        held_back, self._held_back = self._held_back, 0
        self._next_warning = now + _WARNING_INTERVAL
        more = f" ({held_back} more of this kind since the last warning)" if held_back else ""
        peer = printable(str(resolution.peer.address or resolution.peer.text))
        command = ["maintenance-wsgi", "--dir", self._options.directory, "explain", peer]
        for name, value in sent.items():
            # A list is read from its end.
            command += ["--header", f"{name}: {printable(value[-100:], 100)}"]
        seen = shlex.join([*command, *self._options.arguments()])
        shown = (peer or "''", cause.removesuffix(";"), more, seen)
        _logger.warning("blocked a request from %s: %s%s; to see why, run: %s", *shown)
