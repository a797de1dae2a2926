"""A file that is followed: what it says now, taken in once per version, however it is changed."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from threading import Lock
from typing import Generic, TypeVar

from maintenance_wsgi.state.files import NOT_FOUND, read_bytes

T = TypeVar("T")

_logger = logging.getLogger("maintenance_wsgi")
_SETTLING_TIME = 2_000_000_000  # nanoseconds; the coarsest file times in use (FAT)


class ForkSafeLock:
    """A lock among the threads of one process: the child of a fork finds it open."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = os.getpid()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            # Whoever held it when the process forked runs on in the parent alone.
            self._lock, self._process = Lock(), os.getpid()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@dataclass(frozen=True, slots=True)
class _Version(Generic[T]):
    signature: tuple[int, ...]
    first_read: int  # on the monotonic clock
    trusted: tuple[int, ...] | None  # the signature, once it has stood for long enough
    digest: bytes
    value: T


class CachedFile(Generic[T]):
    """A file that is parsed once per version, however it is changed.

    A signature of times, size and inode tells one version from the next, but not within one tick
    of the file system's clock. So a signature is not trusted before it has stood for two seconds:
    the bytes are compared until then (Git calls such a file racily clean). How old the file's own
    times are says nothing: a file server's clock may be behind ours, and ours may be set.

    Of the threads that find a version changed, the first takes it in. The others wait for it,
    instead of parsing it again or going on with the version before: who was just removed from a
    list must not get in by it.

    Args:
        path: the file; a link is followed at each read.
        parse: makes the value out of the bytes; called once per version.
        limit: bytes; a larger file is refused.
        otherwise: what happens where the file cannot be read, for the log.
    """

    def __init__(
        self, path: str, parse: Callable[[bytes], T], *, limit: int, otherwise: str
    ) -> None:
        self.path = path
        self._parse = parse
        self._limit = limit
        self._otherwise = otherwise
        self._seen: _Version[T] | None = None
        self._complaint = ""
        self._reading = ForkSafeLock()
        self._begun = 0  # readings
        self._read = 0  # number of the last that succeeded

    def read(self, status: os.stat_result | None = None) -> T | None:
        """Return the value of the present version; None where it cannot be read, logged once.

        Args:
            status: the file's, where it was just taken; else it is taken here.

        Raises:
            FileNotFoundError, NotADirectoryError: the file is gone, and its last value with it.
        """
        try:
            status = status or os.stat(self.path)
            seen = self._seen
            if seen and seen.trusted == _signature(status):
                self._complaint = ""
                return seen.value
            return self._take_in()
        except NOT_FOUND:
            with self._reading:
                self._seen = None
            raise
        except OSError as error:
            self.complain(error)
            return None

    def last(self) -> T | None:
        """Return the value of the last version that could be read, or None."""
        return self._seen.value if self._seen else None

    def complain(self, error: OSError) -> None:
        """Log that the file cannot be read, once until it can."""
        complaint = f"{error}; {self._otherwise}"
        if complaint != self._complaint:
            self._complaint = complaint
            _logger.warning("%s", complaint)

    def _take_in(self) -> T:
        arrived = self._begun
        with self._reading:
            # A reading that another thread began after we came has seen what we are to see.
            if self._seen and self._read > arrived:
                return self._seen.value
            self._begun += 1
            self._seen = seen = self._read_again(self._seen)
            self._read = self._begun
        self._complaint = ""
        return seen.value

    def _read_again(self, seen: _Version[T] | None) -> _Version[T]:
        begun = time.monotonic_ns()
        data, status = read_bytes(self.path, limit=self._limit)
        digest = sha256(data).digest()
        value = seen.value if seen and seen.digest == digest else self._parse(data)
        signature, first_read = _signature(status), time.monotonic_ns()
        if seen and seen.signature == signature:
            first_read = seen.first_read
        trusted = signature if begun - first_read >= _SETTLING_TIME else None
        return _Version(signature, first_read, trusted, digest, value)


_signature: Callable[[os.stat_result], tuple[int, ...]] = attrgetter(
    "st_mtime_ns", "st_ctime_ns", "st_size", "st_ino"
)
