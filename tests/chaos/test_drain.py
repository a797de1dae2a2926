"""Once `enable --drain` has returned, no earlier request writes any more."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.commands import invoke
from tests.support.processes import ROOT, unmeasured, wait_for

# Tens of seconds of full load: once in a run is enough, and a busy machine takes longer.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

PROGRAM = ROOT / "tests/chaos/programs/writing_shop.py"
REQUESTS_PER_SWITCH = 40


@pytest.fixture
def var() -> Iterator[Path]:
    """Make a directory in memory, where `fsync` takes no time, if there is one."""
    memory = Path("/dev/shm")  # noqa: S108 (the directory below it is our own)
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        (Path(name) / "var").mkdir()
        yield Path(name) / "var"


@contextmanager
def orders(var: Path, order: str) -> Iterator[Callable[[], int]]:
    """Run the shop until the block ends; yield what counts its writes."""
    path = var.with_name("shop.sqlite")
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY)")
        command = [sys.executable, str(PROGRAM), str(var), str(path), order]
        environ = unmeasured(PYTHONPATH=str(ROOT))
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environ):
            yield lambda: int(database.execute("SELECT count(*) FROM orders").fetchone()[0])


def has_reached(least: int, count: Callable[[], int]) -> bool:
    return count() >= least


def count_writes(var: Path, order: str, switches: int) -> tuple[int, int]:
    """Return how many writes there were, and how many of them while the shop was drained."""
    late = 0
    with orders(var, order) as count:
        wait_for(count)
        for number in range(1, switches + 1):
            wait_for(partial(has_reached, number * REQUESTS_PER_SWITCH, count))
            drained = invoke("--dir", str(var), "enable", "--drain=20")
            assert drained.exit_code == 0, drained.output
            before = count()
            time.sleep(0.04)  # as long as a request takes
            late += count() - before
            assert invoke("--dir", str(var), "disable").exit_code == 0
        return count(), late


def test_no_request_writes_after_the_drain(var: Path) -> None:
    writes, late = count_writes(var, "counted-first", switches=500)
    print(f"{writes} writes, {late} of them late")  # noqa: T201 (a figure for the README)
    assert writes >= 20_000
    assert late == 0


def test_gate_that_looks_before_it_counts_fails_this_test(var: Path) -> None:
    writes, late = count_writes(var, "looked-first", switches=100)
    print(f"{writes} writes, {late} of them late")  # noqa: T201 (likewise)
    assert late > 0
