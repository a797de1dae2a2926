"""The mark of a follower, which a hostile user of the directory may write too."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maintenance_wsgi.state.ownership import Mark, followed_source
from tests.support.commands import invoke
from tests.support.mounts import mounted
from tests.support.needs import need_root
from tests.support.processes import run

SOURCE = "fleet 'default' at 10.0.0.5:6379"
COMMANDS = ["enable", "disable", "allow-ips 203.0.113.7", "allow-ips --none", "run true"]


@pytest.fixture
def mark(var: Path) -> Path:
    return var / ".maintenance.follow"


@contextmanager
def marked(directory: Path, source: str = SOURCE, *, shared: bool = False) -> Iterator[Mark]:
    claimed = Mark(str(directory), source, shared=shared)
    assert claimed.claim() == ""
    try:
        yield claimed
    finally:
        claimed.release()


def test_mark_names_the_source_and_the_process_as_long_as_it_is_held(var: Path, mark: Path) -> None:
    assert followed_source(str(var)) == ""
    for _ in range(2):
        with marked(var):
            assert followed_source(str(var)) == followed_source(str(var)) == SOURCE
            assert mark.read_text() == f"{SOURCE}\n{os.getpid()}\n\n"
        assert followed_source(str(var)) == ""


def test_mark_can_be_read_by_each_user_who_may_change_the_files(var: Path, mark: Path) -> None:
    before = os.umask(0o077)
    try:
        with marked(var):
            assert mark.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("source", "newest"),
    [
        pytest.param(SOURCE, "a revision", id="same"),
        pytest.param("fleet 'default' at redis.example", "a revision", id="other-name-of-redis"),
        pytest.param("fleet 'shop' at 10.0.0.5:6379", "", id="other-fleet"),
        pytest.param("fleet 'default", "", id="beginning-of-a-name"),
    ],
)
def test_newest_revision_is_remembered_wherever_redis_is(
    source: str, newest: str, var: Path
) -> None:
    with marked(var) as first:
        first.record("a revision")
    with marked(var, source) as second:
        assert second.newest == newest


def test_mark_of_a_killed_follower_is_none(var: Path) -> None:
    program = """if True:
        import sys, time
        from maintenance_wsgi.state.ownership import Mark
        mark = Mark(sys.argv[1], "a fleet")
        mark.claim()
        mark.record("a revision")
        print("ready", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", program, str(var)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"ready\n"
        assert followed_source(str(var)) == "a fleet"
        follower.send_signal(signal.SIGKILL)
    assert followed_source(str(var)) == ""
    with marked(var, "a fleet") as successor:
        assert successor.newest == "a revision"
    with marked(var, "another fleet") as stranger:
        assert stranger.newest == ""


@pytest.mark.parametrize("shared", [False, True])
def test_directory_has_one_owner(var: Path, *, shared: bool) -> None:
    second, same = Mark(str(var), "another fleet"), Mark(str(var), SOURCE)
    with marked(var, shared=shared) as first:
        for _ in range(2):
            assert (second.claim(), second.claim(hold=False), same.claim()) == (SOURCE, SOURCE, "")
            assert first.claim() == ""
        assert followed_source(str(var)) == ("" if shared else SOURCE)
    assert same.claim() == ""
    assert second.claim() == SOURCE
    same.release()
    assert second.claim() == ""
    second.release()


def test_directory_that_was_replaced_is_claimed_again(var: Path, tmp_path: Path) -> None:
    with marked(var) as claimed:
        claimed.record("a revision")
        var.rename(tmp_path / "old")
        assert claimed.claim() == ""
        var.mkdir()
        assert claimed.claim() == ""
        assert followed_source(str(var)) == SOURCE
        assert followed_source(str(tmp_path / "old")) == ""
        (var / ".maintenance.follow").unlink()
        assert claimed.claim() == ""
        assert (var / ".maintenance.follow").read_text().endswith("\na revision\n")


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_refused_unless_it_is_forced(line: str, var: Path, mark: Path) -> None:
    with marked(var):
        result = invoke(*line.split()[:1], "--dir", str(var), *line.split()[1:])
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{var}: follows {SOURCE}, which would undo the change" in result.stderr
        assert "--redis" in result.stderr
        assert os.listdir(var) == [mark.name]
        result = invoke(*line.split()[:1], "--force", "--dir", str(var), *line.split()[1:])
        assert result.exit_code == 0


def test_what_is_followed_can_be_read(var: Path) -> None:
    with marked(var):
        assert invoke("--dir", str(var), "allow-ips").exit_code == 0
        result = invoke("--dir", str(var), "status")
        assert result.stdout.splitlines()[-1] == f"Follows: {SOURCE}"
        stdout = invoke("--dir", str(var), "maintenance:status").stdout
        assert len(stdout.splitlines()) == 2
    assert "Follows" not in invoke("--dir", str(var), "status").stdout


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"a \x1b[31m fleet\n7", r"a \x1b[31m fleet"),
        (b"x" * 4000, f"{'x' * 300}..."),
        (b"", "an unknown fleet"),
    ],
)
def test_text_of_a_stranger_is_bounded_and_printable(
    content: bytes, shown: str, var: Path, mark: Path
) -> None:
    mark.write_bytes(content)
    with mark.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert followed_source(str(var)) == shown


def test_text_of_another_users_file_is_not_shown(var: Path, mark: Path) -> None:
    need_root()
    mark.write_text("a secret")
    var.chmod(0o777)
    shutil.chown(mark, "www-data")
    with mark.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert followed_source(str(var)) == "an unknown fleet"
        assert Mark(str(var), SOURCE).claim() == ""


@pytest.mark.parametrize("obstacle", ["link", "pipe", "directory"])
def test_obstacle_in_place_of_the_mark_hides_nothing_and_stops_nothing(
    obstacle: str, var: Path, mark: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    making = {"link": mark.symlink_to, "pipe": lambda _: os.mkfifo(mark)}
    making.get(obstacle, lambda _: mark.mkdir())(secret)
    with marked(var):
        assert followed_source(str(var)) in {"", SOURCE}
    assert invoke("--dir", str(var), "enable").exit_code == 0
    assert secret.read_text() == "a secret"


def test_directory_that_is_read_only_is_not_marked(var: Path) -> None:
    with mounted(var, "--bind", var):
        run("mount", "-o", "remount,bind,ro", var)
        with marked(var):
            assert followed_source(str(var)) == ""
