"""Maintenance mode as operators switch it, in one directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maintenance_wsgi import (
    MaintenanceMode,
    StateError,
)


def test_disable_keeps_the_list(mode: MaintenanceMode) -> None:
    mode.enable(exemptions=["203.0.113.7"])
    mode.disable()
    mode.disable()
    assert not mode.is_enabled()
    assert mode.exemptions == ("203.0.113.7",)
    mode.disable(exemptions=["203.0.113.8"])
    assert mode.exemptions == ("203.0.113.8",)


def test_linked_list_is_written_through_and_emptied(mode: MaintenanceMode, ip_list: Path) -> None:
    shared = ip_list.with_name("shared")
    shared.touch()
    ip_list.symlink_to(shared)
    mode.add_exemptions(["203.0.113.7"])
    assert shared.read_bytes() == b"203.0.113.7"
    mode.set_exemptions([])
    assert shared.read_bytes() == b""
    assert ip_list.is_symlink()


def test_enabled_block_restores_what_it_found(mode: MaintenanceMode, flag: Path) -> None:
    with mode.enabled(message="a"):
        assert mode.status().message == "a"
        with mode.enabled(message="b"):
            assert mode.status().message == "a"
        assert mode.is_enabled()
    assert not flag.exists()


def test_overlapping_blocks_end_with_the_last(mode: MaintenanceMode, flag: Path) -> None:
    other = MaintenanceMode(mode.directory)
    first, second = mode.enabled(message="a"), other.enabled(message="b")
    assert first.__enter__() is True
    assert second.__enter__() is False
    first.__exit__(None, None, None)
    assert mode.status().message == "a"
    second.__exit__(None, None, None)
    assert not flag.exists()


@pytest.mark.parametrize("content", ["", "back at 5", '{"message": "a"}'])
def test_block_leaves_alone_what_a_person_switched_on(
    content: str, mode: MaintenanceMode, flag: Path
) -> None:
    flag.write_text(content)
    with mode.enabled(message="b", exemptions=["203.0.113.7"]) as switched_on:
        assert not switched_on
        assert mode.exemptions == ()
    assert flag.read_text() == content


def test_person_who_enables_within_a_block_keeps_it_on(mode: MaintenanceMode) -> None:
    with mode.enabled():
        mode.enable()
    assert mode.is_enabled()


def test_person_who_disables_within_a_block_is_not_overruled(
    mode: MaintenanceMode, flag: Path
) -> None:
    with mode.enabled():
        mode.disable()
        flag.touch()
    assert flag.read_bytes() == b""


def test_block_restores_the_list_it_found(mode: MaintenanceMode, ip_list: Path) -> None:
    ip_list.write_text("# office\n203.0.113.7\n")
    with mode.enabled(exemptions=["203.0.113.8"]) as switched_on:
        assert switched_on
        assert ip_list.read_text() == "203.0.113.8"
    assert ip_list.read_text() == "# office\n203.0.113.7\n"
    with mode.enabled(exemptions=["203.0.113.8"]):
        mode.add_exemptions(["203.0.113.9"])
    assert mode.exemptions == ("203.0.113.8", "203.0.113.9")


def test_block_restores_a_linked_list_through_its_link(
    mode: MaintenanceMode, ip_list: Path
) -> None:
    shared = ip_list.with_name("shared")
    shared.touch()
    ip_list.symlink_to(shared)
    with mode.enabled(exemptions=["203.0.113.8"]):
        assert shared.read_bytes() == b"203.0.113.8"
    assert ip_list.is_symlink()
    assert shared.read_bytes() == b""


def test_site_opens_only_when_the_list_is_in_place(mode: MaintenanceMode, ip_list: Path) -> None:
    mode.enable()
    ip_list.mkdir()
    with pytest.raises(StateError):
        mode.disable(exemptions=["203.0.113.7"])
    assert mode.is_enabled()


@pytest.mark.parametrize("exemptions", [[], ["203.0.113.7"]])
def test_list_is_put_back_with_the_flag_by_the_last_block(
    exemptions: list[str], mode: MaintenanceMode
) -> None:
    mode.set_exemptions(["10.0.0.0/8"])
    first = mode.enabled(exemptions=exemptions)
    second = MaintenanceMode(mode.directory).enabled(exemptions=exemptions)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert mode.exemptions == tuple(exemptions)
    second.__exit__(None, None, None)
    assert mode.exemptions == ("10.0.0.0/8",)


def test_person_who_enables_within_a_block_keeps_its_list(mode: MaintenanceMode) -> None:
    with mode.enabled(exemptions=["203.0.113.7"]):
        mode.enable()
    assert mode.exemptions == ("203.0.113.7",)
    assert "lists" not in Path(mode.flag_path).read_text()


def test_block_that_somebody_ended_changes_nothing_more(mode: MaintenanceMode) -> None:
    with mode.enabled(exemptions=["203.0.113.7"]):
        mode.disable()
    assert not mode.is_enabled()
    assert mode.exemptions == ("203.0.113.7",)


def test_block_ends_in_the_process_that_began_it(
    mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mode.enabled():
        monkeypatch.setattr("os.getpid", lambda: 1)
    assert mode.is_enabled()


def test_failed_block_switches_off_where_it_was_told_to(mode: MaintenanceMode) -> None:
    with pytest.raises(ZeroDivisionError), mode.enabled(disable_on_failure=True):
        _ = 1 / 0
    assert not mode.is_enabled()


def test_failed_block_stays_on_whatever_others_do(mode: MaintenanceMode) -> None:
    with pytest.raises(ZeroDivisionError), mode.enabled():
        _ = 1 / 0
    with mode.enabled():
        pass
    assert mode.is_enabled()


def test_enabled_block_that_fails_leaves_maintenance_on(mode: MaintenanceMode) -> None:
    with pytest.raises(ZeroDivisionError), mode.enabled():
        _ = 1 / 0
    assert mode.is_enabled()


def test_unreadable_list_is_told_to_people(
    mode: MaintenanceMode, flag: Path, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.touch()
    ip_list.mkdir()
    found = mode.status()
    assert (found.enabled, found.exempt) == (True, ())
    assert str(ip_list) in caplog.text
    with pytest.raises(StateError, match=str(ip_list)):
        _ = mode.exemptions
    with pytest.raises(StateError):
        mode.add_exemptions(["203.0.113.7"])
    assert ip_list.is_dir()


@pytest.mark.parametrize("action", ["enable", "disable"])
def test_missing_directory_is_never_created(tmp_path: Path, action: str) -> None:
    mode = MaintenanceMode(tmp_path / "no")
    with pytest.raises(StateError, match="no directory"):
        getattr(mode, action)()
    assert not (tmp_path / "no").exists()


def test_flag_that_is_a_directory_is_not_removed_by_force(
    mode: MaintenanceMode, flag: Path
) -> None:
    flag.mkdir()
    with pytest.raises(StateError, match=str(flag)):
        mode.disable()
    assert mode.is_enabled()


def test_directory_that_becomes_a_loop_is_an_error_for_people(
    mode: MaintenanceMode, var: Path
) -> None:
    var.rmdir()
    var.symlink_to(var)
    with pytest.raises(StateError, match="cannot look at the flag"):
        mode.status()


ADD_ONE_BY_ONE = """
import sys
from maintenance_wsgi import MaintenanceMode
mode = MaintenanceMode(sys.argv[1])
for number in range(20):
    mode.add_exemptions([f"10.0.{sys.argv[2]}.{number}"])
"""


def test_writers_lose_nothing_of_each_other(var: Path, mode: MaintenanceMode) -> None:
    program = [sys.executable, "-c", ADD_ONE_BY_ONE, str(var)]
    writers = [subprocess.Popen([*program, str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(mode.exemptions) == 60
    assert sorted(os.listdir(var)) == [".maintenance.ip"]


@pytest.mark.parametrize(
    ("lists", "left"),
    [(["€", "€"], b"203.0.113.7"), (["€", "203.0.113.7"], b"?")],
    ids=["both", "the-first"],
)
def test_block_ends_though_somebody_wrote_odd_lists_into_its_flag(
    lists: list[str], left: bytes, mode: MaintenanceMode, flag: Path, ip_list: Path
) -> None:
    with mode.enabled(exemptions=["203.0.113.7"]):
        flag.write_text(json.dumps(json.loads(flag.read_text()) | {"lists": lists}))
    assert not flag.exists()
    assert ip_list.read_bytes() == left
