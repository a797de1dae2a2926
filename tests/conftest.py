"""Fixtures that several test modules share."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.state.reader import StateReader
from tests.support.processes import make_open_folder

# What nohup and a shell's "&" have the suite ignore, the programs that it starts would ignore too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line for each kind what was left out, and what it needs."""
    skipped = terminalreporter.getreports("skipped")
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.items():
        tests = "test" if count == 1 else "tests"
        terminalreporter.write_line(f"left out: {count} {tests} of {reason}")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with make_open_folder() as folder:
        yield folder


@pytest.fixture
def var(tmp_path: Path) -> Path:
    directory = tmp_path / "var"
    directory.mkdir()
    return directory


@pytest.fixture
def flag(var: Path) -> Path:
    return var / ".maintenance.flag"


@pytest.fixture
def ip_list(var: Path) -> Path:
    return var / ".maintenance.ip"


@pytest.fixture
def mode(var: Path) -> MaintenanceMode:
    return MaintenanceMode(var)


@pytest.fixture
def reader(var: Path) -> StateReader:
    return StateReader(var)
