"""Who decides what the two files say: a follower holds a lock on a mark beside them."""

import fcntl
import os
from contextlib import ExitStack, suppress

from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state import files

_MARK_NAME = ".maintenance.follow"
_MARK_LIMIT = 4096  # bytes


class Mark:
    """A follower's claim on a directory: a locked file in it; the lock ends with the process.

    The file says what is followed, by which process, and the newest revision that it has seen. It
    stays when the follower ends: the next one must know if it is shown an older revision.

    Args:
        directory: it need not exist, and is not marked if it is read-only.
        source: what is followed, without a secret.
        shared: whether commands may change the files, because the follower publishes a change.

    Attributes:
        newest: the newest revision that was seen, once the mark was read; any string.
    """

    def __init__(self, directory: str, source: str, *, shared: bool = False) -> None:
        self._directory = directory
        self._source = source.encode()
        self._kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self.newest: str = ""
        self._file: int | None = None
        self._stack = ExitStack()

    def claim(self, *, hold: bool = True) -> str:
        """Hold the directory that has the name now, or only read its mark.

        Returns what another follower lets it follow, if that is something else; otherwise "".
        """
        if self._is_held():
            return ""
        self.release()
        with suppress(OSError), ExitStack() as stack:
            directory = stack.enter_context(files.open_directory(self._directory))
            is_held, lines = _read(directory, fcntl.LOCK_EX)
            # A stranger's file, without lines, holds no node up.
            if is_held and lines[0] not in {b"", self._source}:
                return _shown(lines[0])
            # Of the same fleet, wherever its Redis is: a copy of it may be older than this node.
            if lines[0].partition(b" at ")[0] == self._source.partition(b" at ")[0]:
                self.newest = self.newest or b"".join(lines[2:3]).decode("latin-1")
            if is_held or not hold:
                return ""
            with directory.entry(_MARK_NAME).replaced(self._content()):
                pass
            # If two claim it at once, one of them sees at its next beat that its file is gone.
            file = directory.open(_MARK_NAME, os.O_RDWR)
            with suppress(OSError):  # a command of any user must see it, whatever the umask is
                os.fchmod(file, 0o644)
            fcntl.flock(file, self._kind | fcntl.LOCK_NB)
            # Closing is not enough: a child that was forked has the descriptor too.
            stack.callback(fcntl.flock, file, fcntl.LOCK_UN)
            self._file, self._stack = file, stack.pop_all()
        return ""

    def record(self, newest: str) -> None:
        """Write down the newest revision, before it is obeyed."""
        self.newest = newest
        if self._file is not None:
            with suppress(OSError):
                os.pwrite(self._file, self._content(), 0)
                os.fsync(self._file)

    def release(self) -> None:
        """Let another follower hold the directory."""
        self._file = None
        self._stack.close()

    def _content(self) -> bytes:
        return b"%b\n%d\n%b\n" % (self._source, os.getpid(), self.newest.encode())

    def _is_held(self) -> bool:
        with suppress(OSError):
            there = os.lstat(os.path.join(self._directory, _MARK_NAME))
            return self._file is not None and os.path.samestat(there, os.fstat(self._file))
        return False


def followed_source(directory: str) -> str:
    """Return what a directory follows, safe to print; an empty string if it follows nothing."""
    with suppress(OSError), files.open_directory(directory) as opened:
        is_held, lines = _read(opened, fcntl.LOCK_SH)
        return _shown(lines[0]) if is_held else ""
    return ""


def _read(directory: files.Directory, kind: int) -> tuple[bool, list[bytes]]:
    """Return whether a follower's lock refuses one of this kind, and the lines of its mark."""
    is_held, lines = False, [b""]
    with suppress(FileNotFoundError):
        descriptor = directory.open(_MARK_NAME)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            is_held = True
        mark = directory.entry(_MARK_NAME).read(_MARK_LIMIT)
        lines = mark.data.split(b"\n") if mark.is_own else lines
    return is_held, lines


def _shown(source: bytes) -> str:
    return printable(source, 300) or "an unknown fleet"
