"""Two workers under steady traffic while somebody switches and edits all the time.

Each answer has to be right for a state that was true at some moment of its request, and the
workers have to end as small as they began. `SOAK_SECONDS=180 pytest
tests/chaos/test_soak.py` goes on for longer, and `-s` prints how much there was.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.programs.soak_editor import CHANGING, EXEMPT, STRANGER, State
from tests.support.http import Connection, Listener
from tests.support.processes import (
    APPLICATIONS,
    PROGRAMS,
    ROOT,
    held_port,
    run,
    running,
    unmeasured,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1200)]

SECONDS = float(os.environ.get("SOAK_SECONDS", "5"))
WARM_UP = 2.0
CLIENTS = [EXEMPT, EXEMPT, STRANGER, STRANGER, CHANGING, CHANGING]
GROWTH = 3 * 1024 * 1024  # bytes; a list that is kept by each of 1000 edits would be 20 MB


class Answered(NamedTuple):
    client: str
    begun: float
    done: float
    mark: str | None
    code: int
    retry_after: str | None


class Change(NamedTuple):
    begun: float
    done: float
    states: list[State]


class Client(threading.Thread):
    """Asks over one connection as long as it lives, and keeps what it was answered."""

    def __init__(self, listener: Listener, address: str, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self.listener, self.end = listener, end
        self.address, self.answered = address, list[Answered]()
        self.broken = 0

    def run(self) -> None:
        connection = Connection(self.listener)
        fields = [("X-Forwarded-For", self.address)]
        while not self.end.is_set():
            begun = time.monotonic()
            try:
                answer = connection.ask("/", "GET", fields)
            except (OSError, HTTPException):
                self.broken += 1
                connection.close()
                continue
            done = time.monotonic()
            seconds = next(iter(answer.all("Retry-After")), None)
            found = Answered(self.address, begun, done, answer.mark, answer.code, seconds)
            self.answered.append(found)
            time.sleep(0.002)
        connection.close()


@contextmanager
def asking(listener: Listener) -> Iterator[list[Client]]:
    end = threading.Event()
    clients = [Client(listener, address, end) for address in CLIENTS]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        end.set()
        for client in clients:
            client.join(30)


def edit(var: Path, seconds: float, record: Path) -> list[Change]:
    seed = random.randrange(10**6)  # noqa: S311 (chance, no secret)
    print(f"seed {seed}")  # noqa: T201 (for who reads a failure)
    arguments = [str(var), str(record), str(seconds), str(seed)]
    command = [sys.executable, str(ROOT / "tests/chaos/programs/soak_editor.py"), *arguments]
    run(*command, env=unmeasured(), seconds=seconds + 120)
    return [Change(*json.loads(line)) for line in record.read_text().splitlines()]


def outcomes(states: list[State], client: str) -> set[tuple[int, str | None]]:
    """Return the status codes and marks that a client gets in these states."""
    return {
        (200, None) if not on else (200, "exempt") if client in members else (503, "on")
        for on, members, _ in states
    }


def is_right(states: list[State], found: Answered) -> bool:
    """Tell whether an answer is what these states give, which came one after the other.

    A request looks at the flag, then at the list, then at what the flag says, and there may be
    changes between. So each has to be as it was at some moment of the request, in this order.
    """
    flags: set[bool] = set()
    looked: list[State] = []
    for on, members, seconds in states:
        flags.add(on)
        looked += [(flag, members, seconds) for flag in flags]
    announced = {str(seconds) for on, _, seconds in states if on} if found.code == 503 else {None}
    decided = (found.code, found.mark) in outcomes(looked, found.client)
    return decided and found.retry_after in announced


class Judgement(NamedTuple):
    wrong: list[tuple[Answered, list[Change]]]
    between: list[Answered]  # right, but only by a flag and a list of two moments


def judge(clients: list[Client], changes: list[Change]) -> Judgement:
    begun, done = [change.begun for change in changes], [change.done for change in changes]
    judgement = Judgement([], [])
    for found in (found for client in clients for found in client.answered):
        if found.begun < done[0]:
            continue  # what was before the first change is not recorded
        first, end = bisect_left(done, found.begun), bisect_right(begun, found.done)
        states = [changes[first - 1].states[-1]]
        states += [state for change in changes[first:end] for state in change.states]
        if not is_right(states, found):
            judgement.wrong.append((found, changes[first - 1 : end + 1]))
        elif (found.code, found.mark) not in outcomes(states, found.client):
            judgement.between.append(found)
    return judgement


@contextmanager
def serving(var: Path, log: Path) -> Iterator[tuple[Listener, "subprocess.Popen[bytes]"]]:
    environ = unmeasured() | {
        "MAINTENANCE_DIR": str(var),
        "MAINTENANCE_TRUSTED_PROXIES": "127.0.0.1",
        "PYTHONPATH": str(APPLICATIONS),
    }
    options = ["--workers=2", "--threads=4", "--keep-alive=60", "live_shop:application"]
    with held_port() as port:
        command = [str(PROGRAMS / "gunicorn"), f"--bind=127.0.0.1:{port}", *options]
        listener = ("127.0.0.1", port)
        with running(command, listener, log, env=environ) as process:
            yield listener, process


def workers_of(process: subprocess.Popen[bytes]) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def memory(worker: str) -> int:
    pages = Path(f"/proc/{worker}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def descriptors(worker: str, expected: int = 0) -> int:
    """Return how many files are open; connections of past clients are closed in a moment."""
    deadline = time.monotonic() + (20 if expected else 0.5)
    while True:
        found = len(os.listdir(f"/proc/{worker}/fd"))
        if found <= expected or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_every_answer_is_right_while_everything_changes(var: Path, tmp_path: Path) -> None:
    with serving(var, tmp_path / "log") as (listener, process):
        with asking(listener):
            edit(var, WARM_UP, tmp_path / "warm-up")
        pids = workers_of(process)
        files, sizes = {pid: descriptors(pid) for pid in pids}, {pid: memory(pid) for pid in pids}
        with asking(listener) as clients:
            changes = edit(var, SECONDS, tmp_path / "record")
        assert workers_of(process) == pids
        more_files = [descriptors(pid, files[pid]) - files[pid] for pid in pids]
        growth = [memory(pid) - sizes[pid] for pid in pids]
    answers = Counter((found.client, found.mark) for client in clients for found in client.answered)
    judgement = judge(clients, changes)
    between = Counter((found.code, found.mark) for found in judgement.between)
    print(f"{len(changes)} changes, {answers}, {between=}, {more_files=}, {growth=}")  # noqa: T201 (likewise)
    assert {mark for _, mark in answers} == {None, "exempt", "on"}
    assert not sum(client.broken for client in clients)
    assert not judgement.wrong
    assert max(more_files) <= 0
    assert max(growth) < GROWTH
