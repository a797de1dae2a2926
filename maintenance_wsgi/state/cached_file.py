"""A file that is cached in parsed form, and read again when it changes."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from threading import Lock
from typing import Generic, TypeVar

from maintenance_wsgi.state.files import NOT_FOUND, Contents, read_file

T = TypeVar("T")

_logger = logging.getLogger("maintenance_wsgi")
_SETTLING_TIME = 2_000_000_000  # nanoseconds; the coarsest file times in use (FAT)


class ForkSafeLock:
    """A lock among the threads of one process; it is released in a forked child."""

    def __init__(self) -> None:
        # By process: the thread that holds one at a fork exists only in the parent.
        self._locks: dict[int, Lock] = {}

    def __enter__(self) -> None:
        # The method is atomic, so that the threads of a new child agree on its lock.
        self._locks.setdefault(os.getpid(), Lock()).acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()


@dataclass(frozen=True, slots=True)
class _Version(Generic[T]):
    signature: tuple[int, ...]
    first_read: int  # on the monotonic clock
    trusted: tuple[int, ...] | None  # the signature, once it has stood for long enough
    digest: bytes
    value: T


class CachedFile(Generic[T]):
    """A file that is parsed once per version, however it is changed.

    A signature of times, size and inode tells two versions apart, but not within one tick of the
    file system's clock. So a signature is not trusted before it has stood for two seconds; until
    then the bytes are compared (Git calls such a file racily clean). The age of the file's own
    times proves nothing: a file server's clock may lag, and the local clock may be set.

    If several threads find a new version, the first parses it and the others wait. They do not
    parse it again, and do not go on with the old version: an address that was just removed from a
    list must not be let in by it. For the same reason no reading of a young file serves a request
    that came after the reading began, however soon: the removal may lie between, within one tick.

    Args:
        path: the file; a link is followed at each read.
        parse: makes the value from the contents; called once per version.
        limit: bytes; a larger file is refused.
        fallback: what happens if the file cannot be read, for the log.
    """

    def __init__(
        self, path: str, parse: Callable[[Contents], T], *, limit: int, fallback: str
    ) -> None:
        self.path = path
        self._parse = parse
        self._limit = limit
        self._fallback = fallback
        self._seen: _Version[T] | None = None
        self._last_warning = ""
        self._reading = ForkSafeLock()
        self._begun = 0  # number of the last reading that began
        self._done = 0  # number of the last reading that succeeded

    def read(self, status: os.stat_result | None = None) -> T | None:
        """Return the value of the present version; None if it cannot be read, logged once.

        Args:
            status: the file's status, if it was just taken; otherwise it is taken here.

        Raises:
            FileNotFoundError: the file is gone.
            NotADirectoryError: likewise, for a part of its path.
        """
        try:
            status = status or os.stat(self.path)
            seen = self._seen
            if seen and seen.trusted == _signature(status):
                self._last_warning = ""
                return seen.value
            return self._reload()
        except NOT_FOUND:
            raise
        except OSError as error:
            self.warn_once(error)
            return None

    def forget(self) -> None:
        """Drop the last value, because the file has been removed."""
        with self._reading:
            self._seen = None

    def last_good(self, status: os.stat_result | None = None) -> T | None:
        """Return the value of the last version that could be read, or None.

        Args:
            status: the file's last known status; a version that it does not fit is left out.
        """
        seen = self._seen
        if seen is None or (status and seen.signature != _signature(status)):
            return None
        return seen.value

    def warn_once(self, error: OSError) -> None:
        """Log that the file cannot be read; the same warning is repeated only after a success."""
        warning = f"{self.path}: {error.strerror}; {self._fallback}"
        if warning != self._last_warning:
            self._last_warning = warning
            _logger.warning("%s", warning)

    def _reload(self) -> T:
        arrived = self._begun
        with self._reading:
            # Readings are numbered. One with a higher number than the last that had begun when
            # this thread arrived started later, so that it has seen every change we must see.
            if self._seen and self._done > arrived:
                return self._seen.value
            self._begun += 1
            self._seen = seen = self._read(self._seen)
            self._done = self._begun
        self._last_warning = ""
        return seen.value

    def _read(self, seen: _Version[T] | None) -> _Version[T]:
        from hashlib import sha256  # noqa: PLC0415 (slow, and the command never comes here)

        begun = time.monotonic_ns()
        contents = read_file(self.path, self._limit)
        digest = sha256(contents.data).digest()
        value = seen.value if seen and seen.digest == digest else self._parse(contents)
        signature, first_read = _signature(contents.status), time.monotonic_ns()
        if seen and seen.signature == signature:
            first_read = seen.first_read
        trusted = signature if begun - first_read >= _SETTLING_TIME else None
        return _Version(signature, first_read, trusted, digest, value)


_signature: Callable[[os.stat_result], tuple[int, ...]] = attrgetter(
    "st_mtime_ns", "st_ctime_ns", "st_size", "st_ino"
)
