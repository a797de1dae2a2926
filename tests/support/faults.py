"""Faults that no test can cause for real: `faults.c`, and its functions."""

import ctypes
import subprocess
import sys
from pathlib import Path
from shutil import which

from tests.support.processes import ROOT, skip_without, unmeasured

EVERY = KILL = -1


def build(folder: Path) -> Path:
    """Compile the library into a folder; return its path."""
    skip_without(which("gcc"), "gcc")
    library = folder / "faults.so"
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(library)]
    subprocess.run(
        [*command, str(Path(__file__).with_name("faults.c")), "-ldl"], check=True, timeout=60
    )
    return library


def run_with_faults(library: Path, program: str, *arguments: str) -> str:
    """Run a program of the tests under the library; return what it prints."""
    environ = unmeasured() | {"LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/chaos/programs" / program), *arguments]
    result = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=100
    )
    assert (result.returncode, result.stderr) == (0, "")
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
