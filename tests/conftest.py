"""Fixtures that several test modules share."""

from pathlib import Path

import pytest
import shim

from maintenance_wsgi import MaintenanceMode


@pytest.fixture
def var(tmp_path: Path) -> Path:
    directory = tmp_path / "var"
    directory.mkdir()
    return directory


@pytest.fixture
def flag(var: Path) -> Path:
    return var / ".maintenance.flag"


@pytest.fixture
def ip_list(var: Path) -> Path:
    return var / ".maintenance.ip"


@pytest.fixture
def mode(var: Path) -> MaintenanceMode:
    return MaintenanceMode(var)


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that makes calls fail, for a program to run under."""
    return shim.build(tmp_path_factory.mktemp("faults"))
