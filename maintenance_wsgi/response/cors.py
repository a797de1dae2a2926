"""Lets the script of another origin's page read the 503, instead of a network error.

Without these fields a browser application cannot tell maintenance from a broken network: the
browser keeps the answer from it (Fetch standard, "CORS protocol").
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maintenance_wsgi.errors import ConfigError, string_tuple
from maintenance_wsgi.request.forwarded import TOKEN

_ANY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_~-]+")
_MAX_TOKENS = 1000
_EXPOSED = ("Access-Control-Expose-Headers", "Retry-After, X-Maintenance-Mode")


class CORSPolicy:
    """The origins whose scripts may read the 503.

    Args:
        origins: `scheme://host` or `scheme://host:port` each, or `"*"` for all, which then
            cannot send their cookies along.

    Attributes:
        vary: names for the `Vary` field of every answer.

    Raises:
        ConfigError: an origin is none; it is named.
        ConfigTypeError: `origins` is no list of texts.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(string_tuple("cors_origins", origins))
        self.vary: list[str] = ["Origin"] if self._origins else []
        for origin in self._origins:
            if origin != _ANY and not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"cors_origins: {origin!r} is no origin; write 'https://shop.example'"
                    " in small letters, without a path or a slash at the end, or '*'"
                )

    def answer_headers(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the fields that let the asking origin's script read the answer."""
        allowed = self._allowed(environ)
        return [*allowed, _EXPOSED] if allowed else allowed

    def preflight_headers(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the fields that allow what a preflight asks for; none where it is no preflight."""
        allowed = self._allowed(environ) if environ.get("REQUEST_METHOD") == "OPTIONS" else []
        method = str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", ""))
        if not allowed or _tokens(method) != [method]:
            return []
        fields = [*allowed, ("Access-Control-Allow-Methods", method)]
        names = _tokens(str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")))
        if names:
            fields.append(("Access-Control-Allow-Headers", ", ".join(names)))
        return fields

    def _allowed(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        origin = str(environ.get("HTTP_ORIGIN", ""))
        if origin in self._origins and origin != _ANY:
            return [
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Allow-Credentials", "true"),
            ]
        if origin and _ANY in self._origins:
            return [("Access-Control-Allow-Origin", _ANY)]
        return []


def _tokens(value: str) -> list[str]:
    """Return the tokens of a list (RFC 9110 section 5.6.2); none where anything else is in it.

    What a stranger sends comes back in a field: nothing but tokens may, and not too many.
    """
    if len(value) > _MAX_TOKENS:
        return []
    tokens = [token.strip(" \t") for token in value.split(",")]
    return tokens if all(map(TOKEN.fullmatch, tokens)) else []
