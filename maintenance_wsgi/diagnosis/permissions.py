"""What another user may read, decided from owners and modes."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.state.users import current_user

_READ, _SEARCH = 4, 1


@dataclass(frozen=True, slots=True)
class User:
    """A user and the groups of that user. ACLs are not looked at.

    Attributes:
        name: the user's name, for messages.
        uid: the user's number.
        groups: numbers of all the user's groups.
    """

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def current(cls) -> "User":
        """Return the user that this process acts as."""
        return cls(current_user(), os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))

    @classmethod
    def named(cls, name: str) -> "User":
        """Return the user of that name.

        Raises:
            ConfigError: there is no such user.
        """
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError(
                f"--user: {name!r} is not a user of this machine; use the name of one"
            ) from None
        return cls(name, found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)))

    def first_unsearchable_parent(self, path: str) -> str | None:
        """Return the first directory on the way to `path` that the user cannot search, or None.

        Raises:
            OSError: this process cannot access one of the directories.
        """
        names = dict.fromkeys([path, os.path.realpath(path)])
        for name in names:
            for directory in reversed(Path(name).parents):
                if not self._may(os.stat(directory), _SEARCH):
                    return str(directory)
        return None

    def can_read(self, path: str) -> bool:
        """Tell whether the modes of the file itself let the user read it.

        Raises:
            OSError: this process cannot access the file.
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
