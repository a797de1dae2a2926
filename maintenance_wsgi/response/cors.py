"""Lets scripts of other origins read the 503.

Without these headers the browser hides the answer from the script, which then cannot tell
maintenance from a network error (Fetch standard, "CORS protocol").
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maintenance_wsgi.arguments import string_tuple
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.grammar import OWS, TOKEN

_ANY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_~-]+")
_MAX_HEADER = 1000  # characters of a header that is sent back
_WITH_COOKIES = ("Access-Control-Allow-Credentials", "true")
_EXPOSED = ("Access-Control-Expose-Headers", "Retry-After, X-Maintenance-Mode")


class CORSPolicy:
    """The origins whose scripts may read the 503.

    Args:
        origins: each `scheme://host` or `scheme://host:port`; or `"*"` for every origin, whose
            scripts then cannot send cookies.

    Raises:
        ConfigError: an origin is not valid; the message names it.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(string_tuple("cors_origins", origins))
        self.vary: list[str] = ["Origin"] if self._origins else []  # for the `Vary` of every answer
        for origin in self._origins:
            if origin != _ANY and not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"cors_origins: {origin!r} is not a valid origin; write '*' or"
                    " 'https://shop.example', in lowercase, without a path or trailing slash"
                )

    def answer_headers(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the headers that let the script of the request's origin read the answer."""
        allowed = self._allow_origin(environ)
        return [*allowed, _EXPOSED] if allowed else []

    def preflight_headers(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the headers that allow what a preflight of an allowed origin asks for, or none."""
        if environ.get("REQUEST_METHOD") != "OPTIONS":
            return []
        allowed = self._allow_origin(environ)
        method = str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", ""))
        if not allowed or _tokens(method) != [method]:
            return []
        headers = [*allowed, ("Access-Control-Allow-Methods", method)]
        if names := _tokens(str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""))):
            headers.append(("Access-Control-Allow-Headers", ", ".join(names)))
        return headers

    def _allow_origin(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        origin = str(environ.get("HTTP_ORIGIN", ""))
        if origin in self._origins and origin != _ANY:
            return [("Access-Control-Allow-Origin", origin), _WITH_COOKIES]
        return [("Access-Control-Allow-Origin", _ANY)] if origin and _ANY in self._origins else []


def _tokens(value: str) -> list[str]:
    """Return the tokens of a list (RFC 9110 section 5.6.2), or nothing if any part is not a token.

    They are sent back in a header: a client must not put anything else there, nor much of it.
    """
    if len(value) > _MAX_HEADER:
        return []
    tokens = [token.strip(OWS) for token in value.split(",")]
    return tokens if all(map(TOKEN.fullmatch, tokens)) else []
