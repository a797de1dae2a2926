"""Headers that mark an exempt answer, and keep it out of shared caches if it is for one client.

Each function takes the server's `start_response`, and then what an application passes to it
(PEP 3333), by position or by name. `exc_info` is passed on only if the application gave one:
middleware below may not take it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

_Headers = list[tuple[str, str]]
_MARK = "x-maintenance-mode"
EXEMPT: tuple[str, str] = ("X-Maintenance-Mode", "exempt")
READ_ONLY: tuple[str, str] = ("X-Maintenance-Mode", "read-only")
_PRIVATE_EXEMPT = [("Cache-Control", "private, no-cache"), EXEMPT]
# The mark, and headers that let a cache store an answer whatever Cache-Control says. RFC 9213 gives
# each kind of cache a "...-Cache-Control" of its own; nginx obeys X-Accel-Expires, Akamai
# Edge-Control.
_REPLACED = {_MARK, "expires", "surrogate-control", "x-accel-expires", "edge-control"}


def start_for_all(
    mark: tuple[str, str],
    start_response: StartResponse,
    /,
    status: str,
    headers: _Headers,
    exc_info: "OptExcInfo | None" = None,
) -> Callable[[bytes], object]:
    """Start an answer that all clients may see, so that caches may store it; `mark` it."""
    kept = [header for header in headers if header[0].lower() != _MARK] + [mark]
    return start_response(status, kept, exc_info) if exc_info else start_response(status, kept)


def start_exempt_client(
    start_response: StartResponse,
    /,
    status: str,
    headers: _Headers,
    exc_info: "OptExcInfo | None" = None,
) -> Callable[[bytes], object]:
    """Start the answer for an exempt client: a cache must not serve it to blocked clients.

    `no-cache` and not `no-store`: a browser must be able to go back to a page made by POST.
    """
    kept = [header for header in headers if not _is_replaced(header[0])] + _PRIVATE_EXEMPT
    return start_response(status, kept, exc_info) if exc_info else start_response(status, kept)


# An application sends the same few names in each answer.
@lru_cache(maxsize=256)
def _is_replaced(name: str) -> bool:
    lower = name.lower()
    return lower in _REPLACED or lower.endswith("cache-control")
