"""One warning a minute at most where trust in proxies looks mis-set.

It is silent everywhere else: the wrong people are locked out, and nobody can see why.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from maintenance_wsgi.request.client_ip import ClientIPResolver, Reason, peer_of

_logger = logging.getLogger("maintenance_wsgi")
_WARNING_INTERVAL = 60.0
# What proxies send by default; a stranger's is worth a warning whichever header is configured.
_FORWARDING_FIELDS = {
    "X-Forwarded-For": "HTTP_X_FORWARDED_FOR",
    "X-Real-IP": "HTTP_X_REAL_IP",
    "Forwarded": "HTTP_FORWARDED",
}
_TRUST_HINTS = {
    Reason.DIRECT_PEER: "the header is ignored, because the peer is no trusted proxy;"
    " if it is a proxy of yours, add it to trusted_proxies, and name its client_ip_header",
    Reason.UNKNOWN_PEER: "the peer is no IP address, so the client is unknown;"
    " if it is a Unix socket of your proxy, add 'unix:' to trusted_proxies",
    Reason.NO_HEADER: "the peer is trusted but did not send the configured header, so the client"
    " is unknown; let the proxy set it, or the server pass it on",
    Reason.EMPTY_ENTRY: "the header has an empty entry where the client's address is looked for",
    Reason.UNREADABLE_ENTRY: "the header has no address where the client's is looked for",
}


class TrustWarnings:
    """Warns where a stranger sends a forwarding header, or a trusted proxy none that is readable.

    Args:
        resolver: the one whose proxies are meant.
    """

    def __init__(self, resolver: ClientIPResolver) -> None:
        self._resolver = resolver
        self._next_warning = 0.0
        self._held_back = 0

    def __call__(self, environ: Mapping[str, Any], reason: Reason) -> None:
        """Warn of a blocked request, if its proxies look mis-set."""
        hint = _TRUST_HINTS.get(reason)
        if hint is None:
            return
        name, value = self._forwarding_field(environ)
        if reason is Reason.DIRECT_PEER and not value:
            return
        now = time.monotonic()
        if now < self._next_warning:
            self._held_back += 1
            return
        held_back, self._held_back = self._held_back, 0
        self._next_warning = now + _WARNING_INTERVAL
        peer = ascii(peer_of(environ))[:80]
        header = f"{name}: {ascii(value)[:200]}"
        more = f" ({held_back} more of this kind since the last)" if held_back else ""
        _logger.warning("blocked a request from %s (%s): %s%s", peer, header, hint, more)

    def _forwarding_field(self, environ: Mapping[str, Any]) -> tuple[str, str]:
        value = self._resolver.header_value(environ)
        if not value:
            for name, key in _FORWARDING_FIELDS.items():
                if key in environ:
                    return name, str(environ[key])
        return self._resolver.header, value
