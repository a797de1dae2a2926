"""Style, types and the direction of imports are part of the suite."""

import subprocess

import pytest

from tests.support.processes import PROGRAMS, ROOT

pytestmark = pytest.mark.checkout


@pytest.mark.parametrize(
    "command",
    [
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports",
    ],
)
def test_tool_has_nothing_to_say(command: str) -> None:
    program, *arguments = command.split()
    result = subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert result.returncode == 0, result.stdout + result.stderr
