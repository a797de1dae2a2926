"""Followers as they run on the nodes of a fleet: real processes, a real Redis, real faults."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMode, StateError
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import FileStore, Snapshot
from tests.live.fleet.followers import Process, follower, followers, health_of, node_of, snapshot
from tests.support.commands import invoke, invoke_fleet
from tests.support.needs import leave_out, need, need_root
from tests.support.processes import COMMAND, ROOT, environ, held_port, meanwhile, run, wait_for
from tests.support.redis import redis_server, redis_server_at

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_and_the_node_leaves(
    number: signal.Signals, redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable()
    with follower(redis_url, var, "web1") as process:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert process.end(number) == 0
        assert "Traceback" not in process.log
    assert node_of(fleet, "web1") is None
    assert MaintenanceMode(var).is_enabled()


def test_node_refuses_local_changes_as_long_as_it_follows(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable(exemptions=["203.0.113.7"])
    with follower(f"{redis_url}?client_name=secret", var, "web1") as process:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        for line in ("enable", "disable", "allow-ips --add 203.0.113.8", "run true"):
            result = invoke(line.split()[0], "--dir", str(var), *line.split()[1:])
            assert (result.exit_code, result.stdout) == (1, "")
            assert f"{var}: follows {fleet}, which would undo the change" in result.stderr
        assert snapshot(var) == fleet.read()
        status = invoke("--dir", str(var), "status").stdout
        assert f"\nFollows: {fleet}\n" in status
        assert b"secret" not in (var / ".maintenance.follow").read_bytes()
        assert str(process.process.pid).encode() in (var / ".maintenance.follow").read_bytes()
        assert invoke("--dir", str(var), "disable", "--force").exit_code == 0
        wait_for(lambda: snapshot(var) == fleet.read())
        process.end(signal.SIGKILL)
    assert "Follows" not in invoke("--dir", str(var), "status").stdout
    assert invoke("--dir", str(var), "disable").exit_code == 0


def test_node_that_adopts_changes_takes_them(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    with follower(redis_url, var, "web1", "--adopt"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert invoke("--dir", str(var), "enable").exit_code == 0
        wait_for(operator.is_enabled)


def test_node_that_joins_late_takes_the_present_state(
    redis_url: str, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable(exemptions=["203.0.113.7"])
    (var / ".maintenance.ip").write_text("198.51.100.1")
    result = invoke_fleet(redis_url, "follow", "--once", "--dir", str(var), "--node=web1")
    assert result.exit_code == 0, result.output
    assert "Synchronised with version 2 of fleet 'default'" in result.stdout
    assert snapshot(var) == operator.store.read()
    assert "overwritten by the fleet: no flag, list '198.51.100.1'" in result.stderr
    assert invoke_fleet(redis_url, "follow", "--once", "--dir", str(var)).stderr == ""


def test_state_cannot_be_taken_where_nobody_knows_it(redis_url: str, var: Path) -> None:
    result = invoke_fleet(redis_url, "follow", "--once", "--dir", str(var))
    assert result.exit_code == 1
    assert "has no state" in result.stderr


def test_environment_names_everything(redis_url: str, operator: MaintenanceMode, var: Path) -> None:
    operator.enable()
    variables = environ(
        MAINTENANCE_DIR=str(var), MAINTENANCE_REDIS=redis_url, MAINTENANCE_FLEET="other"
    )
    refused = run(COMMAND, "follow", "--once", env=variables, code=1)
    assert "fleet 'other'" in refused.stderr
    variables = {**variables, "MAINTENANCE_FLEET": "", "MAINTENANCE_NODE": "web1"}
    run(COMMAND, "follow", "--once", env=variables)
    assert MaintenanceMode(var).is_enabled()


def test_change_by_hand_is_overwritten_and_said(
    fleet: RedisStore, operator: MaintenanceMode, var: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Follower(fleet, FileStore(var), "web1")
    operator.enable(exemptions=["203.0.113.7"])
    one.sync()
    assert caplog.messages == []
    (var / ".maintenance.flag").unlink()
    (var / ".maintenance.ip").write_bytes(b"x" * 5000)
    one.sync()
    assert snapshot(var) == fleet.read()
    (said,) = caplog.messages
    assert said.startswith(f"{var}: overwritten by the fleet: no flag, list 'xxx")
    assert said.endswith("xxx...'")
    one.sync()
    assert len(caplog.messages) == 1


def test_change_by_hand_is_adopted_where_that_is_wished(
    fleet: RedisStore, operator: MaintenanceMode, var: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (var / ".maintenance.ip").write_text("198.51.100.1")
    one = Follower(fleet, FileStore(var), "web1", adopt=True)
    one.sync()
    assert snapshot(var) == Snapshot(None, b"")  # what it held before it followed is no change
    MaintenanceMode(var).enable(exemptions=["203.0.113.9"])
    one.sync()
    assert operator.status().exemptions == ("203.0.113.9",)
    assert operator.status().enabled
    assert "changed by hand, and published as version 2" in caplog.messages[-1]
    (var / ".maintenance.flag").unlink()
    operator.enable(message="by somebody else")
    one.sync()
    assert b"somebody else" in (var / ".maintenance.flag").read_bytes()
    assert "overwritten by the fleet: no flag" in caplog.messages[-1]


def test_directory_that_goes_is_no_change_to_adopt(
    redis_url: str, operator: MaintenanceMode, var: Path
) -> None:
    """A deploy moves it just before the follower opens it."""
    operator.enable()
    program = """if True:
        import os, sys
        from maintenance_wsgi.fleet.connection import RedisConnection
        from maintenance_wsgi.fleet.follower import Follower
        from maintenance_wsgi.fleet.store import RedisStore
        from maintenance_wsgi.state.store import FileStore
        url, var = sys.argv[1:]
        deploy = False
        def on_event(event, details):
            global deploy
            if deploy and event == "open" and details[0] == var:
                deploy = False
                os.rename(var, f"{var}.old")
        node = Follower(RedisStore(RedisConnection(url)), FileStore(var), "web1", adopt=True)
        node.sync()
        sys.addaudithook(on_event)
        deploy = True
        node.sync()
        assert not deploy
    """
    run(sys.executable, "-c", program, redis_url, var)
    assert operator.is_enabled()


def test_log_that_cannot_be_written_ends_no_follower(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    full = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"]
    with follower(redis_url, var, "web1", prefix=full) as process:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        operator.enable()
        wait_for(lambda: snapshot(var) == fleet.read())
        (var / ".maintenance.flag").write_text("by hand")
        wait_for(lambda: snapshot(var) == fleet.read())
        assert process.end() == 0


def test_two_of_one_name_are_noticed(
    redis_url: str,
    fleet: RedisStore,
    operator: MaintenanceMode,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    operator.enable()
    duplicates = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        duplicates.append(Follower(fleet, FileStore(tmp_path / name), "web1"))
    for _ in range(3):
        for duplicate in duplicates:
            duplicate.sync()
    assert ["duplicate node" in said for said in caplog.messages] == [True] * 2
    assert health_of(fleet, "web1") == "faulty"
    assert "web1  faulty, version 2, seen " in invoke_fleet(redis_url, "status").stdout
    result = invoke_fleet(redis_url, "enable", "--wait=1")
    assert result.exit_code == 1
    assert "by web1 (duplicate node: another follower has this name)" in result.stderr


def test_successor_of_one_that_was_killed_is_not_a_duplicate(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable()
    with follower(redis_url, var, "web1") as first:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        first.process.kill()
    one = Follower(fleet, FileStore(var), "web1")
    one.sync()
    one.sync()
    assert health_of(fleet, "web1") == "current"


def test_node_that_cannot_write_says_so(
    fleet: RedisStore, operator: MaintenanceMode, var: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operator.enable()
    one = Follower(fleet, FileStore(var), "web1")
    (var / ".maintenance.flag").mkdir()
    one.sync()
    one.sync()
    node = node_of(fleet, "web1")
    assert node is not None
    assert (node.health, node.acknowledged) == ("faulty", False)
    assert "remove that directory" in node.fault
    assert len(caplog.messages) == 1
    with pytest.raises(StateError, match="remove that directory"):
        one.sync_once()
    (var / ".maintenance.flag").rmdir()
    one.sync()
    assert health_of(fleet, "web1") == "current"


@pytest.mark.usefixtures("operator")
def test_lost_announcement_is_made_up_for(
    redis_url: str, fleet: RedisStore, var: Path, redis_port: int
) -> None:
    with follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        with redis.Redis(port=redis_port) as client:
            key = "maintenance-wsgi:{default}:state"
            client.hset(key, mapping={"on": "1", "revision": f"{'0' * 16}-9"})
        wait_for(MaintenanceMode(var).is_enabled)


@contextmanager
def redis_gone(tmp_path: Path, var: Path) -> Iterator[tuple[int, Process, Snapshot]]:
    """Let a node follow a fleet that is on; yield what it holds when Redis has been killed."""
    with ExitStack() as stack:
        redis_port = stack.enter_context(held_port())
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        with redis_server_at(redis_port, tmp_path):
            assert invoke_fleet(redis_url, "enable", "--ip=203.0.113.7").exit_code == 0
            process = stack.enter_context(follower(redis_url, var, "web1"))
            wait_for(MaintenanceMode(var).is_enabled)
            held = snapshot(var)
        wait_for(lambda: "does not answer" in process.log)
        yield redis_port, process, held
        assert process.end() == 0


def test_redis_killed_and_restarted_empty(tmp_path: Path, var: Path) -> None:
    with redis_gone(tmp_path, var) as (redis_port, process, held):
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        assert invoke_fleet(redis_url, "status", "--exit-code").exit_code == 2
        with redis_server_at(redis_port, tmp_path):
            wait_for(lambda: "is back" in process.log)
            wait_for(lambda: "has no state; the files stay as they are" in process.log)
            result = invoke_fleet(redis_url, "status")
            assert result.exit_code == 1
            assert "unknown whether maintenance is on" in result.stderr
            assert snapshot(var) == held
            assert process.log.count("does not answer") == 1
            assert invoke_fleet(redis_url, "disable", "--wait=30").exit_code == 0
            assert snapshot(var) == Snapshot(None, b"")


def test_directory_that_is_made_again_is_filled_while_redis_is_away(
    tmp_path: Path, var: Path
) -> None:
    with redis_gone(tmp_path, var) as (_, _, held):
        for number in range(2):
            var.rename(tmp_path / f"release{number}")
            time.sleep(0.5 * number)  # so that the follower sees that it is gone
            var.mkdir()
            wait_for(lambda: snapshot(var) == held, 5)


def test_follower_may_start_before_redis(tmp_path: Path, var: Path) -> None:
    need("redis-server")
    with ExitStack() as stack:
        redis_port = stack.enter_context(held_port())
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        process = stack.enter_context(follower(redis_url, var, "web1"))
        wait_for(lambda: "does not answer" in process.log)
        assert os.listdir(var) == [".maintenance.follow"]
        with redis_server_at(redis_port, tmp_path):
            assert invoke_fleet(redis_url, "enable").exit_code == 0
            wait_for(MaintenanceMode(var).is_enabled)
        assert process.end() == 0


def commands_of_examples() -> list[str]:
    examples = ROOT / "examples/fleet"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(examples.iterdir()))
    lists = re.findall(r"\[maintenance-wsgi, (.*follow.*)\]", text)
    units = re.findall(r"^ExecStart\w*=-?\S+/maintenance-wsgi (.*)$", text, re.MULTILINE)
    return sorted({line.replace(",", "") for line in lists} | set(units))


@pytest.mark.parametrize("line", commands_of_examples())
def test_command_of_an_example_runs(
    line: str, redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable()
    arguments = line.replace("/state", str(var)).split()
    variables = environ(
        MAINTENANCE_REDIS=redis_url, MAINTENANCE_DIR=str(var), MAINTENANCE_NODE="web1"
    )
    with subprocess.Popen([COMMAND, *arguments], env=variables) as process:
        try:
            if "--once" in line:
                process.wait(30)
            else:
                wait_for(lambda: health_of(fleet, "web1") == "current")
        finally:
            process.terminate()
    assert process.returncode == 0
    assert MaintenanceMode(var).is_enabled()


def subnet_of_this_process() -> tuple[str, list[str]]:
    """Return a subnet for benchmarks (RFC 2544) that no other run here has, and its hosts."""
    benchmarks = IPv4Network("198.18.0.0/15")
    number = os.getpid() % (benchmarks.num_addresses // 4)
    subnet = IPv4Network((int(benchmarks[0]) + 4 * number, 30))
    return str(subnet), [str(host) for host in subnet.hosts()]


@contextmanager
def network(name: str) -> Iterator[tuple[str, str]]:
    """Make a network namespace that reaches us over a cable; yield the addresses on it."""
    need("ip")
    need_root()
    subnet, (ours, theirs) = subnet_of_this_process()
    if not ip("netns", "add", name):
        leave_out("network namespaces", "run pytest with CAP_NET_ADMIN and CAP_SYS_ADMIN")
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "cable", "netns", name)
        ip("addr", "add", f"{ours}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{theirs}/30", "dev", "cable")
        ip("-n", name, "link", "set", "cable", "up")
        # While the cable is down, what goes to the other end would go to the default gateway.
        ip("-n", name, "route", "add", "blackhole", "default")
        assert ip("route", "add", "blackhole", subnet, "metric", "9000")
        yield ours, theirs
    finally:
        ip("route", "del", "blackhole", subnet, "metric", "9000")
        ip("netns", "del", name)
        ip("link", "del", name)


def ip(*arguments: str) -> bool:
    return run("ip", *arguments, code=None).returncode == 0


def test_partitioned_node_holds_and_heals(tmp_path: Path, var: Path) -> None:
    name = f"maint{os.getpid() % 10**8}"
    with (
        network(name) as (address, theirs),
        redis_server(
            tmp_path, "--bind", "127.0.0.1", address, "--protected-mode", "no"
        ) as redis_port,
    ):
        redis_url, there = f"redis://127.0.0.1:{redis_port}/0", f"redis://{address}:{redis_port}/0"
        fleet = RedisStore(RedisConnection(redis_url))
        assert invoke_fleet(redis_url, "enable", "--ip=203.0.113.7").exit_code == 0
        with follower(there, var, "web1", prefix=["ip", "netns", "exec", name]) as process:
            wait_for(lambda: health_of(fleet, "web1") == "current")
            assert ip("link", "set", name, "down")
            assert not ip("route", "get", theirs)  # no packet leaves this machine
            result = invoke_fleet(redis_url, "disable", "--wait=1")
            assert result.exit_code == 1
            assert "web1 (behind)" in result.stderr
            wait_for(lambda: health_of(fleet, "web1") == "offline")
            assert "web1  offline, version 1, seen " in invoke_fleet(redis_url, "status").stdout
            result = invoke_fleet(redis_url, "disable", "--wait=1")
            assert result.exit_code == 1
            assert "Warning: offline, and not waited for: web1" in result.stderr
            wait_for(lambda: "does not answer" in process.log)
            assert MaintenanceMode(var).is_enabled()
            assert ip("link", "set", name, "up")
            wait_for(lambda: health_of(fleet, "web1") == "current", 60)
            assert not MaintenanceMode(var).is_enabled()
        fleet.close()


def test_fifty_nodes(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, tmp_path: Path
) -> None:
    """They are threads of this process, each with its own directory and connections."""
    nodes = []
    for number in range(50):
        var = tmp_path / f"web{number}"
        var.mkdir()
        nodes.append(Follower(RedisStore(RedisConnection(redis_url)), FileStore(var), var.name))
    threads = [threading.Thread(target=node.run) for node in nodes]
    try:
        for thread in threads:
            thread.start()
        wait_for(lambda: len(fleet.nodes().nodes) == 50)
        operator.enable(exemptions=["203.0.113.7"])
        *_, called = fleet.acknowledgements(60)
        assert (len(called.acknowledged), called.missing, called.offline) == (50, [], [])
        for number in range(50):
            assert snapshot(tmp_path / f"web{number}") == fleet.read()
    finally:
        for node in nodes:
            node.stop()
        for thread in threads:
            thread.join(60)
    assert fleet.nodes().nodes == []


def test_thousand_switches(redis_url: str, tmp_path: Path) -> None:
    """Each node ends at the last; and where the flag is, its list is there already."""
    seen: list[int] = []

    def look(var: Path) -> None:
        try:
            number = int((var / ".maintenance.flag").read_bytes())
        except FileNotFoundError:
            return
        assert int((var / ".maintenance.ip").read_bytes()) >= number
        seen.append(number)

    with followers(redis_url, tmp_path, "web1", "web2", "web3", fleet="shop") as directories:
        fleet = RedisStore(RedisConnection(redis_url), "shop")
        with meanwhile(lambda: look(directories["web1"])):
            revision = None
            for number in range(1000):
                text = b"%d" % number
                flag = text if number % 2 or number == 998 else None
                revision = fleet.write(revision, Snapshot(flag, text))
            wait_for(lambda: all(node.acknowledged for node in fleet.nodes().nodes))
        for var in directories.values():
            assert snapshot(var) == Snapshot(b"999", b"999")
        assert seen
        fleet.close()
