"""The command itself: its name, its directory, and how its subcommands are found."""

import logging
import os
from collections.abc import Callable
from typing import Any

import click

from maintenance_wsgi.errors import MaintenanceError
from maintenance_wsgi.mode import MaintenanceMode

_MAGENTO_PREFIX = "maintenance:"
_MAGENTO_NAMES = ("allow-ips", "disable", "enable", "status")


class Commands(click.Group):
    """Understands Magento's names, and their abbreviations as Symfony does."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, Magento's or our own."""
        command = super().get_command(ctx, cmd_name)
        if command or ":" not in cmd_name:
            return command
        namespace, _, start = cmd_name.partition(":")
        if not namespace or not _MAGENTO_PREFIX.startswith(namespace):
            return None
        name = start if start in self.commands else _complete(ctx, cmd_name, start)
        return super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what it raises for the user's eyes becomes a message."""
        try:
            return super().invoke(ctx)
        except MaintenanceError as error:
            raise click.ClickException(str(error)) from error


def _complete(ctx: click.Context, typed: str, start: str) -> str:
    names = [name for name in _MAGENTO_NAMES if name.startswith(start)]
    if len(names) > 1:
        shown = ", ".join(_MAGENTO_PREFIX + name for name in names)
        raise click.UsageError(f"Command {typed!r} is ambiguous: {shown}.", ctx)
    return names[0] if names else start


class _Warnings(logging.Handler):
    """Shows the library's warnings as the command's own."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def warn(text: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"{click.style('Warning:', fg='yellow')} {text}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "directory",
    envvar="MAINTENANCE_DIR",
    default="var",
    show_default=True,
    show_envvar=True,
    help="Directory of the two files.",
)
@click.version_option(package_name="maintenance-wsgi")
@click.pass_context
def main(ctx: click.Context, directory: str) -> None:
    """Switch maintenance mode on and off, and say who is exempt from it.

    Every command also goes by Magento's name for it: maintenance:enable, ...
    """
    ctx.obj = directory
    if "NO_COLOR" in os.environ:  # no-color.org
        ctx.color = False
    handler = _Warnings(logging.WARNING)
    logger = logging.getLogger("maintenance_wsgi")
    logger.addHandler(handler)
    ctx.call_on_close(lambda: logger.removeHandler(handler))


def directory_option() -> str:
    """Return the directory of the two files, as an absolute name."""
    directory: str = click.get_current_context().obj
    return os.path.abspath(directory)


def open_mode() -> MaintenanceMode:
    """Return the mode of the directory, which must be there."""
    directory = directory_option()
    if not os.path.isdir(directory):
        raise click.ClickException(
            f"there is no directory {directory!r};"
            " create it, or name another with --dir or MAINTENANCE_DIR"
        )
    return MaintenanceMode(directory)


quiet_option: Callable[[Any], Any] = click.option(
    "-q", "--quiet", is_flag=True, help="Print no result."
)
