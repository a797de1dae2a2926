"""Followers that run as processes."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.nodes import Node, NodeIdentity
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import FileStore, Snapshot
from tests.support.processes import COMMAND, environ, wait_for


class Process:
    """A `follow` that runs on its own, and its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def send(self, number: signal.Signals) -> None:
        # A prefix may have started it as its child.
        os.killpg(self.process.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send(number)
        return self.process.wait(30)


@contextmanager
def follower(
    url: str,
    var: Path,
    node: str,
    *options: str,
    prefix: Sequence[str] = (),
    fleet: str = "default",
) -> Iterator[Process]:
    """Run `follow` for a directory until the block ends."""
    log = var.with_name(f"{var.name}-{node}.log")
    command = [*prefix, COMMAND, "--dir", str(var), "follow", "--node", node, *options]
    variables = environ(MAINTENANCE_REDIS=url, MAINTENANCE_FLEET=fleet)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    started = Process(process, log)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.send(signal.SIGCONT)
            started.send(signal.SIGTERM)
        try:
            process.wait(30)
            wait_for(lambda: not _is_alive(process.pid))
        finally:
            with suppress(ProcessLookupError):
                started.send(signal.SIGKILL)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def followers(url: str, directory: Path, *nodes: str, fleet: str) -> Iterator[dict[str, Path]]:
    """Run several; yield the directory of each, when all are there."""
    with ExitStack() as stack:
        directories = {node: directory / node for node in nodes}
        for node, var in directories.items():
            var.mkdir()
            stack.enter_context(follower(url, var, node, fleet=fleet))
        store = RedisStore(RedisConnection(url), fleet)
        wait_for(lambda: {node.name for node in store.nodes().nodes} == set(nodes))
        store.close()
        yield directories


def node_of(fleet: RedisStore, name: str) -> Node | None:
    return next((node for node in fleet.nodes().nodes if node.name == name), None)


def acknowledges(fleet: RedisStore, name: str) -> bool:
    node = node_of(fleet, name)
    return node is not None and node.acknowledged


def health_of(fleet: RedisStore, name: str) -> str:
    node = node_of(fleet, name)
    return node.health if node else ""


def heartbeat(fleet: RedisStore, node: str, fault: str = "") -> None:
    """Acknowledge the present state, as a follower does."""
    present = fleet.nodes().revision
    fleet.heartbeat(NodeIdentity(node, f"{node} here"), present, fault)


def snapshot(var: Path) -> Snapshot:
    return FileStore(var).read()


def timeless(found: Snapshot) -> Snapshot:
    """Return it without the time at which maintenance began."""
    flag = found.flag
    return found._replace(
        flag=re.sub(rb'"since": "[^"]*"', b"", flag) if isinstance(flag, bytes) else flag
    )
