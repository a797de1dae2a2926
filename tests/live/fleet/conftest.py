"""Fixtures of the fleet's tests: a Redis, empty for each test."""

import os
from collections.abc import Iterator

import pytest
import redis

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.support.redis import redis_server


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
def fleet(url: str) -> Iterator[RedisStore]:
    fleet = RedisStore(RedisConnection(url), create=True)
    yield fleet
    fleet.close()


@pytest.fixture
def operator(fleet: RedisStore) -> MaintenanceMode:
    """Return the mode of the fleet, which is off."""
    mode = MaintenanceMode(fleet)
    mode.disable()
    return mode
