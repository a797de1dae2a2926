"""Who decides what the two files say: a follower holds a lock on a mark beside them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state import files

_MARK_NAME = ".maintenance.follow"
_MARK_LIMIT = 4096  # bytes


@contextmanager
def marked(directory: str, source: str) -> Iterator[None]:
    """Mark a directory, for the time of a block, as one that follows `source`.

    The lock is the mark, and ends with the process. A read-only directory is not marked.
    """
    data = f"{source}\n{os.getpid()}\n".encode()
    with files.open_directory(directory) as opened:
        mark = opened.entry(_MARK_NAME)
        with suppress(OSError), mark.replaced(data):
            pass
        opened.lock(_MARK_NAME)
        try:
            yield
        finally:
            with suppress(OSError):
                if mark.read(_MARK_LIMIT).data == data:  # not that of another follower
                    with mark.replaced(None):
                        pass


def followed_source(directory: str) -> str:
    """Return what a directory follows, safe to print; an empty string if it follows nothing."""
    with suppress(OSError), files.open_directory(directory) as opened:
        try:
            fcntl.flock(opened.open(_MARK_NAME), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            mark = opened.entry(_MARK_NAME).read(_MARK_LIMIT)
            source = mark.data.partition(b"\n")[0] if mark.is_own else b""
            return printable(source, 300) or "an unknown fleet"
    return ""
