"""Small files in a directory that may be hostile: read without blocking, replaced atomically.

A user who may write the directory could place a link, a pipe or a lease there, and swap files at
any moment. So everything is relative to one open descriptor, no name is resolved twice, and root
acts in another user's directory with that user's rights only. If it cannot take them, it writes
nothing there, and reads only that user's own plain files. What cannot be read or written raises
OSError, and is as it was.
"""

import errno
import fcntl
import logging
import os
import pwd
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from itertools import islice
from typing import NamedTuple

NOT_FOUND = (FileNotFoundError, NotADirectoryError)
_logger = logging.getLogger("maintenance_wsgi")
_LOCK_SECONDS = 5
_MAX_LINKS = 40  # the kernel's own limit
_MAX_ENTRIES = 1000  # a hostile user could fill the directory
_MAX_STUCK = 3
# The follower writes its mark without the directory's lock.
_TEMPORARY = re.compile(r"\.maintenance\.(flag|ip)\.[0-9a-f]{16}\.tmp")
_NO_GROUP = 65534
_OF_THE_DISK = (errno.EIO, errno.ESTALE)  # they say nothing about a link
_PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY)  # elsewhere than on Linux, links are not followed
_SHARED = stat.S_IWGRP | stat.S_IWOTH
# The number of the system call setgroups, which glibc's own function makes for every thread.
_SETGROUPS = {"x86_64": 116, "i686": 206, "armv7l": 206, "s390x": 206, "ppc64le": 81}
_SETGROUPS_ELSEWHERE = 159  # aarch64, riscv64, loongarch64


class Contents(NamedTuple):
    """What a file held when it was read.

    `is_own` tells whether the acting user, the directory's owner or root owns it, or has put it
    there. The bytes of a foreign file must not be shown: a link may lead to a secret.
    """

    data: bytes
    status: os.stat_result
    is_own: bool


class _Rights(NamedTuple):
    """The user whose rights root takes for a file operation."""

    uid: int
    gid: int


class _Place(NamedTuple):
    """A name in an open directory, and the rights to act there; None for the process's own."""

    parent: int
    name: str
    rights: _Rights | None


class Directory:
    """A directory that is open. Made by `open_directory`."""

    def __init__(self, path: str, stack: ExitStack) -> None:
        self.path: str = path
        self._stack = stack
        self._descriptor = self._keep(os.open(path, _PATH_ONLY | os.O_DIRECTORY))
        self._status = os.fstat(self._descriptor)
        self._is_locked = False

    def lock(self) -> None:
        """Keep other writers out until the directory is closed; readers need no lock.

        The lock lies on the directory itself, leaves no file behind and ends with the process. If
        it cannot be taken within 5 s, or the file system has no locks, the write goes ahead: a
        stuck lock must not keep a site open.
        """
        with suppress(OSError):
            descriptor = self.open(".")
            self._is_locked = _lock(descriptor)
            if self._is_locked:
                # Closing is not enough: a child that was forked since then has the descriptor too.
                self._stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
            else:
                seconds = _LOCK_SECONDS
                _logger.warning("%s: still locked after %s s; written anyway", self.path, seconds)

    def open(self, name: str, access: int = os.O_RDONLY) -> int:
        """Return a descriptor of a file; it is closed with the directory. A link is refused."""
        flags = access | os.O_NOFOLLOW | os.O_NONBLOCK
        with _acting_with(_narrowed(None, self._status)):
            return self._keep(os.open(name, flags, dir_fd=self._descriptor))

    def keep(self, name: str) -> int:
        """Return a descriptor of a regular file, which the caller keeps open. A link is refused.

        If there is none, it is made: empty, and readable for every user.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with _acting_with(_narrowed(None, self._status)):
            try:
                descriptor = os.open(name, flags, dir_fd=self._descriptor)
            except FileNotFoundError:
                descriptor = os.open(name, flags | os.O_CREAT, 0o644, dir_fd=self._descriptor)
                with suppress(OSError):  # another user was faster
                    os.fchmod(descriptor, 0o644)
        status = os.fstat(descriptor)
        # A hard link could lead to a file in which another program needs its own locks.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise OSError(errno.EINVAL, "Not a regular file of one name", name)
        return descriptor

    def remove_leftovers(self) -> None:
        """Remove the temporary files of killed writers, if the directory is locked.

        Without the lock they may be those of a writer that is still at work.
        If own files cannot be removed, the directory is append-only: each attempt to write would
        leave one more, and is refused.
        """
        found: list[str] = []
        if not self._is_locked:
            return
        with suppress(OSError), os.scandir(self.open(".")) as entries:
            found = [entry.name for entry in islice(entries, _MAX_ENTRIES)]
        stuck = sum(self._is_stuck(self._entry(n)) for n in filter(_TEMPORARY.fullmatch, found))
        if stuck >= _MAX_STUCK:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def _is_stuck(self, place: _Place) -> bool:
        """Remove a file; tell whether it is the acting user's own and cannot be removed."""
        uid = place.rights.uid if place.rights else os.geteuid()
        with suppress(OSError), _acting_with(place.rights):
            status = os.lstat(place.name, dir_fd=place.parent)
            if stat.S_ISREG(status.st_mode):
                try:
                    os.unlink(place.name, dir_fd=place.parent)
                except PermissionError as error:
                    return error.errno == errno.EPERM and status.st_uid == uid
        return False

    def read(self, name: str, limit: int) -> Contents:
        """Return what `find(name).read(limit)` returns; faster if the file is not a link."""
        try:
            return self.entry(name).read(limit)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self.find(name).read(limit)

    def entry(self, name: str) -> "File":
        """Return the file of that name; a link is not followed when it is read or replaced."""
        return File(self._status, self._entry(name), self._entry(name), None)

    def find(self, name: str) -> "File":
        """Return the file of that name, or the target of its link; it need not exist.

        If a link is not followed, reading and replacing the file raise the reason.
        """
        entry = self._entry(name)
        try:
            return File(self._status, entry, *self._follow(entry))
        except OSError as error:
            return File(self._status, entry, entry, None, error)

    def _entry(self, name: str) -> _Place:
        return _Place(self._descriptor, name, _narrowed(None, self._status))

    def _follow(self, place: _Place) -> tuple[_Place, os.stat_result | None]:
        """Follow links by their text, so that no magic link of `/proc` leads elsewhere."""
        parent, name, rights = place
        holder, parts, links = self._status, [name], 0
        while True:
            part = parts.pop() if parts else "."  # a link may lead to a directory itself
            try:
                found = self._open(part, parent, rights)
            except FileNotFoundError:
                if parts:
                    raise
                return _Place(parent, part, rights), None
            status = os.fstat(found)
            if stat.S_ISLNK(status.st_mode):
                _check_link(status, holder, rights, part)
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
                text = os.readlink("", dir_fd=found)
                parts += [piece for piece in reversed(text.split("/")) if piece not in {"", "."}]
                if not text.startswith("/"):
                    continue
                found = self._open("/", parent, rights)
                status = os.fstat(found)
            elif not parts:
                return _Place(parent, part, rights), status
            parent, holder, rights = found, status, _narrowed(rights, status)

    def _open(self, name: str, parent: int, rights: _Rights | None) -> int:
        with _reading_with(rights) as refused:
            found = self._keep(os.open(name, _PATH_ONLY | os.O_NOFOLLOW, dir_fd=parent))
        _check_own(refused, os.fstat(found), name)
        return found

    def _keep(self, descriptor: int) -> int:
        self._stack.callback(os.close, descriptor)
        return descriptor


@contextmanager
def open_directory(path: str) -> Iterator[Directory]:
    """Open a directory for the time of a block; links in its path are followed."""
    with ExitStack() as stack:
        yield Directory(path, stack)


class File:
    """A file whose place has been found, so that its name is not resolved again."""

    def __init__(
        self,
        directory: os.stat_result,
        entry: _Place,
        place: _Place,
        status: os.stat_result | None,
        fault: OSError | None = None,
    ) -> None:
        self._directory = directory
        self._entry = entry
        self._place = place
        self._status = status
        self._fault = fault

    @property
    def is_linked(self) -> bool:
        """Whether a link leads to the file."""
        return self._place != self._entry

    def read(self, limit: int) -> Contents:
        """Return the bytes of a regular file, of which there may be `limit`."""
        if self._fault:
            raise self._fault
        parent, name, rights = self._place
        # Without O_NONBLOCK, opening a pipe would wait for its writer, and so would the request.
        with _reading_with(rights) as refused:
            opened = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=parent)
        with open(opened, "rb") as file:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", name)
            _check_own(refused, status, name)
            # The size in the status proves nothing: files of /proc have 0 bytes there.
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"Larger than {limit} bytes", name)
        return Contents(data, status, self._is_own(status))

    def _is_own(self, status: os.stat_result) -> bool:
        holder, rights = self._directory, self._entry.rights
        # A hard link, too, can lead from a shared directory to a secret of its owner.
        if holder.st_mode & _SHARED and status.st_nlink > 1:
            return False
        if status.st_uid in {holder.st_uid, 0, rights.uid if rights else os.geteuid()}:
            return True
        # No other user could put the file into a private directory.
        return not (rights or self.is_linked or holder.st_mode & _SHARED)

    def without_broken_link(self) -> "File":
        """Return the link itself in place of a link that is not followed; otherwise the file."""
        return File(self._directory, self._entry, self._entry, None) if self._fault else self

    @contextmanager
    def replaced(self, data: bytes | None) -> Iterator[None]:
        """Replace the file's bytes at the end of the block, atomically and durably.

        What can be foreseen to fail (space, permissions) fails on entry; the end of the block can
        still meet a mount or a sticky directory. The file keeps its mode and, if the user may set
        them, its owner and group; a new file gets `0666 & ~umask`. None removes the file, or the
        link that leads to it.
        """
        if self._fault and (data is not None or self._fault.errno in _OF_THE_DISK):
            raise self._fault
        removes_link = data is None and self.is_linked
        if self._status and stat.S_ISDIR(self._status.st_mode) and not removes_link:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._entry.name)
        if data is None:
            yield
            _remove(self._entry)
            return
        parent, name, rights = self._place
        temporary = _Place(parent, f"{self._entry.name}.{os.urandom(8).hex()}.tmp", rights)
        try:
            self._write(temporary, data)
            yield
            with _acting_with(rights):
                os.replace(temporary.name, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException as error:
            if isinstance(error, OSError):
                error.filename = self._entry.name  # the temporary name says nothing
            with suppress(OSError):
                _remove(temporary)
            raise
        _sync(self._place)

    def _write(self, place: _Place, data: bytes) -> None:
        # The kernel applies the umask to this mode; reading the umask would mean setting it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with _acting_with(place.rights):
            descriptor = os.open(place.name, flags, 0o666, dir_fd=place.parent)
            with open(descriptor, "wb") as file:
                if self._status and stat.S_ISREG(self._status.st_mode):
                    _copy_owner_and_mode(self._status, descriptor)
                file.write(data)
                file.flush()
                os.fsync(descriptor)


def read_file(path: str, limit: int) -> Contents:
    """Return the bytes of a regular file, of which there may be `limit`."""
    folder, name = os.path.split(path)
    with open_directory(folder) as directory:
        return directory.read(name, limit)


def directory_error(path: str) -> str:
    """Return why `path` cannot be used as the directory, with a remedy; otherwise ""."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return ""
    except NOT_FOUND:
        return f"directory: {path!r} does not exist; create it, or use another directory"
    except OSError as error:
        is_closed = isinstance(error, PermissionError)
        remedy = "make its parent directories searchable (chmod o+x), or " * is_closed
        fault = f"cannot be accessed ({error.strerror}); {remedy}use another directory"
        return f"directory: {path!r} {fault}"
    return f"directory: {path!r} is not a directory; use another path"


def stat_or_lstat(path: str) -> os.stat_result:
    """Return the status of a file, or of the link itself if its target cannot be accessed."""
    try:
        return os.stat(path)
    except NOT_FOUND:
        raise
    except OSError:
        return os.lstat(path)


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


def _remove(place: _Place) -> None:
    with _acting_with(place.rights), suppress(*NOT_FOUND):
        os.unlink(place.name, dir_fd=place.parent)
    _sync(place)


def _sync(place: _Place) -> None:
    # Some file systems cannot sync a directory; the change itself has been made.
    with suppress(OSError), _acting_with(place.rights):
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place.parent)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy_owner_and_mode(old: os.stat_result, descriptor: int) -> None:
    with suppress(OSError):  # no permission, or an owner that a container does not know
        os.fchown(descriptor, -1, old.st_gid)
    with suppress(OSError):
        os.fchown(descriptor, old.st_uid, -1)
    os.fchmod(descriptor, old.st_mode & 0o777)


def _check_link(
    link: os.stat_result, holder: os.stat_result, rights: _Rights | None, name: str
) -> None:
    with suppress(FileNotFoundError):
        if link.st_dev == os.stat("/proc").st_dev:
            raise OSError(errno.ELOOP, "A link of /proc is not followed", name)
    owners = {holder.st_uid, 0, rights.uid if rights else os.geteuid()}
    if holder.st_mode & _SHARED and link.st_uid not in owners:
        reason = f"A link of uid {link.st_uid}, in a directory that others may write"
        raise PermissionError(errno.EPERM, f"{reason}, is not followed", name)


def _check_own(refused: _Rights | None, status: os.stat_result, name: str) -> None:
    """Refuse all but the user's own plain files if root has read with its own rights instead."""
    is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
    if refused and not (is_plain and status.st_uid == refused.uid):
        raise PermissionError(errno.EPERM, f"Root cannot act as uid {refused.uid}", name)


def _narrowed(rights: _Rights | None, directory: os.stat_result) -> _Rights | None:
    """Return the rights to act in a directory: root's end at the first one of another user."""
    if rights or os.geteuid() or directory.st_uid == 0:
        return rights
    # Not the directory's group: if that is root's, files of root's group could be read.
    try:
        gid = pwd.getpwuid(directory.st_uid).pw_gid
    except KeyError:
        gid = _NO_GROUP
    return _Rights(directory.st_uid, gid)


def _acting_with(rights: _Rights | None) -> AbstractContextManager[None]:
    return _acting_as(rights) if rights else nullcontext()


def _reading_with(rights: _Rights | None) -> AbstractContextManager[_Rights | None]:
    return _reading_as(rights) if rights else nullcontext()


@contextmanager
def _reading_as(rights: _Rights) -> Iterator[_Rights | None]:
    """Give a user's rights, or yield them if root cannot take them: it lacks the capabilities."""
    with ExitStack() as stack:
        refused = None
        try:
            stack.enter_context(_acting_as(rights))
        except PermissionError:
            refused = rights
        yield refused


@contextmanager
def _acting_as(rights: _Rights) -> Iterator[None]:
    """Give this thread, and no other, a user's rights to files; no supplementary groups.

    `os.seteuid` would change all threads: an application of root's would fail in the middle of
    other requests.
    """
    if sys.platform != "linux":
        raise PermissionError(errno.EPERM, f"Run this as uid {rights.uid}")
    import ctypes  # noqa: PLC0415 (only root needs it, and it is slow to import)

    libc = ctypes.CDLL(None, use_errno=True)
    number = _SETGROUPS.get(os.uname().machine, _SETGROUPS_ELSEWHERE)

    def set_groups(groups: list[int]) -> None:
        if libc.syscall(number, len(groups), (ctypes.c_uint32 * len(groups))(*groups)):
            raise OSError(ctypes.get_errno(), "The supplementary groups cannot be changed")

    groups, own_gid = os.getgroups(), os.getegid()
    set_groups([])
    try:
        libc.setfsgid(rights.gid)
        libc.setfsuid(rights.uid)
        # Neither reports an error; asked for an impossible number they return the present one.
        if (libc.setfsuid(-1), libc.setfsgid(-1)) != rights:
            raise PermissionError(errno.EPERM, f"Root cannot act as uid {rights.uid}")
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(own_gid)
        set_groups(groups)
