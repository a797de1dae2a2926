"""A follower and an application that are not to trust each other: real users, a real Redis."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import FileStore, Snapshot
from tests.live.fleet.followers import health_of
from tests.support.needs import need_root
from tests.support.processes import COMMAND, ROOT, make_open_folder, run, unmeasured, wait_for
from tests.support.redis import redis_server

pytestmark = pytest.mark.servers

WWW_DATA, FOLLOWER = 33, 12345
SECRET = "root:$y$j9T$SECRETHASH:20000:0:99999:7:::\n"  # noqa: S105 (of nobody)


@pytest.fixture
def base() -> Iterator[Path]:
    need_root()
    with make_open_folder() as folder:
        yield folder


@pytest.fixture
def var(base: Path) -> Path:
    directory = base / "var"
    directory.mkdir()
    os.chown(directory, WWW_DATA, WWW_DATA)
    return directory


@pytest.fixture
def secret(base: Path) -> Path:
    path = base / "shadow"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def link(path: Path, secret: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(secret)
    os.chown(path, WWW_DATA, WWW_DATA, follow_symlinks=False)


def place_foreign(path: Path, secret: Path) -> None:
    """Put a readable file of a third user there, as a hostile process of that user can."""
    path.unlink(missing_ok=True)
    path.write_bytes(secret.read_bytes())
    os.chown(path, FOLLOWER, FOLLOWER)


@pytest.mark.parametrize("place", [link, place_foreign])
@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
@pytest.mark.parametrize("adopt", [False, True])
def test_root_neither_publishes_nor_logs_nor_changes_a_foreign_file(
    place: Callable[[Path, Path], None],
    name: str,
    *,
    adopt: bool,
    fleet: RedisStore,
    operator: MaintenanceMode,
    redis_port: int,
    var: Path,
    secret: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place(var / name, secret)  # before the follower starts, and when it holds the state
    follower = Follower(fleet, FileStore(var), "web1", adopt=adopt)
    for _ in range(3):
        follower.sync()
    operator.enable(exemptions=["203.0.113.7"])
    follower.sync()
    revision = fleet.read_revision()
    place(var / name, secret)
    for _ in range(3):
        follower.sync()
    assert fleet.read_revision() == revision
    assert secret.read_text() == SECRET
    with redis.Redis(port=redis_port) as client:
        published = [client.hgetall(key) for key in client.scan_iter()]
    assert published
    assert "SECRETHASH" not in str(published) + caplog.text
    kept = [path for path in var.iterdir() if not path.is_symlink()]
    if place is link:
        assert "SECRETHASH" not in str([path.read_bytes() for path in kept])
    else:
        assert FileStore(var).read() == fleet.read()


@pytest.mark.parametrize("options", [["--once"], ["--once", "--adopt"]], ids=" ".join)
@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
def test_command_of_root_shows_no_byte_of_a_foreign_file(
    name: str,
    options: list[str],
    redis_url: str,
    operator: MaintenanceMode,
    var: Path,
    secret: Path,
) -> None:
    operator.enable(exemptions=["203.0.113.7"])
    link(var / name, secret)
    arguments = ["--dir", str(var), "follow", "--node=web1", *options]
    result = run(COMMAND, *arguments, env=unmeasured(MAINTENANCE_REDIS=redis_url), code=None)
    assert "Traceback" not in result.stderr
    assert "SECRETHASH" not in result.stdout + result.stderr
    assert secret.read_text() == SECRET


# Only root may be able to read Python itself, so the process changes its user when all is loaded,
# and makes itself readable for that user again (PR_SET_DUMPABLE), as after an exec.
PROGRAM = """
import ctypes, os, sys
from maintenance_wsgi.cli import fleet, main
from maintenance_wsgi.fleet import connection, follower, store
store.RedisStore(connection.RedisConnection(os.environ["MAINTENANCE_REDIS"])).nodes()
os.setgroups([])
os.setresgid(33, 33, 33)
os.setresuid(*[int(sys.argv[1])] * 3)
ctypes.CDLL(None).prctl(4, 1)
main(sys.argv[2:])
"""


def as_www_data(*command: object) -> list[str]:
    return ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", *map(str, command)]


@contextmanager
def running_follower(user: int, var: Path, url: str) -> Iterator[int]:
    """Run `follow` as a user, in the web server's group; yield its process id."""
    arguments = [str(user), "--dir", str(var), "follow", "--node=web1"]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, env=unmeasured(MAINTENANCE_REDIS=url), umask=0o022)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(("user", "readable"), [(WWW_DATA, True), (FOLLOWER, False)])
def test_application_cannot_read_the_password_of_a_follower_of_another_user(
    user: int, *, readable: bool, base: Path, var: Path
) -> None:
    os.chown(var, user, WWW_DATA)
    var.chmod(0o2775)
    rights = ["--user", "u", "on", ">hunter2", "~*", "&*", "+@all"]
    with redis_server(base, *rights) as port:
        url = f"redis://u:hunter2@127.0.0.1:{port}/0"
        fleet = RedisStore(RedisConnection(url), create=True)
        MaintenanceMode(fleet).enable(exemptions=["203.0.113.7"])
        with running_follower(user, var, url) as pid:
            wait_for(lambda: health_of(fleet, "web1") == "current")
            found = run(*as_www_data("cat", f"/proc/{pid}/environ"), code=None)
            assert ("hunter2" in found.stdout) is readable
            assert "hunter2" not in Path(f"/proc/{pid}/cmdline").read_text()
            for name in (".maintenance.flag", ".maintenance.ip"):
                run(*as_www_data("cat", var / name))
                run(*as_www_data("rm", var / name))
            run(*as_www_data("touch", var / ".maintenance.ip"))
            wait_for(lambda: FileStore(var).read() == fleet.read())
            status = run(COMMAND, "--dir", var, "status", env=unmeasured())
            assert "is enabled" in status.stdout
            assert status.stderr == ""
            MaintenanceMode(fleet).disable(exemptions=[])
            wait_for(lambda: FileStore(var).read() == Snapshot(None, b""))
        fleet.close()


def test_unit_of_the_examples_has_a_user_of_its_own() -> None:
    unit = (ROOT / "examples/fleet/maintenance-follow.service").read_text(encoding="utf-8")
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert settings["User"] not in {"", "root", "www-data"}
    assert "EnvironmentFile" in settings
    assert "change-me" not in "".join(settings.values())
