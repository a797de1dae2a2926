"""Maintenance mode as people and programs switch it: Magento's two files, written.

While `.maintenance.flag` exists, maintenance is on. `.maintenance.ip` lists who is let through.
Every change is atomic and goes through links; what cannot be made as a whole is not begun.
"""

import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from netaddr import IPNetwork

from maintenance_wsgi.errors import StateError
from maintenance_wsgi.state import files
from maintenance_wsgi.state.exemptions import (
    ExemptionList,
    canonical_entries,
    format_invalid,
    parse_entries,
    render_exemptions,
)
from maintenance_wsgi.state.flag import Window, validate_window
from maintenance_wsgi.state.store import HOLDERS, LISTS, MaintenanceRecord, strings
from maintenance_wsgi.state.users import operator

_logger = logging.getLogger("maintenance_wsgi")


@dataclass(frozen=True, slots=True)
class Status(Window):
    """What the two files say: the details of the flag, and these.

    Attributes:
        enabled: whether maintenance is on.
        exempt: canonical entries of the list.
        invalid: texts in the list that are no entries.
    """

    enabled: bool = False
    exempt: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


class MaintenanceMode(MaintenanceRecord):
    """The two files of a directory, read and written.

    What a request needs (`StateReader`) never raises. These methods raise `StateError` where
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
            **asdict(details or Window()),
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
        given = validate_window(message, until, retry_after)
        networks = None if exemptions is None else parse_entries(exemptions)
        with self._changing() as changes:
            if given or not self._found_flag() or self._holders():
                members = self._flag_members() | given
                members.pop(HOLDERS, None)
                members.pop(LISTS, None)
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
        given = validate_window(message, until, retry_after)
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
            bad = format_invalid(found.bad)
            _logger.warning("%s: bad entries dropped: %s", self.list_path, bad)
        if found.has_comments:
            _logger.warning("%s: comments dropped", self.list_path)

    def _hold(self, given: dict[str, Any], networks: tuple[IPNetwork, ...] | None) -> "Hold":
        """Begin to keep maintenance on; nothing changes where it is on by somebody's own wish."""
        holder = f"{operator()} {os.getpid()} {secrets.token_hex(4)}"
        with self._changing() as changes:
            enabled, holders = self._found_flag(), self._holders()
            if enabled and not holders:
                return Hold("")
            members = self._flag_members() | {HOLDERS: [*holders, holder]}
            if not enabled:
                members |= given
                if networks is not None:
                    found, written = self.list_bytes(), render_exemptions(networks)
                    # Latin-1 keeps any bytes as they are.
                    members[LISTS] = [found.decode("latin-1"), written.decode("latin-1")]
            changes.enter_context(self._replacing_flag(members))
            if networks is not None and not enabled:
                changes.enter_context(self._replacing_list(render_exemptions(networks)))
        return Hold(holder, not enabled, os.getpid())

    def _release(self, hold: "Hold") -> None:
        """End to keep maintenance on: the last holder switches it off, and puts the list back."""
        # The child of a fork within the block did not begin it.
        if not hold.holder or hold.process != os.getpid():
            return
        with self._changing() as changes:
            if self._found_flag() is None:
                return
            members = self._flag_members()
            holders = strings(members.get(HOLDERS))
            if hold.holder not in holders:
                return  # somebody has switched it off meanwhile, or on for good
            holders.remove(hold.holder)
            if holders:
                changes.enter_context(self._replacing_flag(members | {HOLDERS: holders}))
                return
            changes.enter_context(files.replacing(self.flag_path, None))
            lists = strings(members.get(LISTS))
            if lists and self.list_bytes() == lists[-1].encode("latin-1", "replace"):
                found = lists[0].encode("latin-1", "replace")
                changes.enter_context(self._replacing_list(found))


class Hold(NamedTuple):
    """What a block has to give back: its place among the holders."""

    holder: str
    switched_on: bool = False
    process: int = 0
