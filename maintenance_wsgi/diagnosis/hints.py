"""Likely reasons why a request was blocked, derived from the request.

A wrong trust in proxies is silent otherwise: the wrong clients are locked out, and no operator can
see why. So the log has a warning for it, at most one a minute.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from maintenance_wsgi.gate import Gate
from maintenance_wsgi.grammar import environ_key, header, printable
from maintenance_wsgi.networks import Address, is_public
from maintenance_wsgi.request.client_ip import (
    ClientIPResolver,
    Hop,
    Reason,
    Resolution,
    is_unix_peer,
    peer_of,
)

_logger = logging.getLogger("maintenance_wsgi")
_WARNING_INTERVAL = 60.0  # seconds
# Headers in which proxies and CDNs send the client's address.
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
_MAX_HOPS = 20
