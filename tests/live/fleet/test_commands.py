"""The commands that switch a fleet."""

import json
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.live.fleet.followers import heartbeat, snapshot, timeless
from tests.support.commands import invoke, invoke_fleet, succeed
from tests.support.data import load
from tests.support.wsgi import call, make_environ, shop

pytestmark = pytest.mark.servers


def test_commands_say_and_do_the_same_as_for_a_directory(redis_url: str, tmp_path: Path) -> None:
    lines = [
        ["disable"],
        ["enable", "--ip=203.0.113.7", "--message=Umzug", "--retry-after=60"],
        ["allow-ips", "--add", "2001:db8::7"],
        ["allow-ips"],
        ["enable"],
        ["run", "--disable-on-failure", "-q", "--", "false"],
        ["disable", "--ip=203.0.113.8"],
        ["run", "--ip=203.0.113.9", "-q", "--", "true"],
        ["allow-ips", "--none"],
        ["status"],
    ]
    for command, *arguments in lines:
        here = invoke("--dir", str(tmp_path), command, *arguments)
        there = invoke_fleet(redis_url, command, *arguments)
        assert there.exit_code == here.exit_code, there.output
        place = "fleet 'default' at " + redis_url.split("/")[2]
        assert there.stdout.partition("Fleet:")[0].replace(place, str(tmp_path)) == here.stdout
        found = RedisStore(RedisConnection(redis_url)).read()
        assert timeless(found) == timeless(snapshot(tmp_path))


def test_fleet_carries_a_bypass_link(redis_url: str, var: Path) -> None:
    link = succeed(redis_url, "enable", "-q", "--bypass", "https://shop.example/").strip()
    assert "Bypass: a link is in force" in succeed(redis_url, "status")
    succeed(redis_url, "follow", "--once", "--dir", str(var))
    gate = MaintenanceMiddleware(shop, var)
    secret = link.rpartition("=")[2]
    assert call(gate, make_environ(HTTP_X_MAINTENANCE_BYPASS=secret)).code == 200
    assert call(gate).code == 503
    assert secret not in repr(snapshot(var))


def test_commands_need_no_directory_for_temporary_files(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root of a container may be read-only."""
    monkeypatch.setattr("tempfile._candidate_tempdir_list", list)
    monkeypatch.setattr("tempfile.tempdir", None)
    for line in ("enable", "status", "allow-ips --add 203.0.113.7", "run true", "disable"):
        succeed(redis_url, *line.split())


def test_keys_of_a_fleets_state_are_as_recorded(redis_url: str) -> None:
    recorded = load("surface.json")["json"]
    succeed(redis_url, "enable")
    heartbeat(RedisStore(RedisConnection(redis_url)), "web1")
    found = json.loads(succeed(redis_url, "status", "--json"))
    assert found.keys() == recorded["status"].keys() | {"nodes", "fallen_back"}
    assert [list(node) for node in found["nodes"]] == [recorded["status, a node"]]


def test_names_tell_fleets_apart(redis_url: str) -> None:
    succeed(redis_url, "enable", "--fleet=shop")
    succeed(redis_url, "disable", "--fleet=blog")
    assert "is enabled" in succeed(redis_url, "status", "--fleet=shop")
    assert "is enabled" in succeed(redis_url, "status", "--name=shop")
    assert "is disabled" in succeed(redis_url, "status", "--fleet=blog")
    assert invoke_fleet(redis_url, "status").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 1),
        (["status", "--exit-code"], 2),
        (["status", "--json"], 1),
        (["allow-ips", "203.0.113.7"], 1),
        (["allow-ips", "--add", "203.0.113.7"], 1),
        (["run", "true"], 1),
    ],
    ids=str,
)
def test_fleet_without_a_state_is_unknown(arguments: list[str], code: int, redis_url: str) -> None:
    result = invoke_fleet(redis_url, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "unknown whether maintenance is on" in result.stderr
    assert RedisStore(RedisConnection(redis_url)).read_revision() is None


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_fleet_begins_with_either_switch(command: str, redis_url: str) -> None:
    result = invoke_fleet(redis_url, command)
    assert result.exit_code == 0
    assert "no state existed yet; it has been created" in result.stderr
    assert f"is {command}d" in succeed(redis_url, "status")


def test_nodes_are_listed(redis_url: str, fleet: RedisStore, redis_port: int) -> None:
    succeed(redis_url, "disable")
    heartbeat(fleet, "web1")
    succeed(redis_url, "enable")
    heartbeat(fleet, "web2")
    heartbeat(fleet, "web3", "a fault")
    with redis.Redis(port=redis_port) as client:
        key = "maintenance-wsgi:{default}:nodes"
        client.hset(key, "web4", b"1 " + (client.hget(key, "web2") or b"").partition(b" ")[2])
        client.hset(key, "web\x1b5", b"garbage")
    found = json.loads(succeed(redis_url, "status", "--json"))["nodes"]
    shown = {node["name"]: (node["health"], node["version"], node["fault"]) for node in found}
    unreadable = "its record cannot be read"
    assert shown == {
        "web1": ("behind", 1, ""),
        "web2": ("current", 2, ""),
        "web3": ("faulty", 2, "a fault"),
        "web4": ("offline", 2, ""),
        r"web\x1b5": ("offline", None, unreadable),
    }
    assert found[3]["seen"] == "1970-01-01T00:00:01+00:00"
    assert [node["acknowledged"] for node in found] == [False, True, False, True, False]
    text = succeed(redis_url, "status")
    assert "Fleet: default, version 2, 5 nodes\n" in text
    assert "  web1  behind, version 1, seen " in text
    assert text.endswith(f" s ago: {unreadable}\n") or "a fault" in text
