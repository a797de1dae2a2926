"""The state of a fleet in a real Redis, and the commands that switch it."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from maintenance_wsgi import ConfigError, MaintenanceMode, StateError
from maintenance_wsgi.cli import main
from maintenance_wsgi.fleet.mode import FleetMode
from maintenance_wsgi.fleet.nodes import NodeIdentity, validate_name
from maintenance_wsgi.fleet.store import ConflictError, Fleet
from maintenance_wsgi.state.store import Contents
from tests.support.processes import COMMAND, ROOT, environ, free_port, running
from tests.support.redis import redis_server

pytestmark = pytest.mark.servers

# It stands in URLs that are wrong in many ways, and must never be seen.
SECRET = "hunter2%21"  # noqa: S105 (nobody's)
USER = ["--user", "u", "on", ">hunter2!"]
BOTH = ["enable", "follow"]


def run(url: str, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, "--redis", url, *arguments], prog_name="m")


def succeed(url: str, command: str, *arguments: str) -> str:
    result = run(url, command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def beat(fleet: Fleet, node: str, fault: str = "") -> None:
    revision = fleet.read()
    fleet.beat(NodeIdentity(node, f"{node} here"), revision.name if revision else "", fault)


def test_commands_say_and_do_the_same_as_for_a_directory(url: str, tmp_path: Path) -> None:
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
        here = CliRunner().invoke(main, ["--dir", str(tmp_path), command, *arguments])
        there = run(url, command, *arguments)
        assert there.exit_code == here.exit_code, there.output
        assert there.stdout.partition("Fleet:")[0] == here.stdout
        found = Fleet(url).read()
        assert found is not None
        contents = MaintenanceMode(tmp_path).contents()
        assert timeless(found.contents.flag) == timeless(contents.flag)
        assert found.contents.exempt == contents.exempt


def timeless(flag: bytes | None) -> bytes | None:
    return flag and re.sub(rb'"since": "[^"]*"', b"", flag)


def test_temporary_copy_is_gone_afterwards(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    succeed(url, "enable")
    succeed(url, "status")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("flag", [None, b"", b"\0\xff", b'{"message": "a"}'])
@pytest.mark.parametrize("exempt", [b"", b"203.0.113.7", b"# \xff\0\r\n"])
def test_any_bytes_come_back(flag: bytes | None, exempt: bytes, fleet: Fleet) -> None:
    written = fleet.write(fleet.read(), Contents(flag, exempt))
    assert fleet.read() == written


def test_versions_count_and_no_change_is_none(fleet: Fleet, url: str) -> None:
    for version in (1, 2, 3):
        fleet.write(fleet.read(), Contents(None, b""))
        found = fleet.read()
        assert found is not None
        assert found.version == version
    succeed(url, "disable")
    assert fleet.read() == found


def test_version_that_follows_an_older_copy_is_another(fleet: Fleet, port: int) -> None:
    """A replica that took over has lost the last change: its number is given again."""
    first = fleet.write(None, Contents(b"", b""))
    lost = fleet.write(first, Contents(None, b""))
    with redis.Redis(port=port) as client:
        client.hset("maintenance-wsgi:{default}:state", "revision", first.name)
    second = fleet.write(first, Contents(b"", b"203.0.113.7"))
    assert second.version == lost.version
    assert second.name != lost.name


def test_second_of_two_operators_is_told(fleet: Fleet) -> None:
    found = fleet.write(None, Contents(None, b"203.0.113.7"))
    first = fleet.write(found, Contents(None, b"203.0.113.8"))
    with pytest.raises(ConflictError, match="somebody else has changed it meanwhile"):
        fleet.write(found, Contents(b"", b"203.0.113.9"))
    assert fleet.read() == first


def test_lists_of_operators_at_once_do_not_mix(fleet: Fleet, url: str, tmp_path: Path) -> None:
    fleet.write(None, Contents(None, b""))
    added: set[str] = set()
    refused: list[ConflictError] = []

    def add(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        mode = FleetMode(Fleet(url), str(directory))
        for last in range(20):
            address = f"10.0.{number}.{last}"
            try:
                mode.add_exemptions([address])
                added.add(address)
            except ConflictError as error:
                refused.append(error)
        mode.fleet.close()

    in_threads(add, 4)
    found = fleet.read()
    assert found is not None
    assert set(found.contents.exempt.decode().split(",")) == added
    assert len(added) + len(refused) == 80
    assert refused


def in_threads(action: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=action, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_overlapping_blocks_do_not_fail(fleet: Fleet, url: str, tmp_path: Path) -> None:
    fleet.write(None, Contents(None, b""))
    ended: list[int] = []

    def hold(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        mode = FleetMode(Fleet(url), str(directory))
        for _ in range(5):
            with mode.enabled():
                assert mode.status().enabled
        mode.fleet.close()
        ended.append(number)

    in_threads(hold, 4)
    assert sorted(ended) == [0, 1, 2, 3]
    found = fleet.read()
    assert found is not None
    assert found.contents == Contents(None, b"")


def test_commands_at_once(fleet: Fleet, url: str) -> None:
    fleet.write(None, Contents(None, b""))
    processes = {
        address: subprocess.Popen(
            [COMMAND, "allow-ips", "--add", address],
            env=environ(MAINTENANCE_REDIS=url),
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


def test_names_tell_fleets_apart(url: str) -> None:
    succeed(url, "enable", "--name=shop")
    succeed(url, "disable", "--name=blog")
    assert "is enabled" in succeed(url, "status", "--name=shop")
    assert "is disabled" in succeed(url, "status", "--name=blog")
    assert run(url, "status").exit_code == 1


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
def test_fleet_without_a_state_is_unknown(arguments: list[str], code: int, url: str) -> None:
    result = run(url, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "unknown whether maintenance is on" in result.stderr
    assert Fleet(url).read() is None


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_fleet_begins_with_either_switch(command: str, url: str) -> None:
    result = run(url, command)
    assert result.exit_code == 0
    assert "its state begins here" in result.stderr
    assert f"is {command}d" in succeed(url, "status")


def test_nodes_are_listed(url: str, fleet: Fleet, port: int) -> None:
    succeed(url, "disable")
    beat(fleet, "web1")
    succeed(url, "enable")
    beat(fleet, "web2")
    beat(fleet, "web3", "a fault")
    with redis.Redis(port=port) as client:
        key = "maintenance-wsgi:{default}:nodes"
        client.hset(key, "web4", b"1 " + (client.hget(key, "web2") or b"").partition(b" ")[2])
        client.hset(key, "web\x1b5", b"garbage")
    found = json.loads(succeed(url, "status", "--json"))["nodes"]
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
    text = succeed(url, "status")
    assert "Fleet: default, version 2, 5 nodes\n" in text
    assert "  web1  behind, version 1, seen " in text
    assert text.endswith(f" s ago: {unreadable}\n") or "a fault" in text


def test_status_of_a_directory_has_no_nodes(var: Path) -> None:
    result = CliRunner().invoke(main, ["--dir", str(var), "status", "--json"])
    assert "nodes" not in json.loads(result.stdout)


def test_node_that_is_silent_for_a_week_is_forgotten(url: str, fleet: Fleet, port: int) -> None:
    succeed(url, "disable")
    beat(fleet, "web1")
    with redis.Redis(port=port) as client:
        client.hset("maintenance-wsgi:{default}:nodes", "web2", b"1 {}")
    result = run(url, "enable")
    assert "silent for a week, and forgotten: web2" in result.stderr
    assert [node.name for node in fleet.survey().nodes] == ["web1"]


def test_waiting_for_nobody_fails(url: str) -> None:
    result = run(url, "enable", "--wait=1")
    assert result.exit_code == 1
    assert "no node follows this fleet" in result.stderr


def test_wait_names_who_has_not_acknowledged(url: str, fleet: Fleet) -> None:
    succeed(url, "disable")
    beat(fleet, "web1")
    beat(fleet, "web2", "another follower has this name")
    result = run(url, "disable", "--wait=1")
    assert result.exit_code == 1
    assert result.stdout == "Disabled maintenance mode\nAcknowledged by 1: web1\n"
    assert "within 1 s by web2 (another follower has this name)" in result.stderr


def test_command_is_not_run_before_all_have_acknowledged(url: str, fleet: Fleet) -> None:
    succeed(url, "disable")
    beat(fleet, "web1")
    result = run(url, "run", "--wait=1", "--", "false")
    assert result.exit_code == 1
    assert "not acknowledged within 1 s by web1 (behind)" in result.stderr
    assert f"m disable --redis {url} --name default" in result.stderr
    assert "is enabled" in succeed(url, "status")
    succeed(url, "disable")
    result = run(url, "run", "--wait=1", "--disable-on-failure", "--", "true")
    assert result.exit_code == 1
    assert "stays on" not in result.stderr
    assert "is disabled" in succeed(url, "status")


def test_wait_ends_where_somebody_else_switches(url: str, fleet: Fleet, tmp_path: Path) -> None:
    mode = FleetMode(fleet, str(tmp_path), begins=True)
    mode.enable()
    beat(fleet, "web1")
    succeed(url, "disable")
    with pytest.raises(StateError, match="somebody else has changed it again"):
        list(mode.acknowledgements(1))


@pytest.mark.parametrize(
    "arguments",
    [
        ["enable", "--wait=1"],
        ["disable", "--wait=1"],
        ["run", "--wait=1", "true"],
        ["allow-ips", "--wait=1", "203.0.113.7"],
        ["status", "--name=shop"],
        ["follow"],
        ["enable", "--redis=redis://127.0.0.1:1/0"],
        ["enable", "--redis=redis://127.0.0.1:1/0", "--wait=5"],
    ],
    ids=" ".join,
)
def test_wrong_usage_changes_nothing(arguments: list[str], var: Path) -> None:
    result = CliRunner().invoke(main, ["--dir", str(var), *arguments])
    assert result.exit_code == 2
    assert "--redis" in result.stderr
    assert os.listdir(var) == []


def test_empty_url_means_the_directory(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_REDIS", "redis://127.0.0.1:1/0")
    result = CliRunner().invoke(main, ["--dir", str(var), "enable", "--redis="])
    assert result.exit_code == 0
    assert os.listdir(var) == [".maintenance.flag"]


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{SECRET}@127.0.0.1/",
        f"redis//u:{SECRET}@127.0.0.1/",
        f"redis://u:{SECRET}?@127.0.0.1/",
        f"redis://u:{SECRET}/@127.0.0.1/",
        f"redis://u:{SECRET}#@127.0.0.1/",
        f"redis://u:{SECRET}@x@127.0.0.1/",
        f"redis://127.0.0.1:{SECRET}/",
        f"redis+sentinel://127.0.0.1:{SECRET},127.0.0.2/shop",
        f"redis+sentinel://127.0.0.2,127.0.0.1:{SECRET}/shop",
        f"redis://127.0.0.1/?{SECRET}=1",
        f"redis://127.0.0.1/?password={SECRET}@",
        f"redis://127.0.0.1/?socket_timeout={SECRET}",
        f"unix+cluster://u:{SECRET}@/tmp/redis",
        f"redis+nothing://u:{SECRET}@127.0.0.1",
        SECRET,
    ],
)
def test_wrong_url_is_refused_and_not_shown(url: str) -> None:
    result = run(url, "enable")
    assert result.exit_code == 1, result.output
    assert "no URL of a Redis" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("name", ["", "a b", "{a}", "x" * 300, "-a", "a\n"])
def test_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--node: .* is no name"):
        validate_name("--node", name)
    assert run("redis://127.0.0.1:1", "status", f"--name={name}").exit_code == 1


@pytest.mark.parametrize(
    ("options", "userinfo", "commands", "said"),
    [
        (["--requirepass", "good"], f":{SECRET}@", BOTH, "lets nobody in"),
        (["--requirepass", "good"], f"u:{SECRET}@", BOTH, "lets nobody in"),
        (["--requirepass", "good"], "", BOTH, "lets nobody in"),
        ([*USER, "~*", "&*", "+hgetall"], f"u:{SECRET}@", BOTH, "ACL"),
        ([*USER, "~other", "&*", "+@all"], f"u:{SECRET}@", BOTH, "ACL"),
        ([*USER, "~*", "resetchannels", "+@all"], f"u:{SECRET}@", BOTH, "ACL"),
        ([*USER, "~*", "&*", "+@all", "-publish"], f"u:{SECRET}@", BOTH[:1], "ACL"),
        ([*USER, "~*", "&*", "+@all", "-hset"], f"u:{SECRET}@", BOTH, "ACL"),
        (["--rename-command", "EVAL", ""], "", BOTH, "Redis 5 or newer is needed"),
        # Redis names the arguments of a command that it does not know.
        (["--rename-command", "AUTH", ""], f":{SECRET}@", BOTH, "with args beginning with: '***'"),
        (["--maxmemory", "1"], "", BOTH, "used memory > 'maxmemory'"),
        (["--cluster-enabled", "yes"], "", BOTH[:1], "Hash slot not served"),
    ],
)
def test_refusal_is_told_and_changes_nothing(
    options: list[str], userinfo: str, commands: list[str], said: str, tmp_path: Path, var: Path
) -> None:
    with redis_server(tmp_path, *options) as port:
        url = f"redis://{userinfo}127.0.0.1:{port}/0"
        for command in commands:
            place = ["--dir", str(var)] if command == "follow" else []
            result = CliRunner().invoke(main, [command, "--redis", url, *place])
            assert result.exit_code == 1, result.output
            assert said in result.stderr
            assert "hunter2" not in result.output
            assert os.listdir(var) == []
        with redis.Redis(port=port, password="good" if "--requirepass" in options else None) as c:
            assert c.keys("*state*") == []


def test_redis_that_is_not_there() -> None:
    result = run(f"redis://u:{SECRET}@127.0.0.1:{free_port()}/0", "enable")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert "hunter2" not in result.output


def test_change_without_an_answer_may_have_been_made(url: str, port: int) -> None:
    succeed(url, "disable")
    with redis.Redis(port=port) as client:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            result = run(f"{url}?socket_timeout=0.3", "enable")
        finally:
            client.execute_command("CLIENT", "UNPAUSE")
    assert result.exit_code == 1
    assert "the change may have been made: see status" in result.stderr


def test_foreign_key_is_left_alone(url: str, port: int) -> None:
    with redis.Redis(port=port) as client:
        client.hset("maintenance-wsgi:{default}:state", "a", "b")
        assert "holds something else" in run(url, "enable").stderr
        client.set("maintenance-wsgi:{default}:state", "a")
        assert "WRONGTYPE" in run(url, "enable").stderr
        assert client.get("maintenance-wsgi:{default}:state") == b"a"


def test_acl_of_the_example_suffices(tmp_path: Path) -> None:
    """An operator may switch; a node may follow, and can switch nothing."""
    text = (ROOT / "examples/fleet/README.md").read_text(encoding="utf-8")
    acl = re.findall(r"^    (user .*)$", text, re.MULTILINE)
    assert len(acl) == 2
    (tmp_path / "acl").write_text("\n".join(acl).replace("{shop}", "{default}"))
    (tmp_path / "var").mkdir()
    with redis_server(tmp_path, "--aclfile", str(tmp_path / "acl")) as port:
        operator = f"redis://operator:change-me@127.0.0.1:{port}/0"
        node = f"redis://node:change-me@127.0.0.1:{port}/0"
        succeed(operator, "enable")
        succeed(node, "follow", "--once", "--dir", str(tmp_path / "var"))
        assert os.listdir(tmp_path / "var") == [".maintenance.flag"]
        assert "no node follows" in run(operator, "disable", "--wait=1").stderr
        result = run(node, "enable")
        assert result.exit_code == 1
        assert "ACL" in result.stderr
        assert "is disabled" in succeed(operator, "status")


def test_ways_to_redis(tmp_path: Path) -> None:
    """Each kind of URL: TLS, Unix socket, cluster, sentinels."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    making += ["-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate), *subject]
    subprocess.run(making, check=True, capture_output=True)
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    tls_port = free_port()
    with ExitStack() as stack:
        options = ["--tls-port", tls_port, *tls, "--unixsocket", tmp_path / "socket"]
        port = stack.enter_context(redis_server(tmp_path, *map(str, options)))
        sentinel = free_port()
        conf = f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {port} 1\n"
        (tmp_path / "sentinel.conf").write_text(conf)
        watching = ["redis-server", str(tmp_path / "sentinel.conf"), "--sentinel"]
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
            f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel}/shop/2": "2",
            f"redis+cluster://127.0.0.1:{cluster}": "cluster",
        }
        (tmp_path / "var").mkdir()
        for way, message in ways.items():
            succeed(way, "enable", f"--message={message}")
            assert f"Message: {message}\n" in succeed(way, "status")
            succeed(way, "follow", "--once", "--dir", str(tmp_path / "var"))
            assert message in (tmp_path / "var/.maintenance.flag").read_text()
            listener = Fleet(way)
            with listener.announcements() as wait:
                wait(0.1)
            listener.close()
        assert "does not answer" in run(tls_url, "status").stderr
        assert "does not answer" in run(f"redis+cluster://127.0.0.1:{port}", "status").stderr
        other = f"redis+sentinel://127.0.0.1:{sentinel}/other"
        assert "does not answer" in run(other, "status").stderr


def test_nothing_of_it_is_loaded_without_redis(var: Path) -> None:
    program = """
import sys
from maintenance_wsgi.cli import main
for command in (["enable", "--ip=203.0.113.7"], ["status"], ["run", "true"], ["disable"]):
    main(["--dir", sys.argv[1], *command], standalone_mode=False)
assert not [name for name in sys.modules if name.partition(".")[0] == "redis"]
"""
    run_program(program, str(var), env=environ())


def test_without_redis_py_the_extra_is_named(var: Path) -> None:
    program = """
import sys
sys.modules["redis"] = None
from maintenance_wsgi.cli import main
main(["--dir", sys.argv[1], "follow", "--redis", "redis://u:hunter2@127.0.0.1"])
"""
    result = run_program(program, str(var), env=environ(), code=1)
    assert "pip install 'maintenance-wsgi[redis]'" in result
    assert "hunter2" not in result
    assert os.listdir(var) == []


def test_broken_redis_py_is_not_hidden(var: Path) -> None:
    program = """
import sys
sys.modules["redis.sentinel"] = None
from maintenance_wsgi.cli import main
main(["--dir", sys.argv[1], "follow", "--redis", "redis://127.0.0.1"])
"""
    assert "redis.sentinel" in run_program(program, str(var), env=environ(), code=1)


def run_program(program: str, *arguments: str, env: dict[str, str], code: int = 0) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == code, result.stderr
    return result.stderr
