"""The two files as bytes: read as they are, replaced together or not at all."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state import files
from maintenance_wsgi.state.exemptions import LIST_LIMIT
from maintenance_wsgi.state.flag import FLAG_LIMIT
from maintenance_wsgi.state.reader import StateReader
from maintenance_wsgi.state.users import current_user

_READ_ONLY = "; change it where it is mounted from, a ConfigMap with kubectl"


class Snapshot(NamedTuple):
    """The bytes of the two files; an error stands for a file that exists and cannot be read.

    Attributes:
        flag: None if maintenance is off.
        exemptions: empty if there is no list.
    """

    flag: bytes | StateError | None
    exemptions: bytes | StateError


# A pure function: it may be called again on a newer state.
Change = Callable[[Snapshot], Snapshot]


@runtime_checkable
class Store(Protocol):
    """Holds the state of maintenance mode for operators."""

    def __str__(self) -> str:
        """Return the place of the state, for messages."""
        ...

    def read(self) -> Snapshot:
        """Return the present state.

        Raises:
            StateError: the state cannot be known.
        """
        ...

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        """Replace the present state by what `change` makes of it, or leave both as they are.

        Returns:
            The state before and the state after.

        Raises:
            StateError: the state cannot be read or written; nothing is changed.
        """
        ...


class FileStore:
    """The state in the two files of a directory.

    Args:
        directory: holds the two files. A relative path is made absolute now, its links unresolved.

    Attributes:
        directory: its absolute path.
        flag_path: path of the flag file.
        list_path: path of the list.
        reader: the same two files for requests.

    Raises:
        ConfigError: `directory` is not a valid path.
        StateError: this user cannot search `directory`.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.reader: StateReader = StateReader(directory)
        self.directory: str = self.reader.directory
        self.flag_path: str = self.reader.flag_path
        self.list_path: str = self.reader.list_path

    def __str__(self) -> str:
        return self.directory

    def read(self) -> Snapshot:
        """Return the bytes of the two files.

        Raises:
            StateError: this user cannot search the directory.
        """
        flag = self._read(self.flag_path, FLAG_LIMIT)
        exemptions = self._read(self.list_path, LIST_LIMIT)
        return Snapshot(flag, b"" if exemptions is None else exemptions)

    def update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        """Replace the two files by what `change` makes of them, together or not at all.

        Other writers are kept out. The list is replaced first, and only then the switch.

        Returns:
            The state before and the state after.

        Raises:
            StateError: the files cannot be read or written; nothing is changed.
        """
        if fault := files.directory_error(self.directory):
            raise StateError(fault)
        with self._translated_errors(), files.directory_lock(self.directory):
            before = self.read()
            after = change(before)
            with ExitStack() as writes:
                # The stack ends its blocks in reverse, so that the list is in place before the
                # switch changes: the site never opens or closes with the old list.
                if after.flag != before.flag and not isinstance(after.flag, StateError):
                    writes.enter_context(files.atomic_write(self.flag_path, after.flag))
                if isinstance(after.exemptions, bytes) and after.exemptions != before.exemptions:
                    writes.enter_context(self._replace_list(after.exemptions))
        return before, after

    def _read(self, path: str, limit: int) -> bytes | StateError | None:
        try:
            return files.read_bytes(path, limit=limit)[0]
        except files.NOT_FOUND:
            return None
        except OSError as error:
            unreadable = StateError(f"{path}: {current_user()} cannot read it ({error.strerror})")
        try:
            os.lstat(path)
        except OSError as error:
            raise StateError(
                f"{path}: {current_user()} cannot access it ({error.strerror});"
                " grant that user access to the directory"
            ) from error
        return unreadable

    @contextmanager
    def _replace_list(self, data: bytes) -> Iterator[None]:
        # Magento's own `--add` fails on an empty file, so that an empty list is no file. But
        # deploy tools link the list between releases, and the link must stay.
        is_link = files.resolve_link(self.list_path) != self.list_path
        with files.atomic_write(self.list_path, data if data or is_link else None):
            yield

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except StateError:
            raise
        except IsADirectoryError as error:
            raise StateError(f"{error}; remove that directory") from error
        except OSError as error:
            remedy = _READ_ONLY if error.errno == errno.EROFS else ""
            raise StateError(
                f"{current_user()} cannot change the state: {error}{remedy}"
            ) from error
