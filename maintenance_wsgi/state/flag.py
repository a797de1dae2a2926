"""`.maintenance.flag` and what it says of a maintenance window, as one JSON object.

The file's existence is the switch. Its content is optional, and no content can break anything.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from maintenance_wsgi.arguments import MAX_SECONDS, validate_seconds
from maintenance_wsgi.errors import ConfigError, ConfigTypeError
from maintenance_wsgi.grammar import printable

FLAG_NAME = ".maintenance.flag"
FLAG_LIMIT = 64 * 1024  # bytes
# As the planned end of a change: takes back the one in the flag.
NO_END = datetime.max.replace(tzinfo=UTC)
# Values of a change that take back what the flag holds.
TAKES_BACK: dict[str, object] = {"until": NO_END, "bypass": "", "read_only": False}

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LANGUAGE_TAG = re.compile("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")  # RFC 5646, less its rare forms
_DIGEST = re.compile("[0-9A-Fa-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROLS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - set(b"\t\n"))


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of a maintenance window; None if a value is not known.

    Attributes:
        message: string for the visitors.
        messages: the same in other languages, by tag (RFC 5646).
        until: the planned end, with the offset that the operator chose.
        retry_after: seconds, 0 to 2147483648.
        by: who switched maintenance on.
        since: when it was switched on, with offset.
        bypass: the digest of the bypass link, 64 hexadecimal digits.
        read_only: whether every client may read.
    """

    message: str | None = None
    messages: Mapping[str, str] | None = None
    until: datetime | None = None
    retry_after: int | None = None
    by: str | None = None
    since: datetime | None = None
    bypass: str | None = None
    read_only: bool | None = None

    def members(self) -> dict[str, Any]:
        """Return the known values by name, as the flag file's JSON object holds them."""
        values = {name: getattr(self, name) for name in _PARSERS}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in values.items()
            if value is not None
        }


def parse_flag(data: bytes) -> tuple[Window, tuple[str, ...]]:
    """Return what the bytes of a flag file say, and a sentence for each thing that is wrong.

    Any bytes are accepted: an unknown key is ignored, and a value of a wrong type counts as not
    given.
    """
    if not data.strip():
        return Window(), ()
    members = json_object(data)
    if members is None:
        return Window(), (f"{printable(data, 64)} is not a JSON object and is ignored",)
    values: dict[str, Any] = {name: parse(members.get(name)) for name, parse in _PARSERS.items()}
    problems = tuple(
        f"{name}: {_shown(name, members[name])} is not a valid value and is ignored"
        for name, value in values.items()
        if value is None and members.get(name) is not None
    )
    return Window(**values), problems


def _shown(name: str, value: object) -> str:
    if name == "bypass":  # which may hold a secret by mistake
        return "what it holds"
    # json reads lists that are nested too deep for repr().
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    return printable(repr(value), 64)


def json_object(data: bytes) -> dict[str, Any] | None:
    """Return the members of the JSON object in `data`, or None if it holds something else."""
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def render_flag(members: Mapping[str, Any]) -> bytes:
    """Return the flag file's bytes for members that JSON can hold, 65,536 bytes at most."""
    data = json.dumps(members).encode("ascii") + b"\n"
    if len(data) > FLAG_LIMIT:
        raise ConfigError(
            f"message: the flag file would have {len(data)} bytes, its limit is {FLAG_LIMIT};"
            " shorten the message"
        )
    return data


def validate_window(given: Window) -> Window:
    """Return what an operator gives as a flag holds it, or refuse it."""
    if given.message is not None and not isinstance(given.message, str):
        raise ConfigTypeError(f"message: {given.message!r} is not a string; pass a string")
    if given.retry_after is not None:
        validate_seconds("retry_after", given.retry_after)
    if given.bypass is not None and not isinstance(given.bypass, str):
        raise ConfigTypeError("bypass: is not a string; pass new_link(url).digest")
    if given.bypass and not _parse_digest(given.bypass):
        raise ConfigError("bypass: is not 64 hexadecimal digits; use new_link(url).digest")
    if not isinstance(given.read_only, bool | None):
        raise ConfigTypeError(f"read_only: {given.read_only!r} is not a bool; pass True or False")
    messages = None if given.messages is None else _validate_messages(given.messages)
    for text in (given.message, *(messages or {}).values()):
        if text and _SURROGATE.search(text):
            raise ConfigError("message: holds bytes that are not UTF-8; write it in UTF-8")
    until = None if given.until is None else _validate_until(given.until)
    return replace(given, messages=messages, until=until)


def _validate_messages(messages: object) -> dict[str, str]:
    if not isinstance(messages, Mapping):
        raise ConfigTypeError(f"messages: {messages!r} is not a mapping; pass a dict")
    found = {}
    for language, text in messages.items():
        if not isinstance(language, str) or not isinstance(text, str):
            pair = f"{language!r}: {text!r}"
            raise ConfigTypeError(f"messages: {pair} is not a pair of strings; pass two strings")
        tag = language.replace("_", "-")
        if not _LANGUAGE_TAG.fullmatch(tag):
            shown = printable(language, 64)
            remedy = "use for example de or pt-BR"
            raise ConfigError(f"messages: '{shown}' is not a valid language tag; {remedy}")
        found[tag] = text
    return found


def _validate_until(until: datetime) -> datetime:
    if not isinstance(until, datetime):
        raise ConfigTypeError(f"until: {until!r} is not a datetime; pass a datetime")
    if until.tzinfo is None:
        raise ConfigError(f"until: {until} has no time zone; append .astimezone()")
    if until <= datetime.now(UTC):
        raise ConfigError(f"until: {until} is in the past; use a later time")
    try:
        end = until.astimezone(UTC)
    except OverflowError:
        raise ConfigError(f"until: {until} is too far away; use an earlier time") from None
    # RFC 3339 has no seconds in an offset, as the local times before time zones had.
    offset = until.utcoffset() or timedelta()
    return end if offset % timedelta(minutes=1) else end.astimezone(timezone(offset))


def parse_time(value: str) -> datetime | None:
    """Return the time that RFC 3339 with an offset spells, or None; the offset is kept."""
    if not _RFC_3339.fullmatch(value):
        return None
    try:
        found = datetime.fromisoformat(value.upper())
        found.astimezone(UTC)  # fails at both ends of time, where no later step may
    except (ValueError, OverflowError):
        return None
    return found


def _parse_string(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # JSON can spell a lone surrogate, which cannot be sent, and control characters.
    text = value.encode("utf-8", "replace").decode().translate(_CONTROLS)
    return text if text.strip() else ""  # a blank message would leave the page without a sentence


def _parse_messages(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    found = {tag: _parse_string(text) for tag, text in value.items()}
    if None in found.values() or not all(map(_LANGUAGE_TAG.fullmatch, found)):
        return None
    return {tag: text for tag, text in found.items() if text}


def _parse_time(value: object) -> datetime | None:
    return parse_time(value) if isinstance(value, str) else None


def _parse_seconds(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_SECONDS else None


def _parse_digest(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and _DIGEST.fullmatch(value) else None


def _parse_bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_PARSERS = {
    "message": _parse_string,
    "messages": _parse_messages,
    "until": _parse_time,
    "retry_after": _parse_seconds,
    "by": _parse_string,
    "since": _parse_time,
    "bypass": _parse_digest,
    "read_only": _parse_bool,
}
