"""Maintenance mode as operators and programs switch it.

While `.maintenance.flag` exists, maintenance is on. `.maintenance.ip` lists the addresses that are
let through. Changes are all-or-nothing, atomic, and follow links.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from warnings import warn

from maintenance_wsgi.errors import ConfigTypeError, StateError
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state import edits
from maintenance_wsgi.state.exemptions import (
    UTF_16_MARKS,
    Networks,
    canonical_entries,
    parse_entries,
    parse_exemptions,
)
from maintenance_wsgi.state.flag import Window, json_object, parse_flag, validate_window
from maintenance_wsgi.state.store import Change, FileStore, Snapshot, Store
from maintenance_wsgi.state.users import operator_name

_logger = logging.getLogger("maintenance_wsgi")
# Where the attributes of a Status of 1.0 are now.
_MOVED = {name: f"window.{name}" for name in ("message", "until", "retry_after", "by", "since")}
_MOVED["exempt"] = "exemptions"


@dataclass(frozen=True, slots=True)
class Status:
    """What the state says.

    Attributes:
        enabled: whether maintenance is on.
        window: what the flag says. Its attributes have the names of the flag's members, such as
            `window.message` and `window.until`; None if a value is not known.
        exemptions: canonical entries of the list, in their order.
        invalid: the first ten words of the list that are not valid entries.
        invalid_count: how many such words there are.
    """

    enabled: bool
    window: Window = field(default_factory=Window)
    exemptions: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    invalid_count: int = 0

    if not TYPE_CHECKING:  # pragma: no branch (a type checker finds the old names by itself)

        def __getattr__(self, name: str) -> object:
            """Return an attribute by its name in 1.0; deprecated, and gone in 1.2."""
            if name not in _MOVED:
                raise AttributeError(f"'Status' object has no attribute '{name}'")
            remedy = f"is deprecated; use Status.{_MOVED[name]}"
            warn(f"Status.{name}: {remedy}", DeprecationWarning, stacklevel=2)
            return attrgetter(_MOVED[name])(self)


class MaintenanceMode:
    """Reads and changes the state: that of a directory, or that of another store.

    Every method raises `StateError` if the state cannot be read or written; it is unchanged then.
    A method that changes the state returns what it was before, and what it is after: two tuples of
    the flag's bytes (None if maintenance is off) and the list's bytes.

    Args:
        where: the directory of the two files, or a store, such as that of a fleet.

    Attributes:
        store: the store that holds the state.

    Raises:
        ConfigError: the directory is not a valid path.
        ConfigTypeError: `where` is neither a path nor a store.
        StateError: this user cannot search the directory.
    """

    def __init__(self, where: str | os.PathLike[str] | Store) -> None:
        self.store: Store = where if isinstance(where, Store) else FileStore(where)
        if isinstance(self.store, FileStore):
            _ = self.store.reader  # raises

    def is_enabled(self) -> bool:
        """Tell whether maintenance is on now."""
        return self.store.read().flag is not None

    @property
    def exemptions(self) -> tuple[str, ...]:
        """The list's valid entries in canonical form, in their order."""
        return canonical_entries(parse_exemptions(edits.list_of(self.store.read())).networks)

    def status(self) -> Status:
        """Return what the state says now; a list that cannot be read is logged, and empty."""
        found = self.store.read()
        if isinstance(found.exemptions, StateError):
            _logger.warning("%s", found.exemptions)
        return status_of(found)

    def enable(  # noqa: PLR0913 (the values of the flag; all by keyword)
        self,
        *,
        exemptions: Iterable[str] | None = None,
        message: str | None = None,
        messages: Mapping[str, str] | None = None,
        until: datetime | None = None,
        retry_after: int | None = None,
        bypass: str | None = None,
        read_only: bool | None = None,
        add_exemptions: Iterable[str] = (),
    ) -> tuple[Snapshot, Snapshot]:
        """Switch maintenance on, or update its details.

        If maintenance is already on, omitted values are kept, and it no longer ends with a running
        `window()` block. If it is off, and the values cannot be written, it is switched on without
        them, and the log says so.

        Args:
            exemptions: addresses and networks, such as `"203.0.113.7"` or `"2001:db8::/32"`, that
                replace the list; an empty list exempts no client.
            message: string for the visitors; drops the translations of an earlier one.
            messages: its translations by language tag (RFC 5646), which extend those in the flag;
                an empty one is taken back.
            until: the planned end; in the future and with a time zone. `datetime.max` in UTC takes
                a planned end back.
            retry_after: seconds until a client may try again.
            bypass: the digest of a link, `maintenance_wsgi.request.bypass.new_link(url).digest`, in
                place of the present one. An empty string takes the present one back.
            read_only: whether every client may read: `GET`, `HEAD`, `OPTIONS` and `QUERY` pass.
            add_exemptions: appended to the list.

        Raises:
            ConfigError: a value is not valid; nothing is changed.
            ConfigTypeError: a value has the wrong type; nothing is changed.
            EntryError: an exemption is not a valid address or network; nothing is changed.
        """
        given = _signed(
            Window(message, messages, until, retry_after, bypass=bypass, read_only=read_only)
        )
        networks, added = _parse(exemptions), parse_entries(add_exemptions)
        try:
            return self._update(lambda found: edits.enable(found, given, networks, added))
        except StateError as error:
            before, after = self.store.update(edits.enable_plainly)
            if before.flag is not None:
                raise
            _logger.warning("maintenance is on, but without the values that were given: %s", error)
            return before, after

    def disable(self, *, exemptions: Iterable[str] | None = None) -> tuple[Snapshot, Snapshot]:
        """Switch maintenance off.

        Args:
            exemptions: replaces the list, which otherwise stays as it is.

        Raises:
            EntryError: an exemption is not a valid address or network; nothing is changed.
        """
        networks = _parse(exemptions)
        return self._update(lambda found: edits.disable(found, networks))

    @contextmanager
    def window(  # noqa: PLR0913 (likewise)
        self,
        *,
        exemptions: Iterable[str] | None = None,
        message: str | None = None,
        messages: Mapping[str, str] | None = None,
        until: datetime | None = None,
        retry_after: int | None = None,
        bypass: str | None = None,
        read_only: bool | None = None,
        disable_on_failure: bool = False,
    ) -> Iterator[bool]:
        """Keep maintenance on for the time of a block; takes the arguments of `enable`.

        Afterwards the state is as the block found it: if maintenance was on, it stays on,
        unchanged. If several blocks overlap, in one process or many, the last to end switches
        maintenance off, and each puts back the list that it replaced. If the block raises,
        maintenance stays on, because the work is half done.

        Args:
            exemptions: replaces the list for the time of the block.
            message: string for the visitors.
            messages: its translations by language tag, as `enable` takes them.
            until: the planned end; in the future and with a time zone.
            retry_after: seconds until a client may try again.
            bypass: the digest of a link, as `enable` takes it.
            read_only: whether every client may read.
            disable_on_failure: switch maintenance off even if the block raises.

        Yields:
            Whether this block switched maintenance on.

        Raises:
            ConfigError: a value is not valid; nothing is changed, and the block is not run.
            ConfigTypeError: a value has the wrong type; likewise.
            EntryError: an exemption is not a valid address or network; likewise.
        """
        given = _signed(
            Window(message, messages, until, retry_after, bypass=bypass, read_only=read_only)
        )
        networks = _parse(exemptions)
        holder = f"{operator_name()} {os.getpid()} {os.urandom(4).hex()}"
        before, after = self._update(lambda found: edits.hold(found, holder, given, networks))
        # What is to be put back stays in memory: a writer of the flag could name any list there.
        is_replaced = before.exemptions != after.exemptions
        lists = (edits.list_of(before), edits.list_of(after)) if is_replaced else None
        process, is_released = os.getpid(), disable_on_failure
        try:
            yield before.flag is None
            is_released = True
        finally:
            # A child that was forked within the block did not begin it.
            if is_released and process == os.getpid():
                found, _ = self._update(lambda found: edits.release(found, holder, lists))
                if found.flag is None:
                    _logger.warning("%s: maintenance was off before its block ended", self.store)

    @property
    def enabled(self) -> "_Enabled":
        """The name of `window` in 1.0; deprecated, and gone in 1.2."""
        return _Enabled(self.window)

    def set_exemptions(self, entries: Iterable[str]) -> tuple[Snapshot, Snapshot]:
        """Replace the list; with an empty one no client is exempt.

        Args:
            entries: addresses and networks, such as `"203.0.113.7"` or `"2001:db8::/32"`.

        Raises:
            EntryError: an entry is not a valid address or network; nothing is changed.
        """
        networks = parse_entries(entries)
        return self._update(lambda found: edits.replace_list(found, networks))

    def add_exemptions(self, entries: Iterable[str]) -> tuple[Snapshot, Snapshot]:
        """Append to the list; what stands there stays as it is.

        Args:
            entries: addresses and networks.

        Raises:
            EntryError: an entry is not a valid address or network; nothing is changed.
        """
        networks = parse_entries(entries)
        return self._update(lambda found: edits.extend_list(found, networks))

    def remove_exemptions(self, entries: Iterable[str]) -> tuple[Snapshot, Snapshot]:
        """Cut entries from the list; what else stands there stays as it is.

        Args:
            entries: addresses and networks, in any spelling of theirs.

        Raises:
            EntryError: an entry is not a valid address or network; nothing is changed.
            StateError: an entry is not in the list; nothing is changed.
        """
        networks = parse_entries(entries)
        return self._update(lambda found: edits.remove_from_list(found, networks))

    def _update(self, change: Change) -> tuple[Snapshot, Snapshot]:
        before, after = self.store.update(change)
        lost = before.flag if isinstance(before.flag, bytes) and after.flag else b""
        if lost.strip() and after.flag != lost and json_object(lost) is None:
            _logger.warning("%s: the flag was replaced: %s", self.store, printable(lost, 256))
        kept = _window_of(after).messages or {}
        tags = (_window_of(before).messages or {}).keys() - kept.keys()
        if after.flag is not None and tags:
            _logger.warning("%s: the message in %s is dropped", self.store, ", ".join(sorted(tags)))
        listed = before.exemptions
        is_utf_16 = isinstance(listed, bytes) and listed.startswith(UTF_16_MARKS)
        if is_utf_16 and after.exemptions != listed:
            _logger.warning("%s: the list was in UTF-16, and is in UTF-8 now", self.store)
        return before, after


@dataclass(frozen=True, slots=True)
class _Enabled:
    """`window` by a name that reads as a condition, which it never was."""

    window: Callable[..., AbstractContextManager[bool]]

    def __call__(self, **options: Any) -> AbstractContextManager[bool]:  # noqa: ANN401 (as `window`)
        remedy = "is deprecated; use MaintenanceMode.window"
        warn(f"MaintenanceMode.enabled: {remedy}", DeprecationWarning, stacklevel=2)
        return self.window(**options)

    def __bool__(self) -> bool:
        raise ConfigTypeError("MaintenanceMode.enabled: is not a condition; use is_enabled()")


def status_of(found: Snapshot) -> Status:
    """Return what a state says; a file that cannot be read says nothing."""
    listed = parse_exemptions(found.exemptions if isinstance(found.exemptions, bytes) else b"")
    return Status(
        enabled=found.flag is not None,
        window=_window_of(found),
        exemptions=canonical_entries(listed.networks),
        invalid=tuple(entry.text for entry in listed.invalid.first),
        invalid_count=listed.invalid.count,
    )


def _window_of(found: Snapshot) -> Window:
    return parse_flag(found.flag)[0] if isinstance(found.flag, bytes) else Window()


def _parse(exemptions: Iterable[str] | None) -> Networks | None:
    return None if exemptions is None else parse_entries(exemptions)


def _signed(given: Window) -> Window:
    return replace(
        validate_window(given), by=operator_name(), since=datetime.now(UTC).replace(microsecond=0)
    )
