"""The command itself: its name, its target, and how its subcommands are found."""

import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.cli.params import Decorator, as_click_error
from maintenance_wsgi.errors import MaintenanceError, StateError
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.state.files import directory_error
from maintenance_wsgi.state.mode import MaintenanceMode
from maintenance_wsgi.state.ownership import followed_source

if TYPE_CHECKING:
    from maintenance_wsgi.config import Options
    from maintenance_wsgi.fleet.store import RedisStore

PATH = click.Path(readable=False)  # a directory that cannot be listed will do
_MAGENTO_NAMES = ("allow-ips", "disable", "enable", "status")
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


@dataclass
class Target:
    """What the options say that a command acts on: a directory, or a fleet.

    A method raises UsageError if the options contradict each other, and StateError if the directory
    cannot be used or redis-py is not installed.
    """

    program: str = ""  # what the operator typed to start it
    dir: str | None = None  # if it is given
    redis: str = ""
    fleet: str = ""
    wait: int | None = None  # seconds
    quiet: bool = False
    framework: tuple[str, Callable[[], object]] | None = None  # its application's name and loader
    force: bool = False
    magento: bool = False  # whether the command was called by Magento's name
    typed: set[str] = field(default_factory=set)  # not those that the environment gave
    redis_store: "RedisStore | None" = None  # once it is opened

    def directory(self, *, must_exist: bool = True) -> str:
        """Return the absolute path of the directory."""
        default = self.application.directory if self.application else "var"
        name = default if self.dir is None else self.dir.strip()
        path = absolute_path("--dir", name)
        if (path, name) == ("/var", "var"):
            raise click.UsageError("the default directory is /var here; name it with --dir")
        if must_exist and (fault := directory_error(path)):
            raise StateError(f"{fault} with --dir or MAINTENANCE_DIR")
        return path

    @cached_property
    def application(self) -> "Options | None":
        """The options of the framework's application, if they are known."""
        if self.framework is None:
            return None
        from maintenance_wsgi.config import options_of  # noqa: PLC0415 (seldom needed)

        found, (name, load) = None, self.framework
        fault = f'is not wrapped; add {name} = MaintenanceMiddleware({name}, "/srv/shop/var")'
        try:
            if found := options_of(load()):
                fault = f"uses {found.directory}, not {self.dir}"
        except Exception as error:  # noqa: BLE001 (an application's code raises anything)
            last_line = f"{type(error).__name__}: {error}".splitlines()[-1]
            fault = f"cannot be loaded: {last_line}; correct it"
        logging.getLogger("maintenance_wsgi").disabled = False  # which Django's LOGGING sets
        if found is None and self.dir is None:
            raise StateError(f"the application {fault}, or name the directory with --dir")
        given = self.dir and os.path.realpath(self.dir.strip())
        if given and given != (found and os.path.realpath(found.directory)):
            warn(f"the application {fault}")
        return found

    def open(self, *, create: bool = False, changes: bool = True) -> MaintenanceMode:
        """Return the mode of the fleet, or of the directory; `create` is for `open_redis`.

        A directory that follows a fleet is refused if the command `changes` it.
        """
        if self.wait == 0:
            raise click.BadParameter("0 is too short; use 1 or more seconds", param_hint="'--wait'")
        store = self.open_redis(create=create)
        if self.wait is not None and store is None:
            raise click.UsageError("--wait needs --redis")
        if "dir" in self.typed and store is not None:
            raise click.UsageError(
                "--dir and --redis exclude each other; use --redis='' to change only this directory"
            )
        directory = "" if store else self.directory()
        if changes and not self.force and (source := followed_source(directory)):
            raise StateError(
                f"{directory}: follows {source}, which would undo the change within a second;"
                " use --redis to change the whole fleet, or --force to change only this directory"
            )
        return MaintenanceMode(store or directory)

    def open_redis(self, *, create: bool = False) -> "RedisStore | None":
        """Return the state of the fleet, which may be created; None if no Redis is given."""
        if not self.redis:
            if "fleet" in self.typed:
                raise click.UsageError("--fleet needs --redis")
            return None
        try:
            from maintenance_wsgi.fleet import connection, store  # noqa: PLC0415 (an extra)
        except ModuleNotFoundError as error:
            if error.name != "redis":
                raise
            raise StateError(
                "--redis: redis-py is not installed; run pip install 'maintenance-wsgi[redis]'"
            ) from None
        redis = connection.RedisConnection(self.redis.strip())
        self.redis_store = store.RedisStore(redis, self.fleet, create=create)
        click.get_current_context().call_on_close(self.redis_store.close)
        return self.redis_store

    def tell(self, message: str) -> None:
        """Print a result, unless the operator wants none."""
        if not self.quiet:
            click.echo(message)

    def command_line(self, command: str) -> str:
        """Return what to type for another command on this target, without a secret."""
        program, store = self.program.split(), self.redis_store
        # A URL that came from the environment will come from there again.
        url = store.connection.redacted_url if store else ""
        redis = ["--redis", url] if "redis" in self.typed else []
        if store is None:
            return shlex.join(
                [*program, "--dir", self.directory(must_exist=False), command, *redis]
            )
        return shlex.join([*program, command, *redis, "--fleet", store.fleet])


def _keep_in_target(ctx: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None and option.name is not None:
        target = ctx.ensure_object(Target)
        setattr(target, option.name, value)
        if ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            target.typed.add(option.name)


def target_option(*names: str, **settings: Any) -> Decorator:  # noqa: ANN401 (click's own)
    """Return an option whose value is kept in the `Target`; None leaves what is there."""
    return click.option(*names, callback=_keep_in_target, expose_value=False, **settings)


class _Commands(click.Group):
    """Understands Magento's names, which Symfony lets people abbreviate: `maint:en`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        namespace, colon, start = cmd_name.partition(":")
        if not colon:
            return super().get_command(ctx, cmd_name)
        if not namespace or not "maintenance".startswith(namespace):
            return None
        names = [name for name in _MAGENTO_NAMES if name.startswith(start)]
        if start in self.commands:
            names = [start]
        if len(names) > 1:
            shown = ", ".join(f"maintenance:{name}" for name in names)
            raise click.UsageError(f"Command {cmd_name!r} is ambiguous: {shown}.", ctx)
        return self.commands[names[0]] if names else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _escaped(error) from None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (MaintenanceError, click.UsageError) as error:
            shown = _escaped(
                as_click_error(error) if isinstance(error, MaintenanceError) else error
            )
            if ":" in (ctx.invoked_subcommand or ""):
                shown.show()
                raise click.exceptions.Exit(1) from None  # as Magento's own command exits
            raise shown from None


def _escaped(error: click.ClickException) -> click.ClickException:
    """Return an error that quotes what was typed with no character that a terminal obeys."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    message = printable(error.format_message(), LINE_LIMIT)
    if isinstance(error, click.UsageError):
        return click.UsageError(message, error.ctx)
    return click.ClickException(message)


class _Messages(logging.Handler):
    """Shows the library's log on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            warn(record.getMessage())
        else:
            click.echo(printable(record.getMessage(), LINE_LIMIT), err=True)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    shown = printable(message, LINE_LIMIT)
    click.echo(f"{click.style('Warning:', fg='yellow')} {shown}", err=True)


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@target_option(
    "--dir",
    help="Directory of the two files.",
    envvar="MAINTENANCE_DIR",
    show_default="var, or the application's",
    show_envvar=True,
    metavar="DIR",
    type=PATH,
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
    target.program, target.magento = ctx.command_path, ":" in (ctx.invoked_subcommand or "")
    if load := getattr(ctx.parent and ctx.parent.obj, "load_app", None):  # Flask's ScriptInfo
        target.framework = ("app.wsgi_app", load)
    logger, handler = logging.getLogger("maintenance_wsgi"), _Messages()
    ctx.call_on_close(partial(logger.setLevel, logger.level))
    ctx.call_on_close(partial(logger.removeHandler, handler))
    handler.addFilter(lambda record: record.name == logger.name)  # no change, which it tells itself
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)


quiet_option: Decorator = target_option(
    "-q", "--quiet", is_flag=True, help="Print nothing on success."
)


def with_target(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--dir`, and the `Target` as its first argument."""
    option = target_option("--dir", metavar="DIR", type=PATH, help="Same as the global --dir.")
    return option(click.make_pass_decorator(Target)(command))
