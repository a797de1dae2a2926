"""Maintenance mode as people and programs switch it: Magento's two files, written.

While `.maintenance.flag` exists, maintenance is on. `.maintenance.ip` lists who is let through.
Every change is atomic and goes through links; what cannot be made as a whole is not begun.
"""

import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from netaddr import IPNetwork

from maintenance_wsgi import files
from maintenance_wsgi.details import (
    Details,
    checked_members,
    json_object,
    render_details,
)
from maintenance_wsgi.errors import ConfigError, StateError
from maintenance_wsgi.exemptions import (
    Entry,
    ExemptionList,
    canonical_entries,
    parse_entries,
    parse_exemptions,
    read_entries,
    render_exemptions,
)
from maintenance_wsgi.state import FLAG_LIMIT, LIST_LIMIT, MaintenanceState
from maintenance_wsgi.users import current_user, operator

# Who keeps maintenance on for the time of a block: names in a list, a member of the flag's
# object. A flag without it was set by a person, and no block may remove it.
_HOLDERS = "holders"
# The list that the first of them found, and the one that it wrote.
_LISTS = "lists"

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


class MaintenanceMode(MaintenanceState):
    """The two files of a directory, read and written.

    What a request needs (`MaintenanceState`) never raises. These methods raise `StateError` where
    the files cannot be read or written; then they are as they were.
    """

    @property
    def exemptions(self) -> tuple[str, ...]:
        """The list's entries in canonical form, in their order."""
        return canonical_entries(self._read_list().networks)

    def status(self) -> Status:
        """Return what the two files say now; a list that cannot be read is logged, and empty."""
        flag = self._found_flag()
        details = self.details(flag) if flag else None
        try:
            exemptions = self._read_list()
        except StateError as error:
            _logger.warning("%s", error)
            exemptions = ExemptionList()
        return Status(
            **asdict(details or Details()),
            enabled=details is not None,
            exempt=canonical_entries(exemptions.networks),
            invalid=tuple(entry.text for entry in exemptions.bad),
        )

    def list_bytes(self) -> bytes:
        """Return what the list holds, as it was written; nothing where there is none."""
        try:
            return files.read_bytes(self.list_path, limit=LIST_LIMIT)[0]
        except files.MISSING:
            return b""
        except OSError as error:
            raise StateError(f"{current_user()} cannot read the list: {error}") from error

    def entries(self) -> list[Entry]:
        """Return the list's entries with their lines, the bad ones too."""
        return list(read_entries(self.list_bytes()))

    def enable(
        self,
        *,
        exemptions: Iterable[str] | None = None,
        message: str | None = None,
        until: datetime | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Switch maintenance on, or change what is said of it.

        While it is on already, what is not given stays as it is, and a block that keeps it on
        (`enabled`) does not end it any more.

        Args:
            exemptions: replaces the list.
            message: text for the visitors.
            until: when it is planned to end; in the future and with a time zone.
            retry_after: seconds after which a client may come again.

        Raises:
            ConfigError, ConfigTypeError, EntryError: an argument is refused; nothing is changed.
        """
        given = checked_members(message, until, retry_after)
        networks = None if exemptions is None else parse_entries(exemptions)
        with self._changing() as changes:
            if given or not self._found_flag() or self._holders():
                members = self._flag_members() | given
                members.pop(_HOLDERS, None)
                members.pop(_LISTS, None)
                changes.enter_context(self._replacing_flag(members))
            if networks is not None:
                changes.enter_context(self._replacing_list(render_exemptions(networks)))

    def disable(self, *, exemptions: Iterable[str] | None = None) -> None:
        """Switch maintenance off; `exemptions` replaces the list, which else stays as it is.

        Raises:
            EntryError: an exemption is no address or network; nothing is changed.
        """
        networks = None if exemptions is None else parse_entries(exemptions)
        with self._changing() as changes:
            # What is entered last is made first: the site opens only when the list is in place.
            changes.enter_context(files.replacing(self.flag_path, None))
            if networks is not None:
                changes.enter_context(self._replacing_list(render_exemptions(networks)))

    @contextmanager
    def enabled(
        self,
        *,
        exemptions: Iterable[str] | None = None,
        message: str | None = None,
        until: datetime | None = None,
        retry_after: int | None = None,
        disable_on_failure: bool = False,
    ) -> Iterator[bool]:
        """Keep maintenance on for the time of a block; takes what `enable` takes.

        Restores what it found: where maintenance was on, it stays on, untouched. Of several
        blocks that overlap, in one process or many, the last to end switches it off. A block that
        raises leaves it on, because what it did is half done, unless `disable_on_failure`.

        Yields whether this block switched it on.
        """
        given = checked_members(message, until, retry_after)
        networks = None if exemptions is None else parse_entries(exemptions)
        hold = self._hold(given, networks)
        try:
            yield hold.switched_on
        except BaseException:
            if disable_on_failure:
                self._release(hold)
            raise
        self._release(hold)

    def set_exemptions(self, entries: Iterable[str]) -> None:
        """Replace the list; an empty one lets nobody through.

        Raises:
            EntryError: a text is no address or network; nothing is changed.
        """
        networks = parse_entries(entries)
        with self._changing() as changes:
            changes.enter_context(self._replacing_list(render_exemptions(networks)))

    def add_exemptions(self, entries: Iterable[str]) -> None:
        """Append to the list. Bad entries and comments cannot be kept, and are logged.

        Raises:
            EntryError: a text is no address or network; nothing is changed.
        """
        networks = parse_entries(entries)
        with self._changing() as changes:
            found = self._read_list()
            changes.enter_context(
                self._replacing_list(render_exemptions(found.networks + networks))
            )
        if found.bad:
            bad = found.describe_bad()
            _logger.warning("%s: bad entries dropped: %s", self.list_path, bad)
        if found.has_comments:
            _logger.warning("%s: comments dropped", self.list_path)

    def _hold(self, given: dict[str, Any], networks: tuple[IPNetwork, ...] | None) -> "_Hold":
        """Begin to keep maintenance on; nothing changes where it is on by somebody's own wish."""
        holder = f"{operator()} {os.getpid()} {secrets.token_hex(4)}"
        with self._changing() as changes:
            enabled, holders = self._found_flag(), self._holders()
            if enabled and not holders:
                return _Hold("")
            members = self._flag_members() | {_HOLDERS: [*holders, holder]}
            if not enabled:
                members |= given
                if networks is not None:
                    found, written = self.list_bytes(), render_exemptions(networks)
                    # Latin-1 keeps any bytes as they are.
                    members[_LISTS] = [found.decode("latin-1"), written.decode("latin-1")]
            changes.enter_context(self._replacing_flag(members))
            if networks is not None and not enabled:
                changes.enter_context(self._replacing_list(render_exemptions(networks)))
        return _Hold(holder, not enabled, os.getpid())

    def _release(self, hold: "_Hold") -> None:
        """End to keep maintenance on: the last holder switches it off, and puts the list back."""
        # The child of a fork within the block did not begin it.
        if not hold.holder or hold.process != os.getpid():
            return
        with self._changing() as changes:
            if self._found_flag() is None:
                return
            members = self._flag_members()
            holders = _texts(members.get(_HOLDERS))
            if hold.holder not in holders:
                return  # somebody has switched it off meanwhile, or on for good
            holders.remove(hold.holder)
            if holders:
                changes.enter_context(self._replacing_flag(members | {_HOLDERS: holders}))
                return
            changes.enter_context(files.replacing(self.flag_path, None))
            lists = _texts(members.get(_LISTS))
            if lists and self.list_bytes() == lists[-1].encode("latin-1", "replace"):
                found = lists[0].encode("latin-1", "replace")
                changes.enter_context(self._replacing_list(found))

    def _found_flag(self) -> os.stat_result | None:
        try:
            return files.status_of(self.flag_path)
        except files.MISSING:
            return None
        except OSError as error:
            raise StateError(f"{current_user()} cannot look at the flag: {error}") from error

    def _holders(self) -> list[str]:
        try:
            found, _ = files.read_bytes(self.flag_path, limit=FLAG_LIMIT)
        except OSError:
            return []
        return _texts((json_object(found) or {}).get(_HOLDERS))

    def _flag_members(self) -> dict[str, Any]:
        """Return what the flag says, and who sets it and when, where it does not say."""
        signature = {"by": operator(), "since": datetime.now(UTC).replace(microsecond=0)}
        try:
            found, _ = files.read_bytes(self.flag_path, limit=FLAG_LIMIT)
        except files.MISSING:
            return signature
        members = json_object(found)
        if members is None and found.strip():
            _logger.warning("%s: replaced: %a", self.flag_path, found[:256])
        return signature | (members or {})

    def _replacing_flag(self, members: dict[str, Any]) -> AbstractContextManager[None]:
        data = render_details(members)
        if len(data) > FLAG_LIMIT:
            raise ConfigError(
                f"too long for the flag: message, list to put back: {len(data)} bytes"
            )
        return files.replacing(self.flag_path, data)

    def _replacing_list(self, data: bytes) -> AbstractContextManager[None]:
        # An empty file breaks Magento's own `--add`, so that an empty list is none; but deploy
        # tools link the list between releases, and the link is not ours to remove.
        empty = b"" if os.path.islink(self.list_path) else None
        return files.replacing(self.list_path, data or empty)

    def _read_list(self) -> ExemptionList:
        return parse_exemptions(self.list_bytes())

    @contextmanager
    def _changing(self) -> Iterator[ExitStack]:
        """Keep other writers out; what the stack holds is made at the end, or not at all."""
        if fault := files.fault_of_directory(self.directory):
            raise StateError(fault)
        try:
            with files.locked(self.directory), ExitStack() as changes:
                yield changes
        except StateError:
            raise
        except IsADirectoryError as error:
            raise StateError(f"{error}; remove that directory by hand") from error
        except OSError as error:
            raise StateError(f"{current_user()} cannot change the state: {error}") from error


class _Hold(NamedTuple):
    """What a block has to give back: its place among the holders."""

    holder: str
    switched_on: bool = False
    process: int = 0


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
