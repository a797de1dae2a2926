"""`--wait`: until all nodes have acknowledged, or who has not."""

import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.live.fleet.followers import follower, followers, health_of, heartbeat, snapshot
from tests.support.commands import invoke_fleet, succeed
from tests.support.needs import need
from tests.support.processes import COMMAND, environ, wait_for
from tests.support.sites import gated
from tests.support.wsgi import call, shop

pytestmark = pytest.mark.servers


def test_waiting_for_nobody_fails(redis_url: str) -> None:
    result = invoke_fleet(redis_url, "enable", "--wait=1")
    assert result.exit_code == 1
    assert "no node follows this fleet" in result.stderr


def test_wait_names_who_has_not_acknowledged(redis_url: str, fleet: RedisStore) -> None:
    succeed(redis_url, "disable")
    heartbeat(fleet, "web1")
    heartbeat(fleet, "web2", "another follower has this name")
    result = invoke_fleet(redis_url, "disable", "--wait=1")
    assert result.exit_code == 1
    already = f"Maintenance mode was already off ({fleet})\n"
    assert result.stdout == f"{already}Acknowledged by 1: web1\n"
    assert "within 1 s by web2 (another follower has this name)" in result.stderr


def test_command_is_not_run_before_all_have_acknowledged(redis_url: str, fleet: RedisStore) -> None:
    succeed(redis_url, "disable")
    heartbeat(fleet, "web1")
    result = invoke_fleet(redis_url, "run", "--wait=1", "--", "false")
    assert result.exit_code == 1
    assert "not acknowledged within 1 s by web1 (behind)" in result.stderr
    assert f"maintenance-wsgi disable --redis {redis_url} --fleet default" in result.stderr
    assert "is enabled" in succeed(redis_url, "status")
    succeed(redis_url, "disable")
    result = invoke_fleet(redis_url, "run", "--wait=1", "--disable-on-failure", "--", "true")
    assert result.exit_code == 1
    assert "stays on" not in result.stderr
    assert "is disabled" in succeed(redis_url, "status")


def test_every_node_is_switched_and_proves_it(redis_url: str, tmp_path: Path) -> None:
    with followers(redis_url, tmp_path, "web1", "web2", "web3", fleet="shop") as directories:
        result = invoke_fleet(redis_url, "enable", "--fleet=shop", "--wait=30", "--ip=203.0.113.7")
        assert result.exit_code == 0, result.output
        assert "Acknowledged by 3: web1 web2 web3\n" in result.stdout
        for var in directories.values():
            assert call(MaintenanceMiddleware(shop, var)).code == 503
            assert snapshot(var) == snapshot(directories["web1"])
            assert snapshot(var).exemptions == b"203.0.113.7"
        assert invoke_fleet(redis_url, "disable", "--fleet=shop", "--wait=30", "-q").stdout == ""
        for var in directories.values():
            assert call(MaintenanceMiddleware(shop, var)).code == 200


def test_site_is_verified_after_the_nodes_have_acknowledged(redis_url: str, var: Path) -> None:
    with follower(redis_url, var, "web1"), gated(var) as port:
        site = f"--verify=http://127.0.0.1:{port}/"
        wait_for(lambda: health_of(RedisStore(RedisConnection(redis_url)), "web1"))
        for command, mark in [("enable", "503 with"), ("disable", "200 without")]:
            shown = succeed(redis_url, command, site, "--wait=30").splitlines()
            assert shown[-2] == "Acknowledged by 1: web1"
            assert f"at 127.0.0.1: {mark} X-Maintenance-Mode" in shown[-1]
        assert "Verified" in succeed(redis_url, "enable", site)
        assert succeed(redis_url, "disable", site, "-q", "--wait=30") == ""


def test_terminal_shows_how_many(redis_url: str, var: Path) -> None:
    with follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(RedisStore(RedisConnection(redis_url)), "web1"))
        command = f"{COMMAND} disable --wait=30"
        said = pexpect.run(command, env=environ(MAINTENANCE_REDIS=redis_url), timeout=60)
        assert "1 of 1 nodes have acknowledged" in str(said)


@pytest.mark.usefixtures("operator")
def test_wait_is_patient_with_a_slow_node_and_names_one_that_hangs(
    redis_url: str, fleet: RedisStore, var: Path
) -> None:
    with follower(redis_url, var, "web1") as process:
        wait_for(lambda: health_of(fleet, "web1") == "current")
        process.send(signal.SIGSTOP)
        result = invoke_fleet(redis_url, "enable", "--wait=1")
        assert result.exit_code == 1
        assert "not acknowledged within 1 s by web1 (behind)" in result.stderr
        waking = threading.Timer(1, process.send, [signal.SIGCONT])
        waking.start()
        assert invoke_fleet(redis_url, "enable", "--wait=60").exit_code == 0
        waking.join()
        assert MaintenanceMode(var).is_enabled()


def test_clocks_of_the_nodes_do_not_matter(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, tmp_path: Path
) -> None:
    faketime = need("faketime")
    operator.enable()
    with ExitStack() as stack:
        for node, skew in (("early", "-3 days"), ("late", "+3 days")):
            (tmp_path / node).mkdir()
            prefix = [faketime, "-f", skew]
            stack.enter_context(follower(redis_url, tmp_path / node, node, prefix=prefix))
        wait_for(lambda: {node.name for node in fleet.nodes().nodes} == {"early", "late"})
        result = invoke_fleet(redis_url, "enable", "--message=a", "--wait=30")
        assert result.exit_code == 0, result.output
        assert [node.health for node in fleet.nodes().nodes] == ["current", "current"]
