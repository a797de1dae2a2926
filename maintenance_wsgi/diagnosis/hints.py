"""What is often the matter where somebody is locked out, told from the request that was blocked."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from netaddr import IPNetwork

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.networks import Address, NetworkSet
from maintenance_wsgi.request.client_ip import ClientIPResolver, Reason, is_unix_peer, peer_of
from maintenance_wsgi.state.mode import MaintenanceMode

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
_LOOKED_AT = 20
_SHOWN_TEXT = 80


def likely_causes(
    environ: Mapping[str, Any],
    mode: MaintenanceMode,
    resolver: ClientIPResolver,
    client: Address | None,
    reason: Reason,
) -> Iterator[str]:
    """Yield a hint for each usual mistake that a blocked request shows."""
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
    peer = printable(peer_of(environ))
    header = resolver.header
    sent = _sent_headers(environ, resolver)
    if reason is Reason.DIRECT_PEER and sent:
        yield f"{sent[0]} is ignored: if {peer} is a proxy of yours, add it to the trusted proxies"
    if reason is Reason.UNKNOWN_PEER and is_unix_peer(peer_of(environ)):
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
    hops = islice(ClientIPResolver(header=header).hops(environ), _LOOKED_AT)
    return [str(address) for _, address in hops if address is not None and mode.exempts(address)]


def _family_hint(client: Address, mode: MaintenanceMode) -> Iterator[str]:
    try:
        versions = {entry.network.version for entry in mode.entries() if entry.network}
    except StateError:
        return
    if versions and client.version not in versions:
        other = 10 - client.version
        yield f"the client came by IPv{client.version}, and the list holds IPv{other} alone"


def printable(text: object) -> str:
    """Return text from the network for a terminal or a page: no control characters, no length."""
    return ascii(text)[1:-1][:_SHOWN_TEXT] if isinstance(text, str) and text else "''"
