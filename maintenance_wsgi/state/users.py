"""Who runs this process, and what another user may do with a file."""

import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path

from maintenance_wsgi.errors import ConfigError

_READ, _SEARCH = 4, 1


def current_user() -> str:
    """Return the name of the user this process acts as, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def operator() -> str:
    """Return who is at work here, as `user@host`: the user behind `sudo`, where there is one."""
    return f"{os.environ.get('SUDO_USER') or current_user()}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class User:
    """A user and his groups. What he may do is decided from owners and modes, not from ACLs."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def current(cls) -> "User":
        """Return the user this process acts as."""
        return cls(current_user(), os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))

    @classmethod
    def named(cls, name: str) -> "User":
        """Return the user of that name.

        Raises:
            ConfigError: there is none.
        """
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError(f"there is no user {name!r}") from None
        return cls(name, found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)))

    def first_unsearchable_parent(self, path: str) -> str | None:
        """Return the first directory on the way to `path` that he cannot search, or None.

        Raises:
            OSError: this process cannot look at one of them.
        """
        names = dict.fromkeys([path, os.path.realpath(path)])
        for name in names:
            for directory in reversed(Path(name).parents):
                if not self._may(os.stat(directory), _SEARCH):
                    return str(directory)
        return None

    def can_read(self, path: str) -> bool:
        """Tell whether the modes of the file itself let him read it.

        Raises:
            OSError: this process cannot look at it.
        """
        return self._may(os.stat(path), _READ)

    def _may(self, status: os.stat_result, right: int) -> bool:
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode >> 6 & right)
        if status.st_gid in self.groups:
            return bool(status.st_mode >> 3 & right)
        return bool(status.st_mode & right)
