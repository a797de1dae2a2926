"""The two files as bytes: read as they are, replaced together or not at all."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state import files
from maintenance_wsgi.state.exemptions import LIST_LIMIT, LIST_NAME
from maintenance_wsgi.state.flag import FLAG_LIMIT, FLAG_NAME
from maintenance_wsgi.state.reader import StateReader
from maintenance_wsgi.state.users import current_user

REMEDIES = {
    errno.EACCES: "; run the command as root or as the directory's owner",
    errno.EBUSY: "; it is mounted by itself: mount its directory instead",
    errno.EDQUOT: "; free some of the owner's quota",
    errno.EISDIR: "; remove that directory",
    errno.ENOSPC: "; free some space",
    errno.EPERM: "; run the command as its owner; if it is immutable, or its directory is immutable"
    " or append-only, run chattr -ia on that",
    errno.EROFS: "; make it writable (systemd: ReadWritePaths=, Docker: a volume; if a deploy has"
    " replaced it, restart the service), or change it where it is mounted from, a ConfigMap with"
    " kubectl",
}


class Snapshot(NamedTuple):
    """The bytes of the two files; an error stands for a file that exists and cannot be read."""

    flag: bytes | StateError | None  # None: maintenance is off
    exemptions: bytes | StateError  # b"": no list


# A pure function: it may be called again on a newer state.
Change = Callable[[Snapshot], Snapshot]


@runtime_checkable
class Store(Protocol):
    """Holds the state of maintenance mode for operators; `str()` names its place.

    Both methods raise `StateError` if the state cannot be read or written; it is unchanged then.
    """

    def read(self) -> Snapshot:
        """Return the present state."""
        ...

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        """Replace the state by what `change` makes of it; return the state before and after."""
        ...


class FileStore:
    """The state in the two files of a directory."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory: str = absolute_path("directory", directory)
        self.flag_path: str = os.path.join(self.directory, FLAG_NAME)
        self.list_path: str = os.path.join(self.directory, LIST_NAME)

    @cached_property
    def reader(self) -> StateReader:
        """Reads the same files for requests; StateError if this user cannot search the place."""
        return StateReader(self.directory)

    def __str__(self) -> str:
        return self.directory

    def read(self) -> Snapshot:
        """Return the bytes of the two files; without a directory, maintenance is off."""
        with self._translated_errors():
            try:
                with files.open_directory(self.directory) as directory:
                    return self._snapshot(directory.find(FLAG_NAME), directory.find(LIST_NAME))
            except files.NOT_FOUND:
                return Snapshot(None, b"")

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        """Replace the two files by what `change` makes of them; return the state before and after.

        Other writers are kept out, and both files are replaced or neither; if the list cannot be
        put back after a failure, the error says so.
        """
        if fault := files.directory_error(self.directory):
            raise StateError(fault)
        with (
            self._translated_errors(),
            files.open_directory(self.directory) as directory,
            ExitStack() as undo,
        ):
            directory.lock()
            directory.remove_leftovers()
            flag, listed = directory.find(FLAG_NAME), directory.find(LIST_NAME)
            before = self._snapshot(flag, listed)
            after = change(before)
            switch: AbstractContextManager[None] = nullcontext()
            if after.flag != before.flag and not isinstance(after.flag, StateError):
                switch = flag.without_broken_link().replaced(after.flag)
            # The list is in place before the switch changes: the site never opens or closes with
            # the old list.
            with switch:
                if isinstance(after.exemptions, bytes) and after.exemptions != before.exemptions:
                    _replace_list(listed, after.exemptions)
                    undo.enter_context(self._put_back_on_failure(listed, before.exemptions))
        return before, after

    def private_files(self) -> list[str]:
        """Return what to tell of each file that only its owner can read, in an open directory."""
        found = []
        with suppress(OSError):
            is_open = os.stat(self.directory).st_mode & (stat.S_IXGRP | stat.S_IXOTH)
            for path in filter(os.path.exists, (self.list_path, self.flag_path)):
                if is_open and not os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH):
                    remedy = "if the web server runs as another user, run chmod a+r on it"
                    found.append(f"{path}: only its owner can read it; {remedy}")
        return found

    def _snapshot(self, flag: files.File, listed: files.File) -> Snapshot:
        exemptions = _state_of(listed, self.list_path, LIST_LIMIT)
        return Snapshot(
            _state_of(flag, self.flag_path, FLAG_LIMIT), b"" if exemptions is None else exemptions
        )

    @contextmanager
    def _put_back_on_failure(
        self, listed: files.File, earlier: bytes | StateError
    ) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            try:
                _replace_list(listed, earlier)
            except OSError:
                told = f"{self._told(error)}; and set the list again: it has been replaced"
                raise StateError(told) from error
            raise

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except StateError:
            raise
        except OSError as error:
            raise StateError(self._told(error)) from error

    def _told(self, error: OSError) -> str:
        path = os.path.join(self.directory, str(error.filename or ""))
        # A refusal of our own has other words than the system's error of that number.
        is_plain = error.strerror == os.strerror(error.errno or 0)
        remedy = REMEDIES.get(error.errno or 0, "")
        if error.errno in {errno.EDQUOT, errno.ENOSPC} and error.filename == FLAG_NAME:
            remedy += f"; to switch maintenance on at once, run: touch {self.flag_path}"
        return f"{path}: {current_user()} cannot access it: {error.strerror}{remedy * is_plain}"


def _replace_list(listed: files.File, data: bytes | StateError) -> None:
    if isinstance(data, StateError):  # an earlier list that could not be read
        raise data
    # Magento's own `--add` fails on an empty file, so an empty list has no file. But deploy tools
    # link the list between releases, and the link must stay.
    with listed.replaced(data or (b"" if listed.is_linked else None)):
        pass


def _state_of(file: files.File, path: str, limit: int) -> bytes | StateError | None:
    try:
        contents = file.read(limit)
    except OSError as error:
        unreadable = StateError(f"{path}: {current_user()} cannot read it: {error.strerror}")
    else:
        if contents.is_own:
            return contents.data
        unreadable = StateError(
            f"{path}: belongs to another user (uid {contents.status.st_uid}), or is a hard link in"
            " a directory that others may write; replace it by a file of the directory's owner"
        )
    try:
        files.stat_or_lstat(path)
    except files.NOT_FOUND:
        return None
    return unreadable
