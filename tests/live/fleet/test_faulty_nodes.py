"""A follower goes on whatever fails, and reports it."""

import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.live.fleet.followers import follower, health_of, heartbeat, node_of
from tests.support.commands import invoke_fleet, succeed
from tests.support.mounts import mounted
from tests.support.processes import meanwhile, run, wait_for
from tests.support.redis import redis_server

pytestmark = pytest.mark.servers


def fault_of(fleet: RedisStore, name: str) -> str:
    node = node_of(fleet, name)
    return node.fault if node else ""


def healths(fleet: RedisStore) -> list[str]:
    return [node.health for node in fleet.nodes().nodes]


def is_told(fleet: RedisStore, fault: str) -> bool:
    return fault in fault_of(fleet, "web1")


def remove(flag: Path) -> None:
    flag.unlink(missing_ok=True)
    time.sleep(0.2)


# One owner of a directory


@pytest.mark.parametrize("options", [[], ["--adopt"]], ids=str)
def test_second_fleet_leaves_the_directory_alone(
    options: list[str], redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable()
    succeed(redis_url, "disable", "--fleet=other")
    other = RedisStore(RedisConnection(redis_url), "other")
    with follower(redis_url, var, "web1", *options) as first:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        with follower(redis_url, var, "web1", *options, fleet="other") as second:
            wait_for(lambda: f"{var}: follows {fleet}; stop" in fault_of(other, "web1"))
            result = invoke_fleet(redis_url, "disable", "--fleet=other", "--wait=2")
            assert (result.exit_code, "follows fleet 'default'" in result.stderr) == (1, True)
            once = ["--fleet=other", "--dir", str(var), "follow", "--once", "--node=web2"]
            result = invoke_fleet(redis_url, once[3], *once[:3], *once[4:])
            assert (result.exit_code, "follows fleet 'default'" in result.stderr) == (1, True)
            assert MaintenanceMode(var).is_enabled()
            assert "overwritten" not in first.log
            first.end()
            wait_for(lambda: health_of(other, "web1") == "current")
            assert not MaintenanceMode(var).is_enabled()
            assert second.log.count("; stop that follower") == 1
    other.close()


def test_second_follower_of_the_same_fleet_is_no_rival(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    with follower(redis_url, var, "web1"), follower(redis_url, var, "web2"):
        wait_for(lambda: healths(fleet) == ["current"] * 2)
        for switch in (operator.enable, operator.disable):
            switch()
            *_, called = fleet.acknowledgements(30)
            assert [node.name for node in called.acknowledged] == ["web1", "web2"]


def test_rival_that_keeps_changing_the_files_is_a_fault(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path, flag: Path
) -> None:
    operator.enable()
    with follower(redis_url, var, "web1") as process:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        with meanwhile(partial(remove, flag)):
            wait_for(lambda: "somebody else keeps changing the files" in fault_of(fleet, "web1"))
            result = invoke_fleet(redis_url, "enable", "--wait=2")
            assert (result.exit_code, "somebody else keeps" in result.stderr) == (1, True)
        assert process.log.count("overwritten by the fleet") == 1
        assert process.log.count("somebody else") == 1
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert flag.exists()


# It never ends by itself

REFUSALS: dict[str, tuple[str, str]] = {
    "full": ("maxmemory 1", "maxmemory 0"),
    "too few replicas": ("min-replicas-to-write 1", "min-replicas-to-write 0"),
    "password": ("requirepass another", "requirepass good"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_at_its_start_is_retried(name: str, tmp_path: Path, var: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "good") as port:
        url = f"redis://:good@127.0.0.1:{port}/0"
        succeed(url, "enable")
        fleet = RedisStore(RedisConnection(url))
        refuse, allow = (f"CONFIG SET {setting}" for setting in REFUSALS[name])
        with redis.Redis(port=port, password="good") as client:  # noqa: S106 (nobody's)
            client.execute_command(*refuse.split())
            with follower(url, var, "web1") as process:
                wait_for(lambda: process.log.count("; the") + process.log.count("; this node") == 1)
                time.sleep(1.5)  # long enough for a second attempt
                assert process.process.poll() is None
                if name != "password":  # what can be read is taken
                    assert MaintenanceMode(var).is_enabled()
                    assert "this node follows, but cannot report it" in process.log
                client.execute_command(*allow.split())
                wait_for(lambda: health_of(fleet, "web1") == "current")
                assert MaintenanceMode(var).is_enabled()
                assert "is back" in process.log
        fleet.close()


def test_directory_that_is_missing_at_its_start_is_waited_for(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, tmp_path: Path
) -> None:
    operator.enable()
    missing = tmp_path / "missing"
    with follower(redis_url, missing, "web1"):
        wait_for(lambda: "does not exist" in fault_of(fleet, "web1"))
        missing.mkdir()
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert MaintenanceMode(missing).is_enabled()
    result = invoke_fleet(redis_url, "follow", "--once", "--dir", str(tmp_path / "none"))
    assert (result.exit_code, "does not exist" in result.stderr) == (1, True)


@pytest.mark.parametrize("setting", ["maxmemory 1", "min-replicas-to-write 1", "replicaof"])
def test_new_node_takes_the_state_of_a_redis_that_takes_no_writes(
    setting: str, tmp_path: Path, var: Path
) -> None:
    with redis_server(tmp_path) as port, redis.Redis(port=port) as client:
        url = f"redis://127.0.0.1:{port}/0"
        succeed(url, "enable", "--ip=203.0.113.7")
        if setting == "replicaof":
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
        else:
            client.execute_command("CONFIG", "SET", *setting.split())
        result = invoke_fleet(url, "follow", "--once", "--dir", str(var), "--node=web1")
        assert result.exit_code == 1
        assert "this node follows, but cannot report it" in result.stderr
        assert MaintenanceMode(var).is_enabled()
        assert "was already on" in succeed(url, "enable")
        shutil.rmtree(var)
        var.mkdir()
        with follower(url, var, "web1"):
            wait_for(MaintenanceMode(var).is_enabled)


@pytest.mark.parametrize("right", ["-subscribe", "resetchannels"])
def test_node_without_announcements_follows_once_a_second(
    right: str, tmp_path: Path, var: Path
) -> None:
    rights = ["--user", "u", "on", ">p", "~*", "&*", "+@all", right]
    with redis_server(tmp_path, *rights) as port:
        url = f"redis://127.0.0.1:{port}/0"
        succeed(url, "disable")
        with follower(f"redis://u:p@127.0.0.1:{port}/0", var, "web1") as process:
            wait_for(lambda: "changes are seen once a second" in process.log)
            succeed(url, "enable", "--wait=30")
            assert MaintenanceMode(var).is_enabled()


# The directory


def make_again(current: Path) -> None:
    directory = current.resolve()
    shutil.rmtree(directory)
    directory.mkdir()


def swap(current: Path) -> None:
    """Let the link lead to the next release, as a deployment does."""
    release, link = current.with_name(f"release-{time.monotonic_ns()}"), current.with_name("link")
    release.mkdir()
    link.symlink_to(release)
    link.rename(current)


@pytest.mark.parametrize("replace", [make_again, swap])
def test_directory_that_is_replaced_is_written_at_once(
    replace: Callable[[Path], None],
    redis_url: str,
    fleet: RedisStore,
    operator: MaintenanceMode,
    tmp_path: Path,
) -> None:
    operator.enable()
    current = tmp_path / "current"
    swap(current)
    with follower(redis_url, current, "web1"):
        needed = []
        for _ in range(5):
            wait_for(lambda: health_of(fleet, "web1") == "current")
            replace(current)
            began = time.monotonic()
            wait_for((current / ".maintenance.flag").exists)
            needed.append(time.monotonic() - began)
        assert sorted(needed)[2] < 0.4, needed  # half of them would need longer with a beat only


def test_lost_mount_is_a_fault(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable()
    with ExitStack() as stack, mounted(var, "-t", "tmpfs", "tmpfs"):
        stack.enter_context(follower(redis_url, var, "web1"))
        wait_for(lambda: health_of(fleet, "web1") == "current")
        run("umount", "-l", var)
        wait_for(lambda: "not mounted any more" in fault_of(fleet, "web1"))
        assert MaintenanceMode(var).is_enabled()
        assert "not mounted any more" in succeed(redis_url, "status")
        run("mount", "-t", "tmpfs", "tmpfs", var)
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert MaintenanceMode(var).is_enabled()
        stack.close()


def test_file_that_neighbours_cannot_read_is_a_fault(
    redis_url: str,
    fleet: RedisStore,
    operator: MaintenanceMode,
    var: Path,
    ip_list: Path,
    flag: Path,
) -> None:
    operator.enable(exemptions=["203.0.113.7"])
    with follower(redis_url, var, "web1", prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"]) as one:
        for path in (ip_list, flag):
            wait_for(partial(is_told, fleet, f"{path}: only its owner"))
            assert invoke_fleet(redis_url, "enable", "--wait=1").exit_code == 1
            path.chmod(0o644)
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert one.log.count("only its owner can read it") == 2
        var.chmod(0o700)  # which no neighbour can enter
        ip_list.chmod(0o600)
        time.sleep(1.5)  # longer than a beat
        assert health_of(fleet, "web1") == "current"


# Who is waited for


def test_strict_wait_counts_a_silent_node_as_missing(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, tmp_path: Path
) -> None:
    operator.enable()
    with ExitStack() as stack:
        for name in ("web1", "web2"):
            (tmp_path / name).mkdir()
        stack.enter_context(follower(redis_url, tmp_path / "web1", "web1"))
        silent = stack.enter_context(follower(redis_url, tmp_path / "web2", "web2"))
        wait_for(lambda: healths(fleet) == ["current"] * 2)
        silent.send(signal.SIGSTOP)
        wait_for(lambda: health_of(fleet, "web2") == "offline")
        for command in ("enable", "disable"):
            lax = invoke_fleet(redis_url, command, "--wait=5")
            assert (lax.exit_code, "not waited for: web2" in lax.stderr) == (0, True)
            strict = invoke_fleet(redis_url, command, "--wait=1", "--strict")
            assert strict.exit_code == 1
            assert "not acknowledged within 1 s by web2 (offline)" in strict.stderr
        silent.send(signal.SIGCONT)
        succeed(redis_url, "disable", "--wait=30", "--strict")
    result = invoke_fleet(redis_url, "enable", "--strict")
    assert (result.exit_code, "--strict needs --wait" in result.stderr) == (2, True)


def test_many_nodes_are_counted(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode
) -> None:
    assert not operator.is_enabled()
    for number in range(25):
        heartbeat(fleet, f"web{number:02}")
    shown = " ".join(f"web{number:02}" for number in range(10))
    result = invoke_fleet(redis_url, "disable", "--wait=1")
    assert f"Acknowledged by 25: {shown} and 15 more\n" in result.stdout
    result = invoke_fleet(redis_url, "enable", "--wait=1")
    shown = shown.replace(" ", " (behind); ")
    assert f"within 1 s by 25 nodes: {shown} (behind) and 15 more\n" in result.stderr


@pytest.mark.parametrize("name", ["(none)", "-web", "a b", ""])
def test_host_name_that_no_node_can_have_is_named(
    name: str, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    result = invoke_fleet("redis://127.0.0.1:1/0", "follow", "--dir", str(var))
    assert result.exit_code == 2
    assert f"the host's name: {name!r} is not a valid name" in result.stderr
    assert "--node or MAINTENANCE_NODE" in result.stderr
