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
    """A user and the groups of that user; ACLs are not looked at."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def current(cls) -> "User":
        """Return the user that this process acts as."""
        return cls(current_user(), os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))

    @classmethod
    def named(cls, name: str) -> "User":
        """Return the user of that name; raise ConfigError if there is none."""
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            message = f"--user: {name!r} is not a user of this machine; use the name of one"
            raise ConfigError(message) from None
        return cls(name, found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)))

    def first_unsearchable_parent(self, path: str) -> str | None:
        """Return the first directory on the way to `path` that the user cannot search, or None."""
        for name in dict.fromkeys([path, os.path.realpath(path)]):
            for directory in reversed(Path(name).parents):
                # A link may lead to a place that does not exist.
                if directory.is_dir() and not self._may(directory.stat(), _SEARCH):
                    return str(directory)
        return None

    def can_read(self, path: str) -> bool:
        """Tell whether the modes of the file itself let the user read it."""
        return self._may(os.stat(path), _READ)

    def _may(self, status: os.stat_result, right: int) -> bool:
        if status.st_uid == self.uid:
            right <<= 6
        elif status.st_gid in self.groups:
            right <<= 3
        return self.uid == 0 or bool(status.st_mode & right)
