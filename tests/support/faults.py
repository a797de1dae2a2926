"""Faults that no test can cause for real: `faults.c`, and its functions."""

import ctypes
import sys
from pathlib import Path

from tests.support.needs import need
from tests.support.processes import ROOT, run, unmeasured

EVERY = KILL = -1


def build(folder: Path) -> Path:
    """Compile the library into a folder; return its path."""
    library = folder / "faults.so"
    command = [need("gcc"), "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(library)]
    run(*command, Path(__file__).with_name("faults.c"), "-ldl")
    return library


def run_with_faults(library: Path, program: str, *arguments: str) -> str:
    """Run a program of the tests under the library; return what it prints."""
    environ = unmeasured(LD_PRELOAD=str(library), PYTHONPATH=str(ROOT))
    path = ROOT / "tests/chaos/programs" / program
    result = run(sys.executable, path, *arguments, env=environ)
    assert result.stderr == ""
    return result.stdout


# The rest is for the process that has the library loaded.


def begin(directory: str, number: int, error: int) -> None:
    """Let the call of this number on `directory` and below fail, or every one; 0 counts only."""
    ctypes.CDLL(None).fault_begin(directory.encode(), number, error)


def calls() -> int:
    """Return how many calls there were since `begin`."""
    return int(ctypes.CDLL(None).fault_calls())


def set_clock(ahead: int, tick: int = 0) -> None:
    """Set this process's clock ahead, or back, and round file times down; in seconds."""
    ctypes.CDLL(None).fault_clock(ctypes.c_long(ahead), ctypes.c_long(tick))
