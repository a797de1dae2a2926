"""The commands that switch a fleet."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.store import Fleet
from maintenance_wsgi.state.store import Contents
from tests.live.fleet.followers import beat
from tests.support.commands import invoke, invoke_fleet, succeed
from tests.support.processes import COMMAND, environ

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
        assert there.stdout.partition("Fleet:")[0] == here.stdout
        found = Fleet(redis_url).read()
        assert found is not None
        contents = MaintenanceMode(tmp_path).contents()
        assert timeless(found.contents.flag) == timeless(contents.flag)
        assert found.contents.exempt == contents.exempt


def timeless(flag: bytes | None) -> bytes | None:
    return flag and re.sub(rb'"since": "[^"]*"', b"", flag)


def test_temporary_copy_is_gone_afterwards(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    succeed(redis_url, "enable")
    succeed(redis_url, "status")
    assert os.listdir(tmp_path) == []


def test_commands_at_once(fleet: Fleet, redis_url: str) -> None:
    fleet.write(None, Contents(None, b""))
    processes = {
        address: subprocess.Popen(
            [COMMAND, "allow-ips", "--add", address],
            env=environ(MAINTENANCE_REDIS=redis_url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for address in ("203.0.113.7", "203.0.113.8", "203.0.113.9")
    }
    said = {address: process.communicate(timeout=60)[1] for address, process in processes.items()}
    found = fleet.read()
    assert found is not None
    for address, process in processes.items():
        is_in = address in found.contents.exempt.decode().split(",")
        assert process.returncode == (0 if is_in else 1)
        assert is_in or "somebody else" in said[address]


def test_names_tell_fleets_apart(redis_url: str) -> None:
    succeed(redis_url, "enable", "--name=shop")
    succeed(redis_url, "disable", "--name=blog")
    assert "is enabled" in succeed(redis_url, "status", "--name=shop")
    assert "is disabled" in succeed(redis_url, "status", "--name=blog")
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
    assert Fleet(redis_url).read() is None


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_fleet_begins_with_either_switch(command: str, redis_url: str) -> None:
    result = invoke_fleet(redis_url, command)
    assert result.exit_code == 0
    assert "its state begins here" in result.stderr
    assert f"is {command}d" in succeed(redis_url, "status")


def test_nodes_are_listed(redis_url: str, fleet: Fleet, redis_port: int) -> None:
    succeed(redis_url, "disable")
    beat(fleet, "web1")
    succeed(redis_url, "enable")
    beat(fleet, "web2")
    beat(fleet, "web3", "a fault")
    with redis.Redis(port=redis_port) as client:
        key = "maintenance-wsgi:{default}:nodes"
        client.hset(key, "web4", b"1 " + (client.hget(key, "web2") or b"").partition(b" ")[2])
        client.hset(key, "web\x1b5", b"garbage")
    found = json.loads(succeed(redis_url, "status", "--json"))["nodes"]
    shown = {node["name"]: (node["state"], node["version"], node["fault"]) for node in found}
    unreadable = "its record cannot be read"
    assert shown == {
        "web1": ("behind", 1, ""),
        "web2": ("current", 2, ""),
        "web3": ("faulty", 2, "a fault"),
        "web4": ("silent", 2, ""),
        r"web\x1b5": ("silent", None, unreadable),
    }
    assert found[3]["seen"] == "1970-01-01T00:00:01+00:00"
    assert [node["acknowledged"] for node in found] == [False, True, False, True, False]
    text = succeed(redis_url, "status")
    assert "Fleet: default, version 2, 5 nodes\n" in text
    assert "  web1  behind, version 1, seen " in text
    assert text.endswith(f" s ago: {unreadable}\n") or "a fault" in text


def test_node_that_is_silent_for_a_week_is_forgotten(
    redis_url: str, fleet: Fleet, redis_port: int
) -> None:
    succeed(redis_url, "disable")
    beat(fleet, "web1")
    with redis.Redis(port=redis_port) as client:
        client.hset("maintenance-wsgi:{default}:nodes", "web2", b"1 {}")
    result = invoke_fleet(redis_url, "enable")
    assert "silent for a week, and forgotten: web2" in result.stderr
    assert [node.name for node in fleet.survey().nodes] == ["web1"]
