"""A real Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import need
from tests.support.processes import held_port, running


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[int]:
    """Run a Redis that keeps nothing; yield its port."""
    with held_port() as port, redis_server_at(port, directory, *options):
        yield port


@contextmanager
def redis_server_at(port: int, directory: Path, *options: str) -> Iterator[None]:
    fixed = ["--save", "", "--appendonly", "no", "--dir", str(directory), "--port", str(port)]
    bind = () if "--bind" in options else ("--bind", "127.0.0.1")
    command = [need("redis-server"), *fixed, *bind, *options]
    with running(command, ("127.0.0.1", port), directory / "redis.log"):
        yield
