"""Requests in flight, in a book that the kernel keeps: a process that is killed is out of it.

One empty file holds record locks (fcntl(2)) and nothing else. A process that counts its requests
holds a byte below 2**62. Each request holds a byte from there on, whose number tells when it began.
All these locks are shared, and none is waited for. The command only asks who holds what: if it
locked a byte, a request could not be counted.

If a process closes any descriptor of a file, it loses all its locks there. So a process opens the
book once, for the middleware and the command alike, and keeps it open.
"""

import errno
import fcntl
import itertools
import logging
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state import files
from maintenance_wsgi.state.users import current_user

_NAME = ".maintenance.requests"
_FIRST_REQUEST, _LAST = 2**62, 2**63 - 1  # bytes
# A byte's number: the time in units of 4 microseconds, and an even serial number. So two requests
# of a process never hold the same byte, even if the clock is coarse, nor two side by side, which
# the kernel would take for one lock.
_SERIAL = 0xFFF
_TIME = ~_SERIAL
_SHARED = fcntl.LOCK_SH | fcntl.LOCK_NB
_FLOCK = "hhqqi4x"  # type, whence, start, length, process: Linux' `struct flock`
_MAX_LOCKS = 20_000  # a local user may hold any number; finding them all takes the square of it
_REMOVABLE = {errno.ELOOP, errno.EINVAL}
_logger = logging.getLogger("maintenance_wsgi")


class Lock(NamedTuple):
    """Bytes that a process holds; `process` is 0 or less if it has no number here."""

    process: int
    first: int
    last: int


class Book:
    """The requests in flight of a directory. Made by `open_book`, once in a process."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._process = 0
        self._serial = itertools.count(step=2)
        self._is_warned = False

    def join(self) -> None:
        """Let this process be one that counts, as long as it lives."""
        if self._lock(int.from_bytes(os.urandom(7))):
            self._process = os.getpid()

    def begin(self) -> int:
        """Count a request; return what ends it. It never waits, and never raises."""
        serial = next(self._serial) & _SERIAL
        request = _FIRST_REQUEST | time.monotonic_ns() & _TIME | serial
        self._lock(request)
        # A forked child has none of its parent's locks. Not every server runs Python's fork hooks.
        if self._process != os.getpid():
            self.join()
        return request

    def end(self, request: int) -> None:
        """Take a request out of the book; nothing happens if it is not there."""
        try:  # noqa: SIM105 (suppress takes a fifth of all the time that counting takes)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, request)
        except OSError:
            pass

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, _SHARED, 1, byte)
        except OSError as error:  # a local user has locked the file
            if not self._is_warned:
                self._is_warned = True
                fault = f"requests are not counted ({error.strerror})"
                _logger.warning("%s: %s; find who locks it in /proc/locks", self._path, fault)
            return False
        return True

    def running(self) -> list[Lock]:
        """Return the requests that run now, also those of this process.

        If the flag is in place, they are the earlier ones: a later one is counted, but finds it.
        """
        return list(self._held(_FIRST_REQUEST, _LAST))

    def remaining(self, earlier: Iterable[Lock]) -> list[Lock]:
        """Return which of the requests that ran earlier still run."""
        return [left for lock in earlier for left in self._held(lock.first, lock.last)]

    def counting(self, running: Iterable[Lock]) -> int:
        """Return how many processes count here; this one only if one of its requests is running.

        The command may run inside of an application that has been loaded and serves nothing.
        """
        holders = {lock.process or lock.first for lock in self._held(0, _FIRST_REQUEST - 1)}
        return len(holders - ({os.getpid()} - {lock.process for lock in running}))

    def _held(self, first: int, last: int) -> Iterator[Lock]:
        """Yield the locks between two bytes: the kernel names one, and we look on both sides."""
        gaps, number = [(first, last)], 0
        while gaps:
            first, last = gaps.pop()
            if first > last or (found := self._lock_between(first, last)) is None:
                continue
            yield found
            number += 1
            if number > _MAX_LOCKS:
                raise StateError(f"{self._path}: too many locks; find who locks it in /proc/locks")
            gaps += [(first, found.first - 1), (found.last + 1, last)]

    def _lock_between(self, first: int, last: int) -> Lock | None:
        length = 0 if last == _LAST else last - first + 1  # 0: whatever follows
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, first, length, 0)
        try:
            # The answer to F_GETLK would leave out what this process holds itself.
            found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, asked)
        except OSError as error:
            remedy = "keep the directory on a file system with locks"
            raise StateError(f"{self._path}: {error.strerror}; {remedy}") from error
        kind, _, start, length, process = struct.unpack(_FLOCK, found)
        if kind == fcntl.F_UNLCK:
            return None
        end = start + length - 1 if length else _LAST
        return Lock(process, max(start, first), min(end, last))


_books: dict[tuple[int, int], Book] = {}  # by device and inode: the kernel's rule is the process's


def open_book(directory: str) -> Book:
    """Return this process's book of a directory; the file is made if there is none.

    Raises:
        StateError: the file cannot be made or opened.
    """
    path = os.path.join(directory, _NAME)
    with suppress(OSError):
        status = os.lstat(path)
        if book := _books.get((status.st_dev, status.st_ino)):
            return book
    try:
        with files.open_directory(directory) as opened:
            descriptor = opened.keep(_NAME)
    except OSError as error:
        remedy = "remove it" if error.errno in _REMOVABLE else f"as its owner, run: touch {path}"
        fault = f"{current_user()} cannot open it ({error.strerror})"
        raise StateError(f"{path}: {fault}; {remedy}") from error
    status = os.fstat(descriptor)
    return _books.setdefault((status.st_dev, status.st_ino), Book(path, descriptor))


def find_book(directory: str) -> Book | None:
    """Return what `open_book` returns, or None if no application has counted here."""
    return open_book(directory) if os.path.lexists(os.path.join(directory, _NAME)) else None


def describe(running: Iterable[Lock]) -> str:
    """Return the processes whose requests run, with their number and the age of the oldest."""
    by_process: dict[int, list[Lock]] = {}
    for lock in running:
        by_process.setdefault(lock.process, []).append(lock)
    return "; ".join(f"{_process(number)}: {_age(held)}" for number, held in by_process.items())


def _age(held: list[Lock]) -> str:
    if any(lock.last > lock.first for lock in held):
        return "a lock that is not a request"
    began = min(lock.first for lock in held) - _FIRST_REQUEST
    seconds, number = max(0, time.monotonic_ns() - began) // 1_000_000_000, len(held)
    return f"{number} requests, the oldest for {seconds} s" if number > 1 else f"1 for {seconds} s"


def _process(number: int) -> str:
    if number <= 0:
        return "a process of another container or machine"
    with suppress(OSError):
        return f"process {number} ({printable(Path(f'/proc/{number}/comm').read_bytes().strip())})"
    return f"process {number}"
