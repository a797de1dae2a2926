import json
import logging
import os
import pwd
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintenance_wsgi import (
    ConfigError,
    ConfigTypeError,
    EntryError,
    MaintenanceMode,
    StateError,
)
from maintenance_wsgi.networks import Address
from maintenance_wsgi.state.flag import Window
from tests.support.processes import skip_without_root, unmeasured


class Bytes:
    """A path of bytes, as os.fspath allows it."""

    def __fspath__(self) -> bytes:
        return b"var"


CLIENT = Address(4, 0xCB007107)
LATER = datetime.now(UTC) + timedelta(minutes=40)


def details_of(mode: MaintenanceMode) -> Window | None:
    flag = mode.flag()
    assert flag is not None
    return mode.details(flag)


def test_touch_and_rm_are_enough(mode: MaintenanceMode, flag: Path) -> None:
    assert not mode.is_enabled()
    flag.touch()
    assert mode.is_enabled()
    flag.unlink()
    assert not mode.is_enabled()


def test_enabled_details_round_trip(mode: MaintenanceMode) -> None:
    mode.enable(message="Umzug", until=LATER, retry_after=120)
    found = mode.status()
    assert found.enabled
    assert (found.message, found.until, found.retry_after) == ("Umzug", LATER, 120)
    assert found.since is not None
    assert found.by is not None
    assert found.by.startswith(pwd.getpwuid(os.geteuid()).pw_name)


def test_enable_names_the_sudo_user(mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    mode.enable()
    assert str(mode.status().by).startswith("alice@")


def test_enable_without_options_keeps_what_is_there(mode: MaintenanceMode, flag: Path) -> None:
    flag.write_bytes(b"back at 5")
    mode.enable()
    assert flag.read_bytes() == b"back at 5"


def test_enable_changes_only_what_is_given(mode: MaintenanceMode, flag: Path) -> None:
    flag.write_text('{"message": "a", "retry_after": 5, "ticket": 7}')
    mode.enable(message="b", until=LATER)
    found = mode.status()
    assert (found.message, found.until, found.retry_after) == ("b", LATER, 5)
    assert '"ticket": 7' in flag.read_text()


def test_enable_says_what_text_it_replaces(
    mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_bytes(b"back at 5")
    mode.enable(message="b")
    assert "back at 5" in caplog.text


def test_enable_refuses_what_a_request_could_not_read(mode: MaintenanceMode, flag: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        mode.enable(exemptions=["1.2.3.4"], message="x" * 70_000)
    assert not flag.exists()
    assert mode.exemptions == ()


def test_disable_keeps_the_list(mode: MaintenanceMode) -> None:
    mode.enable(exemptions=["203.0.113.7"])
    mode.disable()
    mode.disable()
    assert not mode.is_enabled()
    assert mode.exemptions == ("203.0.113.7",)
    mode.disable(exemptions=["203.0.113.8"])
    assert mode.exemptions == ("203.0.113.8",)


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


def test_linked_list_is_written_through_and_emptied(mode: MaintenanceMode, ip_list: Path) -> None:
    shared = ip_list.with_name("shared")
    shared.touch()
    ip_list.symlink_to(shared)
    mode.add_exemptions(["203.0.113.7"])
    assert shared.read_bytes() == b"203.0.113.7"
    mode.set_exemptions([])
    assert shared.read_bytes() == b""
    assert ip_list.is_symlink()


def test_add_copes_with_a_list_edited_by_hand(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("# office\n203.0.113.7, 10.0.0.1,\nnope\n")
    mode.add_exemptions(["203.0.113.8"])
    assert ip_list.read_bytes() == b"203.0.113.7,10.0.0.1,203.0.113.8"
    assert "'nope' (line 3)" in caplog.text
    assert "comments" in caplog.text


def test_add_to_a_clean_list_has_nothing_to_say(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("203.0.113.7,10.0.0.1")
    mode.add_exemptions(["203.0.113.8"])
    assert not caplog.records


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


def test_change_of_the_state_is_logged_once(
    var: Path, flag: Path, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mode = MaintenanceMode(var)
    ip_list.write_text("203.0.113.7 203.0.113.8")
    for _ in range(2):
        for _ in range(3):
            mode.is_enabled()
        flag.touch()
        for _ in range(3):
            mode.is_enabled()
        flag.unlink()
    mode.is_enabled()
    ip_list.unlink()
    flag.touch()
    MaintenanceMode(var).is_enabled()
    messages = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert messages == [
        "maintenance is on, 2 entries are exempt",
        "maintenance is off",
        "maintenance is on, 2 entries are exempt",
        "maintenance is off",
        "maintenance is on, 0 entries are exempt",
    ]


def test_change_that_another_thread_has_noted_is_not_logged(
    mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    flag.touch()
    mode.is_enabled()
    mode._note(enabled=True)  # noqa: SLF001 (as the thread that comes second)
    assert len(caplog.records) == 1


def test_nobody_waits_for_the_list_while_maintenance_is_off(
    mode: MaintenanceMode, flag: Path, ip_list: Path
) -> None:
    ip_list.write_text("203.0.113.7")
    flag.touch()
    assert mode.is_enabled()
    with mode._exempt._reading, ThreadPoolExecutor(1) as pool:  # noqa: SLF001 (as the thread that takes it in)
        flag.unlink()
        assert not pool.submit(mode.is_enabled).result(30)


def test_change_seen_by_many_threads_is_logged_once(
    mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    flag.touch()
    threads = [threading.Thread(target=mode.is_enabled) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(caplog.records) == 1


def test_enabled_block_that_fails_leaves_maintenance_on(mode: MaintenanceMode) -> None:
    with pytest.raises(ZeroDivisionError), mode.enabled():
        _ = 1 / 0
    assert mode.is_enabled()


# Reading


def test_thousand_rewrites_of_one_size_are_each_seen_at_once(
    mode: MaintenanceMode, flag: Path, ip_list: Path
) -> None:
    flag.touch()
    for number in range(1000):
        exempt = number % 2 == 0
        ip_list.write_text("203.0.113.7" if exempt else "203.0.113.8")
        assert mode.exempts(CLIENT) is exempt


def test_changed_details_are_seen_at_once(mode: MaintenanceMode, flag: Path) -> None:
    for number in range(200):
        flag.write_text(f'{{"retry_after": {number % 10}}}')
        details = details_of(mode)
        assert details is not None
        assert details.retry_after == number % 10


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\0", b"x" * 100_000, None])
def test_flag_of_any_content_is_on(
    content: bytes | None, mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.mkdir() if content is None else flag.write_bytes(content)
    assert details_of(mode) == details_of(mode) == Window()
    assert len(caplog.records) == (0 if content == b"" else 1)


def test_flag_gone_before_it_is_read_is_off(mode: MaintenanceMode, flag: Path) -> None:
    flag.touch()
    status = mode.flag()
    assert status is not None
    flag.unlink()
    assert mode.details(status) is None
    assert not mode.status().enabled


def test_missing_list_exempts_nobody_whatever_was_there_before(
    mode: MaintenanceMode, ip_list: Path
) -> None:
    assert not mode.exempts(CLIENT)
    ip_list.write_text("203.0.113.7")
    assert mode.exempts(CLIENT)
    ip_list.unlink()
    assert not mode.exempts(CLIENT)
    ip_list.mkdir()
    assert not mode.exempts(CLIENT)


def test_list_that_shrinks_or_empties_is_seen(mode: MaintenanceMode, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7,203.0.113.8")
    assert mode.exempts(CLIENT)
    ip_list.write_text("203.0.113.8")
    assert not mode.exempts(CLIENT)
    ip_list.write_text("")
    assert not mode.exempts(Address(4, 0xCB007108))


def test_unreadable_list_leaves_the_last_good_one(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("203.0.113.7")
    assert mode.exempts(CLIENT)
    ip_list.unlink()
    ip_list.symlink_to(ip_list)
    assert mode.exempts(CLIENT)
    assert mode.exempts(CLIENT)
    assert len(caplog.records) == 1


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


def test_details_added_to_a_touched_flag_are_signed(mode: MaintenanceMode, flag: Path) -> None:
    flag.touch()
    mode.enable(message="a")
    found = mode.status()
    assert found.since is not None
    assert found.by is not None


def test_bad_entry_is_skipped_and_logged_once_a_version(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("nope,203.0.113.7")
    for _ in range(3):
        assert mode.exempts(CLIENT)
    assert "'nope' (line 1)" in caplog.records[0].getMessage()
    ip_list.write_text("noope,203.0.113.7")
    mode.exempts(CLIENT)
    assert len(caplog.records) == 2
    assert mode.status().invalid == ("noope",)


def test_wrong_detail_is_logged_once_a_version(
    mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_text('{"retry_after": "soon", "message": "a"}')
    for _ in range(3):
        assert details_of(mode) == Window(message="a")
    (record,) = caplog.records
    assert "retry_after" in record.getMessage()


def test_directory_that_comes_and_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "later"
    mode = MaintenanceMode(directory)
    assert "later" in caplog.text
    assert not mode.is_enabled()
    assert not mode.exempts(CLIENT)
    directory.mkdir()
    (directory / ".maintenance.flag").touch()
    assert mode.is_enabled()
    (directory / ".maintenance.flag").unlink()
    directory.rmdir()
    directory.touch()
    assert not mode.is_enabled()


def test_directory_is_made_absolute_with_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for release in ("1", "2"):
        (tmp_path / release / "var").mkdir(parents=True)
    current = tmp_path / "current"
    current.symlink_to("1")
    monkeypatch.chdir(tmp_path)
    mode = MaintenanceMode("current/var")
    monkeypatch.chdir("/")
    (tmp_path / "2/var/.maintenance.flag").touch()
    assert not mode.is_enabled()
    current.unlink()
    current.symlink_to("2")
    assert mode.is_enabled()


@pytest.mark.parametrize(
    ("directory", "error"),
    [
        ("", ConfigError),
        ("a\0b", ConfigError),
        (None, ConfigTypeError),
        (b"var", ConfigTypeError),
        (Bytes(), ConfigTypeError),
        ("\ud800", ConfigError),
    ],
)
def test_directory_that_cannot_be_is_refused(directory: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="directory"):
        MaintenanceMode(directory)


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


def test_directory_in_a_loop_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(StateError, match=f"{pwd.getpwuid(os.geteuid()).pw_name} cannot search"):
        MaintenanceMode(loop)


def test_flag_that_cannot_be_followed_is_on(mode: MaintenanceMode, flag: Path, var: Path) -> None:
    flag.symlink_to(flag)
    assert details_of(mode) == Window()
    assert MaintenanceMode(var).is_enabled()
    assert mode.status().enabled
    mode.enable()
    mode.disable()
    assert not mode.is_enabled()


def test_directory_that_becomes_a_loop_is_an_error_for_people(
    mode: MaintenanceMode, var: Path
) -> None:
    var.rmdir()
    var.symlink_to(var)
    with pytest.raises(StateError, match="cannot look at the flag"):
        mode.status()


def test_last_known_answer_stands_where_the_directory_cannot_be_searched(
    mode: MaintenanceMode, var: Path, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.touch()
    assert mode.is_enabled()
    moved = var.rename(var.with_name("moved"))
    var.symlink_to(var)
    assert mode.is_enabled()
    assert mode.is_enabled()
    assert len(caplog.records) == 1
    var.unlink()
    moved.rename(var)
    flag.unlink()
    assert not mode.is_enabled()
    var.rename(moved)
    var.symlink_to(var)
    assert not mode.is_enabled()
    assert len(caplog.records) == 2


def test_user_without_the_right_to_search_is_named(var: Path) -> None:
    skip_without_root()
    program = """
        import os, sys
        from maintenance_wsgi import MaintenanceMode, StateError
        os.setuid(54321)
        try:
            MaintenanceMode(sys.argv[1])
        except StateError as error:
            print(error)
    """
    var.chmod(0o700)
    command = [sys.executable, "-c", textwrap.dedent(program), str(var)]
    result = subprocess.run(
        command, env=unmeasured(), capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.startswith(f"uid 54321 cannot search {var}: Permission denied")
    assert result.stderr == ""


def test_user_without_a_name_signs_with_a_number(
    mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    monkeypatch.delenv("SUDO_USER", raising=False)
    mode.enable()
    assert str(mode.status().by).startswith("uid 54321@")


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
