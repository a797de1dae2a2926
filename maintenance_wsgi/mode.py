"""Maintenance mode as two files in a directory, Magento's own: a flag, and a list of addresses.

While `.maintenance.flag` exists, maintenance is on. `.maintenance.ip` lists who is let through.
Nothing else is shared: threads and processes see each other's changes through the files alone.
"""

import logging
import os
import pwd
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netaddr import IPNetwork

from maintenance_wsgi import files
from maintenance_wsgi.details import (
    Details,
    checked_members,
    json_object,
    parse_details,
    render_details,
)
from maintenance_wsgi.errors import (
    ConfigError,
    StateError,
)
from maintenance_wsgi.exemptions import (
    ExemptionList,
    canonical_entries,
    parse_entries,
    parse_exemptions,
    render_exemptions,
)
from maintenance_wsgi.networks import Address, NetworkSet

_FLAG_NAME = ".maintenance.flag"
_LIST_NAME = ".maintenance.ip"
_FLAG_LIMIT = 64 * 1024
_LIST_LIMIT = 64 * 1024 * 1024

_NO_DETAILS = Details()
_logger = logging.getLogger("maintenance_wsgi")


@dataclass(frozen=True, slots=True)
class Status(Details):
    """What the two files say: the details of the flag, and these.

    Attributes:
        enabled: whether maintenance is on.
        exempt: canonical entries of the list.
        invalid: texts in the list that are no entries.
    """

    enabled: bool = False
    exempt: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


class MaintenanceMode:
    """The two files of a directory, read and written.

    The methods that a request needs (`flag`, `details`, `exempts`) never raise. The others, which
    people call, raise `StateError` where the files cannot be read or written.

    Args:
        directory: holds the two files. A relative one is made absolute now, its links unresolved:
            `current/var` follows the switch of `current` to the next release.

    Raises:
        ConfigError: `directory` is no name of a directory.
        StateError: this user cannot search `directory`. Where it is missing, maintenance is off,
            and a warning is logged.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        if not os.fspath(directory) or "\0" in os.fspath(directory):
            raise ConfigError(f"no directory has the name {directory!r}; write 'var'")
        self.directory = str(Path(directory).absolute())
        self._flag_path = os.path.join(self.directory, _FLAG_NAME)
        self._list_path = os.path.join(self.directory, _LIST_NAME)
        self._details = files.FollowedFile(
            self._flag_path,
            self._parse_details,
            limit=_FLAG_LIMIT,
            otherwise="maintenance is on, without details",
        )
        self._exempt = files.FollowedFile(
            self._list_path,
            self._parse_list,
            limit=_LIST_LIMIT,
            otherwise="the last good list stands",
        )
        self._complaint = ""
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
            self._last_flag = os.stat(self._flag_path)
        except files.MISSING:
            self._last_flag = None
        except OSError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _logger.warning("%s; the last known state stands", error)
            return self._last_flag
        self._complaint = ""
        return self._last_flag

    def details(self, flag: os.stat_result) -> Details | None:
        """Return what the flag file of this status says, or None where it is gone by now."""
        try:
            return self._details.read(flag) or _NO_DETAILS
        except files.MISSING:
            return None

    def exempts(self, address: Address) -> bool:
        """Tell whether the list in force holds `address`."""
        try:
            networks = self._exempt.read()
        except files.MISSING:
            return False
        if networks is None:
            networks = self._exempt.last()
        return networks is not None and address in networks

    @property
    def exemptions(self) -> tuple[str, ...]:
        """The list's entries in canonical form, in their order."""
        return canonical_entries(self._read_list().networks)

    def status(self) -> Status:
        """Return what the two files say now."""
        flag = self.flag()
        details = self.details(flag) if flag else None
        exemptions = self._read_list()
        return Status(
            **asdict(details or Details()),
            enabled=details is not None,
            exempt=canonical_entries(exemptions.networks),
            invalid=tuple(entry.text for entry in exemptions.bad),
        )

    def enable(
        self,
        *,
        exemptions: Iterable[str] | None = None,
        message: str | None = None,
        until: datetime | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Switch maintenance on, or change what is said of it.

        While it is on already, what is not given stays as it is.

        Args:
            exemptions: replaces the list, before the flag is set.
            message: text for the visitors.
            until: when it is planned to end; in the future and with a time zone.
            retry_after: seconds after which a client may come again.

        Raises:
            ConfigError, ConfigTypeError, EntryError: an argument is refused; nothing is changed.
        """
        given = checked_members(message, until, retry_after)
        networks = None if exemptions is None else parse_entries(exemptions)
        with self._changing():
            flag = None
            if given or not self.is_enabled():
                flag = self._flag_with(given)
            if networks is not None:
                self._write_list(networks)
            if flag is not None:
                files.replace(self._flag_path, flag)

    def disable(self, *, exemptions: Iterable[str] | None = None) -> None:
        """Switch maintenance off; `exemptions` replaces the list, which else stays as it is.

        Raises:
            EntryError: an exemption is no address or network; nothing is changed.
        """
        networks = None if exemptions is None else parse_entries(exemptions)
        with self._changing():
            if networks is not None:
                self._write_list(networks)
            files.remove(self._flag_path)

    @contextmanager
    def enabled(
        self,
        *,
        message: str | None = None,
        until: datetime | None = None,
        retry_after: int | None = None,
    ) -> Iterator[None]:
        """Keep maintenance on for the time of a block; takes what `enable` takes.

        Restores what it found: where maintenance was on, it stays on, untouched. A block that
        raises leaves it on, because what it did is half done.
        """
        found_enabled = self.is_enabled()
        if not found_enabled:
            self.enable(message=message, until=until, retry_after=retry_after)
        yield
        if not found_enabled:
            self.disable()

    def set_exemptions(self, entries: Iterable[str]) -> None:
        """Replace the list; an empty one lets nobody through.

        Raises:
            EntryError: a text is no address or network; nothing is changed.
        """
        networks = parse_entries(entries)
        with self._changing():
            self._write_list(networks)

    def add_exemptions(self, entries: Iterable[str]) -> None:
        """Append to the list. Bad entries and comments cannot be kept, and are logged.

        Raises:
            EntryError: a text is no address or network; nothing is changed.
        """
        networks = parse_entries(entries)
        with self._changing():
            found = self._read_list()
            self._write_list(found.networks + networks)
            self._warn_of_bad(found, "dropped")
            if found.has_comments:
                _logger.warning("%s: comments dropped", self._list_path)

    def _first_flag(self) -> os.stat_result | None:
        try:
            return os.stat(self._flag_path)
        except files.MISSING:
            if not os.path.isdir(self.directory):
                _logger.warning("%s is not there yet: maintenance is off", self.directory)
            return None
        except OSError as error:
            raise StateError(
                f"{_user()} cannot search {self.directory}: {error.strerror};"
                " give that user the right to, or name another directory"
            ) from error

    def _parse_details(self, data: bytes) -> Details:
        details, problems = parse_details(data)
        for problem in problems:
            _logger.warning("%s: %s", self._flag_path, problem)
        return details

    def _parse_list(self, data: bytes) -> NetworkSet:
        exemptions = parse_exemptions(data)
        self._warn_of_bad(exemptions, "skipped")
        return NetworkSet(exemptions.networks)

    def _warn_of_bad(self, exemptions: ExemptionList, fate: str) -> None:
        if exemptions.bad:
            bad = exemptions.describe_bad()
            _logger.warning("%s: bad entries %s: %s", self._list_path, fate, bad)

    def _read_list(self) -> ExemptionList:
        try:
            return parse_exemptions(files.read_bytes(self._list_path, limit=_LIST_LIMIT)[0])
        except files.MISSING:
            return ExemptionList()
        except OSError as error:
            raise StateError(f"{_user()} cannot read the list: {error}") from error

    def _write_list(self, networks: tuple[IPNetwork, ...]) -> None:
        if networks:
            files.replace(self._list_path, render_exemptions(networks))
        elif os.path.islink(self._list_path):
            # Deploy tools link the list between releases: the link is not ours to remove.
            files.replace(self._list_path, b"")
        else:
            files.remove(self._list_path)

    def _flag_with(self, given: dict[str, Any]) -> bytes:
        data = render_details(self._flag_members() | given)
        if len(data) > _FLAG_LIMIT:
            raise ConfigError(f"the message is too long: {len(data)} bytes")
        return data

    def _flag_members(self) -> dict[str, Any]:
        try:
            found, _ = files.read_bytes(self._flag_path, limit=_FLAG_LIMIT)
        except files.MISSING:
            return _signature()
        members = json_object(found)
        if members is None and found.strip():
            _logger.warning("%s: replaced: %a", self._flag_path, found[:256])
        return members or {}

    @contextmanager
    def _changing(self) -> Iterator[None]:
        if not os.path.isdir(self.directory):
            raise StateError(f"there is no directory {self.directory}; create it or name another")
        try:
            with files.locked(self.directory):
                yield
        except StateError:
            raise
        except OSError as error:
            raise StateError(f"{_user()} cannot change the state: {error}") from error


def _signature() -> dict[str, Any]:
    return {
        "by": f"{os.environ.get('SUDO_USER') or _user()}@{socket.gethostname()}",
        "since": datetime.now(UTC).replace(microsecond=0),
    }


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"
