"""The Celery worker of the examples, which takes no job while maintenance is on."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.support.processes import PROGRAMS, ROOT, run, wait_for

EXAMPLES = ROOT / "examples/deploy"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("var", "queue", "control"):
        (tmp_path / name).mkdir(exist_ok=True)
    return tmp_path


@contextmanager
def worker(root: Path) -> Iterator[Callable[[str], None]]:
    """Start a worker; yield what waits until its log has got to a text."""
    environ = {**os.environ, "SHOP_ROOT": str(root)}
    options = ["worker", "--pool=solo", "--without-gossip", "--without-mingle", "--loglevel=INFO"]
    command = [str(PROGRAMS / "celery"), "--app=celery_worker", *options]
    with (root / "log").open("w") as log, (root / "log").open() as written:
        process = subprocess.Popen(command, cwd=EXAMPLES, env=environ, stdout=log, stderr=log)
        try:
            yield lambda text: wait_for(lambda: text in written.readline())
        finally:
            process.terminate()
            process.wait(30)


def send(root: Path, text: str, countdown: int = 0) -> None:
    options = f"({text!r},), countdown={countdown}"
    program = f"from celery_worker import note; note.apply_async({options})"
    environ = {**os.environ, "SHOP_ROOT": str(root)}
    run(sys.executable, "-c", program, cwd=EXAMPLES, env=environ)


@pytest.mark.servers
def test_worker_takes_no_job_while_maintenance_is_on(root: Path) -> None:
    done = root / "done.txt"
    mode = MaintenanceMode(root / "var")
    mode.enable()
    with worker(root) as wait_for_log:
        for jobs in (["first"], ["first", "second"]):
            wait_for_log("the queue is paused")
            send(root, jobs[-1])
            # Long enough for a worker that looks into its queue once a second.
            time.sleep(2.5)
            assert read_lines(done) == jobs[:-1]
            mode.disable()
            wait_for_log("the queue is resumed")
            wait_for_log("succeeded")
            assert read_lines(done) == jobs
            mode.enable()


@pytest.mark.servers
def test_worker_keeps_the_last_known_state(root: Path) -> None:
    done, var, elsewhere = root / "done.txt", root / "var", root / "elsewhere"
    mode = MaintenanceMode(var)
    mode.enable()
    with worker(root) as wait_for_log:
        wait_for_log("the queue is paused")
        var.rename(elsewhere)
        var.symlink_to(var)  # a loop, which not even root can follow
        wait_for_log("keeping the last known state")
        send(root, "first")
        # Long enough for a worker that looks into its queue once a second.
        time.sleep(2.5)
        assert read_lines(done) == []
        var.unlink()
        elsewhere.rename(var)
        mode.disable()
        wait_for_log("the queue is resumed")
        wait_for_log("succeeded")
        assert read_lines(done) == ["first"]


@pytest.mark.servers
def test_worker_gives_back_a_job_that_it_has_taken_already(root: Path) -> None:
    """A job with a countdown waits within the worker, not in the queue."""
    done = root / "done.txt"
    mode = MaintenanceMode(root / "var")
    with worker(root) as wait_for_log:
        wait_for_log("ready")
        send(root, "first", countdown=5)
        wait_for_log("received")
        mode.enable()
        wait_for_log("the queue is paused")
        wait_for_log("requeue=True: maintenance is on")
        assert read_lines(done) == []
        mode.disable()
        wait_for_log("succeeded")
        assert read_lines(done) == ["first"]


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
