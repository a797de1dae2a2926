"""How long a fleet takes to follow, and what that costs Redis; run by hand.

    .venv/bin/python -m tests.bench.fleet [NODES [ROUNDS]]

First 50 nodes with their files, then 1,000 (or NODES) without: followers as they are, whose two
files are two variables. All are threads of some processes of this machine, so that the figures
hold for a network without delay and for nodes that share these cores.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import redis

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import Change, FileStore, Snapshot
from tests.support.processes import wait_for
from tests.support.redis import redis_server

PROCESSES = 4


class Variables:
    """Stands for the two files of a node."""

    def __init__(self) -> None:
        self._held = Snapshot(None, b"")

    def read(self) -> Snapshot:
        return self._held

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        before, self._held = self._held, change(self._held)
        return before, self._held


def open_store(url: str, *, create: bool = False) -> RedisStore:
    return RedisStore(RedisConnection(url), create=create)


def follow(url: str, names: list[str], directory: Path | None, ended: Any) -> None:
    """Be some of the nodes until it has ended."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    nodes = []
    for name in names:
        if directory:
            (directory / name).mkdir()
            target = FileStore(directory / name)
        else:
            target = cast("FileStore", Variables())
        nodes.append(Follower(open_store(url), target, name))
    threads = [threading.Thread(target=node.run) for node in nodes]
    for thread in threads:
        thread.start()
        time.sleep(0.002)
    ended.wait()
    for node in nodes:
        node.stop()
    for thread in threads:
        thread.join()


@contextmanager
def following(url: str, count: int, directory: Path | None) -> Iterator[None]:
    ended = multiprocessing.Event()
    names = [f"web{number}" for number in range(count)]
    processes = [
        multiprocessing.Process(target=follow, args=(url, names[part::PROCESSES], directory, ended))
        for part in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    fleet = open_store(url)
    try:
        wait_for(lambda: sum(n.acknowledged for n in fleet.nodes().nodes) == count, 300)
        yield
    finally:
        ended.set()
        for process in processes:
            process.join(60)
            process.kill()


def seconds_to_all(fleet: RedisStore, rounds: int) -> list[float]:
    """Switch so many times; return the seconds from the command to the last acknowledgement."""
    times = []
    mode = MaintenanceMode(fleet)
    for number in range(rounds):
        start = time.perf_counter()
        if number % 2:
            mode.disable()
        else:
            mode.enable(message=f"round {number}", exemptions=["203.0.113.7", "2001:db8::/32"])
        *_, called = fleet.acknowledgements(120)
        assert not called.missing, called.missing
        times.append(time.perf_counter() - start)
        time.sleep(0.37)  # not in step with the nodes' seconds
    return times


def tell(what: str, times: list[float]) -> None:
    milliseconds = sorted(round(1000 * value) for value in times)
    median = statistics.median(milliseconds)
    print(f"{what}: median {median:.0f} ms, worst {milliseconds[-1]} ms of {len(times)} switches")


def tell_load(client: "redis.Redis", what: str, seconds: float) -> None:
    def read() -> tuple[int, float]:
        info: Any = client.info()
        cpu = info["used_cpu_user"] + info["used_cpu_sys"]
        return info["total_commands_processed"], cpu

    commands, cpu = read()
    time.sleep(seconds)
    more, used = read()
    rate, share = (more - commands) / seconds, 100 * (used - cpu) / seconds
    print(f"{what}: {rate:.0f} commands/s, {share:.0f} % of a core")


def tell_memory(client: "redis.Redis", what: str) -> None:
    info: Any = client.info()
    data = info["used_memory_dataset"] / 1e6
    print(f"{what}: {info['used_memory'] / 1e6:.1f} MB, of which data {data:.2f} MB,")
    print(f"  {info['connected_clients']} connections")


def measure(url: str, count: int, rounds: int, directory: Path | None) -> None:
    client = redis.Redis.from_url(url)
    client.flushall()
    tell_memory(client, "Redis before")
    fleet = open_store(url, create=True)
    MaintenanceMode(fleet).disable()
    kind = "with files" if directory else "without files"
    with following(url, count, directory):
        tell_memory(client, f"Redis with {count} nodes")
        tell_load(client, "Redis at rest", 10)
        tell(f"{count} nodes {kind}", seconds_to_all(fleet, rounds))


def main() -> None:
    count, rounds = (*map(int, sys.argv[1:]), *(1000, 20)[len(sys.argv) - 1 :])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with redis_server(directory) as port:
            url = f"redis://127.0.0.1:{port}/0"
            measure(url, 50, rounds, directory)
            measure(url, count, rounds, None)


if __name__ == "__main__":
    main()
