"""The command itself: its name, its target, and how its subcommands are found."""

import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.cli.params import ip_error
from maintenance_wsgi.errors import (
    ConfigError,
    ConfigTypeError,
    EntryError,
    MaintenanceError,
    StateError,
)
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.state.files import directory_error
from maintenance_wsgi.state.mode import MaintenanceMode

if TYPE_CHECKING:
    from maintenance_wsgi.fleet.store import RedisStore

_MAGENTO_NAMESPACE = "maintenance"
_MAGENTO_NAMES = ("allow-ips", "disable", "enable", "status")
_MAX_ENTRY = 256  # characters
_EPILOG = """\b
Files in the directory:
  .maintenance.flag   maintenance is on while this file exists
  .maintenance.ip     the addresses and networks that are exempt

\b
Environment:
  MAINTENANCE_DIR     the directory, unless --dir is given
  MAINTENANCE_REDIS   the Redis of a fleet, unless --redis is given;
                      keeps its password out of the list of processes
  MAINTENANCE_FLEET   the fleet in that Redis, unless --fleet is given
  MAINTENANCE_NODE    this node's name in the fleet, unless --node is given
  NO_COLOR            set it to switch colours off

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


class Given(NamedTuple):
    """The value of an option.

    Attributes:
        value: an empty string if the command does not have the option.
        typed: whether the value stands on the command line, not in the environment.
    """

    value: str
    typed: bool


_NOT_GIVEN = Given("", typed=False)


@dataclass
class Target:
    """What the options say that a command acts on: a directory, or a fleet.

    Attributes:
        program: what the operator typed to start this program.
        dir: the directory of the two files.
        redis: the URL of the fleet's Redis; empty for a directory.
        fleet: the fleet in that Redis.
        wait: how long to wait for the fleet's nodes, in seconds; None for not at all.
        redis_store: the fleet's state, once it is opened; None for a directory.
    """

    program: str = ""
    dir: Given = _NOT_GIVEN
    redis: Given = _NOT_GIVEN
    fleet: Given = _NOT_GIVEN
    wait: int | None = None
    redis_store: "RedisStore | None" = None

    @property
    def directory(self) -> str:
        """The absolute path of the directory, which need not exist."""
        return absolute_path("--dir", self.dir.value)

    def existing_directory(self) -> str:
        """Return the absolute path of the directory.

        Raises:
            StateError: it is not a directory that this user can access.
        """
        if fault := directory_error(self.directory):
            raise StateError(f"{fault} with --dir or MAINTENANCE_DIR")
        return self.directory

    def open(self, *, create: bool = False) -> MaintenanceMode:
        """Return the mode of the fleet, or of the directory.

        Args:
            create: whether the command may create the state of a fleet that has none.

        Raises:
            UsageError: the options contradict each other.
            StateError: the directory cannot be used, or redis-py is not installed.
        """
        store = self.open_redis(create=create)
        if store is None:
            if self.wait is not None:
                raise click.UsageError("--wait needs --redis")
            return MaintenanceMode(self.existing_directory())
        if self.dir.typed:
            raise click.UsageError(
                "--dir and --redis exclude each other; use --redis='' to change only this directory"
            )
        return MaintenanceMode(store)

    def open_redis(self, *, create: bool = False) -> "RedisStore | None":
        """Return the state of the fleet, or None if no Redis is given.

        Args:
            create: whether the command may create the state of a fleet that has none.

        Raises:
            UsageError: a fleet is given without a Redis.
            StateError: redis-py is not installed.
        """
        if not self.redis.value:
            if self.fleet.typed:
                raise click.UsageError("--fleet needs --redis")
            return None
        try:
            from maintenance_wsgi.fleet.connection import RedisConnection  # noqa: PLC0415 (an extra)
            from maintenance_wsgi.fleet.store import RedisStore  # noqa: PLC0415 (an extra)
        except ModuleNotFoundError as error:
            if error.name != "redis":
                raise
            raise StateError(
                "--redis: redis-py is not installed; run pip install 'maintenance-wsgi[redis]'"
            ) from None
        connection = RedisConnection(self.redis.value)
        self.redis_store = RedisStore(connection, self.fleet.value, create=create)
        return self.redis_store

    def close(self) -> None:
        """Close the connections that `open_redis` has opened."""
        if self.redis_store:
            self.redis_store.close()

    def command_line(self, command: str) -> str:
        """Return what to type for another command on this target, without a secret."""
        program, store = self.program.split(), self.redis_store
        # A URL that came from the environment will come from there again.
        url = store.connection.redacted_url if store else ""
        redis = ["--redis", url] if self.redis.typed else []
        if store is None:
            return shlex.join([*program, "--dir", self.directory, command, *redis])
        return shlex.join([*program, command, *redis, "--fleet", store.fleet])


pass_target: Callable[[Any], Any] = click.make_pass_decorator(Target)


def keep_in_target(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    """Keep the value of an option in the `Target`; for use as the option's callback."""
    if value is not None and option.name is not None:
        typed = ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        setattr(ctx.ensure_object(Target), option.name, Given(value, typed))


class Commands(click.Group):
    """Understands Magento's names, which Symfony lets people abbreviate: `maint:en`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, our own or Magento's."""
        namespace, colon, start = cmd_name.partition(":")
        if not colon:
            return super().get_command(ctx, cmd_name)
        if not namespace or not _MAGENTO_NAMESPACE.startswith(namespace):
            return None
        if start in self.commands:
            return self.commands[start]
        names = [name for name in _MAGENTO_NAMES if name.startswith(start)]
        if len(names) > 1:
            shown = ", ".join(f"{_MAGENTO_NAMESPACE}:{name}" for name in names)
            raise click.UsageError(f"Command {cmd_name!r} is ambiguous: {shown}.", ctx)
        return self.commands[names[0]] if names else None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what it raises for the operator becomes a message."""
        try:
            return super().invoke(ctx)
        except (MaintenanceError, click.UsageError) as error:
            shown = _as_message(error) if isinstance(error, MaintenanceError) else error
            if isinstance(shown, click.UsageError) and ":" in (ctx.invoked_subcommand or ""):
                shown = _MagentoUsageError(shown.format_message(), shown.ctx)
            raise shown from None


class _MagentoUsageError(click.UsageError):
    exit_code = 1  # as Magento's own command exits


def _as_message(error: MaintenanceError) -> click.ClickException:
    if isinstance(error, EntryError):
        return ip_error(
            (f"Invalid IP {printable(entry, _MAX_ENTRY)}" for entry in error.texts),
            "pass each address or network separately,"
            " for example 203.0.113.7, 10.0.0.0/8, 2001:db8::7 or 2001:db8::/32",
        )
    if isinstance(error, ConfigError | ConfigTypeError):
        return click.UsageError(str(error))
    return click.ClickException(str(error))


class _Messages(logging.Handler):
    """Shows the library's log on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        show = warn if record.levelno >= logging.WARNING else partial(click.echo, err=True)
        show(record.getMessage())


def warn(message: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"{click.style('Warning:', fg='yellow')} {message}", err=True)


def directory_option(help_text: str, **options: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (click's own)
    """Return `--dir`, which may stand before a command and after it."""
    return click.option(
        "--dir",
        metavar="DIR",
        type=click.Path(readable=False),  # a directory that cannot be listed will do
        expose_value=False,
        callback=keep_in_target,
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
    """Switch maintenance mode on and off, and list who is exempt from it.

    Every command also has Magento's name for it, such as maintenance:enable.
    """
    if os.environ.get("NO_COLOR"):  # no-color.org
        ctx.color = False
    target = ctx.ensure_object(Target)
    target.program = ctx.command_path
    ctx.call_on_close(target.close)
    logger, handler = logging.getLogger("maintenance_wsgi"), _Messages()
    ctx.call_on_close(partial(logger.setLevel, logger.level))
    ctx.call_on_close(partial(logger.removeHandler, handler))
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)


same_directory_option: Callable[[Any], Any] = directory_option("Same as the global --dir.")
quiet_option: Callable[[Any], Any] = click.option(
    "-q", "--quiet", is_flag=True, help="Print nothing on success."
)
