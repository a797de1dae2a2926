"""The two files as they are written: found as they stand, and changed as a whole or not at all."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from maintenance_wsgi.errors import ConfigError, StateError
from maintenance_wsgi.state import files
from maintenance_wsgi.state.exemptions import Entry, ExemptionList, parse_exemptions, read_entries
from maintenance_wsgi.state.flag import json_object, render_flag
from maintenance_wsgi.state.reader import FLAG_LIMIT, LIST_LIMIT, StateReader
from maintenance_wsgi.state.users import current_user, operator

# Who keeps maintenance on for the time of a block: names in a list, a member of the flag's
# object. A flag without it was set by a person, and no block may remove it.
HOLDERS = "holders"
# The list that the first of them found, and the one that it wrote.
LISTS = "lists"

_READ_ONLY = "; change it where it is mounted from, a ConfigMap with kubectl"

_logger = logging.getLogger("maintenance_wsgi")


class Contents(NamedTuple):
    """The bytes of the two files: of the flag, None where there is none, and of the list."""

    flag: bytes | None
    exempt: bytes


class MaintenanceRecord(StateReader):
    """What stands in the two files, for those who change it.

    Unlike a request, a person is told: these methods raise `StateError` where a file cannot be
    read or written.
    """

    def list_bytes(self) -> bytes:
        """Return what the list holds, as it was written; nothing where there is none."""
        try:
            return files.read_bytes(self.list_path, limit=LIST_LIMIT)[0]
        except files.NOT_FOUND:
            return b""
        except OSError as error:
            raise StateError(f"{current_user()} cannot read the list: {error}") from error

    def entries(self) -> list[Entry]:
        """Return the list's entries with their lines, the bad ones too."""
        return list(read_entries(self.list_bytes()))

    def contents(self) -> Contents:
        """Return what the two files hold, as it was written."""
        try:
            flag, _ = files.read_bytes(self.flag_path, limit=FLAG_LIMIT)
        except files.NOT_FOUND:
            return Contents(None, self.list_bytes())
        except OSError as error:
            raise StateError(f"{current_user()} cannot read the flag: {error}") from error
        return Contents(flag, self.list_bytes())

    def put(self, contents: Contents) -> None:
        """Make the two files hold these bytes: the list first, and only then the switch."""
        with self._changing() as changes:
            changes.enter_context(files.replacing(self.flag_path, contents.flag))
            changes.enter_context(self._replacing_list(contents.exempt))

    def _found_flag(self) -> os.stat_result | None:
        try:
            return files.status_of(self.flag_path)
        except files.NOT_FOUND:
            return None
        except OSError as error:
            raise StateError(f"{current_user()} cannot look at the flag: {error}") from error

    def _holders(self) -> list[str]:
        try:
            found, _ = files.read_bytes(self.flag_path, limit=FLAG_LIMIT)
        except OSError:
            return []
        return strings((json_object(found) or {}).get(HOLDERS))

    def _flag_members(self) -> dict[str, Any]:
        """Return what the flag says, and who sets it and when, where it does not say."""
        signature = {"by": operator(), "since": datetime.now(UTC).replace(microsecond=0)}
        try:
            found, _ = files.read_bytes(self.flag_path, limit=FLAG_LIMIT)
        except files.NOT_FOUND:
            return signature
        members = json_object(found)
        if members is None and found.strip():
            _logger.warning("%s: replaced: %a", self.flag_path, found[:256])
        return signature | (members or {})

    def _replacing_flag(self, members: dict[str, Any]) -> AbstractContextManager[None]:
        data = render_flag(members)
        if len(data) > FLAG_LIMIT:
            raise ConfigError(
                f"too long for the flag: message, list to put back: {len(data)} bytes"
            )
        return files.replacing(self.flag_path, data)

    def _replacing_list(self, data: bytes) -> AbstractContextManager[None]:
        # An empty file breaks Magento's own `--add`, so that an empty list is none; but deploy
        # tools link the list between releases, and the link is not ours to remove.
        if not data and files.resolve_link(self.list_path) == self.list_path:
            return files.replacing(self.list_path, None)
        return files.replacing(self.list_path, data)

    def _read_list(self) -> ExemptionList:
        return parse_exemptions(self.list_bytes())

    @contextmanager
    def _changing(self) -> Iterator[ExitStack]:
        """Keep other writers out; what the stack holds is made at the end, or not at all."""
        if fault := files.directory_error(self.directory):
            raise StateError(fault)
        try:
            with files.locked(self.directory), ExitStack() as changes:
                yield changes
        except StateError:
            raise
        except IsADirectoryError as error:
            raise StateError(f"{error}; remove that directory by hand") from error
        except OSError as error:
            remedy = _READ_ONLY if error.errno == errno.EROFS else ""
            raise StateError(
                f"{current_user()} cannot change the state: {error}{remedy}"
            ) from error


def strings(value: object) -> list[str]:
    """Return the texts of a list that JSON may hold, whatever it holds."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
