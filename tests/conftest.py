"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.state.reader import StateReader


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


@pytest.fixture
def reader(var: Path) -> StateReader:
    return StateReader(var)
