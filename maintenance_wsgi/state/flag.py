"""The text of `.maintenance.flag`: what is known of a maintenance window, as one JSON object.

The file's existence is the switch. Its content is optional, and no content can break anything.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from maintenance_wsgi.errors import ConfigError, ConfigTypeError

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
# RFC 9111 section 1.2.2: a recipient need not tell larger numbers of seconds apart.
MAX_SECONDS = 2**31
_CONTROLS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - set(b"\t\n"))


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of a maintenance window; None where nothing is.

    Attributes:
        message: text for people.
        until: when it is planned to end, with offset.
        retry_after: seconds, 0 to 2147483648.
        by: who switched it on.
        since: when it was switched on, with offset.
    """

    message: str | None = None
    until: datetime | None = None
    retry_after: int | None = None
    by: str | None = None
    since: datetime | None = None


def parse_flag(data: bytes) -> tuple[Window, tuple[str, ...]]:
    """Return the details in the bytes of a flag file, and what was wrong with them.

    Any bytes will do: an empty file says nothing, unknown keys are ignored, and a value of a
    wrong type counts as not given.
    """
    if not data.strip():
        return Window(), ()
    members = json_object(data)
    if members is None:
        return Window(), (f"no JSON object: {data[:64]!r}",)
    values: dict[str, Any] = {name: read(members.get(name)) for name, read in _READERS.items()}
    problems = tuple(
        f"{name} cannot be {_shown(members[name])}"
        for name, value in values.items()
        if value is None and members.get(name) is not None
    )
    return Window(**values), problems


def _shown(value: object) -> str:
    # A list may be nested too deep for repr() where json has just read it.
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    return ascii(value)[:64]


def json_object(data: bytes) -> dict[str, Any] | None:
    """Return the members of the JSON object in `data`, or None where there is none."""
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def render_flag(members: dict[str, Any]) -> bytes:
    """Return the flag file's bytes for the given members, times as RFC 3339 text."""
    return json.dumps(members, default=datetime.isoformat).encode("ascii") + b"\n"


def validate_window(
    message: str | None, until: datetime | None, retry_after: int | None
) -> dict[str, Any]:
    """Return the members to write for what is given, leaving out what is None.

    Raises:
        ConfigError: `until` has no time zone or is past, or `retry_after` is out of range.
        ConfigTypeError: an argument has a wrong type.
    """
    members: dict[str, Any] = {}
    if message is not None:
        if not isinstance(message, str):
            raise ConfigTypeError(f"message takes a text, not {message!r}")
        members["message"] = message
    if until is not None:
        members["until"] = _checked_until(until)
    if retry_after is not None:
        members["retry_after"] = validate_seconds("retry_after", retry_after)
    return members


def _checked_until(until: datetime) -> datetime:
    if not isinstance(until, datetime):
        raise ConfigTypeError(f"until takes a datetime, not {until!r}")
    if until.tzinfo is None:
        raise ConfigError(f"until has no time zone: {until}; append .astimezone()")
    if until <= datetime.now(UTC):
        raise ConfigError(f"until is past: {until}")
    try:
        return until.astimezone(UTC)
    except OverflowError:
        raise ConfigError(f"until is too far away: {until}") from None


def validate_seconds(name: str, seconds: int) -> int:
    """Return `seconds` where it may stand in a `Retry-After` header.

    Raises:
        ConfigError: it is below 0 or above 2147483648.
        ConfigTypeError: it is no int.
    """
    if type(seconds) is not int:
        raise ConfigTypeError(f"{name} takes a number of seconds, not {seconds!r}")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"{name} must be 0 to {MAX_SECONDS} seconds: {seconds}")
    return seconds


def parse_time(text: str) -> datetime | None:
    """Return the time in UTC that RFC 3339 text with an offset spells, or None."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # A lone surrogate, which JSON can spell, cannot be sent; a control character not be shown.
    return value.encode("utf-8", "replace").decode().translate(_CONTROLS)


def _time(value: object) -> datetime | None:
    return parse_time(value) if isinstance(value, str) else None


def _seconds(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_SECONDS else None


_READERS = {
    "message": _text,
    "until": _time,
    "retry_after": _seconds,
    "by": _text,
    "since": _time,
}
