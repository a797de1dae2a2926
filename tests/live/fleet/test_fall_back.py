"""A Redis that falls back to an older state: a restart from an old dump, a failover, a split."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMode, StateError
from maintenance_wsgi.fleet.connection import RedisConnection, RedisUnreachableError
from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.nodes import NodeIdentity
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import FileStore, Snapshot
from tests.live.fleet.followers import acknowledges, follower, health_of, node_of, snapshot
from tests.support.commands import invoke_fleet, succeed
from tests.support.processes import COMMAND, environ, held_port, wait_for
from tests.support.redis import redis_server, redis_server_at

pytestmark = pytest.mark.servers

STATE, NODES = "maintenance-wsgi:{default}:state", "maintenance-wsgi:{default}:nodes"


class Dumped:
    """A Redis that begins again with what it held at its last dump."""

    def __init__(self, port: int, directory: Path) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._directory = directory
        self._running = ExitStack()

    def start(self) -> None:
        self._running.enter_context(redis_server_at(self.port, self._directory))

    def dump(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.save()

    def stop(self) -> None:
        with redis.Redis(port=self.port) as client:
            process = client.info("server")["process_id"]
        os.kill(process, signal.SIGKILL)
        self._running.close()


@pytest.fixture
def dumped(tmp_path: Path) -> Iterator[Dumped]:
    (tmp_path / "redis").mkdir()
    with held_port() as port:
        server = Dumped(port, tmp_path / "redis")
        server.start()
        yield server
        server.stop()


@contextmanager
def store_at(url: str) -> Iterator[RedisStore]:
    store = RedisStore(RedisConnection(url))
    yield store
    store.close()


def switch_on_since_the_dump(dumped: Dumped, fleet: RedisStore) -> None:
    """Dump version 1 (off) with a node that holds it, and switch on: version 2."""
    succeed(dumped.url, "disable")
    wait_for(lambda: health_of(fleet, "web1") == "current")
    dumped.dump()
    succeed(dumped.url, "enable", "--ip=203.0.113.7", "--wait=30")


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_node_holds_its_files_until_the_state_is_set_anew(
    command: str, dumped: Dumped, var: Path
) -> None:
    with store_at(dumped.url) as fleet, follower(dumped.url, var, "web1") as process:
        switch_on_since_the_dump(dumped, fleet)
        held = snapshot(var)
        dumped.stop()
        dumped.start()
        wait_for(lambda: health_of(fleet, "web1") == "faulty")
        node = node_of(fleet, "web1")
        assert node is not None
        assert "Redis fell back from 2 to 1: unknown whether maintenance is on" in node.fault
        assert not node.acknowledged
        assert snapshot(var) == held
        said = f"{fleet}: Redis fell back from 2 to 1: unknown whether maintenance is on"
        for line, code in (("status", 1), ("status --exit-code", 2), ("run false", 1)):
            result = invoke_fleet(dumped.url, *line.split())
            assert (result.exit_code, said in result.stderr) == (code, True), result.output
            assert "run enable or disable" in result.stderr
        assert "web1  faulty, version 2" in invoke_fleet(dumped.url, "status").stdout
        found = json.loads(invoke_fleet(dumped.url, "status", "--json").stdout)
        assert (found["enabled"], found["fallen_back"]) == (None, True)
        assert found["nodes"][0]["health"] == "faulty"
        assert snapshot(var) == held
        result = invoke_fleet(dumped.url, command, "--wait=30")
        assert (result.exit_code, said in result.stderr) == (0, True), result.output
        assert MaintenanceMode(var).is_enabled() is (command == "enable")
        assert health_of(fleet, "web1") == "current"
        found = json.loads(succeed(dumped.url, "status", "--json"))
        assert (found["enabled"], found["fallen_back"]) == (command == "enable", False)
        assert process.log.count("fell back") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("once", [True, False])
def test_follower_that_starts_after_the_loss_knows_of_it(
    number: signal.Signals, dumped: Dumped, var: Path, *, once: bool
) -> None:
    with store_at(dumped.url) as fleet:
        with follower(dumped.url, var, "web1") as process:
            switch_on_since_the_dump(dumped, fleet)
            process.end(number)
        dumped.stop()
        dumped.start()
        if once:
            result = invoke_fleet(dumped.url, "follow", "--once", "--dir", str(var))
            assert (result.exit_code, "fell back from 2 to 1" in result.stderr) == (1, True)
            assert MaintenanceMode(var).is_enabled()
        with follower(dumped.url, var, "web1"):
            wait_for(lambda: health_of(fleet, "web1") == "faulty")
            assert MaintenanceMode(var).is_enabled()
            succeed(dumped.url, "disable", "--wait=30")
            assert not MaintenanceMode(var).is_enabled()


def test_split_is_a_loss(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, redis_port: int, var: Path
) -> None:
    """Each half of a fleet was switched once, and then one half wins."""
    operator.enable()
    with follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        with redis.Redis(port=redis_port) as client:
            client.hset(STATE, mapping={"on": "0", "revision": f"{'0' * 16}-2"})
        wait_for(lambda: health_of(fleet, "web1") == "faulty")
        assert MaintenanceMode(var).is_enabled()
        result = invoke_fleet(redis_url, "status", "--exit-code")
        assert result.exit_code == 2
        assert "Redis fell back from 2 to another 2: unknown whether" in result.stderr
        succeed(redis_url, "disable", "--wait=30")
        assert not MaintenanceMode(var).is_enabled()


@pytest.mark.parametrize("seconds", [0, 2])
@pytest.mark.parametrize("command", ["enable", "disable"])
def test_state_that_is_created_again_is_above_what_the_nodes_hold(
    command: str,
    seconds: int,
    redis_url: str,
    operator: MaintenanceMode,
    redis_port: int,
    var: Path,
) -> None:
    for _ in range(3):
        operator.enable()
        operator.disable()
    with follower(redis_url, var, "web1") as process, store_at(redis_url) as fleet:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        with redis.Redis(port=redis_port) as client:
            client.flushall()
        if seconds:
            wait_for(lambda: "has no state" in process.log)
        succeed(redis_url, command, "--wait=30")
        assert fleet.nodes().nodes[0].version in {8, 9}
        assert MaintenanceMode(var).is_enabled() is (command == "enable")


def test_node_that_comes_back_with_a_newer_state_is_waited_for(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, redis_port: int, var: Path
) -> None:
    operator.enable()
    with follower(redis_url, var, "web1") as process:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        process.send(signal.SIGSTOP)
        with redis.Redis(port=redis_port) as client:
            client.flushall()
        succeed(redis_url, "disable")
        process.send(signal.SIGCONT)
        wait_for(lambda: health_of(fleet, "web1") == "faulty")
        assert MaintenanceMode(var).is_enabled()
        assert "another process has changed" not in succeed(redis_url, "disable", "--wait=30")
        assert not MaintenanceMode(var).is_enabled()


def test_state_that_comes_back_is_obeyed_again(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, redis_port: int, var: Path
) -> None:
    older = fleet.read_revision()
    operator.enable()
    newer = fleet.read_revision()
    assert older
    assert newer
    with follower(redis_url, var, "web1"), redis.Redis(port=redis_port) as client:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        client.hset(STATE, "revision", older.name)
        wait_for(lambda: health_of(fleet, "web1") == "faulty")
        client.hset(STATE, "revision", newer.name)
        wait_for(lambda: health_of(fleet, "web1") == "current")


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    "version", [2, 99_999_999_999_999, 999_999_999_999_999, 10**30], ids="{:.0e}".format
)
def test_forged_version_blocks_no_fleet(
    version: int, redis_url: str, fleet: RedisStore, var: Path
) -> None:
    with follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        fleet.heartbeat(NodeIdentity("forged", "a"), f"{'0' * 16}-{version}", "")
        for _ in range(3):
            for command, is_on in (("enable", True), ("disable", False)):
                succeed(redis_url, command)
                wait_for(lambda: acknowledges(fleet, "web1"))
                assert MaintenanceMode(var).is_enabled() is is_on


def test_record_of_a_node_that_is_dead_for_a_week_says_nothing(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, redis_port: int
) -> None:
    assert not operator.is_enabled()
    with redis.Redis(port=redis_port) as client:
        report = {"instance": "a", "revision": f"{'0' * 16}-99", "fault": ""}
        now, _ = client.time()
        record = json.dumps(report).encode()
        client.hset(NODES, "web9", b"%d %b" % (now - 8 * 24 * 3600, record))
        assert not operator.is_enabled()
        client.hset(NODES, "web9", b"%d %b" % (now - 6 * 24 * 3600, record))
        with pytest.raises(StateError, match="fell back from 99 to 1"):
            operator.is_enabled()
    succeed(redis_url, "enable")
    assert fleet.nodes().revision.endswith("-100")


def test_node_remembers_what_it_has_seen_although_its_url_has_changed(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, redis_port: int, var: Path
) -> None:
    before = fleet.read_revision()
    assert before
    operator.enable()
    with follower(redis_url, var, "web1"):
        wait_for(MaintenanceMode(var).is_enabled)
    with redis.Redis(port=redis_port) as client:
        client.hset(STATE, mapping={"revision": before.name, "on": "0"})
        client.delete(NODES)
    with store_at(f"redis://localhost:{redis_port}/0") as store:
        Follower(store, FileStore(var), "web1").sync()
        assert MaintenanceMode(var).is_enabled()
        (node,) = store.nodes().nodes
        assert "Redis fell back from 2 to 1" in node.fault


def test_directory_has_one_owner_among_the_databases_of_a_redis(
    fleet: RedisStore, operator: MaintenanceMode, redis_port: int, var: Path
) -> None:
    operator.enable()
    one = Follower(fleet, FileStore(var), "web1")
    one.sync()
    other = RedisStore(RedisConnection(f"redis://127.0.0.1:{redis_port}/1"), create=True)
    MaintenanceMode(other).disable()
    Follower(other, FileStore(var), "web1").sync()
    (node,) = other.nodes().nodes
    assert f"{var}: follows {fleet}; stop that follower" in node.fault
    assert MaintenanceMode(var).is_enabled()
    other.close()


CHANGES: dict[str, Callable[[MaintenanceMode], object]] = {
    "read": MaintenanceMode.is_enabled,
    "add_exemptions": lambda mode: mode.add_exemptions(["203.0.113.7"]),
    "window": lambda mode: mode.window().__enter__(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_process_knows_what_it_wrote_itself(
    change: str, redis_url: str, fleet: RedisStore, redis_port: int
) -> None:
    """No node is needed to tell that Redis fell back."""
    before = fleet.write(None, Snapshot(None, b""))
    with store_at(redis_url) as store:
        MaintenanceMode(store).enable()
        with redis.Redis(port=redis_port) as client:
            client.hset(STATE, mapping={"revision": before.name, "on": "0"})
        with pytest.raises(StateError, match=r"fell back from 2 to 1.*\(as seen by this process\)"):
            CHANGES[change](MaintenanceMode(store))


def test_state_that_is_lost_between_two_looks_is_not_created(
    redis_url: str, fleet: RedisStore, redis_port: int
) -> None:
    fleet.write(None, Snapshot(None, b""))

    def change(found: Snapshot) -> Snapshot:
        with redis.Redis(port=redis_port) as client:
            client.flushall()
        return found._replace(flag=b"")

    with store_at(redis_url) as store:
        with pytest.raises(StateError, match="Redis holds no state of this fleet"):
            store.update(change)
        assert store.read_revision() is None


def test_wait_ends_if_redis_falls_back(
    fleet: RedisStore, operator: MaintenanceMode, redis_port: int
) -> None:
    before = fleet.read_revision()
    operator.enable()
    assert before
    waiting = fleet.acknowledgements(30)
    next(waiting)
    with redis.Redis(port=redis_port) as client:
        client.hset(STATE, mapping={"revision": before.name, "on": "0"})
    with pytest.raises(StateError, match="fell back from 2 to 1: unknown"):
        next(waiting)


@contextmanager
def paused(port: int) -> Iterator[None]:
    """Let Redis answer no writes, as it does while it hands over to a replica."""
    with redis.Redis(port=port) as client:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            yield
        finally:
            client.execute_command("CLIENT", "UNPAUSE")


@pytest.mark.parametrize(
    ("command", "may_have_been_made"), [("disable", False), ("enable", True), ("run true", False)]
)
def test_state_is_not_guessed_while_redis_is_paused(
    command: str, redis_url: str, redis_port: int, *, may_have_been_made: bool
) -> None:
    succeed(redis_url, "disable")
    with paused(redis_port):
        result = invoke_fleet(f"{redis_url}?socket_timeout=0.3", *command.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not answer" in result.stderr
    assert ("the change may have been made" in result.stderr) is may_have_been_made


def test_node_takes_the_state_while_redis_is_paused(
    redis_url: str, operator: MaintenanceMode, redis_port: int, var: Path
) -> None:
    operator.enable()
    url = f"{redis_url}?socket_timeout=0.3"
    with store_at(url) as store, paused(redis_port), pytest.raises(RedisUnreachableError):
        Follower(store, FileStore(var), "web1").sync()
    assert MaintenanceMode(var).is_enabled()


def test_replica_that_does_not_confirm_is_told(tmp_path: Path) -> None:
    (tmp_path / "replica").mkdir()
    with redis_server(tmp_path) as port:
        of = ["--replicaof", "127.0.0.1", str(port)]
        with redis_server(tmp_path / "replica", *of) as other, redis.Redis(port=port) as client:
            url = f"redis://127.0.0.1:{port}/0"
            wait_for(lambda: client.execute_command("ROLE")[2])
            succeed(url, "disable")
            with redis.Redis(port=other) as replica:
                process = replica.info("server")["process_id"]
            os.kill(process, signal.SIGSTOP)
            try:
                for command in ("enable", "enable", "disable", "run true"):
                    result = invoke_fleet(url, *command.split())
                    assert result.exit_code == 1
                    assert f"the change was made, but 127.0.0.1:{other} did not" in result.stderr
                    assert "not every replica of Redis has confirmed" in result.stderr
                assert "'true' was not run" in result.stderr
            finally:
                os.kill(process, signal.SIGCONT)
            succeed(url, "enable")


def test_replica_that_does_not_confirm_what_is_written_anew_is_told(tmp_path: Path) -> None:
    (tmp_path / "replica").mkdir()
    with redis_server(tmp_path) as port:
        of = ["--replicaof", "127.0.0.1", str(port)]
        with redis_server(tmp_path / "replica", *of) as other, redis.Redis(port=port) as client:
            wait_for(lambda: client.execute_command("ROLE")[2])
            succeed(url := f"redis://127.0.0.1:{port}/0", "disable")
            with store_at(url) as fleet, redis.Redis(port=other) as replica:
                MaintenanceMode(fleet).enable()
                assert not fleet.unconfirmed
                process = replica.info("server")["process_id"]
                os.kill(process, signal.SIGSTOP)
                try:  # a node comes back that has seen what Redis has lost
                    fleet.heartbeat(NodeIdentity("web1", "a"), f"{'0' * 16}-9", "")
                    next(fleet.acknowledgements(1))
                finally:
                    os.kill(process, signal.SIGCONT)
                assert fleet.nodes().revision.endswith("-10")
                assert fleet.unconfirmed


def test_user_who_may_not_ask_for_replicas_is_told(tmp_path: Path) -> None:
    rights = ["--user", "u", "on", ">p", "~*", "&*", "+@all", "-role"]
    with redis_server(tmp_path, *rights) as port:
        result = invoke_fleet(f"redis://u:p@127.0.0.1:{port}/0", "enable")
        assert result.exit_code == 0
        assert "it is not known whether replicas of Redis have the change" in result.stderr


# `run`


def start_run(url: str, *command: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [COMMAND, "run", "--", *command],
        env=environ(MAINTENANCE_REDIS=url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("ending", "code", "told"), [("", 1, "succeeded"), ("; exit 3", 3, "3")])
def test_run_tells_that_its_hold_was_taken_away(
    ending: str, code: int, told: str, redis_url: str, operator: MaintenanceMode
) -> None:
    running = start_run(redis_url, "sh", "-c", f"echo ready; sleep 1.5{ending}")
    operator.disable()
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == code
    assert f"{told}; but another process or Redis took maintenance mode away" in stderr
    assert not operator.is_enabled()


@pytest.mark.parametrize("is_followed", [True, False])
def test_run_tells_that_redis_fell_back(dumped: Dumped, var: Path, *, is_followed: bool) -> None:
    with ExitStack() as stack, store_at(dumped.url) as fleet:
        succeed(dumped.url, "disable")
        if is_followed:
            stack.enter_context(follower(dumped.url, var, "web1"))
            wait_for(lambda: health_of(fleet, "web1") == "current")
        dumped.dump()
        running = start_run(dumped.url, "sh", "-c", "echo ready; sleep 3")
        wait_for(lambda: MaintenanceMode(var).is_enabled() is is_followed)
        dumped.stop()
        dumped.start()
        _, stderr = running.communicate(timeout=30)
        assert running.returncode == 1
        assert "'sh' succeeded; maintenance mode stays on; switch it off with" in stderr
        assert "Redis fell back from 2 to 1: unknown whether maintenance is on" in stderr
        assert MaintenanceMode(var).is_enabled() is is_followed


def test_run_tells_what_is_done_if_redis_is_away_at_its_end(dumped: Dumped) -> None:
    succeed(dumped.url, "disable")
    running = start_run(dumped.url, "sh", "-c", "echo ready; sleep 1.5")
    dumped.stop()
    _, stderr = running.communicate(timeout=30)
    dumped.start()
    assert running.returncode == 1
    assert "'sh' succeeded; maintenance mode stays on; switch it off with: maint" in stderr
    assert "does not answer" in stderr
