"""The paths that are open to every client: webhooks, health checks, in read-only mode a login."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maintenance_wsgi.arguments import string_tuple
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.grammar import request_path


class ExemptPaths:
    """Matches a request's `PATH_INFO`: paths are relative to the wrapped application.

    Args:
        entries: paths that begin with `/`. An entry that ends in `/` covers every path below it;
            any other covers exactly itself.
        option: the option's name, for messages.
    """

    def __init__(self, entries: Iterable[str], option: str = "exempt_paths") -> None:
        paths = [_validated(option, entry) for entry in string_tuple(option, entries)]
        self.entries: tuple[str, ...] = tuple(paths)
        self._exact = frozenset(path for path in paths if not path.endswith("/"))
        self._prefixes = tuple(path for path in paths if path.endswith("/"))

    def match(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether the path of a request is one of them."""
        path = request_path(environ)
        # "/webhooks/../admin" begins with "/webhooks/", but an application that resolves the dots
        # serves "/admin".
        return path in self._exact or (path.startswith(self._prefixes) and not _is_odd(path))


def _validated(option: str, entry: str) -> str:
    if wrong := re.search(r"[*;$\\\s]", entry):
        spelling = re.sub(r"[*;$\\\s].*", "", entry, flags=re.DOTALL)
        raise ConfigError(
            f"{option}: {entry!r} holds {wrong[0]!r}, but there are no wildcards; use"
            f" {spelling if re.match('/[^/]', spelling) else '/api/'!r}; a path that ends in '/'"
            " covers every path below it"
        )
    if not re.fullmatch(r"/[^?#\0\ud800-\udfff]*", entry):
        raise ConfigError(
            f"{option}: {entry!r} is not a valid path; use '/healthz',"
            " or '/webhooks/' for every path below it"
        )
    if entry == "/":
        raise ConfigError(f"{option}: '/' would cover every path; list the paths that you mean")
    if _is_odd(entry):
        raise ConfigError(
            f"{option}: {entry!r} has an empty, '.' or '..' segment; remove the segment"
        )
    # PEP 3333: the environ holds the path's bytes, decoded as latin-1.
    return entry.encode().decode("latin-1")


def _is_odd(path: str) -> bool:
    """Tell whether a segment is empty, `.` or `..`."""
    return not {"", ".", ".."}.isdisjoint(path.removesuffix("/").split("/")[1:])
