"""The Django project of the examples, under a server."""

import sys
from pathlib import Path

import pytest

from tests.support.guides import copied
from tests.support.http import ask
from tests.support.processes import PROGRAMS, run, running, unmeasured

pytestmark = pytest.mark.servers


def test_database_keeps_the_promise_of_read_only_mode(tmp_path: Path) -> None:
    """The gate stops a POST, and SQLite a GET that writes."""
    (tmp_path / "srv/var").mkdir(parents=True)
    with copied("django", tmp_path) as (folder, port):
        listener, log, env = ("127.0.0.1", port), tmp_path / "log", unmeasured()

        def manage(*arguments: str) -> None:
            run(sys.executable, "manage.py", *arguments, cwd=folder, env=env)

        def answers(*requests: str) -> list[str]:
            found = [ask(listener, path, method) for path, method in map(str.split, requests)]
            return [f"{one.code} {one.mark} {one.body.count(b'a visit')}" for one in found]

        manage("migrate", "-v", "0")
        command = [str(PROGRAMS / "gunicorn"), "shop.wsgi", f"--bind=127.0.0.1:{port}"]
        with running(command, listener, log, cwd=folder, env=env):
            first = answers("/visit GET", "/ GET", "/ POST")
            assert first == ["200 None 0", "200 None 1", "302 None 0"]
            manage("maintenance", "enable", "--read-only", "--drain", "20")
            closed = answers("/visit GET", "/ POST", "/ GET", "/log POST", "/log GET")
            assert closed == [
                "503 read-only 0",
                "503 read-only 0",
                "200 read-only 1",
                "200 read-only 0",
                "503 read-only 0",
            ]
            manage("maintenance", "disable")
            assert answers("/visit GET", "/ GET") == ["200 None 0", "200 None 2"]


def test_development_server_obeys(tmp_path: Path) -> None:
    (tmp_path / "srv/var").mkdir(parents=True)
    (tmp_path / "srv/var/.maintenance.flag").touch()
    with copied("django", tmp_path) as (folder, port):
        listener, log, env = ("127.0.0.1", port), tmp_path / "log", unmeasured()
        command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
        with running(command, listener, log, cwd=folder, env=env):
            assert [ask(listener, path).code for path in ("/", "/healthz")] == [503, 200]
