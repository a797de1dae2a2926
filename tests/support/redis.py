"""A real Redis."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import free_port, running, skip_without


@contextmanager
def redis_server(
    directory: Path, *options: str, port: int = 0, prefix: Sequence[str] = ()
) -> Iterator[int]:
    """Run a Redis that keeps nothing; yield its port."""
    skip_without(shutil.which("redis-server"), "Debian's redis-server")
    port = port or free_port()
    fixed = ["--save", "", "--appendonly", "no", "--dir", str(directory), "--port", str(port)]
    bind = () if "--bind" in options else ("--bind", "127.0.0.1")
    command = [*prefix, "redis-server", *fixed, *bind, *options]
    with running(command, ("127.0.0.1", port), directory / "redis.log"):
        yield port
