"""One PHP shop and the front proxy before it, which share their files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.front_proxy.shops import TLS_PROXY, Place, front_proxy, php_shop


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("front")


@pytest.fixture(scope="package")
def shop_var(folder: Path) -> Path:
    directory = folder / "var"
    directory.mkdir()
    return directory


@pytest.fixture
def mode(shop_var: Path) -> Iterator[MaintenanceMode]:
    mode = MaintenanceMode(shop_var)
    yield mode
    mode.disable(exemptions=[])


@pytest.fixture(scope="package")
def php(folder: Path, shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with php_shop(folder) as place:
        yield place


@pytest.fixture(scope="package")
def front(folder: Path, php: Place) -> Iterator[Place]:
    with front_proxy(folder, php, MAINTENANCE_TRUSTED_PROXIES=TLS_PROXY) as place:
        yield place
