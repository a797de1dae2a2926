"""What the examples of a fleet do for a node that is deployed, mounted and started."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.fleet.store import RedisStore
from tests.live.fleet.followers import follower, health_of
from tests.support.guides import blocks
from tests.support.mounts import mounted
from tests.support.needs import need, need_root
from tests.support.processes import (
    COMMAND,
    PATH,
    PROGRAMS,
    ROOT,
    counting,
    environ,
    run,
    unmeasured,
    wait_for,
)
from tests.support.wsgi import call, make_environ, shop

EXAMPLES = ROOT / "examples/fleet"


def setting(name: str) -> str:
    unit = (EXAMPLES / "maintenance-follow.service").read_text(encoding="utf-8")
    (value,) = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return str(value)


# What ProtectSystem=strict does: all is read-only but these paths, as they are at the start.
SANDBOX = """
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount --bind "$2" "$2"
mount -o remount,bind,rw "$2"
echo ready
read line
"$3" --dir "$4" enable
"""


@pytest.mark.parametrize("deploy", ["replaced", "link switched"])
def test_sandbox_of_the_unit_survives_a_deploy(deploy: str, tmp_path: Path) -> None:
    """While the service runs, its directory is replaced by another one."""
    need_root()
    need("mount")
    assert (setting("ProtectSystem"), setting("Environment")) == (
        "strict",
        "MAINTENANCE_DIR=/srv/shop/var",
    )
    var, released = tmp_path / "srv/shop/var", tmp_path / "srv/shop/releases"
    for number in (1, 2):
        (released / str(number)).mkdir(parents=True)
    if deploy == "replaced":
        var.mkdir()
    else:
        var.symlink_to("releases/1")
    writable = f"{tmp_path}{setting('ReadWritePaths')}"
    paths = map(str, (tmp_path, writable, COMMAND, var))
    command = ["unshare", "-m", "sh", "-ec", SANDBOX, "sh", *paths]
    with subprocess.Popen(
        command, env=unmeasured(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        if deploy == "replaced":
            shutil.rmtree(var)
            var.mkdir()
        else:
            (tmp_path / "new").symlink_to("releases/2")
            (tmp_path / "new").rename(var)
        printed, _ = process.communicate("\n", 60)
    assert process.returncode == 0, printed
    assert MaintenanceMode(var).is_enabled()


def test_unit_is_never_given_up() -> None:
    """By default systemd gives a service up that has failed five times in ten seconds."""
    assert (setting("Restart"), setting("StartLimitIntervalSec")) == ("always", "0")
    unit = (EXAMPLES / "maintenance-follow.service").read_text(encoding="utf-8")
    assert unit.index("[Unit]") < unit.index("\nStartLimitIntervalSec") < unit.index("[Service]")


def test_compose_starts_the_application_with_the_state_of_the_fleet() -> None:
    text = (EXAMPLES / "compose.yaml").read_text(encoding="utf-8")
    services = dict(re.findall(r"^  ([\w-]+):.*\n((?: {4}.*\n)+)", text, re.MULTILINE))
    assert (
        "until maintenance-wsgi --dir /state follow --once; do"
        in services["take-maintenance-state"]
    )
    waits = "take-maintenance-state: { condition: service_completed_successfully }"
    assert waits in services["shop"]
    assert waits in services["follow-maintenance-state"]
    assert "restart: always" in services["follow-maintenance-state"]
    assert "restart" not in services["take-maintenance-state"]


def test_flag_below_a_mount_closes_the_site_while_nothing_is_mounted(tmp_path: Path) -> None:
    text = (EXAMPLES / "without-redis.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    (mount --bind .*)$", text, re.MULTILINE)
    var, other = tmp_path / "shop/var", tmp_path / "mnt"
    for directory in (var, other):
        directory.mkdir(parents=True)
    with mounted(var, "-t", "tmpfs", "none"):
        gate = MaintenanceMiddleware(shop, var)
        run("sh", "-ec", line.replace("/srv/shop", f"{tmp_path}/shop").replace("/mnt", f"{other}"))
        assert call(gate, make_environ("203.0.113.7")).code == 200
    assert call(gate, make_environ("203.0.113.7")).code == 503
    with mounted(var, "-t", "tmpfs", "none"):
        assert call(gate, make_environ("203.0.113.7")).code == 200
    assert call(MaintenanceMiddleware(shop, var), make_environ("203.0.113.7")).code == 503


def jobs() -> dict[str, list[str]]:
    """Return the commands of the jobs beside the fleet, with a Python of our own."""
    text = (ROOT / "examples/deploy/kubernetes.yaml").read_text(encoding="utf-8")
    found = {}
    for manifest in yaml.safe_load_all(text):
        spec = manifest.get("spec", {})
        template = spec.get("jobTemplate", {"spec": spec})["spec"].get("template")
        if template:
            (container,) = template["spec"]["containers"]
            found[manifest["kind"]] = container["command"]
    return found


@pytest.mark.servers
def test_jobs_keep_to_the_mode_of_the_fleet(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path, tmp_path: Path
) -> None:
    """The migration begins when the node is down; the orders are sent only while it is up."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $* $(ls -A {var})\n")
    python.chmod(0o755)
    variables = environ(MAINTENANCE_REDIS=redis_url, PATH=f"{tmp_path}:{PATH}")

    def start(kind: str) -> str:
        return run(*jobs()[kind], env=variables).stdout

    with counting(var, 0), follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        assert "manage.py migrate .maintenance.flag .maintenance.follow" in start("Job")
        assert not operator.is_enabled()
        assert start("CronJob").startswith("manage.py send_orders .maintenance.follow")
        operator.enable()
        assert start("CronJob") == ""


@pytest.mark.servers
@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_application_of_a_manifest_counts_where_it_may_not_write(
    name: str, redis_url: str, operator: MaintenanceMode, var: Path
) -> None:
    """Otherwise the job that waits for its requests would close the fleet, and never begin."""
    assert not operator.is_enabled()
    manifest = (EXAMPLES / name).read_text(encoding="utf-8")
    (script,) = re.findall(r"touch /state.*?follow --once(?:; do sleep 1; done)?", manifest)
    path = f"{PROGRAMS}:{PATH}"
    variables = environ(MAINTENANCE_REDIS=redis_url, PATH=path)
    run("sh", "-c", script.replace("/state", str(var)), env=variables)
    (drain,) = re.findall(r'(MAINTENANCE_DRAIN)(?:: |, value: )"1"', manifest)
    program = "from maintenance_wsgi import wrap; wrap('wsgiref.simple_server:demo_app')"
    with mounted(var, "--bind", "--options", "ro", str(var)):
        variables = environ(MAINTENANCE_DIR=str(var), **{drain: "1"})
        assert run(sys.executable, "-c", program, env=variables).stderr == ""


@pytest.mark.servers
def test_lines_of_the_guide_switch_the_fleet(
    redis_url: str, fleet: RedisStore, operator: MaintenanceMode, var: Path
) -> None:
    (block,) = blocks((EXAMPLES / "README.md").read_text(encoding="utf-8"), "sh")
    script = re.sub(r"rediss://\S+", redis_url, block).replace("_FLEET=shop", "_FLEET=default")
    with counting(var, 0), follower(redis_url, var, "web1"):
        wait_for(lambda: health_of(fleet, "web1") == "current")
        printed = run("/bin/sh", "-ec", script, env=unmeasured()).stdout
    assert printed.count("\nAcknowledged by 1: web1\n") == 2
    assert not operator.is_enabled()
