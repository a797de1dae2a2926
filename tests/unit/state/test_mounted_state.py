"""State that something else puts in place: a Kubernetes ConfigMap, a mount that is read-only."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
USER = 54321


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


@contextmanager
def directory(flag: Path) -> Iterator[None]:
    flag.mkdir()
    yield


@contextmanager
def mount(flag: Path) -> Iterator[None]:
    flag.touch()
    with mounted(flag, "--bind", flag):
        yield


@contextmanager
def sticky(flag: Path) -> Iterator[None]:
    flag.touch()
    os.chown(flag.parent, -1, USER)
    flag.parent.chmod(0o1775)
    os.setegid(USER)
    os.seteuid(USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("earlier", [None, "# a\n203.0.113.1\n"])
@pytest.mark.parametrize("arguments", [["disable"], ["enable", "--message=a"]], ids=" ".join)
@pytest.mark.parametrize("obstacle", [directory, mount, sticky])
def test_list_stays_if_the_flag_cannot_be_changed(
    obstacle: Callable[[Path], AbstractContextManager[None]],
    arguments: list[str],
    earlier: str | None,
    open_folder: Path,
) -> None:
    need_root()
    listed = open_folder / LIST
    if earlier:
        listed.write_text(earlier)
        os.chown(listed, USER, USER)
    with obstacle(open_folder / FLAG):
        result = invoke("--dir", str(open_folder), *arguments, "--ip=203.0.113.9")
    assert result.exit_code == 1
    assert f"{open_folder / FLAG}: " in result.stderr
    assert (listed.read_text() if listed.exists() else None) == earlier


def test_list_that_cannot_be_put_back_is_told(open_folder: Path) -> None:
    need_root()
    listed = open_folder / LIST
    listed.touch()
    os.chown(listed, 12345, 12345)
    open_folder.chmod(0o777)  # so that the list may not be read
    with mount(open_folder / FLAG):
        result = invoke("--dir", str(open_folder), "disable", "--ip=203.0.113.9")
    assert result.stderr.endswith("; and set the list again: it has been replaced\n")
    assert (result.exit_code, listed.read_text()) == (1, "203.0.113.9")


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


@pytest.mark.parametrize(
    ("line", "is_offered"),
    [
        ("enable --message=a", True),
        ("allow-ips --add 203.0.113.8", False),
        ("disable --ip 203.0.113.8", False),
    ],
)
def test_way_to_switch_on_is_told_on_a_full_disk_if_it_is_wanted(
    line: str, var: Path, *, is_offered: bool
) -> None:
    with mounted(var, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        MaintenanceMode(var).enable(exemptions=["203.0.113.7"])
        with suppress(OSError):
            (var / "filler").write_bytes(bytes(1024 * 1024))
        result = invoke("--dir", str(var), *line.split())
    assert result.exit_code == 1
    assert "No space left on device; free some space" in result.stderr
    assert (f"run: touch {var / FLAG}" in result.stderr) is is_offered
