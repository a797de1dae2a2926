"""The admin command, with Magento's names and wording beside its own.

It never imports the application or the middleware: it works while the code cannot be imported.
Results go to standard output, problems to standard error. Exit status: 0 done, 1 refused or
failed, 2 wrong usage. Nothing is changed unless every value is valid.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from maintenance_wsgi.details import parse_time
from maintenance_wsgi.errors import EntryError, MaintenanceError
from maintenance_wsgi.exemptions import parse_entries
from maintenance_wsgi.mode import MaintenanceMode, Status

_NONE = "none"
_MAGENTO_PREFIX = "maintenance:"
_DURATION = re.compile(r"\+(?=[0-9])(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", re.ASCII)


class _Commands(click.Group):
    """Understands Magento's names, and their abbreviations as Symfony does."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command or ":" not in cmd_name:
            return command
        namespace, _, start = cmd_name.partition(":")
        if not namespace or not _MAGENTO_PREFIX.startswith(namespace):
            return None
        name = start if start in self.commands else self._complete(ctx, cmd_name, start)
        return super().get_command(ctx, name)

    def _complete(self, ctx: click.Context, typed: str, start: str) -> str:
        names = [name for name in self.list_commands(ctx) if name.startswith(start)]
        if len(names) > 1:
            shown = ", ".join(_MAGENTO_PREFIX + name for name in names)
            raise click.UsageError(f"Command {typed!r} is ambiguous: {shown}.", ctx)
        return names[0] if names else start

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MaintenanceError as error:
            raise click.ClickException(str(error)) from error


class _Warnings(logging.Handler):
    """Shows the library's warnings as the command's own."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"Warning: {record.getMessage()}", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "directory",
    envvar="MAINTENANCE_DIR",
    default="var",
    show_default=True,
    show_envvar=True,
    help="Directory of the two files.",
)
@click.version_option(package_name="maintenance-wsgi")
@click.pass_context
def main(ctx: click.Context, directory: str) -> None:
    """Switch maintenance mode on and off, and say who is exempt from it.

    Every command also goes by Magento's name for it: maintenance:enable, ...
    """
    ctx.obj = directory
    handler = _Warnings(logging.WARNING)
    logger = logging.getLogger("maintenance_wsgi")
    logger.addHandler(handler)
    ctx.call_on_close(lambda: logger.removeHandler(handler))


def _mode() -> MaintenanceMode:
    directory = click.get_current_context().obj
    if not os.path.isdir(directory):
        raise click.ClickException(
            f"there is no directory {os.path.abspath(directory)!r};"
            " create it, or name another with --dir or MAINTENANCE_DIR"
        )
    return MaintenanceMode(directory)


_quiet = click.option("-q", "--quiet", is_flag=True, help="Print no result.")


def _ip(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--ip", "ips", multiple=True, metavar="IP", help=text)


@main.command()
@_ip("Exempt this address or network; repeat for more; 'none' for nobody.")
@click.option("--message", metavar="TEXT", help="Text for the visitors.")
@click.option(
    "--until",
    metavar="TIME",
    help="Planned end: 2026-11-23T18:00:00+01:00, '2026-11-23 18:00' (local time) or +1h30m.",
)
@click.option("--retry-after", metavar="SECONDS", help="When a client may come again.")
@_quiet
def enable(
    *,
    ips: tuple[str, ...],
    message: str | None,
    until: str | None,
    retry_after: str | None,
    quiet: bool,
) -> None:
    """Switch maintenance mode on.

    --ip replaces the list; without it the list stays as it is. While maintenance is on already,
    what is not given stays as it is.

    Example: maintenance-wsgi enable --ip 203.0.113.7 --until +90m
    """
    mode = _mode()
    exemptions = _exemptions(ips)
    mode.enable(
        exemptions=exemptions,
        message=message,
        until=None if until is None else _parse_until(until),
        retry_after=None if retry_after is None else _parse_seconds(retry_after),
    )
    if not quiet:
        click.echo("Enabled maintenance mode")
        _echo_exemptions(mode, exemptions)


@main.command()
@_ip("Replace the list with this address or network; repeat; 'none' for nobody.")
@_quiet
def disable(*, ips: tuple[str, ...], quiet: bool) -> None:
    """Switch maintenance mode off.

    The list stays as it is, for the next time, unless --ip replaces it.

    Example: maintenance-wsgi disable
    """
    mode = _mode()
    exemptions = _exemptions(ips)
    mode.disable(exemptions=exemptions)
    if not quiet:
        click.echo("Disabled maintenance mode")
        _echo_exemptions(mode, exemptions)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--exit-code", is_flag=True, help="Exit with 0 when on, 1 when off.")
@_quiet
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, exit_code: bool, quiet: bool) -> None:
    """Tell whether maintenance mode is on, and who is exempt.

    Example: maintenance-wsgi status -q --exit-code && echo "in maintenance"
    """
    found = _mode().status()
    if not quiet:
        click.echo(_status_json(found) if as_json else _status_text(found))
    _warn_of_invalid(found)
    if exit_code and not found.enabled:
        ctx.exit(1)


@main.command("allow-ips")
@click.argument("ips", nargs=-1, metavar="[IP]...")
@click.option("--add", is_flag=True, help="Keep the list and append to it.")
@click.option("--none", "nobody", is_flag=True, help="Empty the list.")
@_quiet
def allow_ips(*, ips: tuple[str, ...], add: bool, nobody: bool, quiet: bool) -> None:
    """Set the addresses and networks that are exempt; without any, print them.

    Example: maintenance-wsgi allow-ips --add 203.0.113.7 2001:db8::/32
    """
    mode = _mode()
    if not ips and not nobody:
        found = mode.status()
        if not quiet:
            click.echo(_list_line(found))
        _warn_of_invalid(found)
        return
    if nobody:
        mode.set_exemptions([])
    else:
        _refuse_invalid(ips, none_allowed=False)
        (mode.add_exemptions if add else mode.set_exemptions)(ips)
    if not quiet:
        click.echo(f"Set exempt IP-addresses: {' '.join(mode.exemptions) or _NONE}")


def validation_messages(values: Iterable[str], *, none_allowed: bool) -> list[str]:
    """Return what Magento's validator says of the values: nothing where all are good."""
    values = list(values)
    nones = values.count(_NONE)
    if nones and not none_allowed:
        return ["'none' is not allowed"]
    if nones > 1:
        return ["'none' can be only used once"]
    if nones and len(values) > 1:
        return ["Multiple values are not allowed when 'none' is used"]
    try:
        parse_entries(value for value in values if value != _NONE)
    except EntryError as error:
        return [f"Invalid IP {text}" for text in error.texts]
    return []


def _refuse_invalid(values: Iterable[str], *, none_allowed: bool) -> None:
    if messages := validation_messages(values, none_allowed=none_allowed):
        for message in messages:
            click.echo(message, err=True)
        raise click.ClickException(
            "nothing was changed; give each address or network by itself,"
            " as 203.0.113.7, 10.0.0.0/8, 2001:db8::7 or 2001:db8::/32"
        )


def _exemptions(ips: tuple[str, ...]) -> list[str] | None:
    """Return what `--ip` says of the list: None to keep it, nothing for nobody."""
    _refuse_invalid(ips, none_allowed=True)
    return [ip for ip in ips if ip != _NONE] if ips else None


def _echo_exemptions(mode: MaintenanceMode, exemptions: list[str] | None) -> None:
    if exemptions is not None:
        click.echo(f"Set exempt IP-addresses: {', '.join(mode.exemptions) or _NONE}")


def _parse_until(text: str) -> datetime:
    try:
        if duration := _DURATION.fullmatch(text):
            days, hours, minutes = (int(part or 0) for part in duration.groups())
            return datetime.now(UTC).replace(microsecond=0) + timedelta(
                days=days, hours=hours, minutes=minutes
            )
        if _LOCAL_TIME.fullmatch(text):
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
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise click.ClickException(f"--retry-after: {text!r} is no number of seconds; write 300")
    return int(text)


def _list_line(found: Status) -> str:
    return f"List of exempt IP-addresses: {' '.join(found.exempt) or _NONE}"


def _status_text(found: Status) -> str:
    state = "enabled" if found.enabled else "disabled"
    details = {
        "Since": found.since and found.since.astimezone().isoformat(),
        "By": found.by,
        "Message": found.message,
        "Until": found.until and found.until.astimezone().isoformat(),
        "Retry after": found.retry_after is not None and f"{found.retry_after} s",
    }
    lines = [f"Status: maintenance mode is {state}", _list_line(found)]
    lines += [f"{name}: {value}" for name, value in details.items() if value]
    return "\n".join(lines)


def _status_json(found: Status) -> str:
    return json.dumps(asdict(found), default=datetime.isoformat)


def _warn_of_invalid(found: Status) -> None:
    if found.invalid:
        shown = ", ".join(ascii(text[:64]) for text in found.invalid[:10])
        click.echo(
            f"Warning: {len(found.invalid)} bad entries in the list are skipped: {shown}",
            err=True,
        )
