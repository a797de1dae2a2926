"""A directory that all share, and what is started once and kept."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import Front, StartProxy, StartServer, fronting, serving
from tests.live.proxies.tables import EXEMPT, PROXIES
from tests.support.http import Listener
from tests.support.processes import make_open_folder


@pytest.fixture(scope="package")
def shared_folder() -> Iterator[Path]:
    """Return a directory that the proxies' own users may search; pytest's are closed to them."""
    with make_open_folder() as folder:
        (folder / "var").mkdir()
        yield folder


@pytest.fixture(scope="package")
def start_server(shared_folder: Path) -> Iterator[StartServer]:
    """Start an application server, once; all of them share the flag."""
    with ExitStack() as stack:

        @cache
        def start(name: str, host: str = "127.0.0.1", header: str = "X-Forwarded-For") -> Listener:
            return stack.enter_context(serving(name, shared_folder, host, header))

        yield start


@pytest.fixture(scope="package")
def start_proxy(shared_folder: Path) -> Iterator[StartProxy]:
    """Put a proxy before an application, once. A distant one does not see the flag."""
    with ExitStack() as stack:

        @cache
        def start(
            name: str,
            upstream: Listener,
            listen: str = "plain",
            extra: tuple[tuple[str, str], ...] = (),
            *,
            distant: bool = False,
        ) -> Front:
            proxy = PROXIES[name]
            changes = {**(proxy.dual if listen == "dual" else proxy.plain), **dict(extra)}
            var = shared_folder / ("elsewhere" if distant else "var")
            return stack.enter_context(fronting(proxy, shared_folder, upstream, var, changes))

        yield start


@pytest.fixture
def mode(shared_folder: Path) -> Iterator[MaintenanceMode]:
    """Give the mode that all share: off, with one exempt address."""
    mode = MaintenanceMode(shared_folder / "var")
    mode.set_exemptions([EXEMPT])
    yield mode
    mode.disable()


@pytest.fixture
def maintenance_on(mode: MaintenanceMode) -> None:
    mode.enable()
