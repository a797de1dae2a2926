"""Small files that people and programs edit: read without blocking, replaced atomically.

A reader sees the old bytes or the new ones, and a writer that fails leaves the old ones.
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
_MAX_LINKS = 40  # the kernel's own limit


def read_bytes(path: str, *, limit: int) -> tuple[bytes, os.stat_result]:
    """Return a regular file's bytes and the status that belongs to them.

    Args:
        path: the file; a link is followed.
        limit: bytes; a larger file is refused.

    Raises:
        OSError: the file is missing, unreadable, not a regular file, or too large.
    """
    with open(path, "rb", opener=_open_without_blocking) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes", path)
        return file.read(), status


def _open_without_blocking(path: str, flags: int) -> int:
    # Opening a named pipe would wait for its writer, and so would the request.
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def atomic_write(path: str, data: bytes | None) -> Iterator[None]:
    """Replace a file's bytes at the end of the block, atomically and durably.

    Everything that can fail (space, permissions) happens on entry, so that several files are
    replaced together or not at all. A link is followed to its target. The file keeps its mode and,
    if the user may set them, its owner and group; a new file gets `0666 & ~umask`.

    Args:
        path: the file, which need not exist.
        data: its new bytes; None removes the file (or the link).

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
    """Return the target of a link, which need not exist; without a link, the path itself.

    Raises:
        OSError: the path cannot be accessed. `os.path.realpath` and `os.path.islink` would answer
            that it is not a link, and a writer would then replace the link by a regular file.
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
    """Remove a file or a link, durably; a missing file is not an error."""
    with suppress(*NOT_FOUND):
        os.unlink(path)
    _sync_directory(os.path.dirname(path))


def directory_error(path: str) -> str:
    """Return why `path` cannot be used as the directory, with a remedy; otherwise ""."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return ""
    except NOT_FOUND:
        return f"directory: {path!r} does not exist; create it, or use another directory"
    except OSError as error:
        return (
            f"directory: {path!r} cannot be accessed ({error.strerror});"
            " make its parent directories searchable (chmod o+x)"
        )
    return f"directory: {path!r} is not a directory; use another path"


@contextmanager
def directory_lock(directory: str) -> Iterator[None]:
    """Keep other writers out of a directory for the time of a block.

    Readers need no lock. The lock lies on the directory itself, leaves no file behind and ends
    with the process. If it cannot be taken within 5 s, or the file system has no locks, the write
    goes ahead: a stuck lock must not keep a site open.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            if _lock(descriptor):
                # Closing is not enough: a child that was forked since then has the descriptor too.
                stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
            else:
                _logger.warning(
                    "%s: still locked after %s s; written anyway", directory, _LOCK_SECONDS
                )
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


def stat_or_lstat(path: str) -> os.stat_result:
    """Return the status of a file, or of the link itself if its target cannot be accessed.

    Raises:
        FileNotFoundError: the file does not exist.
        NotADirectoryError: a part of its path is not a directory.
        OSError: its directory cannot be searched.
    """
    try:
        return os.stat(path)
    except NOT_FOUND:
        raise
    except OSError:
        return os.lstat(path)


def _write_new(path: str, data: bytes, *, like: str) -> None:
    # The kernel applies the umask to this mode; a process cannot read its umask without setting it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with open(descriptor, "wb") as file:
        with suppress(FileNotFoundError):
            _copy_owner_and_mode(os.stat(like), descriptor)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _copy_owner_and_mode(old: os.stat_result, descriptor: int) -> None:
    with suppress(OSError):  # no permission, or an owner that a container does not know
        os.fchown(descriptor, -1, old.st_gid)
    with suppress(OSError):
        os.fchown(descriptor, old.st_uid, -1)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync_directory(directory: str) -> None:
    # Some file systems cannot sync a directory; the change itself has been made.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
