"""The command itself: its name, its directory, and how its subcommands are found."""

import logging
import os
import shlex
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from maintenance_wsgi.errors import MaintenanceError, absolute_path
from maintenance_wsgi.state.files import directory_error
from maintenance_wsgi.state.mode import MaintenanceMode

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


_DIRECTORY = "maintenance_wsgi.directory"
_DIRECTORY_TYPED = "maintenance_wsgi.directory.typed"
_EPILOG = """\b
Files, in the directory:
  .maintenance.flag   while it is there, maintenance is on
  .maintenance.ip     the addresses and networks that are exempt

\b
Environment:
  MAINTENANCE_DIR     the directory, where --dir is not given
  MAINTENANCE_REDIS   the Redis of a fleet, where --redis is not given; keeps its password off ps
  MAINTENANCE_NAME    the fleet in that Redis, where --name is not given
  MAINTENANCE_NODE    the name of this node in the fleet, where --node is not given
  NO_COLOR            no colours, on a terminal either

\b
Exit status: 0 done, 1 refused or failed, 2 wrong usage.

\b
Completion, in ~/.bashrc, ~/.zshrc, or config.fish:
  eval "$(_MAINTENANCE_WSGI_COMPLETE=bash_source maintenance-wsgi)"
  eval "$(_MAINTENANCE_WSGI_COMPLETE=zsh_source maintenance-wsgi)"
  _MAINTENANCE_WSGI_COMPLETE=fish_source maintenance-wsgi | source

\b
Example:
  maintenance-wsgi --dir /srv/shop/var enable --ip 203.0.113.7 --until +90m
"""


def _set_directory(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[_DIRECTORY] = value
    if ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
        ctx.meta[_DIRECTORY_TYPED] = True


def directory_option(help_text: str, **options: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (click's own)
    """Return `--dir`, which may stand before a command and after it."""
    return click.option(
        "--dir",
        metavar="DIR",
        type=click.Path(),
        expose_value=False,
        callback=_set_directory,
        help=help_text,
        **options,
    )


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@directory_option(
    "Directory of the two files.",
    envvar="MAINTENANCE_DIR",
    default="var",
    show_default=True,
    show_envvar=True,
)
@click.version_option(package_name="maintenance-wsgi", prog_name="maintenance-wsgi")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Switch maintenance mode on and off, and say who is exempt from it.

    Every command also goes by Magento's name for it: maintenance:enable, ...
    """
    if os.environ.get("NO_COLOR"):  # no-color.org
        ctx.color = False
    handler = _Warnings(logging.WARNING)
    logger = logging.getLogger("maintenance_wsgi")
    logger.addHandler(handler)
    ctx.call_on_close(lambda: logger.removeHandler(handler))


same_directory_option: Callable[[Any], Any] = directory_option("As before the command.")


def directory_name() -> str:
    """Return the directory of the two files, as an absolute name."""
    return absolute_path("--dir", click.get_current_context().meta[_DIRECTORY])


def directory_was_typed() -> bool:
    """Tell whether the command line itself names the directory."""
    return _DIRECTORY_TYPED in click.get_current_context().meta


def command_line(command: str) -> str:
    """Return what to type for another command on the same directory."""
    ctx = click.get_current_context()
    path = ctx.parent.command_path if ctx.parent else ctx.command_path
    return shlex.join([*path.split(), "--dir", directory_name(), command])


def open_mode() -> MaintenanceMode:
    """Return the mode of the directory, which must be there."""
    directory = directory_name()
    if fault := directory_error(directory):
        raise click.ClickException(f"{fault} with --dir or MAINTENANCE_DIR")
    return MaintenanceMode(directory)


quiet_option: Callable[[Any], Any] = click.option(
    "-q", "--quiet", is_flag=True, help="Print no result."
)
