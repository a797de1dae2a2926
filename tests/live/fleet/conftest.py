"""Fixtures of the fleet's tests: a Redis, empty for each test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from maintenance_wsgi.fleet.mode import FleetMode
from maintenance_wsgi.fleet.store import Fleet
from tests.support.redis import redis_server


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start a Redis."""
    with redis_server(tmp_path_factory.mktemp("redis")) as redis_port:
        yield redis_port


@pytest.fixture
def redis_url(redis_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give that Redis, empty, and named by nothing else."""
    for name in os.environ:
        if name.startswith("MAINTENANCE_"):
            monkeypatch.delenv(name)
    with redis.Redis(port=redis_port) as client:
        client.flushall()
    return f"redis://127.0.0.1:{redis_port}/0"


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    fleet = Fleet(redis_url)
    yield fleet
    fleet.close()


@pytest.fixture
def operator(fleet: Fleet, tmp_path: Path) -> FleetMode:
    """Give who switches the fleet, which is off."""
    (tmp_path / "copy").mkdir()
    mode = FleetMode(fleet, str(tmp_path / "copy"), begins=True)
    mode.disable()
    return mode
