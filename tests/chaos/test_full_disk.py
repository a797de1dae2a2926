"""Disks that are full or closed: a clear error, and the two files as they were."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode, StateError
from tests.support.mounts import mounted
from tests.support.needs import need_root
from tests.support.processes import COMMAND, run, unmeasured
from tests.support.wsgi import make_environ, shop, status_of


def fill(var: Path) -> None:
    with (var / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(1024))


def close(var: Path) -> None:
    run("mount", "-o", "remount,ro", var)


def content(var: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in var.iterdir() if path.name != "filler"}


@pytest.mark.parametrize(("fault", "said"), [(fill, "No space left"), (close, "Read-only")])
@pytest.mark.parametrize(
    "arguments",
    [
        ["enable", "--ip=203.0.113.8", "--message=b"],
        ["enable", "--message=b"],
        ["allow-ips", "203.0.113.8"],
        ["allow-ips", "--add", "203.0.113.8"],
        ["disable", "--ip=203.0.113.8"],
    ],
    ids=" ".join,
)
def test_command_that_cannot_write_changes_nothing(
    arguments: list[str], fault: Callable[[Path], None], said: str, var: Path
) -> None:
    with mounted(var, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        mode = MaintenanceMode(var)
        mode.enable(message="a", exemptions=["203.0.113.7"])
        before = content(var)
        fault(var)
        result = run(COMMAND, "--dir", var, *arguments, env=unmeasured(), code=1)
        assert result.stdout == ""
        assert said in result.stderr
        assert "Traceback" not in result.stderr
        assert content(var) == before


def test_block_that_cannot_begin_changes_nothing(var: Path) -> None:
    with mounted(var, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        mode = MaintenanceMode(var)
        fill(var)
        with pytest.raises(StateError, match="No space left"), mode.window():
            raise AssertionError
        assert content(var) == {}


def test_full_disk_does_not_matter_to_requests(var: Path) -> None:
    with mounted(var, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        mode = MaintenanceMode(var)
        mode.enable(exemptions=["203.0.113.7"])
        fill(var)
        middleware = MaintenanceMiddleware(shop, var)
        assert status_of(middleware, make_environ("203.0.113.7")) == "200 OK"
        assert status_of(middleware, make_environ()) == "503 Service Unavailable"
        mode.disable()
        assert status_of(middleware, make_environ()) == "200 OK"


def test_user_without_the_right_to_write_is_told(open_folder: Path) -> None:
    need_root()
    program = """
import os
from maintenance_wsgi.cli import main, switch
os.setgid(65534)
os.setuid(65534)
main()
"""
    command = [sys.executable, "-c", program, "--dir", str(open_folder), "enable"]
    result = run(*command, env=unmeasured(), code=1)
    assert os.listdir(open_folder) == []
    assert "nobody cannot access it: Permission denied; run the command as root" in result.stderr
