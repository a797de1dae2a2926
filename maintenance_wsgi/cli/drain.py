"""The option that waits for the requests that began before the switch."""

import sys

import click

from maintenance_wsgi.cli.app import Target, target_option
from maintenance_wsgi.cli.params import Decorator, seconds
from maintenance_wsgi.state.in_flight import describe, open_book

drain_option: Decorator = target_option(
    "--drain",
    type=seconds,
    metavar="SECONDS",
    help="Wait up to this many seconds until no request runs that began before; exit with 1 if one"
    " still does. The application counts its requests if it is wrapped with drain=True.",
)


def wait_for_requests(target: Target) -> None:
    """Wait until the earlier requests have ended; return at once without `--drain`."""
    if target.drain is None or target.redis_store is not None:
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
