"""The option that waits for the requests that began before the switch."""

import sys
from collections.abc import Iterable

import click

from maintenance_wsgi.cli.app import Target, target_option
from maintenance_wsgi.cli.params import Decorator, seconds
from maintenance_wsgi.fleet.nodes import Node
from maintenance_wsgi.state.in_flight import describe, open_book

drain_option: Decorator = target_option(
    "--drain",
    type=seconds,
    metavar="SECONDS",
    help="Wait up to this many seconds until no request runs that began before; exit with 1 if one"
    " still does. The application must be wrapped with drain=True. With --redis, --wait limits it.",
)


def wait_for_requests(target: Target) -> None:
    """Wait until the earlier requests have ended; return at once without `--drain`."""
    if target.drain is None:
        return
    if target.redis_store is not None:
        _check_nodes(target.redis_store.nodes().nodes)
        return
    on_terminal = sys.stderr.isatty() and not target.quiet
    for found in open_book(target.directory()).drain(target.drain):
        if on_terminal:
            number = len(found.running)
            click.echo(f"\r{number} earlier requests still run \b", nl=False, err=True)
    if on_terminal:
        click.echo(err=True)
    if found.running:
        raise click.ClickException(
            f"requests that began before still run after {target.drain} s:"
            f" {describe(found.running)}; maintenance mode is on; wait and try again, or reload the"
            " server"
        )
    if not target.magento:
        counting = f"processes that count: {found.counting}"
        target.tell(f"Drained: no earlier request still runs ({counting})")


def _check_nodes(nodes: Iterable[Node]) -> None:
    """Refuse a proof by nodes that have nothing to count; the others have drained by now."""
    if silent := [node.name for node in nodes if node.acknowledged and not node.counting]:
        fault = "no application counts its requests there; construct it with drain=True"
        raise click.ClickException(f"{' '.join(silent[:10])}: {fault}")
