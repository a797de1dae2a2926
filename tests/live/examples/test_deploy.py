"""The examples of a deployment, run on this machine in place of one with systemd."""

import fcntl
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.support.guides import EXAMPLES, copied
from tests.support.http import ask
from tests.support.needs import need, need_root
from tests.support.processes import COMMAND, PROGRAMS, counting, run, unmeasured, wait_for

UNIT = "shop.service"

# What systemd does with the unit.
SUDO = """#!/bin/sh -e
[ "$*" = "systemctl restart shop" ]
[ ! -e {root}/pid ] || kill "$(cat {root}/pid)"
while [ -e {root}/pid ]; do sleep 0.05; done
cd {directory}
export {variables}
exec {command} --daemon --pid {root}/pid --log-file {root}/log
"""
MIGRATE = """#!/bin/sh
curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}/ >>{root}/during
exit {code}
"""
WSGI = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"{number}"]
"""


@dataclass(frozen=True)
class Host:
    """A machine on which the shop is deployed."""

    examples: Path
    root: Path
    port: int

    @property
    def mode(self) -> MaintenanceMode:
        return MaintenanceMode(self.root / "var")

    @property
    def environ(self) -> dict[str, str]:
        found = unmeasured(ANSIBLE_HOME=f"{self.root}/ansible", LC_ALL="C.UTF-8")
        return found | {"PATH": f"{self.root}/bin:{found['PATH']}"}

    def release(self, number: int, code: int = 0, wsgi: str = WSGI) -> None:
        """Bring a release whose migration ends with an exit code."""
        folder = self.root / f"releases/{number}"
        (folder / "shop").mkdir(parents=True, exist_ok=True)
        (folder / "shop/__init__.py").touch()
        (folder / "shop/wsgi.py").write_text(wsgi.format(number=number))
        migrate = MIGRATE.format(port=self.port, root=self.root, code=code)
        make_program(folder / "migrate", migrate)

    def setting(self, name: str) -> list[str]:
        unit = (self.examples / UNIT).read_text(encoding="utf-8")
        return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)

    def answer(self, path: str = "/") -> tuple[int, bytes]:
        found = ask(("127.0.0.1", self.port), path)
        return found.code, found.body


def make_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Yield a host on which release 1 runs."""
    need("curl")
    with copied(
        "deploy",
        tmp_path,
        ("--retry 20", "--retry 2"),
        ("retries: 20", "retries: 3"),
        ("--drain 30", "--drain 2"),
    ) as (
        examples,
        port,
    ):
        host = Host(examples, tmp_path / "srv", port)
        for name in ("var", "bin", "releases"):
            (host.root / name).mkdir(parents=True)
        (host.root / "venv").symlink_to(PROGRAMS.parent)
        host.release(1)
        (host.root / "current").symlink_to("releases/1")
        text = SUDO.format(
            root=host.root,
            directory=host.setting("WorkingDirectory")[0],
            variables=" ".join(host.setting("Environment")),
            command=host.setting("ExecStart")[0],
        )
        make_program(host.root / "bin/sudo", text)
        run(host.root / "bin/sudo", "systemctl", "restart", "shop", env=host.environ)
        wait_for(lambda: is_up(host))
        try:
            yield host
        finally:
            with suppress(FileNotFoundError):
                os.kill(int((host.root / "pid").read_text()), signal.SIGKILL)


def is_up(host: Host) -> bool:
    with suppress(OSError):
        return host.answer() == (200, b"1")
    return False


@pytest.mark.servers
class TestScript:
    @staticmethod
    def deploy(host: Host, release: int, code: int = 0) -> str:
        script = host.examples / "deploy.sh"
        return run(script, str(release), code=code, env=host.environ).stderr

    def test_release_is_deployed_behind_the_page(self, host: Host) -> None:
        host.release(2)
        self.deploy(host, 2)
        assert (host.root / "during").read_text() == "503"
        assert host.answer() == (200, b"2")

    def test_failed_step_leaves_maintenance_on_and_is_named(self, host: Host) -> None:
        host.release(2, code=3)
        printed = self.deploy(host, 2, code=3)
        assert "deploy.sh: release 2: cannot migrate the database\n" in printed
        assert "maintenance mode stays on; switch it off with: " in printed
        assert (host.answer()[0], host.answer("/status")) == (503, (200, b"1"))
        host.release(2)
        assert "was on before, and is left as it is" in self.deploy(host, 2)
        assert (host.answer()[0], host.answer("/status")) == (503, (200, b"2"))
        host.mode.disable()
        assert host.answer() == (200, b"2")

    def test_release_that_does_not_answer_is_not_shown(self, host: Host) -> None:
        host.release(2, wsgi="{number} / 0")
        printed = self.deploy(host, 2, code=22)
        assert "deploy.sh: release 2: cannot get a right answer from the application" in printed
        assert host.answer()[0] == 503

    def test_second_deployment_at_the_same_time_is_refused(self, host: Host) -> None:
        host.release(2)
        first = os.open(host.root / "releases", os.O_RDONLY)
        fcntl.flock(first, fcntl.LOCK_EX)
        assert "another deployment runs; wait" in self.deploy(host, 2, code=1)
        os.close(first)
        assert host.answer() == (200, b"1")
        self.deploy(host, 2)
        assert host.answer() == (200, b"2")

    def test_release_that_is_not_there_changes_nothing(self, host: Host) -> None:
        assert "releases/7: No such file" in self.deploy(host, 7, code=1)
        assert host.answer() == (200, b"1")


def play(host: Host, release: int, code: int = 0) -> tuple[str, str]:
    """Run the playbook; return how many tasks have changed something, and what it prints."""
    variables = f"release={release} ansible_python_interpreter={sys.executable}"
    options = ["-i", "shop,", "-c", "local", "-e", variables, f"{host.examples}/playbook.yaml"]
    result = run(PROGRAMS / "ansible-playbook", *options, code=code, env=host.environ)
    (changed,) = re.findall(r"changed=([0-9]+)", result.stdout)
    return changed, result.stdout


@pytest.mark.servers
def test_playbook_deploys_once_and_stops_at_a_failure(host: Host) -> None:
    host.release(2)
    assert play(host, 2)[0] == "6"
    assert (host.root / "during").read_text() == "503"
    assert host.answer() == (200, b"2")
    assert play(host, 2)[0] == "0"
    host.release(3, code=1)
    _, printed = play(host, 3, code=2)
    assert "'Migrate the database' failed. Maintenance mode stays as it is" in printed
    assert (host.answer()[0], host.answer("/status")) == (503, (200, b"2"))
    host.release(3)
    play(host, 3)
    assert (host.answer()[0], host.answer("/status")) == (503, (200, b"3"))


@pytest.mark.servers
def test_playbook_that_is_run_again_waits_for_earlier_requests_too(host: Host) -> None:
    host.release(2)
    with counting(host.root / "var", 1):
        for _ in range(2):
            _, printed = play(host, 2, code=2)
            assert "and wait until no earlier request runs' failed. Maintenance" in printed
        assert not (host.root / "during").exists()
    play(host, 2)
    assert host.answer("/status") == (200, b"2")


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.service")), ids=lambda path: path.name)
def test_systemd_accepts_the_unit(path: Path, tmp_path: Path) -> None:
    unit = tmp_path / path.name
    text = path.read_text(encoding="utf-8")
    unit.write_text(re.sub("/srv/[a-z-]+/venv/bin", str(PROGRAMS), text))
    result = run(need("systemd-analyze"), "verify", unit)
    assert result.stdout + result.stderr == ""


def test_unit_counts_requests_where_the_server_may_not_write(open_folder: Path) -> None:
    """The file that the guide has the owner make is enough."""
    need_root()
    guide = (EXAMPLES / "deploy/README.md").read_text(encoding="utf-8")
    assert "sudo -u deploy touch /srv/shop/var/.maintenance.requests" in guide
    text = (EXAMPLES / "deploy" / UNIT).read_text(encoding="utf-8")
    assert "MAINTENANCE_DRAIN=1" in text
    assert "ReadWritePaths=/srv/shop/var" not in text
    var = open_folder / "var"
    var.mkdir()
    (var / ".maintenance.requests").touch()
    with counting(var, 1, user=33) as process:
        result = run(COMMAND, "--dir", var, "enable", "--drain=1", code=1, env=unmeasured())
        assert f"process {process} (" in result.stderr


@pytest.mark.parametrize("version", ["1.29", "latest"])
def test_kubernetes_accepts_the_manifests(version: str) -> None:
    """The first version is the oldest that the fleet's manifest names."""
    manifests = sorted(map(str, EXAMPLES.glob("*/kubernetes.yaml")))
    assert len(manifests) == 2
    assert f"Kubernetes {version} or later" in Path(manifests[1]).read_text() or version == "latest"
    chosen = [] if version == "latest" else ["-k", version]
    run(PROGRAMS / "kubernetes-validate", "--strict", *chosen, *manifests)


def test_crontab_line_skips_its_run(var: Path) -> None:
    line = (EXAMPLES / "deploy/crontab").read_text(encoding="utf-8").splitlines()[-1]
    command = line.removeprefix("* * * * * ").replace("/srv/shop/var", str(var))
    command = command.replace("php /srv/shop/bin/magento cron:run", "echo ran")
    command = command.replace("/srv/shop/venv/bin", str(PROGRAMS))
    environ = unmeasured() | {"PATH": "/usr/bin:/bin"}  # of Debian's cron

    def cron() -> str:
        return run("/bin/sh", "-c", command, env=environ, code=None).stdout

    mode = MaintenanceMode(var)
    assert cron() == "ran\n"
    mode.enable()
    assert cron() == ""
    mode.disable()
    assert cron() == "ran\n"
