"""The state of a fleet in a real Redis."""

import os
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import ConflictError, RedisStore
from maintenance_wsgi.state.store import Snapshot
from tests.live.fleet.followers import follower
from tests.support.commands import invoke_fleet, succeed
from tests.support.processes import ROOT, held_port, running, wait_for
from tests.support.redis import redis_server, server_program
from tests.support.tls import make_certificate

pytestmark = pytest.mark.servers

# It stands in URLs that are wrong in many ways, and must never be seen.
SECRET = "hunter2%21"  # noqa: S105 (nobody's)

USER = ["--user", "u", "on", ">hunter2!"]

BOTH = ["enable", "follow --once"]


@pytest.mark.parametrize("flag", [None, b"", b"\0\xff", b'{"message": "a"}'])
@pytest.mark.parametrize("exempt", [b"", b"203.0.113.7", b"# \xff\0\r\n"])
def test_any_bytes_come_back(flag: bytes | None, exempt: bytes, fleet: RedisStore) -> None:
    written = fleet.write(fleet.read_revision(), Snapshot(flag, exempt))
    assert fleet.read_revision() == written


def test_version_that_follows_an_older_copy_is_another(fleet: RedisStore, redis_port: int) -> None:
    """A replica that took over has lost the last change: its number is given again."""
    first = fleet.write(None, Snapshot(b"", b""))
    lost = fleet.write(first, Snapshot(None, b""))
    with redis.Redis(port=redis_port) as client:
        client.hset("maintenance-wsgi:{default}:state", "revision", first.name)
    second = fleet.write(first, Snapshot(b"", b"203.0.113.7"))
    assert second.version == lost.version
    assert second.name != lost.name


def test_write_over_another_revision_is_refused(fleet: RedisStore) -> None:
    found = fleet.write(None, Snapshot(None, b"203.0.113.7"))
    first = fleet.write(found, Snapshot(None, b"203.0.113.8"))
    with pytest.raises(ConflictError, match="another process has changed the state"):
        fleet.write(found, Snapshot(b"", b"203.0.113.9"))
    assert fleet.read_revision() == first


def test_operators_at_once_lose_nothing(operator: MaintenanceMode, redis_url: str) -> None:
    def add(number: int) -> None:
        store = RedisStore(RedisConnection(redis_url))
        mode = MaintenanceMode(store)
        for last in range(20):
            mode.add_exemptions([f"10.0.{number}.{last}"])
        store.close()

    in_threads(add, 4)
    added = {f"10.0.{number}.{last}" for number in range(4) for last in range(20)}
    assert set(operator.exemptions) == added
    assert len(operator.exemptions) == 80


def in_threads(action: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=action, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


@pytest.mark.usefixtures("operator")
def test_overlapping_blocks_do_not_fail(fleet: RedisStore, redis_url: str) -> None:
    ended: list[int] = []

    def hold(number: int) -> None:
        store = RedisStore(RedisConnection(redis_url))
        mode = MaintenanceMode(store)
        for _ in range(5):
            with mode.window():
                assert mode.status().enabled
        store.close()
        ended.append(number)

    in_threads(hold, 4)
    assert sorted(ended) == [0, 1, 2, 3]
    assert fleet.read() == Snapshot(None, b"")


@pytest.mark.parametrize(
    ("options", "userinfo", "commands", "said"),
    [
        (["--requirepass", "good"], f":{SECRET}@", BOTH, "rejected this user or password"),
        (["--requirepass", "good"], f"u:{SECRET}@", BOTH, "rejected this user or password"),
        (["--requirepass", "good"], "", BOTH, "rejected this user or password"),
        ([*USER, "~*", "&*", "+hgetall"], f"u:{SECRET}@", BOTH, "ACL"),
        ([*USER, "~other", "&*", "+@all"], f"u:{SECRET}@", BOTH, "ACL"),
        ([*USER, "~*", "resetchannels", "+@all"], f"u:{SECRET}@", BOTH[:1], "ACL"),
        ([*USER, "~*", "&*", "+@all", "-publish"], f"u:{SECRET}@", BOTH[:1], "ACL"),
        ([*USER, "~*", "&*", "+@all", "-hset"], f"u:{SECRET}@", BOTH, "ACL"),
        (["--rename-command", "EVAL", ""], "", BOTH, "use Redis 5 or newer"),
        # Redis names the arguments of a command that it does not know.
        (["--rename-command", "AUTH", ""], f":{SECRET}@", BOTH, "its message is not shown"),
        (["--maxmemory", "1"], "", BOTH, "used memory > 'maxmemory'"),
        (["--cluster-enabled", "yes"], "", BOTH[:1], "Hash slot not served"),
    ],
)
def test_refusal_is_told_and_changes_nothing(
    options: list[str], userinfo: str, commands: list[str], said: str, tmp_path: Path, var: Path
) -> None:
    with redis_server(tmp_path, *options) as redis_port:
        redis_url = f"redis://{userinfo}127.0.0.1:{redis_port}/0"
        for command in commands:
            place = ["--dir", str(var)] if "follow" in command else []
            result = invoke_fleet(redis_url, *command.split(), *place)
            assert result.exit_code == 1, result.output
            assert said in result.stderr
            assert "hunter2" not in result.output
            assert os.listdir(var) == []
        with redis.Redis(
            port=redis_port, password="good" if "--requirepass" in options else None
        ) as c:
            assert c.keys("*state*") == []


LONG = "p" * 200


@pytest.mark.parametrize(
    ("options", "user", "password"),
    [
        # "User u has no permissions to run the 'hgetall' command"
        (["--user", "u", "on", ">n"], "u", "n"),
        (["--user", "u", "on", ">permissions"], "u", "permissions"),
        # "invalid username-password pair or user is disabled."
        (["--requirepass", "good"], "u", "password"),
        (["--requirepass", "good"], "u", "disabled"),
        # "unknown command 'AUTH', with args beginning with: ", and up to 128 characters
        (["--rename-command", "AUTH", ""], "", "Password"),
        (["--rename-command", "AUTH", ""], "", LONG),
        (["--rename-command", "AUTH", ""], "", "with%0Aa%0Dline"),
        (["--rename-command", "AUTH", ""], "", "hunter2%21"),
    ],
)
@pytest.mark.parametrize("command", ["enable", "follow --once"])
def test_message_that_contains_the_password_is_not_shown(
    options: list[str], user: str, password: str, command: str, tmp_path: Path, var: Path
) -> None:
    with redis_server(tmp_path, *options) as port:
        place = ["--dir", str(var)] if "follow" in command else []
        url = f"redis://{user}:{password}@127.0.0.1:{port}/0"
        result = invoke_fleet(url, *command.split(), *place)
    reason = "refuses (its message is not shown because it contains the password)"
    assert result.exit_code == 1
    assert result.output == f"Error: Redis at 127.0.0.1:{port} {reason}\n"


def test_password_that_is_a_code_of_redis_is_not_shown(tmp_path: Path) -> None:
    """redis-py leaves the code out of "WRONGPASS invalid username-password pair"."""
    with redis_server(tmp_path, "--requirepass", "good") as port:
        result = invoke_fleet(f"redis://:WRONGPASS@127.0.0.1:{port}/0", "enable")
    assert "rejected this user or password: invalid username-password pair" in result.stderr
    assert "WRONGPASS" not in result.output


def test_unreachable_redis_does_not_show_its_password_either(var: Path) -> None:
    """The follower goes on trying, and logs the same."""
    with held_port() as port:
        url = f"redis://:refused@127.0.0.1:{port}/0"  # "Connection refused."
        with follower(url, var, "web1") as process:
            wait_for(lambda: "the files stay as they are" in process.log)
            assert process.end() == 0
    reason = "refuses (its message is not shown because it contains the password)"
    assert f"Redis at 127.0.0.1:{port} {reason}; the files" in process.log
    assert "refused" not in process.log


def test_change_without_an_answer_may_have_been_made(redis_url: str, redis_port: int) -> None:
    succeed(redis_url, "disable")
    with redis.Redis(port=redis_port) as client:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            result = invoke_fleet(f"{redis_url}?socket_timeout=0.3", "enable")
        finally:
            client.execute_command("CLIENT", "UNPAUSE")
    assert result.exit_code == 1
    assert "the change may have been made: see status" in result.stderr


def test_foreign_key_is_left_alone(redis_url: str, redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client:
        client.hset("maintenance-wsgi:{default}:state", "a", "b")
        assert "is not a maintenance-wsgi key" in invoke_fleet(redis_url, "enable").stderr
        client.set("maintenance-wsgi:{default}:state", "a")
        assert "WRONGTYPE" in invoke_fleet(redis_url, "enable").stderr
        assert client.get("maintenance-wsgi:{default}:state") == b"a"


def test_acl_of_the_example_suffices(tmp_path: Path) -> None:
    """An operator may switch; a node may follow, and can switch nothing."""
    text = (ROOT / "examples/fleet/README.md").read_text(encoding="utf-8")
    acl = re.findall(r"^    (user .*)$", text, re.MULTILINE)
    assert len(acl) == 2
    (tmp_path / "acl").write_text("\n".join(acl).replace("{shop}", "{default}"))
    (tmp_path / "var").mkdir()
    with redis_server(tmp_path, "--aclfile", str(tmp_path / "acl")) as redis_port:
        operator = f"redis://operator:change-me@127.0.0.1:{redis_port}/0"
        node = f"redis://node:change-me@127.0.0.1:{redis_port}/0"
        succeed(operator, "enable")
        succeed(node, "follow", "--once", "--dir", str(tmp_path / "var"))
        assert os.listdir(tmp_path / "var") == [".maintenance.flag"]
        assert "no node follows" in invoke_fleet(operator, "disable", "--wait=1").stderr
        result = invoke_fleet(node, "enable")
        assert result.exit_code == 1
        assert "ACL" in result.stderr
        assert "is disabled" in succeed(operator, "status")


def test_ways_to_redis(tmp_path: Path) -> None:
    """Each kind of URL: TLS, Unix socket, cluster, sentinels."""
    certificate, key = make_certificate(tmp_path, "IP:127.0.0.1")
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    with ExitStack() as stack:
        tls_port, sentinel, gone = (stack.enter_context(held_port()) for _ in range(3))
        options = ["--tls-port", tls_port, *tls, "--unixsocket", tmp_path / "socket"]
        redis_port = stack.enter_context(redis_server(tmp_path, *map(str, options)))
        conf = f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {redis_port} 1\n"
        (tmp_path / "sentinel.conf").write_text(conf)
        watching = [server_program(), str(tmp_path / "sentinel.conf"), "--sentinel"]
        stack.enter_context(running(watching, ("127.0.0.1", sentinel), tmp_path / "sentinel.log"))
        (tmp_path / "cluster").mkdir()
        cluster = stack.enter_context(
            redis_server(tmp_path / "cluster", "--cluster-enabled", "yes")
        )
        with redis.Redis(port=cluster) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                pass
        tls_url = f"rediss://127.0.0.1:{tls_port}/0"
        ways = {
            f"{tls_url}?ssl_ca_certs={certificate}": "0",
            f"unix://{tmp_path}/socket?db=1": "1",
            f"redis+sentinel://127.0.0.1:{gone},127.0.0.1:{sentinel}/shop/2": "2",
            f"redis+cluster://127.0.0.1:{cluster}": "cluster",
        }
        (tmp_path / "var").mkdir()
        for way, message in ways.items():
            succeed(way, "enable", f"--message={message}")
            assert f"Message: {message}\n" in succeed(way, "status")
            succeed(way, "follow", "--once", "--dir", str(tmp_path / "var"))
            assert message in (tmp_path / "var/.maintenance.flag").read_text()
            listener = RedisStore(RedisConnection(way))
            with listener.subscribe() as wait:
                wait(0.1)
            listener.close()
        assert "does not answer" in invoke_fleet(tls_url, "status").stderr
        no_cluster = f"redis+cluster://127.0.0.1:{redis_port}"
        assert "leave out +cluster in the URL" in invoke_fleet(no_cluster, "status").stderr
        other = f"redis+sentinel://127.0.0.1:{sentinel}/other"
        assert "does not answer" in invoke_fleet(other, "status").stderr
