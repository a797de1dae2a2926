"""The paths that are let through for everybody: health checks, webhooks."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maintenance_wsgi.errors import ConfigError, string_tuple


class ExemptPaths:
    """Matches a request's path.

    Args:
        entries: paths that begin with `/`. One that ends in `/` covers all below it, any other
            exactly itself.

    Raises:
        ConfigError: an entry is no path, or covers the whole site; it is named.
        ConfigTypeError: `entries` is no list of texts.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        paths = [_checked_path(entry) for entry in string_tuple("exempt_paths", entries)]
        self._exact = frozenset(path for path in paths if not path.endswith("/"))
        self._prefixes = tuple(path for path in paths if path.endswith("/"))

    def match(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether the path of a request, `SCRIPT_NAME` and `PATH_INFO`, is exempt."""
        if not self._exact and not self._prefixes:
            return False
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if path in self._exact:
            return True
        # "/webhooks/../admin" is below "/webhooks/" for us, and may be "/admin" for whoever
        # resolves it behind us.
        return path.startswith(self._prefixes) and not _has_odd_segment(path)


def _checked_path(entry: str) -> str:
    if not re.fullmatch(r"/[^?#\0\ud800-\udfff]*", entry):
        raise ConfigError(
            f"exempt_paths: {entry!r} is no path; write '/healthz', or '/webhooks/' for all below"
        )
    if entry == "/":
        raise ConfigError("exempt_paths: '/' would let every request through")
    if _has_odd_segment(entry):
        raise ConfigError(f"exempt_paths: {entry!r} has an empty, '.' or '..' segment")
    # PEP 3333: the environ holds the path's bytes as latin-1 text.
    return entry.encode().decode("latin-1")


def _has_odd_segment(path: str) -> bool:
    segments = path.split("/")[1:]
    inner = segments[:-1] if segments[-1] == "" else segments
    return not {"", ".", ".."}.isdisjoint(inner)
