"""A real Redis, or what the variable REDIS_SERVER names: a Valkey, another release of Redis."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis

from tests.support.needs import need
from tests.support.processes import held_port, running, wait_for


def server_program(*options: str) -> str:
    # Those that pip installs are built without TLS.
    if "--tls-port" in options:
        return need("redis-server")
    return os.environ.get("REDIS_SERVER") or need("redis-server")


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[int]:
    """Run a Redis that keeps nothing; yield its port."""
    with held_port() as port, redis_server_at(port, directory, *options):
        yield port


@contextmanager
def redis_server_at(port: int, directory: Path, *options: str) -> Iterator[None]:
    fixed = ["--save", "", "--appendonly", "no", "--dir", str(directory), "--port", str(port)]
    bind = () if "--bind" in options else ("--bind", "127.0.0.1")
    command = [server_program(*options), *fixed, *bind, *options]
    with running(command, ("127.0.0.1", port), directory / "redis.log"):
        yield


@contextmanager
def sentinel(directory: Path, master: int, *lines: str) -> Iterator[int]:
    """Run a Sentinel that watches the master `shop`, and decides by itself; yield its port."""
    directory.mkdir()
    with held_port() as port:
        monitor = f"sentinel monitor shop 127.0.0.1 {master} 1"
        conf = directory / "sentinel.conf"
        conf.write_text("\n".join([f"port {port}", "bind 127.0.0.1", monitor, *lines, ""]))
        command = [server_program(), str(conf), "--sentinel"]
        with running(command, ("127.0.0.1", port), directory / "sentinel.log"):
            yield port


class Cluster:
    """A Redis Cluster of three masters, each with a replica; nodes are named by their ports."""

    def __init__(self, directory: Path, ports: Sequence[int], *options: str) -> None:
        self.ports = ports
        self._options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "700", *options)
        self._directory = directory
        self._running: dict[int, ExitStack] = {}
        for port in ports:
            (directory / str(port)).mkdir()
            self.start(port)
        self._join()

    def start(self, port: int) -> None:
        self._running[port] = ExitStack()
        server = redis_server_at(port, self._directory / str(port), *self._options)
        self._running[port].enter_context(server)

    def stop(self, port: int) -> None:
        self._running.pop(port).close()

    def close(self) -> None:
        for port in list(self._running):
            self.stop(port)

    def ask(self, port: int, *command: str | int) -> Any:
        with redis.Redis(port=port) as client:
            return client.execute_command(*command)

    def _join(self) -> None:
        masters, replicas = self.ports[:3], self.ports[3:]
        for number, master in enumerate(masters):
            first, last = (16384 * part // 3 for part in (number, number + 1))
            self.ask(master, "CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for epoch, port in enumerate(self.ports, 1):
            self.ask(port, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
            self.ask(port, "CLUSTER", "MEET", "127.0.0.1", self.ports[0])
        for port in self.ports:
            wait_for(partial(self._info, port, b"cluster_known_nodes:6"))
        for master, replica in zip(masters, replicas, strict=True):
            name = self.ask(master, "CLUSTER", "MYID")
            self.ask(replica, "CLUSTER", "REPLICATE", name)
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until every node is up, and each master has a replica that could take over."""
        for port in self.ports:
            wait_for(partial(self._info, port, b"cluster_state:ok"))
            wait_for(partial(self._is_linked, port))

    def _info(self, port: int, part: bytes) -> bool:
        return part in self.ask(port, "CLUSTER", "INFO")

    def _is_linked(self, port: int) -> bool:
        with redis.Redis(port=port) as client:
            found = client.info("replication")
        is_master = found["role"] == "master"
        return bool(found["connected_slaves"] if is_master else found["master_link_status"] == "up")

    def owner(self, key: str) -> int:
        """Return the port of the master that holds a key, as a node sees it that is up."""
        up = next(iter(self._running))
        slot = self.ask(up, "CLUSTER", "KEYSLOT", key)
        slots = self.ask(up, "CLUSTER", "SLOTS")
        return next(int(item[2][1]) for item in slots if item[0] <= slot <= item[1])


@contextmanager
def redis_cluster(directory: Path, *options: str) -> Iterator[Cluster]:
    with ExitStack() as stack:
        ports = [stack.enter_context(held_port()) for _ in range(6)]
        cluster = Cluster(directory, ports, *options)
        stack.callback(cluster.close)
        yield cluster
