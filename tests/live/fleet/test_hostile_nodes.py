"""A node that may write the nodes' hash, and writes there what it likes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.nodes import NodeIdentity
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.store import FileStore
from tests.live.fleet.followers import follower, health_of, heartbeat, node_of
from tests.support.commands import invoke_fleet, succeed
from tests.support.processes import wait_for

pytestmark = pytest.mark.servers

NODES = "maintenance-wsgi:{default}:nodes"
UNREADABLE = "its record cannot be read"
MEGABYTES = 50 * 1000 * 1000


def record(seen: int = 0, **members: object) -> bytes:
    members = {"instance": "a", "revision": "", "fault": ""} | members
    return b"%d %s" % (seen, json.dumps(members).encode())


# What is written, and the fault that is shown of it.
RECORDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", UNREADABLE),
    "not JSON": (lambda: b"1 \x1b[2J\n", UNREADABLE),
    "not UTF-8": (lambda: b'1 {"instance": "\xff\xfe"}', UNREADABLE),
    "not an object": (lambda: b"1 []", UNREADABLE),
    "nested too deep": (lambda: b"0 " + b"[" * 200_000, UNREADABLE),
    "nested deep and short": (lambda: b"0 " + b"[" * 4000, UNREADABLE),
    "nested deep within": (
        lambda: b'0 {"instance": %s1%s}' % (b"[" * 900, b"]" * 900),
        UNREADABLE,
    ),
    "members of other types": (
        lambda: record(instance=1, revision=[], fault={"a": None}),
        UNREADABLE,
    ),
    "no member": (lambda: b"1 {}", UNREADABLE),
    "huge numbers": (lambda: b"9" * 5000 + b" " + b"9" * 5000, UNREADABLE),
    "infinite": (lambda: b'1 {"instance": Infinity, "revision": -1e999999}', UNREADABLE),
    "no time": (lambda: b"yesterday" + record()[1:], ""),
    "time of 2286": (lambda: record(9_999_999_999), ""),
    "time before 1970": (lambda: b"-1" + record()[1:], ""),
    "long": (lambda: record(fault="x" * 5000), UNREADABLE),
    "50 MB": (lambda: record(fault="x" * MEGABYTES), UNREADABLE),
    "escape sequences of other types": (
        lambda: record(instance={}, revision=[1], fault={"a": "\x1b[31m\n"}),
        UNREADABLE,
    ),
    "escape sequences": (lambda: record(fault="\x1b[2J\n\u202e"), r"\x1b[2J\n\u202e"),
    "fault of a page": (lambda: record(fault="x" * 3000), f"{'x' * 200}..."),
}


@pytest.fixture
def client(redis_port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_port) as client:
        yield client


@pytest.mark.parametrize("kind", RECORDS)
def test_no_record_keeps_a_command_from_working(
    kind: str, redis_url: str, fleet: RedisStore, client: redis.Redis, var: Path
) -> None:
    write, fault = RECORDS[kind]
    succeed(redis_url, "disable")
    with follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        for command in ("enable --wait=30", "disable --wait=30", "allow-ips 203.0.113.7 --wait=30"):
            client.hset(NODES, "web2", write())
            assert "web2" not in succeed(redis_url, *command.split())
            assert client.hkeys(NODES) == [b"web1"]  # it was not seen within a week
        client.hset(NODES, "web2", write())
        shown = {
            node["name"]: node
            for node in json.loads(succeed(redis_url, "status", "--json"))["nodes"]
        }
        assert shown["web1"]["health"] == "current"
        assert (shown["web2"]["health"], shown["web2"]["fault"]) == ("offline", fault)
        assert shown["web2"]["acknowledged"] is False
        lines = succeed(redis_url, "status").splitlines()
        assert len([line for line in lines if line.startswith("  web")]) == 2
        assert all(printable(line, 1000) == line for line in lines)


def test_time_in_the_near_future_is_now(
    redis_url: str, fleet: RedisStore, client: redis.Redis
) -> None:
    """A Redis that took over may have an earlier clock: its live nodes are waited for."""
    succeed(redis_url, "enable")
    heartbeat(fleet, "web1")
    now, _ = client.time()
    early = record(now + 30, revision=fleet.nodes().revision)
    client.hset(NODES, "web1", early)
    node = node_of(fleet, "web1")
    assert node is not None
    assert node.health == "current"
    assert node.seen <= now + 5
    succeed(redis_url, "disable")
    result = invoke_fleet(redis_url, "enable", "--wait=1")
    assert "not acknowledged within 1 s by web1 (behind)" in result.stderr


def test_name_that_no_node_can_have_is_left_out(
    redis_url: str, fleet: RedisStore, client: redis.Redis
) -> None:
    succeed(redis_url, "disable")
    heartbeat(fleet, "web1")
    for name in ("x" * 254, "x" * 100_000, "\x1b" * 300):
        client.hset(NODES, name, record())
    assert [node.name for node in fleet.nodes().nodes] == ["web1"]
    succeed(redis_url, "enable")


def test_large_record_is_not_transferred(
    redis_url: str, fleet: RedisStore, client: redis.Redis, var: Path
) -> None:
    succeed(redis_url, "disable")
    one = Follower(fleet, FileStore(var), "web1")
    one.sync()

    def sent() -> int:
        return int(client.info("stats")["total_net_output_bytes"])

    for action in (
        lambda: succeed(redis_url, "status"),
        lambda: succeed(redis_url, "enable"),
        one.sync,
    ):
        client.hset(NODES, "web1", record(fault="x" * MEGABYTES))
        before = sent()
        action()
        assert sent() - before < 100_000


def test_long_fault_of_a_node_of_ours_fits_into_its_record(
    redis_url: str, fleet: RedisStore, client: redis.Redis
) -> None:
    succeed(redis_url, "disable")
    fleet.heartbeat(
        NodeIdentity("w" * 253, "a" * 16), f"{'0' * 16}-{'9' * 15}", "\U0001f600" * 5000
    )
    assert len(client.hvals(NODES)[0]) < 4096
    node = node_of(fleet, "w" * 253)
    assert node is not None
    assert node.fault == "\U0001f600" * 200 + "..."
