"""The fleet in the commands: the options that name it, and who of it has acknowledged."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from maintenance_wsgi.cli.app import (
    command_line,
    directory_was_typed,
    open_mode,
    warn,
)
from maintenance_wsgi.state.mode import MaintenanceMode

if TYPE_CHECKING:
    from maintenance_wsgi.fleet.mode import Acknowledgements, FleetMode
    from maintenance_wsgi.fleet.nodes import Node
    from maintenance_wsgi.fleet.store import Fleet

_URL = "maintenance_wsgi.redis"
_NAME = "maintenance_wsgi.name"
_MODE = "maintenance_wsgi.fleet_mode"


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def keep(ctx: click.Context, parameter: click.Parameter, value: str) -> None:
        source = ctx.get_parameter_source(parameter.name or "")
        ctx.meta[key] = value
        ctx.meta[f"{key}.typed"] = source is ParameterSource.COMMANDLINE

    return keep


def fleet_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a fleet."""
    name = click.option(
        "--name",
        metavar="NAME",
        envvar="MAINTENANCE_NAME",
        default="default",
        show_default=True,
        expose_value=False,
        callback=_keep(_NAME),
        help="Which fleet in that Redis.",
    )
    url = click.option(
        "--redis",
        metavar="URL",
        envvar="MAINTENANCE_REDIS",
        default="",
        expose_value=False,
        callback=_keep(_URL),
        help="For all nodes of a fleet: redis://USER:PASSWORD@HOST/0, or in MAINTENANCE_REDIS.",
    )
    return url(name(command))


wait_option: Callable[[Any], Any] = click.option(
    "--wait",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="With --redis: wait until every node has acknowledged, at most so long; else exit 1.",
)


def open_fleet() -> "Fleet | None":
    """Return the fleet that the options name, or None where they name none."""
    meta = click.get_current_context().meta
    if not meta[_URL]:
        if meta[f"{_NAME}.typed"]:
            raise click.UsageError("--name needs --redis")
        return None
    try:
        from maintenance_wsgi.fleet.store import Fleet  # noqa: PLC0415 (needs an extra)
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise click.ClickException(
            "--redis needs redis-py: pip install 'maintenance-wsgi[redis]'"
        ) from None
    return Fleet(meta[_URL], meta[_NAME])


def open_state(*, begins: bool = False, wait: int | None = None) -> MaintenanceMode:
    """Return the fleet's mode where `--redis` names one, else that of the directory.

    Args:
        begins: whether the command may begin the state of a fleet that has none.
        wait: what `--wait` says; it needs a fleet.
    """
    fleet = open_fleet()
    if fleet is None:
        if wait is not None:
            raise click.UsageError("--wait needs --redis")
        return open_mode()
    if directory_was_typed():
        raise click.UsageError(
            "a fleet has no directory: leave out --dir; or --redis='' for this directory alone"
        )
    from maintenance_wsgi.fleet.mode import FleetMode  # noqa: PLC0415 (needs an extra)

    ctx = click.get_current_context()
    copy = ctx.with_resource(TemporaryDirectory(prefix=f"maintenance-fleet-{fleet.name}-"))
    ctx.call_on_close(fleet.close)
    mode = FleetMode(fleet, copy, begins=begins)
    ctx.meta[_MODE] = mode
    return mode


def fleet_mode() -> "FleetMode | None":
    """Return the fleet's mode that this command has opened, or None."""
    mode: FleetMode | None = click.get_current_context().meta.get(_MODE)
    return mode


def disabling_command() -> str:
    """Return what to type to switch maintenance off again, without a secret."""
    mode = fleet_mode()
    if mode is None:
        return command_line("disable")
    ctx = click.get_current_context()
    program = (ctx.parent or ctx).command_path
    # Where the URL came from the environment, it still does.
    url = ["--redis", mode.fleet.redacted_url] if ctx.meta[f"{_URL}.typed"] else []
    return shlex.join([*program.split(), "disable", *url, "--name", mode.fleet.name])


def wait_for_nodes(seconds: int | None, *, quiet: bool) -> None:
    """Wait until every node of the fleet has acknowledged; nothing where `seconds` is None.

    Raises:
        ClickException: one has not, and is named; or there is none.
    """
    mode = fleet_mode()
    if seconds is None or mode is None:
        return
    on_terminal = sys.stderr.isatty() and not quiet
    for called in mode.acknowledgements(seconds):
        if on_terminal:
            done, missing = len(called.acknowledged), len(called.missing)
            click.echo(f"\r{done} of {done + missing} nodes have acknowledged", nl=False, err=True)
    if on_terminal:
        click.echo(err=True)
    _tell_roll(called, seconds, quiet=quiet)


def _tell_roll(called: "Acknowledgements", seconds: int, *, quiet: bool) -> None:
    if called.silent:
        warn(f"silent, and not waited for: {_names(called.silent)}")
    if called.acknowledged and not quiet:
        click.echo(f"Acknowledged by {len(called.acknowledged)}: {_names(called.acknowledged)}")
    if called.missing:
        missing = "; ".join(_why(node) for node in called.missing)
        raise click.ClickException(f"not acknowledged within {seconds} s by {missing}")
    if not called.acknowledged:
        raise click.ClickException("no node follows this fleet; start `follow` on each")


def _names(nodes: "list[Node]") -> str:
    return " ".join(node.name for node in nodes)


def _why(node: "Node") -> str:
    return f"{node.name} ({node.fault or node.state})"


def nodes_json() -> dict[str, Any]:
    """Return the member of `status --json` that lists the nodes; none without a fleet."""
    mode = fleet_mode()
    if mode is None:
        return {}
    nodes = [asdict(node) for node in mode.fleet.survey().nodes]
    for node in nodes:
        node["seen"] = datetime.fromtimestamp(node["seen"], UTC).isoformat()
    return {"nodes": nodes}


def nodes_text() -> str:
    """Return a line for each node of the fleet, with one before them; nothing without a fleet."""
    mode = fleet_mode()
    if mode is None:
        return ""
    now, _, nodes = mode.fleet.survey()
    version = mode.revision and mode.revision.version
    lines = [f"Fleet: {mode.fleet.name}, version {version}, {len(nodes)} nodes"]
    for node in nodes:
        colour = "green" if node.acknowledged and node.state == "current" else "yellow"
        state = click.style(node.state, fg=colour)
        fault = f": {node.fault}" if node.fault else ""
        seen = f"version {node.version}, seen {max(now - node.seen, 0)} s ago"
        lines.append(f"  {node.name}  {state}, {seen}{fault}")
    return "\n" + "\n".join(lines)
