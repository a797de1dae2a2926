"""Fixtures that several test modules share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import shim
from fleets import redis_server

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.store import Fleet


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


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start a Redis."""
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def url(port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give that Redis, empty, and named by nothing else."""
    for name in os.environ:
        if name.startswith("MAINTENANCE_"):
            monkeypatch.delenv(name)
    with redis.Redis(port=port) as client:
        client.flushall()
    return f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def fleet(url: str) -> Iterator[Fleet]:
    fleet = Fleet(url)
    yield fleet
    fleet.close()
