"""The commands that Magento has: enable, disable, status, allow-ips."""

import json
import os
import stat
from dataclasses import asdict
from datetime import UTC, datetime

import click

from maintenance_wsgi.cli.app import main, quiet_option, same_directory_option, warn
from maintenance_wsgi.cli.fleet import (
    fleet_mode,
    fleet_options,
    nodes_json,
    nodes_text,
    open_state,
    wait_for_nodes,
    wait_option,
)
from maintenance_wsgi.cli.params import (
    NONE,
    exemptions_of,
    ip_option,
    refuse_invalid,
    window,
    window_options,
    with_me,
)
from maintenance_wsgi.errors import MaintenanceError
from maintenance_wsgi.state.mode import MaintenanceMode, Status


class _UnknownState(click.ClickException):
    """`status --exit-code` where the state cannot be told: neither on nor off."""

    exit_code = 2


@main.command()
@window_options
@fleet_options
@wait_option
@quiet_option
@same_directory_option
def enable(  # noqa: PLR0913 (one for each option)
    *,
    ips: tuple[str, ...],
    message: str | None,
    until: str | None,
    retry_after: str | None,
    wait: int | None,
    quiet: bool,
) -> None:
    """Switch maintenance mode on.

    --ip replaces the list; without it the list stays as it is. While maintenance is on already,
    what is not given stays as it is.

    \b
    Example:
      maintenance-wsgi enable --ip 203.0.113.7 --until +90m
    """
    mode = open_state(begins=True, wait=wait)
    options = window(ips, message, until, retry_after)
    mode.enable(**options)
    if not quiet:
        click.echo("Enabled maintenance mode")
        _echo_exemptions(mode, options["exemptions"])
    _warn_of_closed(mode)
    wait_for_nodes(wait, quiet=quiet)


@main.command()
@ip_option("Replace the list with this address, network or 'me'; repeat; 'none' for nobody.")
@fleet_options
@wait_option
@quiet_option
@same_directory_option
def disable(*, ips: tuple[str, ...], wait: int | None, quiet: bool) -> None:
    """Switch maintenance mode off.

    The list stays as it is, for the next time, unless --ip replaces it.

    \b
    Example:
      maintenance-wsgi disable
    """
    mode = open_state(begins=True, wait=wait)
    exemptions = exemptions_of(ips)
    mode.disable(exemptions=exemptions)
    if not quiet:
        click.echo("Disabled maintenance mode")
        _echo_exemptions(mode, exemptions)
    wait_for_nodes(wait, quiet=quiet)


@main.command(short_help="Tell whether maintenance mode is on, and for whom not.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--exit-code", is_flag=True, help="Exit with 0 when on, 1 when off, 2 on an error.")
@fleet_options
@quiet_option
@same_directory_option
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, exit_code: bool, quiet: bool) -> None:
    """Tell whether maintenance mode is on, and who is exempt.

    \b
    Example:
      maintenance-wsgi status -q --exit-code && echo "in maintenance"
    """
    try:
        found = open_state().status()
    except click.UsageError:
        raise
    except (MaintenanceError, click.ClickException) as error:
        raise (_UnknownState if exit_code else click.ClickException)(str(error)) from error
    if not quiet:
        click.echo(_status_json(found) if as_json else _status_text(found) + nodes_text())
    _warn_of_invalid(found)
    if exit_code and not found.enabled:
        ctx.exit(1)


@main.command("allow-ips", short_help="Set, extend, empty or print the list.")
@click.argument("ips", nargs=-1, metavar="[IP]...")
@click.option("--add", is_flag=True, help="Keep the list and append to it.")
@click.option("--none", "nobody", is_flag=True, help="Empty the list.")
@fleet_options
@wait_option
@quiet_option
@same_directory_option
def allow_ips(
    *, ips: tuple[str, ...], add: bool, nobody: bool, wait: int | None, quiet: bool
) -> None:
    """Set the addresses and networks that are exempt; without any, print them.

    IP is an address, a network, or 'me' for who is connected by SSH.

    \b
    Example:
      maintenance-wsgi allow-ips --add 203.0.113.7 2001:db8::/32
    """
    mode = open_state(wait=wait)
    if not ips and not nobody:
        found = mode.status()
        if not quiet:
            click.echo(_list_line(found))
        _warn_of_invalid(found)
        return
    if nobody:
        mode.set_exemptions([])
    else:
        entries = with_me(ips)
        refuse_invalid(entries, none_allowed=False)
        (mode.add_exemptions if add else mode.set_exemptions)(entries)
    if not quiet:
        click.echo(f"Set exempt IP-addresses: {' '.join(mode.exemptions) or NONE}")
    _warn_of_closed(mode)
    wait_for_nodes(wait, quiet=quiet)


def _echo_exemptions(mode: MaintenanceMode, exemptions: list[str] | None) -> None:
    if exemptions is not None:
        click.echo(f"Set exempt IP-addresses: {', '.join(mode.exemptions) or NONE}")


def _list_line(found: Status) -> str:
    return f"List of exempt IP-addresses: {' '.join(found.exempt) or NONE}"


def _status_text(found: Status) -> str:
    state = "enabled" if found.enabled else "disabled"
    colour = "yellow" if found.enabled else "green"
    lines = [f"Status: maintenance mode is {click.style(state, fg=colour)}", _list_line(found)]
    details = {
        "Since": found.since and _local(found.since),
        "By": found.by,
        "Message": found.message,
        "Until": found.until and f"{_local(found.until)}{_passed(found.until)}",
        "Retry after": found.retry_after is not None and f"{found.retry_after} s",
    }
    lines += [f"{name}: {value}" for name, value in details.items() if value]
    return "\n".join(lines)


def _local(time: datetime) -> str:
    return time.astimezone().isoformat(" ", "seconds")


def _passed(until: datetime) -> str:
    return " (passed)" if until <= datetime.now(UTC) else ""


def _status_json(found: Status) -> str:
    return json.dumps(asdict(found) | nodes_json(), default=datetime.isoformat)


def _warn_of_closed(mode: MaintenanceMode) -> None:
    if fleet_mode():
        return  # the files of this process, which nobody else reads
    for path in (mode.flag_path, mode.list_path):
        try:
            closed = not os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH)
        except OSError:
            continue
        if closed:
            warn(f"only its owner can read {path}; if the web server is another, chmod a+r it")


def _warn_of_invalid(found: Status) -> None:
    if found.invalid:
        shown = ", ".join(ascii(text[:64]) for text in found.invalid[:10])
        warn(f"bad entries in the list are skipped ({len(found.invalid)}): {shown}")
