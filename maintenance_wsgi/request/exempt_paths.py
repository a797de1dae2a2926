"""The paths that are let through for every client: health checks, webhooks."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maintenance_wsgi.arguments import string_tuple
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.grammar import request_path


class ExemptPaths:
    """Matches a request's path.

    Args:
        entries: paths that begin with `/`. An entry that ends in `/` covers every path below it;
            any other covers exactly itself.

    Raises:
        ConfigError: an entry is not a valid path, or covers the whole site.
        ConfigTypeError: `entries` is not a list of strings.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        paths = [_validated(entry) for entry in string_tuple("exempt_paths", entries)]
        self._exact = frozenset(path for path in paths if not path.endswith("/"))
        self._prefixes = tuple(path for path in paths if path.endswith("/"))

    def match(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether the path of a request, `SCRIPT_NAME` and `PATH_INFO`, is exempt."""
        if not self._exact and not self._prefixes:
            return False
        path = request_path(environ)
        if path in self._exact:
            return True
        # "/webhooks/../admin" begins with "/webhooks/", but an application that resolves the dots
        # serves "/admin".
        return path.startswith(self._prefixes) and not _has_odd_segment(path)


def _validated(entry: str) -> str:
    if not re.fullmatch(r"/[^?#\0\ud800-\udfff]*", entry):
        raise ConfigError(
            f"exempt_paths: {entry!r} is not a valid path; use '/healthz',"
            " or '/webhooks/' for every path below it"
        )
    if entry == "/":
        raise ConfigError(
            "exempt_paths: '/' would let every request through; list the paths that are exempt"
        )
    if _has_odd_segment(entry):
        raise ConfigError(
            f"exempt_paths: {entry!r} has an empty, '.' or '..' segment; remove the segment"
        )
    # PEP 3333: the environ holds the path's bytes, decoded as latin-1.
    return entry.encode().decode("latin-1")


def _has_odd_segment(path: str) -> bool:
    segments = path.split("/")[1:]
    inner = segments[:-1] if segments[-1] == "" else segments
    return not {"", ".", ".."}.isdisjoint(inner)
