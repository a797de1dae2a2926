"""The same answers without asserts, with every warning an error, and under gevent's patches."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, run, unmeasured

EXEMPT, CHANGED, STRANGER = "203.0.113.7", "203.0.113.8", "198.51.100.1"
OFF = [[STRANGER, 200], [EXEMPT, 200], [CHANGED, 200]]
FIRST = [[STRANGER, 503], [EXEMPT, 200], [CHANGED, 503]]
SECOND = [[STRANGER, 503], [EXEMPT, 503], [CHANGED, 200]]
EXPECTED = [
    *[OFF, FIRST, SECOND, "EntryError", "ConfigError"],
    *[["503 Service Unavailable", ["60"], True], SECOND, OFF],
]


@pytest.mark.parametrize(
    "options",
    [["-OO"], ["-bb", "-W", "error"], ["-X", "dev"], ["-m", "gevent.monkey"]],
    ids=" ".join,
)
def test_window_is_the_same_under_any_interpreter(options: list[str], var: Path) -> None:
    program = ROOT / "tests/chaos/programs/scenario.py"
    result = run(sys.executable, *options, program, var, env=unmeasured(PYTHONPATH=str(ROOT)))
    states = ["maintenance is on, exempt entries: 1", "maintenance is off"]
    assert result.stderr.splitlines() == [f"{var}: {state}" for state in states]
    assert json.loads(result.stdout) == EXPECTED
