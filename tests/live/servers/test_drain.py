"""Requests that began before the switch, under the servers that our users run."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from maintenance_wsgi.state.in_flight import Lock, open_book
from tests.live.servers.test_servers import SERVERS, SHOP, Live, started
from tests.support.http import ask
from tests.support.processes import COMMAND, make_open_folder, run, wait_for
from tests.support.wsgi import Answer

pytestmark = pytest.mark.servers
KINDS = ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "gunicorn-preload", "uwsgi"]
KINDS += ["waitress", "mod_wsgi"]


@pytest.fixture(scope="module", params=KINDS)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    with counting(request.param) as made:
        yield made


@contextmanager
def counting(name: str) -> Iterator[Live]:
    """Start a server whose application counts its requests."""
    with make_open_folder() as folder:
        (folder / "var").mkdir()
        if name == "mod_wsgi":  # whose user cannot write there
            (folder / "var/.maintenance.requests").touch()
        extra = {"MAINTENANCE_DRAIN": "1"}
        with started(SERVERS[name], "tcp", folder, "live_shop:application", **extra) as made:
            yield made


@contextmanager
def begun(live: Live, path: str) -> Iterator[Future[Answer]]:
    """Send a request, and yield as soon as it is in flight."""
    live.mode.disable()
    assert ask(live.listener).code == 200
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(ask, live.listener, path)
        wait_for(lambda: running(live.var))
        yield answer
    live.mode.disable()


def running(var: Path) -> list[Lock]:
    return open_book(str(var)).running()


def enable(live: Live, seconds: int, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run(COMMAND, f"--dir={live.var}", "enable", f"--drain={seconds}", code=code)


@pytest.mark.parametrize("path", ["/slow?4", "/slow-stream?4"])
def test_earlier_request_is_waited_for(live: Live, path: str) -> None:
    with begun(live, path) as answer:
        process = running(live.var)[0].process
        found = enable(live, 1, code=1)
        assert f"still run after 1 s: process {process} (" in found.stderr
        assert not answer.done()
        found = enable(live, 30)
        assert "Drained: no earlier request still runs (processes that count: " in found.stdout
        assert answer.result(5).code == 200
        assert ask(live.listener).code == 503


def test_file_that_the_server_sends_is_over_at_once(live: Live) -> None:
    live.mode.disable()
    assert ask(live.listener, "/file").body == SHOP.read_bytes()
    assert running(live.var) == []
    enable(live, 30)


def test_requests_go_on_while_it_is_switched_and_drained(live: Live) -> None:
    with ThreadPoolExecutor(8) as clients:
        for _ in range(5):
            live.mode.disable()
            answers = [clients.submit(ask, live.listener, "/slow?0.05") for _ in range(24)]
            enable(live, 30)
            answers += [clients.submit(ask, live.listener) for _ in range(8)]
            codes = [answer.result(30).code for answer in answers]
            assert set(codes) <= {200, 503}
            assert codes[24:] == [503] * 8
            assert running(live.var) == []


@pytest.mark.parametrize("name", ["gunicorn-sync", "uwsgi"])
def test_killed_worker_is_not_waited_for(name: str) -> None:
    with counting(name) as live, begun(live, "/slow?30") as answer:
        os.kill(running(live.var)[0].process, signal.SIGKILL)
        wait_for(lambda: not running(live.var))
        wait_for(lambda: open_book(str(live.var)).counting([]))  # the server starts another one
        enable(live, 20)
        with suppress(OSError, HTTPException):
            assert answer.result(20).code != 200
