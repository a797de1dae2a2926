"""State that something else puts in place: a Kubernetes ConfigMap, a mount that is read-only."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from tests.support.commands import invoke
from tests.support.config_map import ConfigMap
from tests.support.logs import warnings_of
from tests.support.mounts import mounted
from tests.support.needs import need_root
from tests.support.processes import ROOT, environ, run
from tests.support.wsgi import call, make_environ, shop

FLAG, LIST = ".maintenance.flag", ".maintenance.ip"
SECONDS = 5


@pytest.fixture
def config_map(var: Path) -> ConfigMap:
    return ConfigMap(var)


@pytest.fixture
def answers(var: Path, config_map: ConfigMap) -> Callable[[], list[int]]:
    """Give the answers to two addresses: .7, which is exempt at first, and .8."""
    config_map.apply(ip="203.0.113.7")
    middleware = MaintenanceMiddleware(shop, var)

    def ask() -> list[int]:
        return [
            call(middleware, make_environ(peer)).code for peer in ("203.0.113.7", "203.0.113.8")
        ]

    return ask


def test_every_version_is_seen_by_the_next_request(
    config_map: ConfigMap, answers: Callable[[], list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    assert answers() == [200, 200]
    for _ in range(3):
        config_map.apply(ip="203.0.113.7", flag="")
        assert answers() == [200, 503]
        config_map.apply(ip="203.0.113.8", flag="")
        assert answers() == [503, 200]
        config_map.apply(flag='{"message": "Umzug"}')
        assert answers() == [503, 503]
        config_map.apply(ip="203.0.113.7")
        assert answers() == [200, 200]
    assert warnings_of(caplog) == []


def test_nobody_slips_in_while_the_links_are_made(
    config_map: ConfigMap, answers: Callable[[], list[int]]
) -> None:
    """Between the rename and the links a flag that goes dangles, one that comes is not there."""
    seen: list[list[int]] = []

    def look() -> None:
        seen.append(answers())

    config_map.apply(ip="203.0.113.7", flag="", between=look)  # not yet
    config_map.apply(ip="203.0.113.8", flag="", between=look)  # at once: both are there
    config_map.apply(flag="", between=look)  # the list dangles: nobody is exempt
    config_map.apply(ip="203.0.113.8", between=look)  # the flag dangles: off already
    assert seen == [[200, 200], [503, 200], [503, 503], [200, 200]]


def test_swaps_neither_open_the_site_nor_shut_out_the_exempt(
    config_map: ConfigMap, answers: Callable[[], list[int]], var: Path
) -> None:
    """Another process swaps as fast as it can, which the kubelet does once a minute."""
    config_map.apply(ip="203.0.113.7", flag="")
    command = [sys.executable, "-m", "tests.support.config_map", str(var), str(SECONDS)]
    variables = environ(PYTHONPATH=str(ROOT))
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as swapping:
        seen = Counter(tuple(answers()) for _ in iter(swapping.poll, 0))
        printed, _ = swapping.communicate()
    assert int(printed) > 100 * SECONDS
    assert set(seen) == {(200, 503)}, seen
    assert seen.total() > 100 * SECONDS


def test_command_reads_it(config_map: ConfigMap, var: Path) -> None:
    config_map.apply(flag='{"message": "Umzug"}', ip="203.0.113.7")
    found = MaintenanceMode(var).status()
    assert (found.enabled, found.window.message, found.exemptions) == (
        True,
        "Umzug",
        ("203.0.113.7",),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["enable"],
        ["enable", "--ip=203.0.113.8"],
        ["disable"],
        ["allow-ips", "203.0.113.8"],
        ["run", "true"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_on", [False, True])
def test_command_cannot_write_it_and_says_where_to(
    arguments: list[str], config_map: ConfigMap, var: Path, *, is_on: bool
) -> None:
    if is_on:
        config_map.apply(flag="", ip="203.0.113.7")
    else:
        config_map.apply(ip="203.0.113.7")
    before = {name: (var / name).read_text() for name in os.listdir(var) if name[1] != "."}
    with mounted(var, "--bind", var):
        run("mount", "-o", "remount,bind,ro", var)
        result = invoke("--dir", str(var), *arguments)
        found = {name: (var / name).read_text() for name in os.listdir(var) if name[1] != "."}
    unchanged = [["enable"], ["run", "true"]] if is_on else [["disable"]]
    if arguments in unchanged:
        assert result.exit_code == 0  # nothing to change
    else:
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Read-only file system" in result.stderr
        assert "systemd: ReadWritePaths=, Docker: a volume" in result.stderr
        assert "if a deploy has replaced it, restart the service" in result.stderr
        assert "a ConfigMap with kubectl" in result.stderr
    assert found == before


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (FLAG, ["enable", "--message=a"]),
        (FLAG, ["disable"]),
        (LIST, ["allow-ips", "203.0.113.8"]),
        (LIST, ["allow-ips", "--none"]),
    ],
    ids=str,
)
def test_file_that_is_mounted_by_itself_is_refused_with_a_remedy(
    name: str, arguments: list[str], var: Path, tmp_path: Path
) -> None:
    (var / name).touch()
    source = tmp_path / "source"
    source.write_text("203.0.113.7" if name == LIST else "")
    with mounted(var / name, "--bind", source):
        result = invoke("--dir", str(var), *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{var / name}: root cannot access it: Device or resource busy" in result.stderr
    assert "mount its directory instead" in result.stderr
    assert ".tmp" not in result.stderr
    assert os.listdir(var) == [name]


def test_file_of_another_user_in_a_sticky_directory_is_refused_with_a_remedy() -> None:
    need_root()
    with TemporaryDirectory() as directory:
        os.chmod(directory, 0o1777)  # noqa: S103 (as /tmp)
        Path(directory, FLAG).touch()
        os.seteuid(65534)
        try:
            result = invoke("--dir", directory, "disable")
        finally:
            os.seteuid(0)
    assert result.exit_code == 1
    assert "Operation not permitted; run the command as its owner; if it is immu" in result.stderr
    assert "chattr -i" in result.stderr
