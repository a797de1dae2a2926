"""The options that name a fleet, the acknowledgements of its nodes, and the command for a node."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import click

from maintenance_wsgi.cli.app import Target, main, quiet_option, target_option, warn, with_target
from maintenance_wsgi.cli.params import seconds
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.state.ownership import marked
from maintenance_wsgi.state.store import FileStore

_redis_option = target_option(
    "--redis",
    metavar="URL",
    envvar="MAINTENANCE_REDIS",
    help="Act on a whole fleet: redis://USER:PASSWORD@HOST/0. MAINTENANCE_REDIS keeps the password"
    " out of the list of processes.",
)
_fleet_option = target_option(
    "--fleet",
    metavar="NAME",
    envvar="MAINTENANCE_FLEET",
    default="default",
    show_default=True,
    show_envvar=True,
    help="Name of the fleet in that Redis.",
)
_wait_option = target_option(
    "--wait",
    type=seconds,
    metavar="SECONDS",
    help="With --redis: wait up to this many seconds until all nodes have acknowledged, with"
    " --verify [30] until all answers are right, with both for each; otherwise exit with 1.",
)
_force_option = target_option(
    "--force", is_flag=True, help="Exempt /0, or change a directory that follows a fleet."
)


def fleet_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a fleet."""
    return _redis_option(_fleet_option(command))


def change_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what each command that changes the state has, and the `Target`."""
    return fleet_options(_wait_option(_force_option(quiet_option(with_target(command)))))


def wait_for_nodes(target: Target) -> None:
    """Wait until every node of the fleet has acknowledged; return at once without `--wait`."""
    if target.wait is None or target.redis_store is None:
        return
    on_terminal = sys.stderr.isatty() and not target.quiet
    for answers in target.redis_store.acknowledgements(target.wait):
        if on_terminal:
            done, missing = len(answers.acknowledged), len(answers.missing)
            click.echo(f"\r{done} of {done + missing} nodes have acknowledged", nl=False, err=True)
    if on_terminal:
        click.echo(err=True)
    if answers.offline:
        warn(f"offline, and not waited for: {' '.join(node.name for node in answers.offline)}")
    if answers.acknowledged:
        names = " ".join(node.name for node in answers.acknowledged)
        target.tell(f"Acknowledged by {len(answers.acknowledged)}: {names}")
    if answers.missing:
        names = "; ".join(f"{node.name} ({node.fault or node.health})" for node in answers.missing)
        raise click.ClickException(f"not acknowledged within {target.wait} s by {names}")
    if not answers.acknowledged:
        raise click.ClickException("no node follows this fleet; run follow on each node")


def nodes_dict(target: Target) -> dict[str, Any]:
    """Return the member of `status --json` that lists the nodes; no member for a directory."""
    if target.redis_store is None:
        return {}
    nodes = [node._asdict() for node in target.redis_store.nodes().nodes]
    for node in nodes:
        node["seen"] = datetime.fromtimestamp(node["seen"], UTC).isoformat()
    return {"nodes": nodes}


def format_nodes(target: Target) -> list[str]:
    """Return the lines of `status` about the fleet and each node; none for a directory."""
    store = target.redis_store
    if store is None:
        return []
    found = store.nodes()
    version = store.revision and store.revision.version
    lines = [f"Fleet: {store.fleet}, version {version}, {len(found.nodes)} nodes"]
    for node in found.nodes:
        is_well = node.acknowledged and node.health == "current"
        health = click.style(node.health, fg="green" if is_well else "yellow")
        seen = f"version {node.version}, seen {max(found.now - node.seen, 0)} s ago"
        fault = f": {node.fault}" if node.fault else ""
        lines.append(f"  {node.name}  {health}, {seen}{fault}")
    return lines


@main.command(short_help="Let the two files of this node follow a fleet.")
@fleet_options
@click.option(
    "--node",
    metavar="NAME",
    envvar="MAINTENANCE_NODE",
    help="This node's name in the fleet, or MAINTENANCE_NODE.  [default: the host's name]",
)
@click.option("--adopt", is_flag=True, help="Publish manual changes of the files.")
@click.option("--once", is_flag=True, help="Synchronise once and exit.")
@with_target
def follow(target: Target, *, node: str | None, adopt: bool, once: bool) -> None:
    """Let the two files of this node follow the state of a fleet, until SIGTERM or Ctrl-C.

    Run one follower on each node, beside the application. While Redis does not answer, the files
    stay as they are. A manual change of the files is overwritten and logged, unless --adopt
    publishes it.

    \b
    Example:
      maintenance-wsgi follow --redis redis://10.0.0.5/0
    """
    source = target.open_redis()
    if source is None:
        raise click.UsageError("follow needs --redis or MAINTENANCE_REDIS")
    from maintenance_wsgi.fleet.follower import Follower  # noqa: PLC0415 (needs an extra)

    node, directory = node or socket.gethostname(), target.directory()
    follower = Follower(source, FileStore(directory), node, adopt=adopt)
    if once:
        done = f"Synchronised with version {follower.sync_once()} of {source}"
        click.echo(printable(done, LINE_LIMIT))
        return
    logging.getLogger("maintenance_wsgi").setLevel(logging.INFO)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.stop())
    click.echo(printable(f"{node}: following {source}", LINE_LIMIT), err=True)
    # One that adopts manual changes does not undo them.
    with nullcontext() if adopt else marked(directory, str(source)):
        follower.run()
