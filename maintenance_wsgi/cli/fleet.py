"""The options that name a fleet, the acknowledgements of its nodes, and the command for a node."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from maintenance_wsgi.cli.app import (
    Target,
    keep_in_target,
    main,
    pass_target,
    same_directory_option,
    warn,
)
from maintenance_wsgi.cli.params import seconds
from maintenance_wsgi.state.store import FileStore

if TYPE_CHECKING:
    from maintenance_wsgi.fleet.nodes import Node
    from maintenance_wsgi.fleet.store import Acknowledgements


def fleet_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a fleet."""
    redis = click.option(
        "--redis",
        metavar="URL",
        envvar="MAINTENANCE_REDIS",
        default="",
        expose_value=False,
        callback=keep_in_target,
        help="Act on a whole fleet: redis://USER:PASSWORD@HOST/0. MAINTENANCE_REDIS keeps the"
        " password out of the list of processes.",
    )
    fleet = click.option(
        "--fleet",
        metavar="NAME",
        envvar="MAINTENANCE_FLEET",
        default="default",
        show_default=True,
        expose_value=False,
        callback=keep_in_target,
        help="Name of the fleet in that Redis.",
    )
    return redis(fleet(command))


def _set_wait(ctx: click.Context, _option: click.Parameter, value: int | None) -> None:
    if value == 0:
        raise click.BadParameter("0 is too short; use 1 or more seconds")
    ctx.ensure_object(Target).wait = value


wait_option: Callable[[Any], Any] = click.option(
    "--wait",
    type=seconds,
    metavar="SECONDS",
    expose_value=False,
    callback=_set_wait,
    help="With --redis: wait up to this many seconds until all nodes have acknowledged;"
    " exit with 1 if one has not.",
)


def wait_for_nodes(target: Target, *, quiet: bool) -> None:
    """Wait until every node of the fleet has acknowledged; return at once without `--wait`.

    Raises:
        ClickException: a node has not acknowledged, and is named; or the fleet has no node.
        StateError: the state cannot be read.
    """
    if target.wait is None or target.redis_store is None:
        return
    on_terminal = sys.stderr.isatty() and not quiet
    for answers in target.redis_store.acknowledgements(target.wait):
        if on_terminal:
            done, missing = len(answers.acknowledged), len(answers.missing)
            click.echo(f"\r{done} of {done + missing} nodes have acknowledged", nl=False, err=True)
    if on_terminal:
        click.echo(err=True)
    _report(answers, target.wait, quiet=quiet)


def _report(answers: "Acknowledgements", wait: int, *, quiet: bool) -> None:
    if answers.offline:
        warn(f"offline, and not waited for: {_names(answers.offline)}")
    if answers.acknowledged and not quiet:
        click.echo(f"Acknowledged by {len(answers.acknowledged)}: {_names(answers.acknowledged)}")
    if answers.missing:
        missing = "; ".join(
            f"{node.name} ({node.fault or node.health})" for node in answers.missing
        )
        raise click.ClickException(f"not acknowledged within {wait} s by {missing}")
    if not answers.acknowledged:
        raise click.ClickException("no node follows this fleet; run follow on each node")


def _names(nodes: "list[Node]") -> str:
    return " ".join(node.name for node in nodes)


def nodes_dict(target: Target) -> dict[str, Any]:
    """Return the member of `status --json` that lists the nodes; no member for a directory.

    Raises:
        StateError: the nodes cannot be read.
    """
    if target.redis_store is None:
        return {}
    nodes = [node._asdict() for node in target.redis_store.nodes().nodes]
    for node in nodes:
        node["seen"] = datetime.fromtimestamp(node["seen"], UTC).isoformat()
    return {"nodes": nodes}


def format_nodes(target: Target) -> list[str]:
    """Return the lines of `status` about the fleet and each of its nodes; none for a directory.

    Raises:
        StateError: the nodes cannot be read.
    """
    store = target.redis_store
    if store is None:
        return []
    found = store.nodes()
    version = store.revision and store.revision.version
    return [
        f"Fleet: {store.fleet}, version {version}, {len(found.nodes)} nodes",
        *(_format_node(node, found.now) for node in found.nodes),
    ]


def _format_node(node: "Node", now: int) -> str:
    is_well = node.acknowledged and node.health == "current"
    health = click.style(node.health, fg="green" if is_well else "yellow")
    seen = f"version {node.version}, seen {max(now - node.seen, 0)} s ago"
    fault = f": {node.fault}" if node.fault else ""
    return f"  {node.name}  {health}, {seen}{fault}"


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
@same_directory_option
@pass_target
def follow(target: Target, *, node: str | None, adopt: bool, once: bool) -> None:
    """Let the two files of this node follow the state of a fleet, until SIGTERM or Ctrl-C.

    Run one follower on each node, beside the application. While Redis does not answer, the files
    stay as they are. A manual change of the files is overwritten and logged, unless --adopt
    publishes it.

    \b
    Example:
      maintenance-wsgi follow --dir /srv/shop/var --redis redis://10.0.0.5/0
    """
    source = target.open_redis()
    if source is None:
        raise click.UsageError("follow needs --redis or MAINTENANCE_REDIS")
    from maintenance_wsgi.fleet.follower import Follower  # noqa: PLC0415 (needs an extra)

    node = node or socket.gethostname()
    follower = Follower(source, FileStore(target.existing_directory()), node, adopt=adopt)
    if once:
        click.echo(f"Synchronised with version {follower.sync_once()} of {source}")
        return
    logging.getLogger("maintenance_wsgi").setLevel(logging.INFO)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.stop())
    click.echo(f"{node}: following {source}", err=True)
    follower.run()
