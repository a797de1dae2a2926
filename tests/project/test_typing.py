"""The public names under two type checkers: uses are accepted, mistakes are refused."""

import json
import re
from pathlib import Path

import pytest

from tests.support.processes import PROGRAMS, ROOT, environ, run

pytestmark = pytest.mark.checkout

TYPED = Path(__file__).parent / "typing"


def check_types(name: str, *arguments: str) -> str:
    return run(PROGRAMS / name, *arguments, cwd=ROOT, env=environ(), code=None).stdout


def mypy_lines(path: Path) -> list[int]:
    output = check_types("mypy", "--config-file=", "--strict", "--no-error-summary", str(path))
    assert "Traceback" not in output
    return [int(line) for line in re.findall(r"^[^:]+:([0-9]+): error:", output, re.MULTILINE)]


def pyright_lines(path: Path) -> list[int]:
    found = json.loads(check_types("pyright", "--outputjson", str(path)))
    assert found["summary"]["filesAnalyzed"] == 1
    return [entry["range"]["start"]["line"] + 1 for entry in found["generalDiagnostics"]]


CHECKERS = pytest.mark.parametrize("lines_of", [mypy_lines, pyright_lines])


@CHECKERS
def test_uses_are_accepted(lines_of: object) -> None:
    assert callable(lines_of)
    assert lines_of(TYPED / "uses.py") == []


@CHECKERS
def test_each_mistake_is_refused(lines_of: object) -> None:
    assert callable(lines_of)
    path = TYPED / "misuses.py"
    lines = path.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# refused: " in line}
    assert set(lines_of(path)) == marked
