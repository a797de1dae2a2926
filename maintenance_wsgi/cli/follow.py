"""The command that runs on each node of a fleet."""

import logging
import signal
import socket

import click

from maintenance_wsgi.cli.app import main, open_mode, same_directory_option
from maintenance_wsgi.cli.fleet import fleet_options, open_fleet


class _Progress(logging.Handler):
    """Shows what a follower does; warnings are shown already."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            click.echo(record.getMessage(), err=True)


def _show_progress(ctx: click.Context) -> None:
    logger = logging.getLogger("maintenance_wsgi")
    handler, level = _Progress(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    ctx.call_on_close(lambda: logger.removeHandler(handler))
    ctx.call_on_close(lambda: logger.setLevel(level))


@main.command(short_help="Let the two files follow the state of a fleet.")
@fleet_options
@click.option(
    "--node",
    metavar="NODE",
    envvar="MAINTENANCE_NODE",
    help="This node's name in the fleet, or in MAINTENANCE_NODE; else the host's.",
)
@click.option("--adopt", is_flag=True, help="Publish a change of the files by hand.")
@click.option("--once", is_flag=True, help="Take the present state, and end.")
@same_directory_option
@click.pass_context
def follow(ctx: click.Context, *, node: str | None, adopt: bool, once: bool) -> None:
    """Let the two files of this node follow the state of a fleet, until SIGTERM or Ctrl-C.

    Run one on each node, beside the application. While Redis does not answer, the files stay as
    they are. A change of them by hand is overwritten, and logged, unless --adopt publishes it.

    \b
    Example:
      maintenance-wsgi follow --dir /srv/shop/var --redis redis://10.0.0.5/0
    """
    fleet = open_fleet()
    if fleet is None:
        raise click.UsageError("follow needs --redis, or MAINTENANCE_REDIS")
    from maintenance_wsgi.fleet.follower import Follower  # noqa: PLC0415 (needs an extra)

    node = node or socket.gethostname()
    follower = Follower(fleet, open_mode(), node, adopt=adopt)
    ctx.call_on_close(fleet.close)
    if once:
        click.echo(f"Took version {follower.take()} of {fleet}")
        return
    _show_progress(ctx)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.end())
    click.echo(f"{node}: following {fleet}", err=True)
    follower.follow()
