"""The values of the command line: each is read by one function, which is its click type."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

import click

from maintenance_wsgi.errors import ConfigError, ConfigTypeError, EntryError, MaintenanceError
from maintenance_wsgi.grammar import OWS, TOKEN, environ_key, printable
from maintenance_wsgi.networks import parse_forwarded_address
from maintenance_wsgi.request.client_ip import is_unix_peer
from maintenance_wsgi.state.exemptions import quoted
from maintenance_wsgi.state.flag import NO_END

if TYPE_CHECKING:
    from maintenance_wsgi.diagnosis.verification import Site

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
NONE = "none"
_TIMES = "90m, +1h30m, 22:00, '2099-12-31 18:00' (local time) or 2099-12-31T18:00:00+01:00"
_DURATION = re.compile(r"\+?(?=\d)(?:(\d+)d *)?(?:(\d+)h *)?(?:(\d+)m *)?(?:(\d+)s)?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d.*)?", re.ASCII)


def ip(value: str) -> str:
    """Return an entry of the list, not checked yet; `me` becomes the SSH client's address."""
    value = value.strip()
    if value != "me":
        return value
    address = parse_forwarded_address(os.environ.get("SSH_CONNECTION", "").partition(" ")[0])
    if address is None:
        raise click.BadParameter(
            "'me': SSH_CONNECTION does not hold your address (sudo removes it);"
            " pass the address itself"
        )
    return str(address)


def time(value: str) -> datetime:
    """Return the time that a duration from now, a local time or RFC 3339 spells; or `NO_END`."""
    if value == NONE:
        return NO_END
    try:
        if duration := _DURATION.fullmatch(value):
            days, hours, minutes, seconds = (int(part or 0) for part in duration.groups())
            now = datetime.now(UTC).replace(microsecond=0)
            end = now + timedelta(days, seconds, hours=hours, minutes=minutes)
            return end.astimezone()
        if re.fullmatch("[0-9]{1,2}:[0-9]{2}", value):
            return _next(value.zfill(5))
        if (match := _TIME.fullmatch(value)) and match[1]:
            found = datetime.fromisoformat(value.upper())
            return found if found.tzinfo else _local(found)
        # A date without a time does not say at which end of the day maintenance ends.
        remedy = f"'{value} 18:00'" if match else _TIMES
    except (ValueError, OverflowError):
        remedy = _TIMES
    raise click.BadParameter(f"'{printable(value)}' is not a valid time; use {remedy}")


def _next(clock: str) -> datetime:
    """Return when the local clock shows a time next; in autumn it shows some times twice."""
    now = datetime.now(UTC)
    days = [now.astimezone() + timedelta(days) for days in (0, 1)]
    times = [datetime.fromisoformat(f"{day:%Y-%m-%d} {clock}") for day in days]
    ahead = (_local(found.replace(fold=fold)) for found in times for fold in (0, 1))
    return next(found for found in ahead if found > now)


def _local(naive: datetime) -> datetime:
    # In the hour that spring leaves out, naive.astimezone() is an hour too early.
    return datetime.fromtimestamp(naive.timestamp(), UTC).astimezone()


def bypass(value: str) -> tuple[str, str]:
    """Return a new link to a page and its digest; empty strings for `none`."""
    from maintenance_wsgi.request.bypass import new_link  # noqa: PLC0415 (slow to import)

    try:
        return ("", "") if value == NONE else new_link(value)
    except ConfigError as error:
        raise click.BadParameter(str(error).removeprefix("bypass: ")) from None


def seconds(value: str) -> int:
    """Return the number of seconds that decimal digits spell."""
    if not re.fullmatch("[0-9]{1,20}", value):
        raise click.BadParameter(
            f"'{printable(value)}' is not a number of seconds; use for example 300"
        )
    return int(value)


def peer(value: str) -> str:
    """Return what a server reports as the other end of a connection, as it is."""
    if parse_forwarded_address(value) is None and not is_unix_peer(value):
        remedy = "use the address that the server sees, or '' for a Unix socket"
        raise click.BadParameter(f"'{printable(value)}' is not an IP address; {remedy}")
    return value


def site(value: str) -> "Site":
    """Return the site that a URL names."""
    from maintenance_wsgi.diagnosis.verification import parse_url  # noqa: PLC0415 (slow to import)

    if found := parse_url(value):
        return found
    shown = printable(value.rpartition("@")[2])  # without a password
    remedy = "use for example https://shop.example/, without a user"
    raise click.BadParameter(f"'{shown}' is not a valid URL; {remedy}")


def header(value: str) -> tuple[str, str]:
    """Return the name that a request header has in a WSGI environ, and its value."""
    name, colon, content = value.partition(":")
    if not colon or not TOKEN.fullmatch(name):
        raise click.BadParameter(f"'{printable(value)}' is not a header; use 'Name: value'")
    return environ_key(name), content.strip(OWS)


class WindowOptions(TypedDict):
    """The options of `enable`, as `MaintenanceMode` takes them."""

    exemptions: list[str] | None
    message: str | None
    messages: dict[str, str] | None
    until: datetime | None
    retry_after: int | None
    read_only: bool | None


def ip_error(lines: list[str], remedy: str) -> click.UsageError:
    """Print lines in the words of Magento's validator; return the error to raise after them."""
    for line in lines:
        click.echo(line, err=True)
    return click.UsageError(f"nothing was changed; {remedy}")


def as_click_error(error: MaintenanceError) -> click.ClickException:
    """Return the error that ends the command with this one's message."""
    if isinstance(error, EntryError):
        lines = [f"Invalid IP {_shown(entry)}" for entry in error.texts]
        examples = "--ip 203.0.113.7 --ip 2001:db8::/32 (allow-ips takes them without --ip)"
        return ip_error(lines, f"repeat --ip for each address or network, as in {examples}")
    if isinstance(error, ConfigError | ConfigTypeError):
        return click.UsageError(str(error))
    return click.ClickException(str(error))


def _shown(entry: str) -> str:
    # An invisible character must not look like a right address that is called wrong.
    return printable(entry, 256) if entry.isascii() and entry.isprintable() else quoted(entry)


def _new_list(_ctx: object, _option: object, values: tuple[str, ...]) -> list[str] | None:
    """Return the list that `--ip` gives: None to keep the present one; empty for no client."""
    remedy = "use --ip none without another --ip"
    if values.count(NONE) > 1:
        raise ip_error(["'none' can be only used once"], remedy)
    if NONE in values and len(values) > 1:
        raise ip_error(["Multiple values are not allowed when 'none' is used"], remedy)
    return [value for value in values if value != NONE] if values else None


def _translations(
    _ctx: object, _option: object, values: tuple[tuple[str, str], ...]
) -> dict[str, str] | None:
    if len(dict(values)) < len(values):
        raise click.BadParameter("a language is given twice; give each once")
    return dict(values) or None


ip_option: Decorator = click.option(
    "--ip",
    "exemptions",
    type=ip,
    metavar="IP",
    multiple=True,
    callback=_new_list,
    help="Address or network to exempt; replaces the list. Repeat it for more."
    " 'me' is the address of your SSH client, 'none' empties the list.",
)


def window_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `enable`."""
    wait = "Value of the Retry-After header, in seconds."
    message = click.option("--message", metavar="TEXT", help="Message for the visitors.")
    translated = click.option(
        "--message-in",
        "messages",
        type=(str, str),
        metavar="LANGUAGE TEXT",
        multiple=True,
        callback=_translations,
        help="The message in one more language, for example de; '' takes it back.",
    )
    end = f"Planned end: {_TIMES}; 'none' takes it back."
    until = click.option("--until", type=time, metavar="TIME", help=end)
    retry_after = click.option("--retry-after", type=seconds, metavar="SECONDS", help=wait)
    reads = "Let every client read: GET, HEAD, OPTIONS and QUERY pass."
    read_only = click.option("--read-only/--no-read-only", default=None, help=reads)
    return ip_option(message(translated(until(retry_after(read_only(command))))))
