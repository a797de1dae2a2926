"""A fleet in a Redis Cluster of three masters, each with a replica; any node may die."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.live.fleet.followers import follower, followers
from tests.support.commands import invoke_fleet, succeed
from tests.support.processes import ROOT, held_port, wait_for
from tests.support.redis import Cluster, redis_cluster

pytestmark = pytest.mark.servers

KEY = "maintenance-wsgi:{shop}:state"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    acl = re.findall(
        r"^    (user .*)$", (ROOT / "examples/fleet/README.md").read_text(), re.MULTILINE
    )
    assert len(acl) == 2
    folder = tmp_path_factory.mktemp("cluster")
    # Beside them the default user may do everything, as the tests and the replicas do.
    (folder / "acl").write_text("\n".join([*acl, "user default on nopass ~* &* +@all\n"]))
    with redis_cluster(folder, "--aclfile", str(folder / "acl")) as started:
        yield started


def url_of(*ports: int, user: str = "") -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"redis+cluster://{user}{hosts}/"


def switch(url: str, var: Path, *arguments: str) -> None:
    """Switch as soon as the cluster has failed over, and wait until the node has followed."""
    wait_for(lambda: invoke_fleet(url, *arguments, "--fleet=shop").exit_code == 0)
    is_on = arguments[0] == "enable"
    wait_for(lambda: (var / ".maintenance.flag").exists() == is_on)


def test_each_node_of_the_url_may_die(cluster: Cluster, tmp_path: Path) -> None:
    """A follower needs only one host in its URL, once it has seen the others."""
    masters = cluster.ports[:3]
    url = url_of(*masters)
    cluster.wait_until_whole()
    succeed(url, "disable", "--fleet=shop")
    with followers(url_of(masters[0]), tmp_path, "web1", fleet="shop") as directories:
        for number, port in enumerate(masters):
            cluster.stop(port)
            try:
                switch(url, directories["web1"], "enable", f"--message={number}")
                switch(url, directories["web1"], "disable")
            finally:
                cluster.start(port)
            cluster.wait_until_whole()


def test_owner_of_the_state_may_die(cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_until_whole()
    url, owner = url_of(*cluster.ports), cluster.owner(KEY)
    succeed(url, "disable", "--fleet=shop")
    with followers(url_of(owner), tmp_path, "web1", fleet="shop") as directories:
        cluster.stop(owner)
        try:
            switch(url, directories["web1"], "enable", "--wait=5")
        finally:
            cluster.start(owner)
    assert "is enabled" in succeed(url, "status", "--fleet=shop")


def test_store_that_lost_all_nodes_of_its_url_goes_on(cluster: Cluster) -> None:
    cluster.wait_until_whole()
    owner = cluster.owner(KEY)
    only = next(port for port in cluster.ports if port != owner)
    store = RedisStore(RedisConnection(url_of(only)), "shop", create=True)
    store.update(lambda state: state._replace(exemptions=b"203.0.113.7"))
    cluster.stop(only)
    try:
        wait_for(lambda: cluster.ask(owner, "CLUSTER", "INFO").startswith(b"cluster_state:ok"))
        store.close()
        assert store.read().exemptions == b"203.0.113.7"
    finally:
        cluster.start(only)
        store.close()


def test_acl_of_the_example_suffices_in_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """An operator may switch; a node may follow, and can switch nothing."""
    cluster.wait_until_whole()
    operator = url_of(*cluster.ports[:2], user="operator:change-me@")
    node = url_of(*cluster.ports[:2], user="node:change-me@")
    (tmp_path / "var").mkdir()
    succeed(operator, "enable", "--fleet=shop", "--message=Umzug")
    with follower(node, tmp_path / "var", "web1", fleet="shop"):
        wait_for((tmp_path / "var/.maintenance.flag").exists)
        said = succeed(operator, "disable", "--fleet=shop", "--wait=10")
        assert "Acknowledged by 1: web1" in said
    refused = invoke_fleet(node, "enable", "--fleet=shop")
    assert refused.exit_code == 1
    assert "grant the rights of the ACL" in refused.stderr


def test_missing_right_is_told_as_one(cluster: Cluster) -> None:
    """redis-py reports that no node can be connected, or that this is no cluster."""
    for port in cluster.ports:
        cluster.ask(port, "ACL", "SETUSER", "bare", "on", ">x", "~*", "&*", "+info", "+command")
    result = invoke_fleet(url_of(*cluster.ports, user="bare:x@"), "status")
    assert result.exit_code == 1
    assert "refuses: " in result.stderr
    assert "cluster|slots" in result.stderr
    assert "grant the rights of the ACL in examples/fleet/README.md" in result.stderr


def test_wrong_password_is_told_as_one(cluster: Cluster) -> None:
    result = invoke_fleet(url_of(*cluster.ports, user="operator:wrong@"), "status")
    assert result.exit_code == 1
    assert "rejected this user or password" in result.stderr


def test_plain_url_is_told_the_cluster(cluster: Cluster) -> None:
    other = next(p for p in cluster.ports if p != cluster.owner("maintenance-wsgi:{default}:state"))
    result = invoke_fleet(f"redis://127.0.0.1:{other}/0", "enable")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "is a node of a Redis Cluster; use redis+cluster:// or rediss+cluster://\n"
    )


def test_host_that_never_lived_is_passed_over(cluster: Cluster) -> None:
    with ExitStack() as stack:
        gone = stack.enter_context(held_port())
        succeed(url_of(gone, cluster.ports[1]), "disable", "--fleet=blog")
