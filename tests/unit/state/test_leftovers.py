"""What killed writers left behind is removed by the next one, and nothing else is."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from maintenance_wsgi import MaintenanceMode, StateError
from tests.support.needs import leave_out, need, need_root
from tests.support.processes import run

LEFTOVERS = {
    ".maintenance.flag.0123456789abcdef.tmp",
    ".maintenance.ip.fedcba9876543210.tmp",
}
OTHERS = {
    ".maintenance.flag.0123456789abcde.tmp",
    ".maintenance.flag.0123456789ABCDEF.tmp",
    ".maintenance.flag.0123456789abcdef.tmp~",
    ".maintenance.follow.0123456789abcdef.tmp",
    "maintenance.flag.0123456789abcdef.tmp",
    "other.0123456789abcdef.tmp",
}


@pytest.mark.parametrize("call", ["enable", "disable", "set_exemptions"])
def test_next_writer_removes_them(call: str, mode: MaintenanceMode, var: Path) -> None:
    for name in LEFTOVERS | OTHERS:
        (var / name).touch()
    getattr(mode, call)(*([["203.0.113.7"]] if call == "set_exemptions" else []))
    assert {name for name in os.listdir(var) if "tmp" in name} == OTHERS


def test_what_is_not_a_regular_file_stays(mode: MaintenanceMode, var: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    folder, link, pipe, hard = (var / f".maintenance.ip.{n:016}.tmp" for n in range(4))
    folder.mkdir()
    link.symlink_to(secret)
    os.mkfifo(pipe)
    hard.hardlink_to(secret)
    mode.enable()
    assert secret.exists()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert (folder.is_dir(), link.is_symlink(), hard.exists()) == (True, True, False)


def test_file_of_a_writer_that_is_still_at_work_stays(mode: MaintenanceMode, var: Path) -> None:
    """A stuck lock keeps no site open; but then another writer may need its file."""
    at_work = var / ".maintenance.ip.0123456789abcdef.tmp"
    at_work.touch()
    descriptor = os.open(var, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        mode.enable()
    finally:
        os.close(descriptor)
    assert mode.is_enabled()
    assert at_work.exists()
    mode.disable()
    assert not at_work.exists()


def test_number_that_is_looked_at_is_bounded(mode: MaintenanceMode, var: Path) -> None:
    for number in range(1500):
        (var / f".maintenance.ip.{number:016}.tmp").touch()
    mode.enable()
    assert len(os.listdir(var)) == 501
    mode.disable()
    assert os.listdir(var) == []


def test_foreign_ones_that_cannot_be_removed_keep_nobody_from_writing() -> None:
    need_root()
    with TemporaryDirectory() as directory:
        var = Path(directory)
        var.chmod(0o1777)
        for number in range(5):
            (var / f".maintenance.ip.{number:016}.tmp").touch()
        os.seteuid(65534)
        try:
            MaintenanceMode(var).enable()
        finally:
            os.seteuid(0)
        assert len(os.listdir(var)) == 6


@contextmanager
def append_only(var: Path) -> Iterator[None]:
    need_root()
    if run(need("chattr"), "+a", var, code=None).returncode:
        leave_out("append-only directories", "run pytest on ext4, with CAP_LINUX_IMMUTABLE")
    try:
        yield
    finally:
        run("chattr", "-a", var)


def test_append_only_directory_does_not_fill_up(mode: MaintenanceMode, var: Path) -> None:
    with append_only(var):
        for _ in range(10):
            with pytest.raises(StateError, match="or append-only, run chattr -ia on that"):
                mode.enable()
        assert len(os.listdir(var)) == 3
    mode.enable()
    assert os.listdir(var) == [".maintenance.flag"]
