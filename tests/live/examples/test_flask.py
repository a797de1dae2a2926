"""The Flask application of the examples, under a server."""

from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.support.guides import copied
from tests.support.http import ask
from tests.support.processes import PROGRAMS, run, running, unmeasured

pytestmark = pytest.mark.servers


def test_page_names_the_address_of_a_visitor_behind_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "srv/var").mkdir(parents=True)
    MaintenanceMode(tmp_path / "srv/var").enable(message="<Back soon>")
    command = [str(PROGRAMS / "gunicorn"), "app:app", "--bind"]
    with copied("flask", tmp_path) as (folder, port):
        listener = ("127.0.0.1", port)
        env = unmeasured()
        with running(
            [*command, f"127.0.0.1:{port}"], listener, tmp_path / "log", cwd=folder, env=env
        ):
            answer = ask(listener, "/", "GET", [("X-Forwarded-For", "9.9.9.9")])
            assert (answer.code, answer.mark) == (503, "on")
            assert b"<p>&lt;Back soon&gt;</p>" in answer.body
            assert b"your address: 9.9.9.9" in answer.body
            assert ask(listener, "/healthz").body == b"ok\n"
        shown = run(PROGRAMS / "flask", "maintenance", "preview", cwd=folder, env=env).stdout
        assert "The shop is closed for a moment" in shown


def test_command_finds_the_middleware_of_a_factory(tmp_path: Path) -> None:
    (tmp_path / "srv/var").mkdir(parents=True)
    with copied("flask", tmp_path) as (folder, _):
        (folder / "shop.py").write_text("def make():\n    from app import app\n    return app\n")
        command = ["--app", "shop:make", "maintenance", "enable"]
        result = run(PROGRAMS / "flask", *command, cwd=folder, env=unmeasured())
        assert f" in {tmp_path}/srv/var\n" in result.stdout
