"""Headers that keep the answer to an exempt request apart from the answer to everyone else.

Both functions take the server's `start_response` first. With `functools.partial` the rest is the
`start_response` of PEP 3333, for the application to call.
"""

from functools import lru_cache
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import OptExcInfo

_MARK = "x-maintenance-mode"
_EXEMPT = ("X-Maintenance-Mode", "exempt")
_PRIVATE_EXEMPT = [("Cache-Control", "private, no-store"), _EXEMPT]
# Headers that let a cache store an answer whatever Cache-Control says. RFC 9213 gives each kind of
# cache a "...-Cache-Control" of its own; nginx obeys X-Accel-Expires, Akamai Edge-Control.
_CACHE_HEADERS = {"expires", "surrogate-control", "x-accel-expires", "edge-control"}


def start_exempt_path(
    start_response: StartResponse,
    status: str,
    headers: list[tuple[str, str]],
    /,
    exc_info: "OptExcInfo | None" = None,
) -> "Callable[[bytes], object]":
    """Start the answer for an exempt path: everyone gets the same, so caches may store it."""
    kept = [header for header in headers if header[0].lower() != _MARK]
    return start_response(status, [*kept, _EXEMPT], exc_info)


def start_exempt_client(
    start_response: StartResponse,
    status: str,
    headers: list[tuple[str, str]],
    /,
    exc_info: "OptExcInfo | None" = None,
) -> "Callable[[bytes], object]":
    """Start the answer for an exempt client: a cache that stored it would serve it to others."""
    kept = [header for header in headers if not _is_replaced(header[0])]
    kept += _PRIVATE_EXEMPT
    return start_response(status, kept, exc_info)


# An application sends the same few header names again and again.
@lru_cache(maxsize=256)
def _is_replaced(name: str) -> bool:
    lower = name.lower()
    return lower == _MARK or lower in _CACHE_HEADERS or lower.endswith("cache-control")
