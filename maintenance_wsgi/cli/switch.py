"""The commands that Magento has: enable, disable, status, allow-ips."""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Unpack

import click

from maintenance_wsgi.cli import fleet
from maintenance_wsgi.cli.app import Target, main, quiet_option, target_option, warn, with_target
from maintenance_wsgi.cli.drain import drain_option, wait_for_requests
from maintenance_wsgi.cli.params import (
    NONE,
    Decorator,
    WindowOptions,
    bypass,
    ip,
    ip_error,
    ip_option,
    window_options,
)
from maintenance_wsgi.cli.verify import verify, verify_option
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.networks import format_network, is_public, parse_forwarded_address
from maintenance_wsgi.state.exemptions import (
    canonical_entries,
    dropped,
    first_ten,
    parse_entries,
    quoted,
)
from maintenance_wsgi.state.mode import MaintenanceMode, Status, status_of
from maintenance_wsgi.state.ownership import followed_source
from maintenance_wsgi.state.store import FileStore, Snapshot, Store
from maintenance_wsgi.state.users import user_name

bypass_option: Decorator = target_option(
    "--bypass",
    type=bypass,
    metavar="URL",
    help="Print a link to URL; a browser that opens it is let through. 'none' takes it back.",
)


@main.command()
@window_options
@bypass_option
@click.option("--add-ip", type=ip, metavar="IP", multiple=True, help="Append to the list.")
@drain_option
@verify_option
@fleet.change_options
def enable(target: Target, *, add_ip: tuple[str, ...], **options: Unpack[WindowOptions]) -> None:
    """Switch maintenance mode on.

    --ip replaces the list, --add-ip appends to it; otherwise it stays as it is. If maintenance is
    already on, omitted values stay as they are.

    \b
    Example:
      maintenance-wsgi enable --ip 203.0.113.7 --until +90m
    """
    mode = target.open(create=True)
    warn_of_entries(target, [*(options["exemptions"] or ()), *add_ip])
    change = mode.enable(**options, bypass=target.digest, add_exemptions=add_ip)
    _report(target, mode.store, change, options["exemptions"])
    if status_of(change[1]).window.bypass == target.digest:  # a full disk takes no details
        target.tell_link()
    _warn_of_private_files(mode)
    wait_until_on(target)


@main.command()
@ip_option
@verify_option
@fleet.change_options
def disable(target: Target, *, exemptions: list[str] | None) -> None:
    """Switch maintenance mode off.

    The list stays as it is for the next time, unless --ip replaces it.

    \b
    Example:
      maintenance-wsgi disable
    """
    mode = target.open(create=True)
    warn_of_entries(target, exemptions or ())
    _report(target, mode.store, mode.disable(exemptions=exemptions), exemptions)
    fleet.wait_for_nodes(target)
    verify(target, on=False)


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
        mode, shown = target.open(changes=False), _status_json if as_json else _status_text
        try:
            found = mode.status()
        except StateError:
            if target.redis_store and target.redis_store.revision and not target.quiet:
                click.echo(shown(None, target, mode.store))  # Redis fell back; the nodes tell more
            raise
        if not target.quiet:
            click.echo(shown(found, target, mode.store))
        _warn_of_invalid(found)
    except Exception as error:
        # Whatever went wrong, "1" would say that maintenance is off.
        if not exit_code:
            raise
        with suppress(OSError):
            click.echo(f"Error: {printable(str(error), LINE_LIMIT)}", err=True)
        raise click.exceptions.Exit(2) from error
    if exit_code and not found.enabled:
        raise click.exceptions.Exit(1)


@main.command("allow-ips", short_help="Set, extend, shorten, empty or print the list.")
@click.argument("ips", type=ip, nargs=-1, metavar="[IP]...")
@click.option("--add", is_flag=True, help="Append to the list instead of replacing it.")
@click.option("--remove", is_flag=True, help="Cut from the list instead of replacing it.")
@click.option("--none", "empty", is_flag=True, help="Empty the list.")
@fleet.change_options
def allow_ips(
    target: Target, *, ips: tuple[str, ...], add: bool, remove: bool, empty: bool
) -> None:
    """Set the addresses and networks that are exempt; without an IP, print them.

    IP is an address, a network, or 'me' for the address of your SSH client.

    \b
    Example:
      maintenance-wsgi allow-ips --add 203.0.113.7 2001:db8::/32
    """
    # Magento ignores addresses beside --none.
    if (add and remove) or (empty and (remove or (ips and not target.magento))):
        raise click.UsageError("--add and --remove exclude each other, and --none takes no IP")
    if (add or remove) and not (ips or empty or target.magento):
        raise click.UsageError("--add and --remove need an IP")
    mode = target.open(changes=bool(ips or empty))
    if not ips and not empty:
        found = mode.status()
        target.tell(_list_line(found))
        _warn_of_invalid(found)
        return
    if NONE in ips and not empty:
        raise ip_error(["'none' is not allowed"], "use --none to empty the list")
    given = () if empty else ips
    if remove:
        change = mode.remove_exemptions(ips)
        _warn_of_dropped(*change, canonical_entries(parse_entries(ips)))
    else:
        warn_of_entries(target, given)
        change = (mode.add_exemptions if add and given else mode.set_exemptions)(given)
        _warn_of_dropped(*change)
    found = status_of(change[1])
    target.tell(f"Set exempt IP-addresses: {' '.join(found.exemptions) or NONE}")
    _warn_of_private_files(mode)
    fleet.wait_for_nodes(target)


def wait_until_on(target: Target) -> None:
    """Wait for the nodes, the earlier requests and the visitors' view, as far as it is wanted."""
    fleet.wait_for_nodes(target)
    wait_for_requests(target)
    verify(target, on=True)


def warn_of_entries(target: Target, entries: Sequence[str]) -> None:
    """Warn of an entry that exempts other clients than the operator means, in check's words."""
    if not entries:
        return
    from maintenance_wsgi.diagnosis.check import danger  # noqa: PLC0415 (slow to import)

    proxies: Sequence[str] = re.split(r"[\s,]+", os.environ.get("MAINTENANCE_TRUSTED_PROXIES", ""))
    if application := target.application:
        proxies = application.trusted_proxies
    own = parse_forwarded_address(os.environ.get("SSH_CONNECTION", "").partition(" ")[0])
    for network in parse_entries(entries):
        entry, fault = format_network(network), danger(network, proxies)
        if not (network.prefixlen or target.force or target.magento):
            raise click.ClickException(f"{entry} {fault}, or use --force; nothing was changed")
        if own and entry == str(own) and not is_public(own):
            fault = fault or "is private, and seen by SSH only; exempt your browser's address"
        elif own and entry == str(own) and ":" in entry:
            fault = fault or f"may change daily; exempt {entry}/64, which stays the same"
        if fault:
            warn(f"{entry} {fault}")


def _warn_of_dropped(before: Snapshot, after: Snapshot, removed: Sequence[str] = ()) -> None:
    old, new = before.exemptions, after.exemptions
    if isinstance(old, bytes) and isinstance(new, bytes):
        lost = [item for item in dropped(old, new) if item not in removed]
        if lost:
            warn(f"dropped from the list: {first_ten(lost)}")


def _report(
    target: Target, store: Store, change: tuple[Snapshot, Snapshot], given: list[str] | None
) -> None:
    """Tell what has changed, where and until when; under Magento's names in its words."""
    _warn_of_dropped(*change)
    before, after = (snapshot.flag for snapshot in change)
    found = status_of(change[1])
    done, state = ("Enabled", "on") if found.enabled else ("Disabled", "off")
    line = f"{done} maintenance mode"
    exempt = f"Set exempt IP-addresses: {', '.join(found.exemptions) or NONE}"
    if not target.magento:
        done = done if None in {before, after} else "Updated"
        place = printable(str(store), LINE_LIMIT)
        kind = "read-only maintenance mode" if found.window.read_only else "maintenance mode"
        line = f"{done} {kind} in {place}"
        if before == after and (after is None or change[0] == change[1]):
            line = f"Maintenance mode was already {state} ({place})"
        if found.window.until:
            line += f" until {_moment(found.window.until)}"
        exempt = f"Exempt: {first_ten(found.exemptions) or NONE}"
    target.tell(line)
    is_told = given is not None or (found.enabled and not target.magento)
    if is_told and isinstance(change[1].exemptions, bytes):
        target.tell(exempt)


def _list_line(found: Status) -> str:
    return f"List of exempt IP-addresses: {' '.join(found.exemptions) or NONE}"


def _status_text(found: Status | None, target: Target, store: Store) -> str:
    if found is None:
        return "\n".join(["Status: maintenance mode is unknown", *fleet.format_nodes(target)])
    state, colour = ("enabled", "yellow") if found.enabled else ("disabled", "green")
    line = f"Status: maintenance mode is {click.style(state, fg=colour)}"
    if target.magento:
        return f"{line}\n{_list_line(found)}"
    window, follows = found.window, ""
    translations = window.messages or {}
    since = window.since and _moment(window.since, "{} ago")
    by = window.by and printable(window.by)
    if isinstance(store, FileStore):
        follows = followed_source(store.directory)
        if found.enabled:  # a link may be there although it is off
            with suppress(OSError):
                file = os.lstat(store.flag_path)
                made = datetime.fromtimestamp(file.st_mtime, UTC)
                since = since or _moment(made, "{} ago, the file's time")
                by = by or f"{user_name(file.st_uid)}, the file's owner"
    details = {
        "Since": since,
        "By": by,
        "Until": window.until and _moment(window.until),
        "Message": window.message and printable(window.message, 4096),
        **{f"Message in {tag}": printable(text, 4096) for tag, text in translations.items()},
        "Retry after": window.retry_after is not None and f"{window.retry_after} s",
        "Read-only": window.read_only and "GET, HEAD, OPTIONS and QUERY pass",
        "Bypass": window.bypass and "a link is in force",
        "Exempt": first_ten(found.exemptions) or NONE,
        "Follows": follows,
    }
    lines = [f"{name}: {value}" for name, value in details.items() if value]
    line += f" in {printable(str(store), LINE_LIMIT)}"
    return "\n".join([line, *lines, *fleet.format_nodes(target)])


def _moment(time: datetime, past: str = "overdue by {}") -> str:
    """Return a time in the local zone, and how far away it is."""
    seconds = (time - datetime.now(UTC)).total_seconds()
    days, minutes = divmod(round(abs(seconds) / 60), 24 * 60)
    hours = f"{minutes // 60} h " if minutes >= 60 else ""  # noqa: PLR2004 (an hour)
    span = f"{f'{days} d ' if days else ''}{hours}{minutes % 60} min"
    with suppress(OverflowError, OSError):  # the first and the last day of all have no other zone
        time = time.astimezone()
    return f"{time:%Y-%m-%d %H:%M %Z} ({f'in {span}' if seconds > 0 else past.format(span)})"


def _status_json(found: Status | None, target: Target, store: Store) -> str:
    enabled, found = found and found.enabled, found or status_of(Snapshot(None, b""))
    directory = store.directory if isinstance(store, FileStore) else None
    members = {"enabled": enabled, "directory": directory, "exempt": found.exemptions}
    members |= {"invalid": found.invalid} | asdict(found.window) | fleet.nodes_dict(target)
    members["bypass"] = found.window.bypass is not None
    members["read_only"] = found.window.read_only is True
    return json.dumps(members, default=datetime.isoformat)


def _warn_of_private_files(mode: MaintenanceMode) -> None:
    for fault in mode.store.private_files() if isinstance(mode.store, FileStore) else ():
        warn(fault)


def _warn_of_invalid(found: Status) -> None:
    if found.invalid:
        shown = ", ".join(map(quoted, found.invalid))
        warn(f"invalid entries in the list are skipped ({found.invalid_count}): {shown}")
