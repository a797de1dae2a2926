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
def fleet(redis_url: str) -> Iterator[RedisStore]:
    fleet = RedisStore(RedisConnection(redis_url), create=True)
    yield fleet
    fleet.close()


@pytest.fixture
def operator(fleet: RedisStore) -> MaintenanceMode:
    """Return the mode of the fleet, which is off."""
    mode = MaintenanceMode(fleet)
    mode.disable()
    return mode
