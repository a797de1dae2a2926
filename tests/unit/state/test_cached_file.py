"""A file is taken in once per version, and never one version too late."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maintenance_wsgi.state.cached_file import CachedFile, ForkSafeLock
from maintenance_wsgi.state.files import Contents
from tests.support.processes import age, wait_for


class Parser:
    """Keeps what it was given, to see what was parsed and how often."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, contents: Contents) -> bytes:
        self.seen.append(contents.data)
        return contents.data


@pytest.fixture
def parser() -> Parser:
    return Parser()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def followed(path: Path, parser: Parser) -> CachedFile[bytes]:
    return CachedFile(str(path), parser, limit=100, fallback="the rest stands")


def test_unchanged_file_is_parsed_once(
    path: Path, followed: CachedFile[bytes], parser: Parser
) -> None:
    path.write_bytes(b"one")
    for _ in range(5):
        assert followed.read() == b"one"
    assert parser.seen == [b"one"]


def test_touched_file_is_not_parsed_again(
    path: Path, followed: CachedFile[bytes], parser: Parser
) -> None:
    path.write_bytes(b"one")
    followed.read()
    age(path)
    assert followed.read() == b"one"
    assert parser.seen == [b"one"]


def test_same_size_rewrite_within_a_tick_is_seen(path: Path, followed: CachedFile[bytes]) -> None:
    path.write_bytes(b"0000")
    status = path.stat()
    for number in range(1000):
        text = b"%04d" % number
        path.write_bytes(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert followed.read() == text


def test_signature_of_a_fresh_file_is_not_trusted(path: Path, followed: CachedFile[bytes]) -> None:
    path.write_bytes(b"one")
    followed.read()
    status = path.stat()
    path.write_bytes(b"two")
    # As a rewrite of the same size within one tick: the signature is the one that was read.
    assert followed.read(status) == b"two"


def test_settled_file_costs_no_read(
    path: Path, followed: CachedFile[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"one")
    monkeypatch.setattr("maintenance_wsgi.state.cached_file._SETTLING_TIME", -(10**12))
    followed.read()
    status = path.stat()
    path.write_bytes(b"two")
    # The signature of the version that was read vouches for it: the file is not opened.
    assert followed.read(status) == b"one"
    assert followed.read() == b"two"


def test_file_from_the_future_settles_as_any_other(
    path: Path, followed: CachedFile[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"one")
    age(path, -100_000)
    monkeypatch.setattr("maintenance_wsgi.state.cached_file._SETTLING_TIME", 0)
    followed.read()
    followed.read()
    status = path.stat()
    path.write_bytes(b"two")
    # The file is not opened, as in the test above.
    assert followed.read(status) == b"one"
    assert followed.read() == b"two"


def test_replacement_with_an_old_mtime_is_seen(path: Path, followed: CachedFile[bytes]) -> None:
    path.write_bytes(b"one")
    followed.read()
    other = path.with_name("other")
    other.write_bytes(b"two")
    age(other, 100_000)
    other.rename(path)
    assert followed.read() == b"two"


def test_link_is_followed_at_each_read(path: Path, followed: CachedFile[bytes]) -> None:
    for name in ("a", "b"):
        target = path.with_name(name)
        target.write_text(name)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        assert followed.read() == name.encode()


def test_missing_file_raises_and_is_forgotten_when_told(
    path: Path, followed: CachedFile[bytes]
) -> None:
    path.write_bytes(b"one")
    followed.read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        followed.read()
    assert followed.last_good() == b"one"
    followed.forget()
    assert followed.last_good() is None


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [make_directory, make_pipe, make_sparse, make_loop])
def test_unreadable_file_is_logged_once_and_the_last_value_kept(
    make: object,
    path: Path,
    followed: CachedFile[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path.write_bytes(b"one")
    followed.read()
    path.unlink()
    assert callable(make)
    make(path)
    assert [followed.read(), followed.read()] == [None, None]
    assert followed.last_good() == b"one"
    (record,) = caplog.records
    assert record.getMessage().endswith("the rest stands")
    path.rmdir() if path.is_dir() else path.unlink()
    path.write_bytes(b"two")
    assert followed.read() == b"two"
    path.unlink()
    make(path)
    assert followed.read() is None
    assert len(caplog.records) == 2


class SlowParser(Parser):
    """Goes on only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.released = threading.Event()

    def __call__(self, contents: Contents) -> bytes:
        self.begun.set()
        assert self.released.wait(30)
        return super().__call__(contents)


def together(
    count: int, read: Callable[[], bytes | None], then: Callable[[], object]
) -> set[object]:
    """Let many threads read at once, do something once all have begun, return what they got."""
    begun = threading.Barrier(count + 1)

    def begin() -> bytes | None:
        begun.wait(30)
        return read()

    with ThreadPoolExecutor(count) as pool:
        results = [pool.submit(begin) for _ in range(count)]
        begun.wait(30)
        then()
        return {result.result(30) for result in results}


def threads_in(function: str) -> int:
    frames = sys._current_frames().values()  # noqa: SLF001 (it is documented)
    return sum(frame.f_code.co_qualname == function for frame in frames)


def test_changed_file_is_parsed_by_one_thread_and_awaited_by_the_others(path: Path) -> None:
    parser = SlowParser()
    followed = CachedFile(str(path), parser, limit=100, fallback="")
    path.write_bytes(b"old")
    parser.released.set()
    followed.read()
    parser.released.clear()
    parser.begun.clear()
    path.write_bytes(b"new")

    def release() -> None:
        assert parser.begun.wait(30)
        wait_for(lambda: threads_in("ForkSafeLock.__enter__") == 63)
        parser.released.set()

    assert together(64, followed.read, release) == {b"new"}
    assert parser.seen == [b"old", b"new"]
    # Of those that waited, the first read what had come meanwhile, for all of them.
    assert followed._begun in {2, 3}  # noqa: SLF001 (a reading leaves no other trace)


def test_change_during_a_reading_is_seen_by_whoever_comes_after_it(path: Path) -> None:
    parser = SlowParser()
    followed = CachedFile(str(path), parser, limit=100, fallback="")
    path.write_bytes(b"old")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(followed.read)
        assert parser.begun.wait(30)
        path.write_bytes(b"new")  # the first has the old bytes in hand
        second = pool.submit(followed.read)
        parser.released.set()
        assert (first.result(30), second.result(30)) == (b"old", b"new")


def test_file_that_one_thread_cannot_read_is_read_by_the_next(
    path: Path, followed: CachedFile[bytes]
) -> None:
    path.mkdir()
    assert together(8, followed.read, lambda: None) == {None}
    path.rmdir()
    path.write_bytes(b"one")
    assert followed.read() == b"one"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_of_a_fork_does_not_wait_for_a_thread_of_its_parent() -> None:
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with lock:
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def enter_together(locks: list[ForkSafeLock]) -> int:
    """Let eight threads enter each lock at the same time; return how many came to the end."""
    sys.setswitchinterval(1e-6)
    begun, done = threading.Barrier(8), []

    def enter() -> None:
        for lock in locks:
            begun.wait(5)
            with lock:
                os.stat("/")
        done.append(1)

    threads = [threading.Thread(target=enter, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3)
    return sum(done)


def test_threads_of_a_child_of_a_fork_share_its_lock() -> None:
    locks = [ForkSafeLock() for _ in range(500)]
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os._exit(enter_together(locks))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 8
