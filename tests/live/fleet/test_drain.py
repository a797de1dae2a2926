"""A node acknowledges once the requests that began before the switch have ended."""

from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.fleet.draining import NodeDrain
from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import FileStore
from tests.live.fleet.followers import acknowledges, follower, health_of, node_of
from tests.support.commands import invoke_fleet, succeed
from tests.support.processes import counting, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("operator")]


def test_node_drains_before_it_acknowledges(redis_url: str, fleet: RedisStore, var: Path) -> None:
    with follower(redis_url, var, "web1"), counting(var, 0):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        with counting(var, 2) as process:
            result = invoke_fleet(redis_url, "enable", "--wait=3", "--drain=3")
            assert result.exit_code == 1
            assert "not acknowledged within 3 s by web1 (earlier requests " in result.stderr
            assert f"earlier requests still run: process {process} (" in result.stderr
            assert "): 2 requests, the oldest for " in result.stderr
        succeed(redis_url, "enable", "--wait=30", "--drain=25")
        with counting(var, 1):  # this one has found it on
            succeed(redis_url, "enable", "--message=a", "--wait=30", "--drain=25")
        with counting(var, 1):
            succeed(redis_url, "disable", "--wait=30")
            result = invoke_fleet(redis_url, "run", "--wait=3", "--drain=3", "--", "true")
            assert result.exit_code == 1
            assert "'true' was not run; maintenance mode stays on" in result.stderr


def test_node_that_counts_nothing_is_no_proof(redis_url: str, fleet: RedisStore, var: Path) -> None:
    with follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        result = invoke_fleet(redis_url, "enable", "--wait=30", "--drain=25")
        assert result.exit_code == 1
        assert "Error: web1: no application counts its requests here; const" in result.stderr
        with counting(var, 0):
            wait_for(lambda: (node := node_of(fleet, "web1")) and node.counting == 1)
            succeed(redis_url, "enable", "--wait=30", "--drain=25")


@pytest.mark.parametrize("way", ["flag-removed", "directory-replaced"])
def test_request_let_in_by_files_that_were_off_is_waited_for(
    way: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    operator.enable()
    node = Follower(fleet, FileStore(var), "web1")
    with counting(var, 0):
        node.sync()
    assert acknowledges(fleet, "web1")
    if way == "flag-removed":
        (var / ".maintenance.flag").unlink()
    else:
        var.rename(var.with_name("old"))
        var.mkdir()
    with counting(var, 1):
        node.sync()
        assert (var / ".maintenance.flag").exists()
        assert not acknowledges(fleet, "web1")
    node.sync()
    assert acknowledges(fleet, "web1")


def test_book_that_cannot_be_read_is_a_fault(var: Path) -> None:
    drain, book = NodeDrain(str(var)), var / ".maintenance.requests"
    assert drain.look(enabled=True) == (0, "")
    book.mkdir()
    counting_here, fault = drain.look(enabled=True)
    assert counting_here == 0
    assert fault.endswith("cannot open it (Not a regular file of one name); remove it")


def test_nodes_drain_within_the_wait(redis_url: str) -> None:
    result = invoke_fleet(redis_url, "enable", "--drain=25")
    assert result.exit_code == 2
    assert "--drain with --redis needs --wait, in which the nodes drain" in result.stderr
