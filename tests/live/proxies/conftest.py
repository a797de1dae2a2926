"""A directory that all share, and what is started once and kept."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import Front, Put, Serve, fronting, serving
from tests.live.proxies.tables import EXEMPT, PROXIES
from tests.support.processes import (
    skip_without,
)


@pytest.fixture(scope="package")
def root() -> Iterator[Path]:
    """Return a directory that the proxies' own users may search; pytest's are closed to them."""
    interfaces = Path("/proc/net/if_inet6")
    skip_without(interfaces.exists() and " lo\n" in interfaces.read_text(), "IPv6 on loopback")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "var").mkdir()
        yield folder


@pytest.fixture(scope="package")
def gate(root: Path) -> MaintenanceMode:
    return MaintenanceMode(root / "var")


@pytest.fixture(scope="package")
def serve(root: Path) -> Iterator[Serve]:
    """Start an application server, once; all of them share the flag."""
    with ExitStack() as stack:

        @cache
        def start(name: str, host: str = "127.0.0.1", header: str = "X-Forwarded-For") -> int:
            return stack.enter_context(serving(name, root, host, header))

        yield start


@pytest.fixture(scope="package")
def put(root: Path) -> Iterator[Put]:
    """Put a proxy before an application, once. A distant one does not see the flag."""
    with ExitStack() as stack:

        @cache
        def start(
            name: str,
            upstream: int,
            listen: str = "plain",
            extra: tuple[tuple[str, str], ...] = (),
            *,
            distant: bool = False,
        ) -> Front:
            proxy = PROXIES[name]
            changes = {**(proxy.dual if listen == "dual" else proxy.plain), **dict(extra)}
            var = root / ("elsewhere" if distant else "var")
            return stack.enter_context(fronting(proxy, root, upstream, var, changes))

        yield start


@pytest.fixture
def on(gate: MaintenanceMode) -> Iterator[MaintenanceMode]:
    gate.enable(exemptions=[EXEMPT])
    yield gate
    gate.disable()


@pytest.fixture
def off(gate: MaintenanceMode) -> Iterator[MaintenanceMode]:
    gate.set_exemptions([EXEMPT])
    yield gate
    gate.disable()
