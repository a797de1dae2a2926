import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, run

pytestmark = pytest.mark.servers

QUICKSTART = ROOT / "examples/quickstart.py"


def test_tour_comes_out_right() -> None:
    result = run(sys.executable, QUICKSTART, "--once")
    answers = [line for line in result.stdout.splitlines() if line.startswith("HTTP/1.1")]
    assert [line.split()[1] for line in answers] == ["200", "503", "200", "200"]
    assert "Retry-After: 2" in result.stdout
    assert "maintenance-wsgi --dir" in result.stdout


def test_tour_tells_by_its_exit_status_that_a_step_went_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "quickstart.py"
    broken.write_text(QUICKSTART.read_text().replace('"allow-ips", "127.0.0.1"', '"allow-ips"'))
    result = run(sys.executable, broken, code=1)
    assert "not what should have happened" in result.stdout


@pytest.mark.parametrize("port_is_taken", [False, True])
def test_tour_goes_on_serving_until_interrupted(*, port_is_taken: bool) -> None:
    first = start_tour() if port_is_taken else None
    second = start_tour()
    for process in filter(None, (first, second)):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 0


def start_tour() -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, QUICKSTART], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("enable --ip none" in line for line in process.stdout)
    return process
