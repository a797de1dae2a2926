"""The options that name a fleet, the acknowledgements of its nodes, and the command for a node."""

import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from maintenance_wsgi.cli.app import Target, main, quiet_option, target_option, warn, with_target
from maintenance_wsgi.cli.params import seconds
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.fleet.nodes import Node, validate_name
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.state.store import FileStore

if TYPE_CHECKING:
    from maintenance_wsgi.fleet.store import RedisStore

_SHOWN = 10  # nodes
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
# What 1.0 called it: without it, a script of that time would act on another fleet.
_name_option = target_option("--name", metavar="NAME", envvar="MAINTENANCE_NAME", hidden=True)
_wait_option = target_option(
    "--wait",
    type=seconds,
    metavar="SECONDS",
    help="With --redis: wait up to this many seconds until all nodes have acknowledged, with"
    " --verify [30] until all answers are right, with both for each; otherwise exit with 1.",
)
_strict_option = target_option(
    "--strict", is_flag=True, help="With --wait: nodes that are offline count as missing."
)
_force_option = target_option(
    "--force", is_flag=True, help="Exempt /0, or change a directory that follows a fleet."
)


def fleet_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a fleet."""
    return _redis_option(_fleet_option(_name_option(command)))


def change_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what each command that changes the state has, and the `Target`."""
    return fleet_options(
        _wait_option(_strict_option(_force_option(quiet_option(with_target(command)))))
    )


def wait_for_nodes(target: Target) -> None:
    """Wait until every node of the fleet has acknowledged, if that is wanted, and every replica."""
    store = target.redis_store
    if store and target.wait is not None:
        _wait_for_nodes(target, store, target.wait)
    if store and store.unconfirmed:
        raise click.ClickException("not every replica of Redis has confirmed the change")


def _wait_for_nodes(target: Target, store: "RedisStore", seconds: int) -> None:
    on_terminal = sys.stderr.isatty() and not target.quiet
    for answers in store.acknowledgements(seconds, strict=target.strict):
        if on_terminal:
            done, missing = len(answers.acknowledged), len(answers.missing)
            click.echo(f"\r{done} of {done + missing} nodes have acknowledged", nl=False, err=True)
    if on_terminal:
        click.echo(err=True)
    if answers.offline:
        warn(f"offline, and not waited for: {_names(answers.offline)}")
    if answers.acknowledged:
        done = len(answers.acknowledged)
        target.tell(f"Acknowledged by {done}: {_names(answers.acknowledged)}")
    if answers.missing:
        faults = [f"{node.name} ({node.fault or node.health})" for node in answers.missing]
        count = f"{len(faults)} nodes: " if len(faults) > _SHOWN else ""
        shown = _joined(faults, "; ")
        raise click.ClickException(f"not acknowledged within {seconds} s by {count}{shown}")
    if not answers.acknowledged:
        raise click.ClickException("no node follows this fleet; run follow on each node")


def _names(nodes: Sequence[Node]) -> str:
    return _joined([node.name for node in nodes], " ")


def _joined(items: Sequence[str], separator: str) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return separator.join(items[:_SHOWN]) + more


def nodes_dict(target: Target) -> dict[str, Any]:
    """Return the member of `status --json` that lists the nodes; no member for a directory."""
    if target.redis_store is None:
        return {}
    found = target.redis_store.nodes()
    nodes = [node._asdict() for node in found.nodes]
    for node in nodes:
        node["seen"] = datetime.fromtimestamp(node["seen"], UTC).isoformat()
    return {"nodes": nodes, "fallen_back": found.fallen_back}


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

    node = node or _host_name()
    directory = target.directory(must_exist=once)
    follower = Follower(source, FileStore(directory), node, adopt=adopt)
    if once:
        done = f"Synchronised with version {follower.sync_once()} of {source}"
        click.echo(printable(done, LINE_LIMIT))
        return
    logger = logging.getLogger("maintenance_wsgi")
    logger.setLevel(logging.INFO)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.stop())
    logger.info("%s: following %s", node, source)
    follower.run()


def _host_name() -> str:
    name = socket.gethostname()
    try:
        return validate_name("the host's name", name)
    except ConfigError as error:
        remedy = "name this node with --node or MAINTENANCE_NODE"
        raise click.UsageError(f"{error}; or {remedy}") from error
