"""The one place that decides what becomes of a request while maintenance is on."""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from maintenance_wsgi.request.client_ip import ClientIPResolver, Resolution
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.state.flag import Window
from maintenance_wsgi.state.reader import StateReader


class Outcome(StrEnum):
    """What becomes of a request."""

    OFF = "off"
    EXEMPT_PATH = "exempt_path"
    EXEMPT_CLIENT = "exempt_client"
    BLOCKED = "blocked"

    @property
    def allowed(self) -> bool:
        """Whether the application answers."""
        return self is not Outcome.BLOCKED


class Decision(NamedTuple):
    """What becomes of a request, and what decided it.

    Attributes:
        outcome: the answer.
        resolution: the client; None if the path alone decided.
        window: what the flag says; None unless the request is blocked.
    """

    outcome: Outcome
    resolution: Resolution | None = None
    window: Window | None = None


class Gate:
    """Decides from the path, the client and the two files.

    Args:
        reader: the two files.
        resolver: finds the client.
        exempt_paths: paths that are let through for every client.
    """

    def __init__(
        self, reader: StateReader, resolver: ClientIPResolver, exempt_paths: ExemptPaths
    ) -> None:
        self.reader: StateReader = reader
        self.resolver: ClientIPResolver = resolver
        self.exempt_paths: ExemptPaths = exempt_paths

    def decide(self, environ: Mapping[str, Any], flag: os.stat_result | None) -> Decision:
        """Return what becomes of a request; never raises.

        Args:
            environ: the request.
            flag: the flag file's status, just taken. With None, as without a flag, the outcome is
                `OFF` unless the path or the client is exempt.
        """
        if self.exempt_paths.match(environ):
            return Decision(Outcome.EXEMPT_PATH)
        resolution = self.resolver.resolve(environ)
        if resolution.client is not None and self.reader.exempts(resolution.client):
            return Decision(Outcome.EXEMPT_CLIENT, resolution)
        window = self.reader.window(flag) if flag else None
        if window is None:  # switched off since the flag was looked at
            return Decision(Outcome.OFF, resolution)
        return Decision(Outcome.BLOCKED, resolution, window)
