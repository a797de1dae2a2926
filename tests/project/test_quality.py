"""Style, types and the direction of imports are part of the suite."""

import pytest

from tests.support.processes import PROGRAMS, ROOT, run

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
    run(PROGRAMS / program, *arguments, cwd=ROOT)
