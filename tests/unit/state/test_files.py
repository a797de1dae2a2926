import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maintenance_wsgi.state.files import open_directory, read_file
from tests.support.needs import need_root
from tests.support.processes import meanwhile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@contextmanager
def replaced(path: Path, data: bytes | None) -> Iterator[None]:
    with open_directory(str(path.parent)) as directory, directory.find(path.name).replaced(data):
        yield


def replace(path: Path, data: bytes | None) -> None:
    with replaced(path, data):
        pass


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with open_directory(str(path)) as directory:
        directory.lock()
        yield


def test_replace_keeps_the_mode_and_leaves_no_litter(path: Path) -> None:
    path.write_bytes(b"one")
    path.chmod(0o640)
    replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["file"]


def test_new_file_gets_what_the_umask_leaves(path: Path) -> None:
    old = os.umask(0o027)
    try:
        replace(path, b"one")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_replace_goes_through_links(path: Path) -> None:
    target = path.with_name("shared")
    target.write_bytes(b"one")
    path.symlink_to("shared")
    replace(path, b"two")
    assert path.is_symlink()
    assert target.read_bytes() == b"two"


def test_replace_goes_through_a_chain_of_links_to_what_is_not_there_yet(path: Path) -> None:
    shared = path.parent / "shared"
    shared.mkdir()
    path.symlink_to("shared/link")
    (shared / "link").symlink_to("../shared/file")
    replace(path, b"two")
    assert (shared / "file").read_bytes() == b"two"
    assert path.is_symlink()


def test_link_to_a_directory_is_removed(path: Path) -> None:
    path.with_name("folder").mkdir()
    path.symlink_to("folder")
    replace(path, None)
    assert os.listdir(path.parent) == ["folder"]


def test_replace_refuses_a_loop_of_links(path: Path) -> None:
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels"):
        replace(path, b"two")
    assert path.is_symlink()


def test_replace_keeps_the_owner(path: Path) -> None:
    need_root()
    path.write_bytes(b"one")
    os.chown(path, 12345, 54321)
    replace(path, b"two")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_failed_replace_changes_nothing_and_leaves_no_litter(path: Path) -> None:
    path.mkdir()
    for data in (b"two", None):
        with pytest.raises(IsADirectoryError), replaced(path, data):
            pytest.fail("the block was begun")
    assert os.listdir(path.parent) == ["file"]
    with pytest.raises(FileNotFoundError):
        replace(path.with_name("no") / "file", b"two")
    path.with_name("other").touch()
    with pytest.raises(NotADirectoryError):
        replace(path.with_name("other") / "file", b"two")


def test_several_are_replaced_together_or_not_at_all(path: Path) -> None:
    other = path.with_name("other")
    path.write_bytes(b"one")
    other.mkdir()
    with pytest.raises(IsADirectoryError), replaced(path, b"two"):
        replace(other, b"two")
    assert path.read_bytes() == b"one"
    with replaced(path, None):
        assert path.exists()
    assert os.listdir(path.parent) == ["other"]
    with pytest.raises(KeyboardInterrupt), replaced(path, b"two"):
        raise KeyboardInterrupt
    assert os.listdir(path.parent) == ["other"]


def test_reader_never_sees_half_a_file(path: Path) -> None:
    contents = [b"a" * 50_000, b"b" * 70_000]
    replace(path, contents[0])
    odd: list[bytes] = []

    def read() -> None:
        data = read_file(str(path), 10**6).data
        if data not in contents:
            odd.append(data)

    with meanwhile(read):
        for number in range(200):
            replace(path, contents[number % 2])
    assert not odd


def test_remove_is_content_with_a_missing_file(path: Path) -> None:
    path.touch()
    replace(path, None)
    replace(path, None)
    assert not path.exists()


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        with locked(path.parent):
            replace(path, b"one")
        replace(path, None)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_lock_keeps_others_out_and_ends(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with locked(tmp_path), pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_lock_that_cannot_be_had_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maintenance_wsgi.state.files._LOCK_SECONDS", 0.1)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with locked(tmp_path):
        assert "still locked" in caplog.text
    os.close(descriptor)


def test_lock_ends_though_a_child_has_the_descriptor(tmp_path: Path) -> None:
    with locked(tmp_path):
        kept = [
            os.dup(int(name)) for name in os.listdir("/proc/self/fd") if leads_to(name, tmp_path)
        ]
    with locked(tmp_path):
        pass
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for number in [*kept, descriptor]:
        os.close(number)
    assert kept


def leads_to(name: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}") == str(path)
    except OSError:
        return False


def test_directory_that_cannot_be_locked_is_written_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(path.parent):
        replace(path, b"one")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("size", [10, 11])
def test_size_is_bounded_by_what_is_read(size: int, path: Path) -> None:
    path.write_bytes(b"x" * size)
    if size > 10:
        with pytest.raises(OSError, match="Larger than 10 bytes"):
            read_file(str(path), 10)
    else:
        assert read_file(str(path), 10).data == path.read_bytes()


def test_file_without_a_size_in_its_status_is_bounded() -> None:
    with pytest.raises(OSError, match="Larger than 10 bytes"):
        read_file("/proc/self/status", 10)
