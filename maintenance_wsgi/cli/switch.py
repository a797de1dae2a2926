"""The commands that Magento has: enable, disable, status, allow-ips."""

import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Unpack

import click

from maintenance_wsgi.cli import fleet
from maintenance_wsgi.cli.app import Target, main, quiet_option, warn, with_target
from maintenance_wsgi.cli.params import NONE, WindowOptions, ip, ip_error, ip_option, window_options
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.state.exemptions import quoted
from maintenance_wsgi.state.mode import MaintenanceMode, Status
from maintenance_wsgi.state.store import FileStore


@main.command()
@window_options
@fleet.change_options
def enable(target: Target, **options: Unpack[WindowOptions]) -> None:
    """Switch maintenance mode on.

    --ip replaces the list; without --ip the list stays as it is. If maintenance is already on,
    omitted values stay as they are.

    \b
    Example:
      maintenance-wsgi enable --ip 203.0.113.7 --until +90m
    """
    mode = target.open(create=True)
    mode.enable(**options)
    _tell(target, "Enabled maintenance mode", mode, options["exemptions"])
    _warn_of_private_files(mode)
    fleet.wait_for_nodes(target)


@main.command()
@ip_option
@fleet.change_options
def disable(target: Target, *, exemptions: list[str] | None) -> None:
    """Switch maintenance mode off.

    The list stays as it is for the next time, unless --ip replaces it.

    \b
    Example:
      maintenance-wsgi disable
    """
    mode = target.open(create=True)
    mode.disable(exemptions=exemptions)
    _tell(target, "Disabled maintenance mode", mode, exemptions)
    fleet.wait_for_nodes(target)


@main.command(short_help="Show whether maintenance mode is on, and who is exempt.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--exit-code", is_flag=True, help="Exit with 0 if it is on, 1 if it is off, 2 on an error."
)
@fleet.fleet_options
@quiet_option
@with_target
def status(target: Target, *, as_json: bool, exit_code: bool) -> None:
    """Show whether maintenance mode is on, and who is exempt.

    \b
    Example:
      maintenance-wsgi status -q --exit-code && echo "in maintenance"
    """
    try:
        found = target.open().status()
        if not target.quiet:
            click.echo(_status_json(found, target) if as_json else _status_text(found, target))
    except Exception as error:
        # Whatever went wrong, "1" would say that maintenance is off.
        if not exit_code:
            raise
        click.echo(f"Error: {printable(str(error), LINE_LIMIT)}", err=True)
        raise click.exceptions.Exit(2) from error
    _warn_of_invalid(found)
    if exit_code and not found.enabled:
        raise click.exceptions.Exit(1)


@main.command("allow-ips", short_help="Set, extend, empty or print the list.")
@click.argument("ips", type=ip, nargs=-1, metavar="[IP]...")
@click.option("--add", is_flag=True, help="Append to the list instead of replacing it.")
@click.option("--none", "empty", is_flag=True, help="Empty the list.")
@fleet.change_options
def allow_ips(target: Target, *, ips: tuple[str, ...], add: bool, empty: bool) -> None:
    """Set the addresses and networks that are exempt; without an IP, print them.

    IP is an address, a network, or 'me' for the address of your SSH client.

    \b
    Example:
      maintenance-wsgi allow-ips --add 203.0.113.7 2001:db8::/32
    """
    mode = target.open()
    if not ips and not empty:
        found = mode.status()
        target.tell(_list_line(found))
        _warn_of_invalid(found)
        return
    if NONE in ips and not empty:
        raise ip_error(["'none' is not allowed"], "use --none to empty the list")
    if add and not empty:
        mode.add_exemptions(ips)
    else:
        mode.set_exemptions([] if empty else ips)
    if not target.quiet:
        click.echo(f"Set exempt IP-addresses: {' '.join(mode.exemptions) or NONE}")
    _warn_of_private_files(mode)
    fleet.wait_for_nodes(target)


def _tell(target: Target, done: str, mode: MaintenanceMode, given: list[str] | None) -> None:
    target.tell(done)
    with suppress(StateError):  # a list that cannot be read was told already
        if given is not None:
            target.tell(f"Set exempt IP-addresses: {', '.join(mode.exemptions) or NONE}")


def _list_line(found: Status) -> str:
    return f"List of exempt IP-addresses: {' '.join(found.exemptions) or NONE}"


def _status_text(found: Status, target: Target) -> str:
    window = found.window
    state, colour = ("enabled", "yellow") if found.enabled else ("disabled", "green")
    passed = " (passed)" if window.until and window.until <= datetime.now(UTC) else ""
    lines = [f"Status: maintenance mode is {click.style(state, fg=colour)}", _list_line(found)]
    details = {
        "Since": window.since and _local(window.since),
        "By": window.by and printable(window.by),
        "Message": window.message and printable(window.message, 4096),
        "Until": window.until and _local(window.until) + passed,
        "Retry after": window.retry_after is not None and f"{window.retry_after} s",
    }
    lines += [f"{name}: {value}" for name, value in details.items() if value]
    return "\n".join([*lines, *fleet.format_nodes(target)])


def _local(time: datetime) -> str:
    with suppress(OverflowError, OSError):  # the first and the last day of all have no other zone
        time = time.astimezone()
    return time.isoformat(" ", "seconds")


def _status_json(found: Status, target: Target) -> str:
    members = {"enabled": found.enabled, "exempt": found.exemptions, "invalid": found.invalid}
    members |= asdict(found.window) | fleet.nodes_dict(target)
    return json.dumps(members, default=datetime.isoformat)


def _warn_of_private_files(mode: MaintenanceMode) -> None:
    store = mode.store
    for path in (store.flag_path, store.list_path) if isinstance(store, FileStore) else ():
        with suppress(OSError):
            if not os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH):
                remedy = "if the web server runs as another user, run chmod a+r on it"
                warn(f"{path}: only its owner can read it; {remedy}")


def _warn_of_invalid(found: Status) -> None:
    if found.invalid:
        shown = ", ".join(map(quoted, found.invalid))
        warn(f"invalid entries in the list are skipped ({found.invalid_count}): {shown}")
