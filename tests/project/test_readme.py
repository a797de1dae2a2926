"""The README says what is so."""

import inspect
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, make_server

import click
import pytest
from flask import Flask

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.cli import main
from tests.support.needs import need
from tests.support.processes import ROOT, run, unmeasured
from tests.support.wsgi import shop

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "examples/README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n(.*?)^```", README + GUIDE, re.DOTALL | re.MULTILINE)


def test_readme_is_read_in_ten_minutes() -> None:
    assert len(README.split()) <= 1300


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_every_command_and_option_is_named(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden  # an old name
        for option in parameter.opts[:1]
    ]
    assert f"`{name}" in README
    assert [option for option in options if option not in README] == []


def test_every_option_of_the_middleware_is_named() -> None:
    parameters = inspect.signature(MaintenanceMiddleware).parameters.values()
    names = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(re.findall(r"^\|`(\w+)`\|`", README, re.MULTILINE)) == names


@pytest.mark.checkout
def test_ci_runs_the_command_of_the_readme() -> None:
    (command,) = re.findall(r"^    (python3 -m venv .*pytest)$", README, re.MULTILINE)
    assert command in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_is_valid_and_names_what_exists(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var").mkdir()
    monkeypatch.chdir(tmp_path)
    names = {
        "MaintenanceMiddleware": MaintenanceMiddleware,
        "app": Flask("shop"),
        "application": print,
        "config": SimpleNamespace(make_wsgi_app=lambda: print),
        "default_app": lambda: print,
        "get_wsgi_application": lambda: print,
        "migrate": print,
    }
    exec(code.replace("/srv/shop/var", "var"), names)  # noqa: S102 (the README's own code)


def run_in_shell(line: str) -> str:
    result = run("/bin/bash", "-o", "pipefail", "-c", line, env=unmeasured(), code=None)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("number", range(3))
def test_commands_print_what_is_shown(number: int, var: Path) -> None:
    """The site is ours, so it is served over plain HTTP; and time has passed."""
    if "curl" in SHOWN[number]:
        need("curl")
    application = MaintenanceMiddleware(shop, var)
    mode, until = MaintenanceMode(var), datetime.now(UTC) + timedelta(minutes=40)
    mode.set_exemptions(["203.0.113.7"])
    if number:
        mode.enable(message="We are moving house", until=until)
    with make_server("127.0.0.1", 0, application, handler_class=QuietHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}/"
        for shown in re.split(r"^\$ ", SHOWN[number], flags=re.MULTILINE)[1:]:
            line, _, expected = shown.partition("\n")
            line = line.replace("/srv/shop/var", str(var)).replace("https://shop.example/", site)
            if "--dir" not in line:
                line = line.replace("maintenance-wsgi", f"maintenance-wsgi --dir {var}")
            expected = expected.replace("/srv/shop/var", str(var))
            assert normalized(run_in_shell(line)) == normalized(expected)
        server.shutdown()


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 (the base's own name)
        pass


def normalized(text: str) -> list[str]:
    """Return the lines as HTTP/2 has them, without times and names."""
    text = text.replace("HTTP/1.0 503 Service Unavailable", "HTTP/2 503")
    text = re.sub(r"^(retry-after: 2)[0-9]{3}$", r"\1xxx", text, flags=re.MULTILINE | re.IGNORECASE)
    text = re.sub(
        r"[0-9-]{10} [0-9:]{5} [A-Z]+|[0-9]+ min ago|^By: .*", "...", text, flags=re.MULTILINE
    )
    return sorted(line.strip().lower() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: str) -> None:
    line = f"_MAINTENANCE_WSGI_COMPLETE={shell}_source maintenance-wsgi"
    assert line in GUIDE
    assert "maintenance-wsgi" in run_in_shell(line)
