"""Maintenance mode as operators switch it, in one directory."""

import json
import os
import pwd
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintenance_wsgi import ConfigTypeError, EntryError, MaintenanceMode, StateError

LATER = datetime.now(UTC) + timedelta(minutes=40)


def test_disable_keeps_the_list(mode: MaintenanceMode) -> None:
    mode.enable(exemptions=["203.0.113.7"])
    mode.disable()
    mode.disable()
    assert not mode.is_enabled()
    assert mode.exemptions == ("203.0.113.7",)
    mode.disable(exemptions=["203.0.113.8"])
    assert mode.exemptions == ("203.0.113.8",)


def test_window_restores_what_it_found(mode: MaintenanceMode, flag: Path) -> None:
    with mode.window(message="a"):
        assert mode.status().window.message == "a"
        with mode.window(message="b"):
            assert mode.status().window.message == "a"
        assert mode.is_enabled()
    assert not flag.exists()


def test_overlapping_blocks_end_with_the_last(mode: MaintenanceMode, flag: Path) -> None:
    other = MaintenanceMode(mode.store)
    first, second = mode.window(message="a"), other.window(message="b")
    assert first.__enter__() is True
    assert second.__enter__() is False
    first.__exit__(None, None, None)
    assert mode.status().window.message == "a"
    second.__exit__(None, None, None)
    assert not flag.exists()


@pytest.mark.parametrize("content", ["", "back at 5", '{"message": "a"}'])
def test_block_leaves_alone_what_an_operator_switched_on(
    content: str, mode: MaintenanceMode, flag: Path
) -> None:
    flag.write_text(content)
    with mode.window(message="b", exemptions=["203.0.113.7"]) as switched_on:
        assert not switched_on
        assert mode.exemptions == ()
    assert flag.read_text() == content


def test_operator_who_disables_within_a_block_is_not_overruled(
    mode: MaintenanceMode, flag: Path
) -> None:
    with mode.window():
        mode.disable()
        flag.touch()
    assert flag.read_bytes() == b""


def test_block_restores_the_list_it_found(mode: MaintenanceMode, ip_list: Path) -> None:
    ip_list.write_text("# office\n203.0.113.7\n")
    with mode.window(exemptions=["203.0.113.8"]) as switched_on:
        assert switched_on
        assert ip_list.read_text() == "203.0.113.8"
    assert ip_list.read_text() == "# office\n203.0.113.7\n"
    with mode.window(exemptions=["203.0.113.8"]):
        mode.add_exemptions(["203.0.113.9"])
    assert mode.exemptions == ("203.0.113.8", "203.0.113.9")


def test_block_restores_a_linked_list_through_its_link(
    mode: MaintenanceMode, ip_list: Path
) -> None:
    shared = ip_list.with_name("shared")
    shared.touch()
    ip_list.symlink_to(shared)
    with mode.window(exemptions=["203.0.113.8"]):
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
def test_block_puts_back_the_list_that_it_replaced_and_the_last_one_switches_off(
    exemptions: list[str], mode: MaintenanceMode
) -> None:
    mode.set_exemptions(["10.0.0.0/8"])
    first = mode.window(exemptions=exemptions)
    second = MaintenanceMode(mode.store).window(exemptions=exemptions)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert mode.is_enabled()
    assert mode.exemptions == ("10.0.0.0/8",)
    second.__exit__(None, None, None)
    assert not mode.is_enabled()
    assert mode.exemptions == ("10.0.0.0/8",)


def test_operator_who_enables_within_a_block_keeps_it_on_with_its_list(
    mode: MaintenanceMode, flag: Path
) -> None:
    with mode.window(exemptions=["203.0.113.7"]):
        mode.enable()
    assert mode.is_enabled()
    assert mode.exemptions == ("203.0.113.7",)
    assert "203.0.113.7" not in flag.read_text()


def test_block_that_an_operator_ended_changes_nothing_more(mode: MaintenanceMode) -> None:
    with mode.window(exemptions=["203.0.113.7"]):
        mode.disable()
    assert not mode.is_enabled()
    assert mode.exemptions == ("203.0.113.7",)


def test_block_ends_in_the_process_that_began_it(
    mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mode.window():
        monkeypatch.setattr("os.getpid", lambda: 1)
    assert mode.is_enabled()


def test_failed_block_switches_off_where_it_was_told_to(mode: MaintenanceMode) -> None:
    with pytest.raises(ZeroDivisionError), mode.window(disable_on_failure=True):
        _ = 1 / 0
    assert not mode.is_enabled()


def test_failed_block_stays_on_whatever_others_do(mode: MaintenanceMode) -> None:
    with pytest.raises(ZeroDivisionError), mode.window():
        _ = 1 / 0
    with mode.window():
        pass
    assert mode.is_enabled()


def test_unreadable_list_is_told_to_operators(
    mode: MaintenanceMode, flag: Path, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.touch()
    ip_list.mkdir()
    found = mode.status()
    assert (found.enabled, found.exemptions) == (True, ())
    assert str(ip_list) in caplog.text
    with pytest.raises(StateError, match=str(ip_list)):
        _ = mode.exemptions
    with pytest.raises(StateError):
        mode.add_exemptions(["203.0.113.7"])
    assert ip_list.is_dir()


@pytest.mark.parametrize("action", ["enable", "disable"])
def test_missing_directory_is_never_created(tmp_path: Path, action: str) -> None:
    mode = MaintenanceMode(tmp_path / "no")
    with pytest.raises(StateError, match="does not exist"):
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
    with pytest.raises(StateError, match="Too many levels"):
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


def test_nothing_in_the_flag_says_what_a_block_puts_back(
    mode: MaintenanceMode, flag: Path, ip_list: Path
) -> None:
    ip_list.write_text("10.0.0.0/8")
    with mode.window(exemptions=["203.0.113.7"]):
        members = json.loads(flag.read_text())
        assert set(members) == {"by", "since", "holders"}
        flag.write_text(json.dumps(members | {"lists": ["0.0.0.0/0", "203.0.113.7"]}))
    assert not flag.exists()
    assert ip_list.read_bytes() == b"10.0.0.0/8"


def test_disable_changes_nothing_if_maintenance_is_already_off(
    mode: MaintenanceMode, var: Path
) -> None:
    before = var.stat().st_mtime_ns
    mode.disable()
    assert var.stat().st_mtime_ns == before


@pytest.mark.parametrize("where", [None, 7, b"var", object()])
def test_place_that_is_neither_a_path_nor_a_store_is_refused(where: Any) -> None:
    with pytest.raises(ConfigTypeError, match="directory"):
        MaintenanceMode(where)


def test_window_is_a_block_and_no_condition(mode: MaintenanceMode) -> None:
    with pytest.raises(ConfigTypeError, match=r"enabled: is not a condition; use is_enabled\(\)"):
        bool(mode.enabled)
    assert not mode.is_enabled()


def test_enabled_details_round_trip(mode: MaintenanceMode) -> None:
    mode.enable(message="Umzug", until=LATER, retry_after=120)
    found = mode.status()
    assert found.enabled
    assert (found.window.message, found.window.until, found.window.retry_after) == (
        "Umzug",
        LATER,
        120,
    )
    assert found.window.since is not None
    assert found.window.by is not None
    assert found.window.by.startswith(pwd.getpwuid(os.geteuid()).pw_name)


def test_new_message_drops_the_translations_and_says_so(
    mode: MaintenanceMode, caplog: pytest.LogCaptureFixture
) -> None:
    mode.enable(message="Moving house", messages={"fr": "Nous déménageons", "de": "Umzug"})
    assert caplog.messages == []
    mode.enable(message="Back soon")
    assert caplog.messages == [f"{mode.store}: the message in de, fr is dropped"]
    assert mode.status().window.messages is None


def test_enable_names_the_sudo_user(mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    mode.enable()
    assert str(mode.status().window.by).startswith("alice@")


def test_sudo_user_is_written_as_one_safe_line(
    mode: MaintenanceMode, flag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ceo\x1b[2J\nStatus: off\u202e\u200b\udcff")
    with mode.window():
        written = json.loads(flag.read_bytes())
    for name in (written["by"], *written["holders"]):
        assert name.startswith(r"ceo\x1b[2J\nStatus: off\u202e\u200b\udcff@")


def test_enable_without_options_keeps_what_is_there(mode: MaintenanceMode, flag: Path) -> None:
    flag.write_text('{"message": "a"}')
    mode.enable()
    assert flag.read_text() == '{"message": "a"}'


def test_enable_changes_only_what_is_given(mode: MaintenanceMode, flag: Path) -> None:
    flag.write_text('{"message": "a", "retry_after": 5, "ticket": 7}')
    mode.enable(message="b", until=LATER)
    found = mode.status()
    assert (found.window.message, found.window.until, found.window.retry_after) == ("b", LATER, 5)
    assert '"ticket": 7' in flag.read_text()


@pytest.mark.parametrize("values", [{}, {"message": "b"}], ids=str)
def test_enable_says_what_text_it_replaces(
    values: dict[str, Any], mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_bytes(b"back at 5")
    mode.enable(**values)
    assert mode.status().window.by
    assert "back at 5" in caplog.text


def test_change_is_what_a_method_returns(mode: MaintenanceMode) -> None:
    off, on = mode.enable(exemptions=["203.0.113.7"])
    assert (off.flag, off.exemptions, on.exemptions) == (None, b"", b"203.0.113.7")
    assert mode.enable() == (on, on)
    assert mode.add_exemptions(["203.0.113.7"]) == (on, on)
    longer = on._replace(exemptions=b"203.0.113.7,203.0.113.8")
    assert mode.add_exemptions(["203.0.113.8"]) == (on, longer)
    assert mode.remove_exemptions(["203.0.113.8"]) == (longer, on)
    assert mode.set_exemptions([]) == (on, on._replace(exemptions=b""))
    assert mode.disable()[1] == off
    assert mode.disable() == (off, off)


@pytest.mark.parametrize("action", ["enable", "disable"])
def test_bad_exemption_changes_nothing(mode: MaintenanceMode, flag: Path, action: str) -> None:
    before = action == "disable"
    if before:
        flag.touch()
    with pytest.raises(EntryError):
        getattr(mode, action)(exemptions=["203.0.113.7", "nope"])
    assert mode.is_enabled() is before
    assert mode.exemptions == ()


def test_exemptions_are_written_as_magento_reads_them(mode: MaintenanceMode, ip_list: Path) -> None:
    mode.set_exemptions(["10.1.2.3/8", "2001:DB8::1"])
    mode.add_exemptions(["10.0.0.0/8", "203.0.113.7"])
    assert ip_list.read_bytes() == b"10.0.0.0/8,2001:db8::1,203.0.113.7"
    assert mode.exemptions == ("10.0.0.0/8", "2001:db8::1", "203.0.113.7")
    mode.set_exemptions([])
    assert not ip_list.exists()


def test_exemptions_must_be_a_list(mode: MaintenanceMode) -> None:
    with pytest.raises(ConfigTypeError, match="exemptions"):
        mode.set_exemptions("203.0.113.7")


def test_add_copes_with_a_list_edited_by_hand(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("# office\n203.0.113.7, 10.0.0.1,\nnope\n")
    mode.add_exemptions(["203.0.113.8"])
    assert ip_list.read_bytes() == b"# office\n203.0.113.7, 10.0.0.1,\nnope\n203.0.113.8\n"
    assert not caplog.records


def test_remove_refuses_what_is_not_there(mode: MaintenanceMode, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7")
    with pytest.raises(StateError, match=r"203\.0\.113\.8 not found"):
        mode.remove_exemptions(["203.0.113.8"])
    with pytest.raises(EntryError, match="'nope'"):
        mode.remove_exemptions(["nope"])
    assert ip_list.read_text() == "203.0.113.7"
    mode.remove_exemptions(["203.0.113.7/32"])
    assert not ip_list.exists()


def test_details_added_to_a_touched_flag_are_signed(mode: MaintenanceMode, flag: Path) -> None:
    flag.touch()
    mode.enable(message="a")
    found = mode.status()
    assert found.window.since is not None
    assert found.window.by is not None


def test_user_without_a_name_signs_with_a_number(
    mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    monkeypatch.delenv("SUDO_USER", raising=False)
    mode.enable()
    assert str(mode.status().window.by).startswith("uid 54321@")
