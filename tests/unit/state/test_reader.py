"""What requests see of the two files, and what is logged of it."""

import logging
import os
import pwd
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from maintenance_wsgi import ConfigError, ConfigTypeError, MaintenanceMode, StateError
from maintenance_wsgi.networks import Address
from maintenance_wsgi.state.flag import Window
from maintenance_wsgi.state.reader import StateReader
from tests.support.logs import warnings_of
from tests.support.needs import need_root
from tests.support.processes import run, unmeasured


class Bytes:
    """A path of bytes, as os.fspath allows it."""

    def __fspath__(self) -> bytes:
        return b"var"


CLIENT = Address(4, 0xCB007107)


def window_of(reader: StateReader) -> Window | None:
    flag = reader.flag()
    assert flag is not None
    return reader.window(flag)


def test_touch_and_rm_are_enough(reader: StateReader, flag: Path) -> None:
    assert not reader.flag()
    flag.touch()
    assert reader.flag()
    flag.unlink()
    assert not reader.flag()


def test_change_of_the_state_is_logged_once(
    var: Path, flag: Path, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = StateReader(var)
    ip_list.write_text("203.0.113.7 203.0.113.8")
    for _ in range(2):
        for _ in range(3):
            reader.flag()
        flag.touch()
        for _ in range(3):
            reader.flag()
        flag.unlink()
    reader.flag()
    ip_list.unlink()
    flag.touch()
    StateReader(var).flag()
    assert caplog.messages == [
        f"{var}: maintenance is on, exempt entries: 2",
        f"{var}: maintenance is off",
        f"{var}: maintenance is on, exempt entries: 2",
        f"{var}: maintenance is off",
        f"{var}: maintenance is on, exempt entries: 0",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_change_that_another_thread_has_noted_is_not_logged(
    reader: StateReader, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.touch()
    reader.flag()
    reader._log_change(enabled=True)  # noqa: SLF001 (as the thread that comes second)
    assert len(caplog.records) == 1


def test_nobody_waits_for_the_list_while_maintenance_is_off(
    reader: StateReader, flag: Path, ip_list: Path
) -> None:
    ip_list.write_text("203.0.113.7")
    flag.touch()
    assert reader.flag()
    with reader._exemptions._reading, ThreadPoolExecutor(1) as pool:  # noqa: SLF001 (as the thread that takes it in)
        flag.unlink()
        assert not pool.submit(reader.flag).result(30)


def test_change_seen_by_many_threads_is_logged_once(
    reader: StateReader, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.touch()
    threads = [threading.Thread(target=reader.flag) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(caplog.records) == 1


def test_changed_details_are_seen_at_once(reader: StateReader, flag: Path) -> None:
    for number in range(200):
        flag.write_text(f'{{"retry_after": {number % 10}}}')
        details = window_of(reader)
        assert details is not None
        assert details.retry_after == number % 10


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\0", b"x" * 100_000, None])
def test_flag_of_any_content_is_on(
    content: bytes | None, reader: StateReader, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.mkdir() if content is None else flag.write_bytes(content)
    assert window_of(reader) == window_of(reader) == Window()
    assert len(warnings_of(caplog)) == (0 if content == b"" else 1)


def test_flag_gone_before_it_is_read_is_off(reader: StateReader, flag: Path) -> None:
    flag.touch()
    status = reader.flag()
    assert status is not None
    flag.unlink()
    assert reader.window(status) is None


def test_missing_list_exempts_nobody_whatever_was_there_before(
    reader: StateReader, ip_list: Path
) -> None:
    assert not reader.exempts(CLIENT)
    ip_list.write_text("203.0.113.7")
    assert reader.exempts(CLIENT)
    ip_list.unlink()
    assert not reader.exempts(CLIENT)
    ip_list.mkdir()
    assert not reader.exempts(CLIENT)


def test_list_that_shrinks_or_empties_is_seen(reader: StateReader, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7,203.0.113.8")
    assert reader.exempts(CLIENT)
    ip_list.write_text("203.0.113.8")
    assert not reader.exempts(CLIENT)
    ip_list.write_text("")
    assert not reader.exempts(Address(4, 0xCB007108))


def test_unreadable_list_leaves_the_last_good_one(
    reader: StateReader, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("203.0.113.7")
    assert reader.exempts(CLIENT)
    ip_list.unlink()
    ip_list.symlink_to(ip_list)
    assert reader.exempts(CLIENT)
    assert reader.exempts(CLIENT)
    assert len(caplog.records) == 1


def test_bad_entry_is_skipped_and_logged_once_a_version(
    reader: StateReader, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("nope,203.0.113.7")
    for _ in range(3):
        assert reader.exempts(CLIENT)
    assert "'nope' (line 1)" in caplog.records[0].getMessage()
    ip_list.write_text("noope,203.0.113.7")
    reader.exempts(CLIENT)
    assert len(caplog.records) == 2


def test_wrong_detail_is_logged_once_a_version(
    reader: StateReader, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_text('{"retry_after": "soon", "message": "a"}')
    for _ in range(3):
        assert window_of(reader) == Window(message="a")
    (warning,) = warnings_of(caplog)
    assert "retry_after" in warning


@pytest.mark.parametrize("content", ['{"retry_after": "SECRET"}', "[SECRET"])
def test_flag_of_a_third_user_is_on_and_not_shown(
    content: str, reader: StateReader, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    need_root()
    flag.write_text(content)
    os.chown(flag, 12345, 12345)
    flag.parent.chmod(0o777)
    assert window_of(reader) == Window()
    told = f"{flag}: its values are not valid, and it belongs to another user"
    assert warnings_of(caplog) == [told]


def test_directory_that_comes_and_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "later"
    reader = StateReader(directory)
    assert "later" in caplog.text
    assert not reader.flag()
    assert not reader.exempts(CLIENT)
    directory.mkdir()
    (directory / ".maintenance.flag").touch()
    assert reader.flag()
    (directory / ".maintenance.flag").unlink()
    assert not reader.flag()
    directory.rmdir()
    directory.touch()
    assert not reader.flag()


def test_relative_directory_is_refused_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="'var' is relative, and the working directory is gone"):
        StateReader("var")
    assert StateReader(tmp_path).directory == str(tmp_path)


def test_directory_is_made_absolute_with_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for release in ("1", "2"):
        (tmp_path / release / "var").mkdir(parents=True)
    current = tmp_path / "current"
    current.symlink_to("1")
    monkeypatch.chdir(tmp_path)
    reader = StateReader("current/var")
    monkeypatch.chdir("/")
    (tmp_path / "2/var/.maintenance.flag").touch()
    assert not reader.flag()
    current.unlink()
    current.symlink_to("2")
    assert reader.flag()


def test_working_directory_is_the_one_that_the_shell_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process started in a linked `current` follows its switch."""
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
    current = tmp_path / "current"
    current.symlink_to("1")
    monkeypatch.chdir(current)
    monkeypatch.setenv("PWD", str(current))
    assert StateReader("var").directory == f"{current}/var"
    for elsewhere in (str(tmp_path / "2"), "current", "", str(tmp_path / "gone")):
        monkeypatch.setenv("PWD", elsewhere)
        assert StateReader("var").directory == f"{tmp_path}/1/var"


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
        StateReader(directory)


def test_directory_in_a_loop_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(StateError, match=f"searched by {pwd.getpwuid(os.geteuid()).pw_name}"):
        StateReader(loop)


def test_flag_that_cannot_be_followed_is_on(reader: StateReader, flag: Path, var: Path) -> None:
    flag.symlink_to(flag)
    assert window_of(reader) == Window()
    assert StateReader(var).flag()
    mode = MaintenanceMode(var)
    assert mode.status().enabled
    mode.enable()
    mode.disable()
    assert not reader.flag()


def test_last_known_answer_stands_where_the_directory_cannot_be_searched(
    reader: StateReader, var: Path, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.touch()
    assert reader.flag()
    moved = var.rename(var.with_name("moved"))
    var.symlink_to(var)
    assert reader.flag()
    assert reader.flag()
    assert len(warnings_of(caplog)) == 1
    var.unlink()
    moved.rename(var)
    flag.unlink()
    assert not reader.flag()
    var.rename(moved)
    var.symlink_to(var)
    assert not reader.flag()
    assert len(warnings_of(caplog)) == 2


def test_user_without_the_right_to_search_is_named(var: Path) -> None:
    need_root()
    program = """
        import os, sys
        from maintenance_wsgi import StateError
        from maintenance_wsgi.state.reader import StateReader
        os.setuid(54321)
        try:
            StateReader(sys.argv[1])
        except StateError as error:
            print(error)
    """
    var.chmod(0o700)
    command = [sys.executable, "-c", textwrap.dedent(program), str(var)]
    result = run(*command, env=unmeasured())
    expected = f"directory: {var} cannot be searched by uid 54321 (Permission denied)"
    assert result.stdout.startswith(expected)
    assert result.stderr == ""
