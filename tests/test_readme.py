"""The README says what is so."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_and_option_is_named(name: str) -> None:
    command = main.commands[name]
    options = [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts[:1]
    ]
    assert f"`{name}" in README
    assert [option for option in options if option not in README] == []


def test_every_option_of_the_middleware_is_named() -> None:
    parameters = inspect.signature(MaintenanceMiddleware).parameters.values()
    names = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(re.findall(r"^\| `(\w+)` \| `", README, re.MULTILINE)) == names


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
        "app": SimpleNamespace(wsgi_app=print),
        "application": print,
        "get_wsgi_application": lambda: print,
        "migrate": print,
    }
    exec(code.replace("/srv/shop/var", "var"), names)  # noqa: S102 (the README's own code)
