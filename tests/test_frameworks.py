"""The same command within Flask and Django, and neither imported without need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent
MANAGE = """
import sys
import django
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(INSTALLED_APPS=["maintenance_wsgi"])
django.setup()
execute_from_command_line(sys.argv)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "var").mkdir(exist_ok=True)
    (tmp_path / "app.py").write_text("import flask\napp = flask.Flask(__name__)\n")
    (tmp_path / "manage.py").write_text(MANAGE)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([PROGRAMS / "flask", "maintenance"], id="flask"),
        pytest.param([sys.executable, "manage.py", "maintenance"], id="django"),
    ],
)
def test_command_within_a_framework(command: list[str], project: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "MAINTENANCE_DIR"}
    results = [
        subprocess.run(
            [*command, *arguments],
            cwd=project,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for arguments in (["enable", "--ip=203.0.113.7"], ["enable", "--ip=nope"], ["--help"])
    ]
    assert [result.returncode for result in results] == [0, 1, 0], results
    assert results[0].stdout.startswith("Enabled maintenance mode\n")
    assert "Invalid IP nope" in results[1].stderr
    assert "allow-ips" in results[2].stdout
    assert (project / "var/.maintenance.flag").exists()


def test_django_shows_the_help_of_the_command(project: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "help", "maintenance"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "allow-ips" in result.stdout


def test_nothing_of_the_frameworks_is_imported_without_need() -> None:
    program = (
        "import sys, maintenance_wsgi, maintenance_wsgi.cli;"
        "print(*{'flask', 'django', 'celery'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == ""
