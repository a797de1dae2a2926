"""Root's command in a directory of www-data, whose processes are hostile."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import chown

import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode, StateError
from maintenance_wsgi.state.store import FileStore
from tests.support.needs import leave_out, need, need_root
from tests.support.processes import COMMAND, environ, run
from tests.support.wsgi import call, make_environ, shop

WWW_DATA = 33
SECRET = "root:$y$j9T$SECRETHASH:20000:0:99999:7:::\n"  # noqa: S105 (of nobody)
COMMANDS = [
    "enable",
    "enable --until=+40m",
    "enable --ip=203.0.113.7 --message=a",
    "disable",
    "disable --ip=203.0.113.7",
    "allow-ips",
    "allow-ips --add 203.0.113.7",
    "allow-ips 203.0.113.7",
    "allow-ips --none",
    "status",
    "status --json",
    "check --user=www-data",
    "explain 203.0.113.7",
    "run --ip=203.0.113.7 -- true",
]


@pytest.fixture
def base(open_folder: Path) -> Path:
    need_root()
    return open_folder


@pytest.fixture
def hostile(base: Path) -> Path:
    """Make a directory that belongs to www-data."""
    directory = base / "var"
    directory.mkdir()
    chown(directory, WWW_DATA, 0)  # as `chown www-data var` leaves it
    return directory


@pytest.fixture
def secret(base: Path) -> Path:
    (base / "etc").mkdir()
    path = base / "etc/shadow"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def as_www_data(*command: object) -> list[str]:
    return ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", *map(str, command)]


def link(path: Path, target: str | Path) -> None:
    run(*as_www_data("ln", "-sfn", target, path))


def command(directory: Path, line: str) -> "subprocess.CompletedProcess[str]":
    variables = environ(DEPLOY="SECRETHASH")
    return run(COMMAND, "--dir", directory, *line.split(), env=variables, code=None, seconds=60)


def bytes_below(directory: Path) -> bytes:
    files = [path for path in directory.iterdir() if path.is_file() and not path.is_symlink()]
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644], ids=oct)
def test_file_of_root_behind_a_link_is_neither_shown_nor_changed(
    mode: int, name: str, line: str, hostile: Path, secret: Path
) -> None:
    secret.chmod(mode)
    link(hostile / name, secret)
    result = command(hostile, line)
    assert "Traceback" not in result.stderr
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == (SECRET, mode)
    assert b"SECRETHASH" not in bytes_below(hostile)
    if mode != 0o644:  # this www-data can read by itself
        assert "SECRETHASH" not in result.stdout + result.stderr


@pytest.mark.parametrize("target", ["/proc/self/environ", "/proc/self/fd/0", "/proc/1/environ"])
@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
def test_link_through_proc_is_not_followed(target: str, name: str, hostile: Path) -> None:
    link(hostile / name, target)
    for line in COMMANDS:
        result = command(hostile, line)
        assert "SECRETHASH" not in result.stdout + result.stderr
        assert b"SECRETHASH" not in bytes_below(hostile)


MAGIC = """
mount -t tmpfs none {etc} && exec 3<>{etc}/preload && echo '{{"x": "evil"}}' >&3
echo $$ > {ready}
sleep 60
"""


def test_magic_link_leads_root_to_no_file_of_its_own(hostile: Path, secret: Path) -> None:
    """The text of the link names a file of root's, and opening it gives one of www-data's."""
    need("mount")
    preload, ready = secret.with_name("preload"), hostile / "ready"
    script = MAGIC.format(etc=secret.parent, ready=ready)
    attacker = subprocess.Popen(as_www_data("unshare", "-Urm", "sh", "-c", script))
    try:
        deadline = time.monotonic() + 10
        while not ready.exists() and attacker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ready.exists():
            leave_out("user namespaces", "let every user make them: see user_namespaces(7)")
        link(hostile / ".maintenance.flag", f"/proc/{attacker.pid}/fd/3")
        for line in COMMANDS:
            command(hostile, line)
            assert not preload.exists()
    finally:
        attacker.kill()
        attacker.wait(10)


# In Perl, which every Debian has where each user may run it.
RACE = """
my ($name, $secret) = @ARGV;
alarm 60;
while (1) {
    symlink $secret, "new"; rename "new", $name;
    open my $file, ">", "new"; close $file; rename "new", $name;
}
"""


def test_race_between_a_link_and_a_file_is_not_won(hostile: Path, secret: Path) -> None:
    racing = as_www_data("perl", "-e", RACE, ".maintenance.flag", secret)
    racer = subprocess.Popen(racing, cwd=hostile)
    mode = MaintenanceMode(hostile)
    try:
        for number in range(400):
            with suppress(StateError):
                mode.enable(message=str(number), exemptions=["203.0.113.7"])
                mode.add_exemptions(["203.0.113.8"])
            assert secret.read_text() == SECRET
        assert racer.poll() is None
    finally:
        racer.kill()
        racer.wait(10)
    assert b"SECRETHASH" not in bytes_below(hostile)


def test_what_root_writes_belongs_to_the_owner(hostile: Path) -> None:
    assert command(hostile, "enable --ip=203.0.113.7").returncode == 0
    for path in hostile.iterdir():
        assert (path.stat().st_uid, path.stat().st_gid) == (WWW_DATA, WWW_DATA)
    reading = run(*as_www_data("cat", hostile / ".maintenance.flag"))
    assert '"by"' in reading.stdout


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777], ids=oct)
def test_link_of_another_user_in_a_shared_directory_of_root_is_refused(
    mode: int, base: Path, secret: Path
) -> None:
    shared = base / "var"
    shared.mkdir()
    chown(shared, 0, WWW_DATA)
    shared.chmod(mode)
    ip_list = shared / ".maintenance.ip"
    ip_list.symlink_to(secret)
    os.chown(ip_list, WWW_DATA, WWW_DATA, follow_symlinks=False)
    result = command(shared, "allow-ips --add 203.0.113.7")
    assert result.returncode == 1
    assert str(ip_list) in result.stderr
    assert "SECRETHASH" not in command(shared, "status").stderr
    assert secret.read_text() == SECRET


def test_hard_link_in_a_shared_directory_of_root_is_not_shown(base: Path, secret: Path) -> None:
    """Where the kernel does not protect hard links, www-data can make one to any file."""
    shared = base / "var"
    shared.mkdir()
    shared.chmod(0o777)
    os.link(secret, shared / ".maintenance.ip")
    for line in COMMANDS:
        result = command(shared, line)
        assert "SECRETHASH" not in result.stdout + result.stderr
        assert secret.read_text() == SECRET


def test_link_of_root_in_a_shared_directory_of_root_is_followed(base: Path) -> None:
    shared = base / "var"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / ".maintenance.ip").symlink_to("../list")
    (base / "list").touch()
    assert command(shared, "allow-ips 203.0.113.7").returncode == 0
    assert (base / "list").read_text() == "203.0.113.7"


@pytest.mark.parametrize("owner", [0, WWW_DATA, 12345])
def test_list_that_a_deployment_links_into_a_shared_directory_works(owner: int, base: Path) -> None:
    """As Capistrano and Deployer do: the release's file is a link into `shared`."""
    for folder in ("shared", "releases/1/var"):
        (base / folder).mkdir(parents=True)
    var, target = base / "releases/1/var", base / "shared/.maintenance.ip"
    (var / ".maintenance.ip").symlink_to("../../../shared/.maintenance.ip")
    for path in (base / "shared", base / "releases/1", var, var / ".maintenance.ip"):
        os.chown(path, owner, owner, follow_symlinks=False)
    (base / "current").symlink_to("releases/1")
    current = base / "current/var"
    assert command(current, "enable --ip=203.0.113.7").returncode == 0
    assert command(current, "allow-ips --add 203.0.113.8").returncode == 0
    assert target.read_text() == "203.0.113.7,203.0.113.8"
    assert target.stat().st_uid == owner
    assert (var / ".maintenance.ip").is_symlink()
    assert call(MaintenanceMiddleware(shop, current), make_environ("203.0.113.8")).code == 200
    assert command(current, "allow-ips --none").returncode == 0
    assert target.read_text() == ""


def test_list_in_a_directory_of_another_user_keeps_root_out_of_that_users_links(
    base: Path, secret: Path
) -> None:
    """Root's own link leads into a directory whose owner has put another link there."""
    (base / "shared").mkdir()
    chown(base / "shared", WWW_DATA, WWW_DATA)
    (base / "var").mkdir()
    (base / "var/.maintenance.ip").symlink_to("../shared/list")
    link(base / "shared/list", secret)
    assert command(base / "var", "allow-ips 203.0.113.7").returncode == 1
    assert "SECRETHASH" not in command(base / "var", "status").stderr
    assert secret.read_text() == SECRET
    assert command(base / "var", "enable").returncode == 0


def test_file_of_a_third_user_is_not_shown(hostile: Path) -> None:
    ip_list = hostile / ".maintenance.ip"
    ip_list.write_text("203.0.113.7,SECRETHASH")
    chown(ip_list, 12345, 12345)
    for line in COMMANDS[5:7] + COMMANDS[9:13]:
        result = command(hostile, line)
        assert "SECRETHASH" not in result.stdout + result.stderr
    assert call(MaintenanceMiddleware(shop, hostile), make_environ("203.0.113.7")).code == 200


def test_other_threads_keep_the_rights_of_root(hostile: Path, secret: Path) -> None:
    done, failures = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            try:
                secret.read_text()
                assert os.geteuid() == 0
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    mode = MaintenanceMode(hostile)
    try:
        for number in range(200):
            mode.enable(message=str(number), exemptions=["203.0.113.7"])
            mode.disable()
    finally:
        done.set()
        for thread in threads:
            thread.join(30)
    assert not failures
    secret.read_text()


@contextmanager
def lease(path: Path) -> Iterator[None]:
    """Take a write lease: whoever opens the file waits for it, or is told to."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # tells its holder to give it up
    descriptor = os.open(path, os.O_RDWR)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize("obstacle", ["directory", "fifo", "dangling", "loop", "proc"])
def test_obstacle_at_the_list_does_not_keep_the_site_open(obstacle: str, hostile: Path) -> None:
    path = hostile / ".maintenance.ip"
    making = {
        "directory": ("mkdir", path),
        "fifo": ("mkfifo", path),
        "dangling": ("ln", "-s", "/nowhere/at/all", path),
        "loop": ("ln", "-s", path, path),
        "proc": ("ln", "-s", "/proc/self/environ", path),
    }
    run(*as_www_data(*making[obstacle]))
    result = command(hostile, "enable --ip=203.0.113.7 --message=a")
    assert result.returncode == 0
    assert FileStore(hostile).read().flag is not None
    assert call(MaintenanceMiddleware(shop, hostile)).code == 503
    if obstacle != "fifo":
        assert "without the values that were given" in result.stderr


@pytest.mark.parametrize("obstacle", ["dangling", "proc-dangling"])
def test_dangling_link_at_the_flag_does_not_keep_the_site_open(
    obstacle: str, hostile: Path
) -> None:
    target = {"dangling": "/nowhere/at/all", "proc-dangling": "/proc/self/nothing"}[obstacle]
    link(hostile / ".maintenance.flag", target)
    assert command(hostile, "enable --message=a").returncode == 0
    assert call(MaintenanceMiddleware(shop, hostile)).code == 503


def test_lease_on_the_flag_does_not_keep_root_from_changing_it(base: Path) -> None:
    var = base / "var"
    var.mkdir()
    flag = var / ".maintenance.flag"
    flag.write_text('{"message": "old"}')
    with lease(flag):
        assert command(var, "enable --message=new").returncode == 0
    assert '"new"' in flag.read_text()


def test_module_in_the_working_directory_is_not_imported(hostile: Path, base: Path) -> None:
    for name in {*sys.stdlib_module_names, "click", "netaddr"}:
        (base / f"{name}.py").write_text("raise SystemExit('imported')")
    for program in (["-m", "maintenance_wsgi"], ["-P", "-m", "maintenance_wsgi"]):
        result = run(sys.executable, *program, "--dir", hostile, "status", cwd=base, env=environ())
        assert "imported" not in result.stderr
        assert result.stdout.startswith("Status: ")


@pytest.mark.parametrize(
    ("capability", "why"),
    [("setuid", "Root cannot act as uid 33"), ("setgid", "groups cannot be changed")],
)
def test_root_that_cannot_act_as_the_owner_changes_nothing(
    capability: str, why: str, hostile: Path
) -> None:
    without = ["setpriv", f"--bounding-set=-{capability}"]
    result = run(*without, COMMAND, "--dir", hostile, "enable", env=environ(), code=1)
    assert result.stderr.startswith(f"Error: {hostile}/.maintenance.flag: root cannot access it")
    assert why in result.stderr
    assert os.listdir(hostile) == []


def without(capability: str, directory: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as root in a container that lacks a capability."""
    less = ["setpriv", f"--bounding-set=-{capability}"]
    return run(*less, COMMAND, "--dir", directory, *line.split(), env=environ(), code=None)


@pytest.mark.parametrize("capability", ["all", "setuid", "setgid"])
def test_root_that_cannot_act_as_the_owner_reads_the_owners_files(
    capability: str, hostile: Path
) -> None:
    command(hostile, "enable --ip=203.0.113.7 --message=Umzug")
    shown = without(capability, hostile, "status")
    assert "Message: Umzug" in shown.stdout
    assert "Exempt: 203.0.113.7" in shown.stdout
    explained = without(capability, hostile, "explain 203.0.113.7")  # reads as the middleware does
    assert "verdict  let through" in explained.stdout


@pytest.mark.parametrize(
    ("owner", "place"),
    [
        pytest.param(0, link, id="link-to-roots"),
        pytest.param(WWW_DATA, link, id="link"),
        pytest.param(WWW_DATA, lambda path, secret: os.link(secret, path), id="hard-link"),
        pytest.param(0, lambda path, secret: secret.rename(path), id="file-of-root"),
        pytest.param(12345, lambda path, secret: secret.rename(path), id="file-of-another"),
    ],
)
@pytest.mark.parametrize("capability", ["all", "setuid"])
def test_root_that_cannot_act_as_the_owner_reads_no_other_file(
    capability: str, owner: int, place: Callable[[Path, Path], object], hostile: Path, secret: Path
) -> None:
    secret.write_text("203.0.113.7,SECRETHASH")
    secret.chmod(0o644)
    chown(secret, owner, owner)
    place(hostile / ".maintenance.ip", secret)
    run(*as_www_data("touch", hostile / ".maintenance.flag"))
    shown = without(capability, hostile, "status")
    assert "Exempt: none" in shown.stdout
    assert "Root cannot act as uid 33" in shown.stderr
    explained = without(capability, hostile, "explain 203.0.113.7")
    assert "SECRETHASH" not in shown.stderr + explained.stdout + explained.stderr
    assert "verdict  blocked" in explained.stdout


def test_root_of_another_system_acts_as_nobody(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StateError, match="Run this as uid 33"):
        MaintenanceMode(hostile).enable()
    assert os.listdir(hostile) == []
