"""The option that waits for the requests that began before the switch."""

import sys
import time

import click

from maintenance_wsgi.cli.app import Target, target_option
from maintenance_wsgi.cli.params import Decorator, seconds
from maintenance_wsgi.state.in_flight import describe, find_book

_UNCOUNTED = "no application counts its requests here; construct it with drain=True"
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
    if store := target.redis_store:  # its nodes have drained before they acknowledged
        nodes = [node for node in store.nodes().nodes if node.acknowledged]
        if silent := [node.name for node in nodes if not node.counting]:
            raise click.ClickException(f"{' '.join(silent[:10])}: {_UNCOUNTED}")
        return
    directory, deadline = target.directory(), time.monotonic() + target.drain
    book = find_book(directory)
    earlier = book.running() if book else []
    if not book or not (counting := book.counting(earlier)):
        raise click.ClickException(f"{directory}: {_UNCOUNTED}")
    on_terminal = sys.stderr.isatty() and not target.quiet
    while earlier and time.monotonic() < deadline:
        if on_terminal:
            click.echo(f"\r{len(earlier)} earlier requests still run \b", nl=False, err=True)
        time.sleep(0.01)
        earlier = book.remaining(earlier)
    if on_terminal:
        click.echo("\r\033[K", nl=False, err=True)
    if earlier:
        raise click.ClickException(
            f"requests that began before still run after {target.drain} s: {describe(earlier)};"
            " maintenance mode is on; wait and try again, or reload the server"
        )
    if not target.magento:
        target.tell(f"Drained: no earlier request still runs (processes that count: {counting})")
