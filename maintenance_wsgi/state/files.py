"""Small files that people and programs edit: read without waiting, and replaced as a whole.

Replacing is atomic: a reader sees the old bytes or the new ones, and a writer that fails leaves
the old ones.
"""

import errno
import fcntl
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

NOT_FOUND = (FileNotFoundError, NotADirectoryError)
_logger = logging.getLogger("maintenance_wsgi")
_LOCK_SECONDS = 5
_MAX_LINKS = 40  # as the kernel follows


def read_bytes(path: str, *, limit: int) -> tuple[bytes, os.stat_result]:
    """Return a regular file's bytes and the status they belong to.

    Raises:
        OSError: the file is missing, unreadable, no regular file, or larger than `limit` bytes.
    """
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes", path)
        return file.read(), status


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a named pipe would wait for its writer, and the request with it.
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def replacing(path: str, data: bytes | None) -> Iterator[None]:
    """Put `data` in the place of a file's bytes at the end of the block, atomically and durably.

    What can fail for want of room or rights is done at its beginning, so that several files are
    replaced together or not at all. Goes through a link to its target. The file keeps its mode
    and, where the user may set them, its owner and group; a new one gets `0666 & ~umask`. With
    None the file (or the link) is removed.

    Raises:
        OSError: the file is as it was.
    """
    if data is None:
        yield
        remove(path)
        return
    target = resolve_link(path)
    temporary = f"{target}.{secrets.token_hex(8)}.tmp"
    try:
        _write_new(temporary, data, like=target)
        yield
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(os.path.dirname(target))


def resolve_link(path: str) -> str:
    """Return what a link leads to, which need not be there, or the path itself where it is none.

    Raises:
        OSError: it cannot be looked at. `os.path.realpath` and `os.path.islink` say then that it
            is no link, and whoever replaced it would cut a list off from its link.
    """
    for _ in range(_MAX_LINKS):
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOENT}:
                return path
            raise
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def remove(path: str) -> None:
    """Remove a file or a link, durably; one that is gone already is no error."""
    with suppress(*NOT_FOUND):
        os.unlink(path)
    _sync_directory(os.path.dirname(path))


def directory_error(path: str) -> str:
    """Return why `path` cannot serve as the directory, with a remedy, or nothing where it can."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return ""
    except NOT_FOUND:
        return f"there is no directory {path!r}; create it, or name another"
    except OSError as error:
        return f"{path!r} cannot be looked at: {error.strerror}; open the way to it, chmod o+x"
    return f"{path!r} is no directory; name another"


@contextmanager
def locked(directory: str) -> Iterator[None]:
    """Keep other writers out, so that what two people add at once is not lost.

    Readers need no lock. It lies on the directory itself and ends with the process. Where it
    cannot be had within five seconds, or the file system has none, it is done without: that must
    not keep a site open.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            if _lock(descriptor):
                # Not by closing alone: a process forked meanwhile has the descriptor too.
                stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
            else:
                _logger.warning("%s: locked by another program; changed all the same", directory)
        yield


def _lock(descriptor: int) -> bool:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def status_of(path: str) -> os.stat_result:
    """Return the status of a file, or of the link where what it links to cannot be looked at.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        OSError: its directory cannot be searched.
    """
    try:
        return os.stat(path)
    except NOT_FOUND:
        raise
    except OSError:
        return os.lstat(path)


def _write_new(path: str, data: bytes, *, like: str) -> None:
    # The mode of open() lets the kernel apply the umask, which cannot be read without setting it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with open(descriptor, "wb") as file:
        with suppress(FileNotFoundError):
            _copy_owner_and_mode(os.stat(like), descriptor)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _copy_owner_and_mode(old: os.stat_result, descriptor: int) -> None:
    with suppress(OSError):  # the user may not, or the owner is unknown in a container
        os.fchown(descriptor, -1, old.st_gid)
    with suppress(OSError):
        os.fchown(descriptor, old.st_uid, -1)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync_directory(directory: str) -> None:
    # Some file systems cannot sync a directory; the change itself is made by now.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
