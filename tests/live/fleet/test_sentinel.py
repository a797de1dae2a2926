"""A fleet behind a Sentinel, which promotes the replica when the master dies."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from tests.live.fleet.followers import follower, followers
from tests.support.commands import invoke_fleet, succeed
from tests.support.processes import held_port, wait_for
from tests.support.redis import redis_server_at, sentinel

pytestmark = pytest.mark.servers

QUICKLY = (
    "sentinel down-after-milliseconds shop 500",
    "sentinel failover-timeout shop 2000",
    "requirepass watch",
)


class Watched(NamedTuple):
    """A master and its replica, and a Sentinel that needs a password."""

    url: str
    master: int
    replica: int
    kill: Callable[[], None]


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        ports = [stack.enter_context(held_port()) for _ in range(2)]
        servers = [stack.enter_context(ExitStack()) for _ in range(2)]
        roles = [[], ["--replicaof", "127.0.0.1", str(ports[0])]]
        for port, server, role in zip(ports, servers, roles, strict=True):
            (folder / str(port)).mkdir()
            options = ["--repl-diskless-sync-delay", "0", *role]
            server.enter_context(redis_server_at(port, folder / str(port), *options))
        with redis.Redis(port=ports[1]) as client:
            wait_for(lambda: client.info("replication")["master_link_status"] == "up")
        port = stack.enter_context(sentinel(folder / "sentinel", ports[0], *QUICKLY))
        with redis.Redis(port=port, password="watch") as client:  # noqa: S106 (nobody's)
            wait_for(lambda: client.info("sentinel")["master0"]["slaves"] == 1)
        url = f"redis+sentinel://127.0.0.1:{port}/shop/0?sentinel_password=watch"
        yield Watched(url, ports[0], ports[1], servers[0].close)


def test_fleet_goes_on_with_the_replica(tmp_path: Path) -> None:
    with watched(tmp_path) as shop:
        succeed(shop.url, "disable")
        with followers(shop.url, tmp_path, "web1", fleet="default") as directories:
            flag = directories["web1"] / ".maintenance.flag"
            shop.kill()
            refused = invoke_fleet(shop.url, "enable")
            assert (refused.exit_code, flag.exists()) == (1, False)
            wait_for(lambda: invoke_fleet(shop.url, "enable", "--message=moved").exit_code == 0)
            wait_for(flag.exists)
            assert "Acknowledged by 1: web1" in succeed(shop.url, "disable", "--wait=10")
            assert not flag.exists()
        with redis.Redis(port=shop.replica) as client:
            assert client.info("replication")["role"] == "master"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("/shop", "correct the Sentinels' password, ?sentinel_password=..."),
        (
            "/shop?sentinel_password=hunter2",
            "correct the Sentinels' password, ?sentinel_password=...",
        ),
        (
            "/shap?sentinel_password=watch",
            "start the master and its Sentinels, or correct its name, the path of the URL",
        ),
    ],
)
def test_wrong_url_is_told(end: str, said: str, tmp_path: Path) -> None:
    with (
        held_port() as gone,
        held_port() as master,
        sentinel(tmp_path / "sentinel", master, *QUICKLY) as port,
    ):
        hosts = f"127.0.0.1:{gone},127.0.0.1:{port}"
        result = invoke_fleet(f"redis+sentinel://{hosts}{end}", "enable")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: Redis at {hosts} does not answer: No master found for")
    assert result.stderr.endswith(f"; {said}\n")
    assert "<" not in result.stderr  # a client, as redis-py shows it
    assert "hunter2" not in result.stderr
    assert "watch" not in result.stderr


def test_no_sentinel_answers() -> None:
    with held_port() as gone:
        url = f"redis+sentinel://127.0.0.1:{gone}/shop?sentinel_password=watch"
        said = invoke_fleet(url, "enable").stderr
    assert "does not answer: No master found" in said
    assert "start the master and its Sentinels" in said


def test_replica_that_lacks_the_last_change_opens_no_node(tmp_path: Path) -> None:
    """The change was acknowledged, but never reached the replica that was promoted."""
    with watched(tmp_path) as shop:
        succeed(shop.url, "disable")
        with redis.Redis(port=shop.replica) as client:
            wait_for(lambda: client.exists("maintenance-wsgi:{default}:state"))
        with follower(shop.url, tmp_path, "web1") as process:
            flag = tmp_path / ".maintenance.flag"
            wait_for(lambda: "version 1 of fleet" in process.log)
            with redis.Redis(port=shop.master) as client:
                client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
                client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            said = succeed(shop.url, "enable", "--wait=10")
            assert "Acknowledged by 1: web1" in said
            shop.kill()
            wait_for(lambda: "Redis fell back from 2 to 1" in process.log)
            assert flag.exists()
            status = invoke_fleet(shop.url, "status")
            assert status.exit_code == 1
            assert "unknown whether maintenance is on" in status.stderr
            assert "Acknowledged by 1: web1" in succeed(shop.url, "disable", "--wait=10")
            assert not flag.exists()
