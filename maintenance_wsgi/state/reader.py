"""The two files as a request sees them: read without ever raising, and never opening by accident.

Nothing else is shared: threads and processes see each other's changes through the files alone.
"""

import logging
import os
from contextlib import suppress

from maintenance_wsgi.errors import StateError, absolute_path
from maintenance_wsgi.networks import Address, NetworkSet
from maintenance_wsgi.state import files
from maintenance_wsgi.state.cached_file import CachedFile, ForkSafeLock
from maintenance_wsgi.state.exemptions import BadEntry, format_invalid, valid_networks
from maintenance_wsgi.state.files import NOT_FOUND
from maintenance_wsgi.state.flag import Window, parse_flag
from maintenance_wsgi.state.users import current_user

FLAG_NAME = ".maintenance.flag"
LIST_NAME = ".maintenance.ip"
FLAG_LIMIT = 64 * 1024
LIST_LIMIT = 64 * 1024 * 1024

_NO_DETAILS = Window()
_logger = logging.getLogger("maintenance_wsgi")


class StateReader:
    """What the flag and the list of a directory say now.

    Args:
        directory: holds the two files. A relative one is made absolute now, its links unresolved:
            `current/var` follows the switch of `current` to the next release.

    Attributes:
        directory: its absolute name.
        flag_path, list_path: names of the two files.

    Raises:
        ConfigError: `directory` is no name of a directory.
        StateError: this user cannot search `directory`. Where it is missing, maintenance is off,
            and a warning is logged.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory: str = absolute_path("directory", directory)
        self.flag_path: str = os.path.join(self.directory, FLAG_NAME)
        self.list_path: str = os.path.join(self.directory, LIST_NAME)
        self._details = CachedFile(
            self.flag_path,
            self._parse_details,
            limit=FLAG_LIMIT,
            otherwise="maintenance is on, without details",
        )
        self._exempt = CachedFile(
            self.list_path,
            self._parse_list,
            limit=LIST_LIMIT,
            otherwise="the last good list stands",
        )
        self._complaint = ""
        self._noted = False
        self._noting = ForkSafeLock()
        self._last_flag = self._first_flag()

    def is_enabled(self) -> bool:
        """Tell whether maintenance is on now."""
        return self.flag() is not None

    def flag(self) -> os.stat_result | None:
        """Return the flag file's status, or None while maintenance is off.

        Where the directory cannot be searched any more, the last known answer stands: an
        accident of permissions neither opens the site nor closes it.
        """
        try:
            flag = os.stat(self.flag_path)
        except NOT_FOUND:
            flag = None
        except OSError:
            return self._unsearched_flag()
        self._last_flag = flag
        if (flag is None) is self._noted or self._complaint:
            self._note(enabled=flag is not None)
        return flag

    def _unsearched_flag(self) -> os.stat_result | None:
        """Return the status of the link where only what it links to cannot be looked at."""
        try:
            self._last_flag = os.lstat(self.flag_path)
        except OSError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _logger.warning("%s; the last known state stands", error)
            return self._last_flag
        self._note(enabled=True)
        return self._last_flag

    def details(self, flag: os.stat_result) -> Window | None:
        """Return what the flag file of this status says, or None where it is gone by now."""
        try:
            return self._details.read(flag) or _NO_DETAILS
        except NOT_FOUND:
            return None

    def exempts(self, address: Address) -> bool:
        """Tell whether the list in force holds `address`."""
        try:
            networks = self._exempt.read()
        except NOT_FOUND:
            return False
        if networks is None:
            networks = self._exempt.last()
        return networks is not None and address in networks

    def _first_flag(self) -> os.stat_result | None:
        try:
            return files.status_of(self.flag_path)
        except NOT_FOUND:
            if not os.path.isdir(self.directory):
                _logger.warning("%s is not there yet: maintenance is off", self.directory)
            return None
        except OSError as error:
            raise StateError(
                f"{current_user()} cannot search {self.directory}: {error.strerror};"
                " give that user the right to, or name another directory"
            ) from error

    def _note(self, *, enabled: bool) -> None:
        """Log a change of the state, once in this process."""
        self._complaint = ""
        with self._noting:
            if enabled is self._noted:
                return
            self._noted = enabled
        # Not within the lock: while one takes in a long list, the others may find it off again.
        if enabled:
            with suppress(*NOT_FOUND):
                self._exempt.read()
            count = len(self._exempt.last() or ())
            _logger.info("%s: maintenance is on, %d entries are exempt", self.directory, count)
        else:
            _logger.info("%s: maintenance is off", self.directory)

    def _parse_details(self, data: bytes) -> Window:
        details, problems = parse_flag(data)
        for problem in problems:
            _logger.warning("%s: %s", self.flag_path, problem)
        return details

    def _parse_list(self, data: bytes) -> NetworkSet:
        bad: list[BadEntry] = []
        networks = NetworkSet(valid_networks(data, bad))
        if bad:
            _logger.warning("%s: bad entries skipped: %s", self.list_path, format_invalid(bad))
        return networks
