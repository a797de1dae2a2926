"""The one place that decides what becomes of a request while maintenance is on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from maintenance_wsgi.request.bypass import is_sent, passes_by
from maintenance_wsgi.request.client_ip import ClientIPResolver, Resolution
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.state.flag import Window
from maintenance_wsgi.state.reader import StateReader

_NO_PATHS = ExemptPaths(())
# The methods that only read; QUERY is a GET with a body.
READING = ("GET", "HEAD", "OPTIONS", "QUERY")
# An application that obeys one of these headers may write, whatever the method is.
_METHOD_OVERRIDES = ("X_HTTP_METHOD_OVERRIDE", "X_HTTP_METHOD", "X_METHOD_OVERRIDE")
_WRITING = tuple(f"HTTP_{name}" for name in ("UPGRADE", *_METHOD_OVERRIDES))


class Outcome(StrEnum):
    """What becomes of a request."""

    OFF = "off"
    HEALTH = "health"
    EXEMPT_PATH = "exempt_path"
    EXEMPT_CLIENT = "exempt_client"
    BYPASS_LINK = "bypass_link"
    BYPASS_HEADER = "bypass_header"
    BYPASS_COOKIE = "bypass_cookie"
    WRITE_PATH = "write_path"
    READ_ONLY = "read_only"
    BLOCKED = "blocked"

    @property
    def allowed(self) -> bool:
        """Whether the client gets what it asks for, and not the 503."""
        return self is not Outcome.BLOCKED


@dataclass(slots=True)
class Decision:
    """What becomes of a request, and what decided it; each request makes one."""

    outcome: Outcome
    resolution: Resolution | None = None  # the client; None if only the path decided
    window: Window | None = None  # what the flag says; None if it was not asked
    hides: bool = False  # whether it may hold what the application must not see


# To look up a member of an enum takes 70 ns.
_OFF, _EXEMPT_CLIENT, _BLOCKED = Outcome.OFF, Outcome.EXEMPT_CLIENT, Outcome.BLOCKED
_HEALTH = Decision(Outcome.HEALTH)
_EXEMPT_PATH = Decision(Outcome.EXEMPT_PATH)
_BYPASS = {name: Outcome(f"bypass_{name}") for name in ("link", "header", "cookie")}


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides from the path, the client, the bypass link and the two files."""

    reader: StateReader
    resolver: ClientIPResolver
    exempt_paths: ExemptPaths
    write_paths: ExemptPaths = _NO_PATHS
    health_paths: ExemptPaths = _NO_PATHS

    def decide(self, environ: Mapping[str, Any], flag: os.stat_result | None) -> Decision:
        """Return what becomes of a request; never raises.

        `flag` is the flag file's status, just taken. With None, as without a flag, the outcome is
        `OFF` unless the path or the client is exempt.
        """
        # Most gates have no paths, and a call costs time.
        if self.health_paths.entries and self._is_health_check(environ):
            return _HEALTH
        if self.exempt_paths.entries and self.exempt_paths.match(environ):
            return self._sent(environ, flag, _EXEMPT_PATH) if is_sent(environ) else _EXEMPT_PATH
        resolution = self.resolver.resolve(environ)
        if resolution.client is not None and self.reader.exempts(resolution.client):
            exempt = Decision(_EXEMPT_CLIENT, resolution)
            return self._sent(environ, flag, exempt) if is_sent(environ) else exempt
        window = self.reader.window(flag) if flag else None
        if window is None:  # switched off since the flag was looked at
            return Decision(_OFF, resolution)
        outcome = self._outcome(environ, window) if window.bypass or window.read_only else _BLOCKED
        return Decision(outcome, resolution, window, outcome is not _BLOCKED)

    def _is_health_check(self, environ: Mapping[str, Any]) -> bool:
        is_right = environ.get("REQUEST_METHOD") in ("GET", "HEAD")
        return is_right and self.health_paths.match(environ)

    def _sent(
        self, environ: Mapping[str, Any], flag: os.stat_result | None, exempt: Decision
    ) -> Decision:
        """Return the decision on an exempt request with a secret: its link is redirected, too."""
        outcome, window = exempt.outcome, self.reader.window(flag) if flag else None
        if window and self._outcome(environ, window) is _BYPASS["link"]:
            outcome = _BYPASS["link"]
        return Decision(outcome, exempt.resolution, window, hides=True)

    def _outcome(self, environ: Mapping[str, Any], window: Window) -> Outcome:
        """Return what the flag decides."""
        if window.bypass and (means := passes_by(environ, window.bypass)):
            return _BYPASS[means]
        if not window.read_only:
            return _BLOCKED
        if self.write_paths.match(environ):
            return Outcome.WRITE_PATH
        return Outcome.READ_ONLY if _only_reads(environ) else _BLOCKED


def _only_reads(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request is known not to write: what is not in the list may write."""
    return environ.get("REQUEST_METHOD") in READING and not any(key in environ for key in _WRITING)
