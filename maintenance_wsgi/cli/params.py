"""What people write on the command line, as values; each mistake is named before any change."""

import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import click

from maintenance_wsgi.errors import EntryError
from maintenance_wsgi.networks import parse_forwarded_address
from maintenance_wsgi.state.exemptions import parse_entries
from maintenance_wsgi.state.flag import parse_time

NONE = "none"
_ME = "me"
_DURATION = re.compile(r"\+(?=[0-9])(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?", re.ASCII)


class WindowOptions(TypedDict):
    """What `enable` takes."""

    exemptions: list[str] | None
    message: str | None
    until: datetime | None
    retry_after: int | None


def ip_option(text: str) -> Callable[[Any], Any]:
    """Return the option that replaces the list."""
    return click.option("--ip", "ips", multiple=True, metavar="IP", help=text)


_WINDOW_OPTIONS = [
    ip_option("Exempt this address or network, or 'me' (by SSH); repeat; 'none' for nobody."),
    click.option("--message", metavar="TEXT", help="Text for the visitors."),
    click.option(
        "--until",
        metavar="TIME",
        help="Planned end: 2026-11-23T18:00:00+01:00, '2026-11-23 18:00' (local time) or +1h30m.",
    ),
    click.option(
        "--retry-after",
        metavar="SECONDS",
        help="Seconds after which a client may come again (Retry-After).",
    ),
]


def window_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `enable`."""
    for option in reversed(_WINDOW_OPTIONS):
        command = option(command)
    return command


def window(
    ips: tuple[str, ...], message: str | None, until: str | None, retry_after: str | None
) -> WindowOptions:
    """Return what the options of `enable` say."""
    return WindowOptions(
        exemptions=exemptions_of(ips),
        message=message,
        until=None if until is None else _parse_until(until),
        retry_after=None if retry_after is None else _parse_seconds(retry_after),
    )


def exemptions_of(ips: tuple[str, ...]) -> list[str] | None:
    """Return what `--ip` says of the list: None to keep it, nothing for nobody."""
    known = with_me(ips)
    refuse_invalid(known, none_allowed=True)
    return [ip for ip in known if ip != NONE] if known else None


def with_me(ips: Iterable[str]) -> list[str]:
    """Return the addresses, with that of the SSH connection in place of `me`."""
    return [_address_of_me() if ip == _ME else ip for ip in ips]


def _address_of_me() -> str:
    connection = os.environ.get("SSH_CONNECTION", "")
    address = parse_forwarded_address(connection.partition(" ")[0])
    if address is None:
        raise click.ClickException(
            "me: there is no SSH_CONNECTION that names your address (sudo drops it);"
            " nothing was changed; write the address itself"
        )
    return str(address)


def validation_messages(values: Iterable[str], *, none_allowed: bool) -> list[str]:
    """Return what Magento's validator says of the values: nothing where all are good."""
    values = list(values)
    nones = values.count(NONE)
    if nones and not none_allowed:
        return ["'none' is not allowed"]
    if nones > 1:
        return ["'none' can be only used once"]
    if nones and len(values) > 1:
        return ["Multiple values are not allowed when 'none' is used"]
    try:
        parse_entries(value for value in values if value != NONE)
    except EntryError as error:
        return [f"Invalid IP {text}" for text in error.texts]
    return []


def refuse_invalid(values: Iterable[str], *, none_allowed: bool) -> None:
    """Print what is wrong with the values, in Magento's words, and end; or do nothing."""
    if messages := validation_messages(values, none_allowed=none_allowed):
        for message in messages:
            click.echo(message, err=True)
        raise click.ClickException(
            "nothing was changed; give each address or network by itself,"
            " as 203.0.113.7, 10.0.0.0/8, 2001:db8::7 or 2001:db8::/32"
        )


def _parse_until(text: str) -> datetime:
    try:
        if duration := _DURATION.fullmatch(text):
            days, hours, minutes = (int(part or 0) for part in duration.groups())
            return datetime.now(UTC).replace(microsecond=0) + timedelta(
                days=days, hours=hours, minutes=minutes
            )
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text).astimezone()
        time = parse_time(text)
    except (ValueError, OverflowError):
        time = None
    if time is None:
        raise click.ClickException(
            f"--until: {text!r} is no time; write 2026-11-23T18:00:00+01:00,"
            " '2026-11-23 18:00' (local time), +90m or +1h30m"
        )
    return time


def _parse_seconds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise click.ClickException(f"--retry-after: {text!r} is no number of seconds; write 300")
    return int(text)
