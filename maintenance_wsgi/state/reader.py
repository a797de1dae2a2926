"""The two files as a request sees them: read without ever raising, and never opening by accident.

Nothing else is shared: threads and processes see each other's changes only through the files.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.networks import Address, NetworkSet
from maintenance_wsgi.state import files
from maintenance_wsgi.state.cached_file import CachedFile, ForkSafeLock
from maintenance_wsgi.state.exemptions import (
    LIST_LIMIT,
    LIST_NAME,
    InvalidEntries,
    valid_networks,
)
from maintenance_wsgi.state.files import NOT_FOUND, Contents
from maintenance_wsgi.state.flag import FLAG_LIMIT, FLAG_NAME, Window, parse_flag
from maintenance_wsgi.state.users import current_user

T = TypeVar("T")
_DEFAULT_WINDOW = Window()
_LOOKS = 4
_logger = logging.getLogger("maintenance_wsgi")
_change_logger = logging.getLogger("maintenance_wsgi.changes")


class StateReader:
    """What the flag and the list of a directory say now, for requests.

    Args:
        directory: holds the two files. A relative path is made absolute now, its links unresolved:
            `current/var` follows the switch of `current` to the next release.

    Raises:
        StateError: this user cannot search `directory`. If it does not exist, maintenance is off,
            and a warning is logged.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory: str = absolute_path("directory", directory)
        self.flag_path: str = os.path.join(self.directory, FLAG_NAME)
        self.list_path: str = os.path.join(self.directory, LIST_NAME)
        self._window = CachedFile(
            self.flag_path,
            self._parse_window,
            limit=FLAG_LIMIT,
            fallback="maintenance is on, its details are kept only if the file has not changed",
        )
        self._exemptions = CachedFile(
            self.list_path,
            self._parse_list,
            limit=LIST_LIMIT,
            fallback="the last valid list stays in force",
        )
        self._last_warning = ""
        self._logged = False
        self._log_lock = ForkSafeLock()
        self._last_flag = self._first_flag()

    def flag(self) -> os.stat_result | None:
        """Return the flag file's status, or None while maintenance is off.

        If the directory is away or cannot be searched any more, the last known answer stays in
        force: an accident neither opens the site nor closes it.
        """
        try:
            flag = os.stat(self.flag_path)
        except NOT_FOUND:
            flag = None
            if self._last_flag is None and not self._last_warning:
                return None
            # A link being switched and a swap of a ConfigMap lose a look now and then.
            if self._last_flag and not self._is_removed():
                return self._last_flag
        except OSError:
            return self._flag_without_target()
        self._last_flag = flag
        if (flag is None) is self._logged or self._last_warning:
            self._log_change(enabled=flag is not None)
        return flag

    def flag_if_last_on(self) -> os.stat_result | None:
        """Return what `flag` returns; None without a look if the last one found maintenance off."""
        return self.flag() if self._last_flag else None

    def _is_removed(self) -> bool:
        """Look again for a flag that was there, and for its directory."""
        try:
            self._last_flag = self._look_again(lambda: files.stat_or_lstat(self.flag_path))
        except OSError as error:
            if isinstance(error, NOT_FOUND) and os.path.isdir(self.directory):
                return True
            self._warn_once(f"{self.directory} is missing, or cannot be searched")
        return False

    def _look_again(self, look: Callable[[], T]) -> T:
        """Return what one of several looks finds: each may meet another swap of a ConfigMap."""
        for _ in range(_LOOKS if os.path.isdir(self.directory) else 0):
            with suppress(*NOT_FOUND):
                return look()
            time.sleep(0.001)  # otherwise the looks may keep step with the swaps
        return look()

    def _warn_once(self, warning: str) -> None:
        if warning != self._last_warning:
            self._last_warning = warning
            _logger.warning("%s; the last known state stays in force", warning)

    def _flag_without_target(self) -> os.stat_result | None:
        """Return the status of the link itself if only its target cannot be accessed."""
        try:
            self._last_flag = os.lstat(self.flag_path)
        except OSError as error:
            self._warn_once(str(error))
            return self._last_flag
        self._log_change(enabled=True)
        return self._last_flag

    def window(self, flag: os.stat_result) -> Window | None:
        """Return what the flag file of this status says, or None if it has been removed since."""
        try:
            return self._window.read(flag) or self._window.last_good(flag) or _DEFAULT_WINDOW
        except NOT_FOUND:
            return self._window_again()

    def _window_again(self) -> Window | None:
        """Look a second time: a swap of a ConfigMap loses one look."""
        try:
            return (flag := self.flag()) and (self._window.read(flag) or _DEFAULT_WINDOW)
        except NOT_FOUND:
            # The directory is away, or the flag has been removed just now.
            return (flag := self.flag()) and (self._window.last_good(flag) or _DEFAULT_WINDOW)

    def exempts(self, address: Address) -> bool:
        """Tell whether the list in force holds `address`."""
        try:
            networks = self._exemptions.read()
        except NOT_FOUND:
            networks = self._lost_list()
        if networks is None:
            networks = self._exemptions.last_good()
        return networks is not None and address in networks

    def _lost_list(self) -> NetworkSet | None:
        """Look again for a list that was there, and for its directory."""
        if self._exemptions.last_good() is not None:
            try:
                return self._look_again(self._exemptions.read)
            except NOT_FOUND:
                if os.path.isdir(self.directory):
                    self._exemptions.forget()
        return None

    def _first_flag(self) -> os.stat_result | None:
        try:
            return files.stat_or_lstat(self.flag_path)
        except NOT_FOUND:
            if not os.path.isdir(self.directory):
                _logger.warning("%s does not exist yet; maintenance is off", self.directory)
            return None
        except OSError as error:
            raise StateError(
                f"directory: {self.directory} cannot be searched by {current_user()}"
                f" ({error.strerror}); grant that user access, or use another directory"
            ) from error

    def _log_change(self, *, enabled: bool) -> None:
        """Log a change of the state, once in this process."""
        self._last_warning = ""
        with self._log_lock:
            if enabled is self._logged:
                return
            self._logged = enabled
        # After the lock: while one thread reads a long list, the others may find it off again.
        if enabled:
            with suppress(*NOT_FOUND):
                self._exemptions.read()
            count = len(self._exemptions.last_good() or ())
            _change_logger.warning(
                "%s: maintenance is on, exempt entries: %d", self.directory, count
            )
        else:
            _change_logger.warning("%s: maintenance is off", self.directory)

    def _parse_window(self, contents: Contents) -> Window:
        window, problems = parse_flag(contents.data)
        if problems and not contents.is_own:
            problems = ("its values are not valid, and it belongs to another user",)
        for problem in problems:
            _logger.warning("%s: %s", self.flag_path, problem)
        return window

    def _parse_list(self, contents: Contents) -> NetworkSet:
        invalid = InvalidEntries()
        networks = NetworkSet(valid_networks(contents.data, invalid))
        if invalid.count:
            shown = str(invalid) if contents.is_own else f"{invalid.count}, of another user's file"
            _logger.warning("%s: invalid entries are skipped: %s", self.list_path, shown)
        return networks
