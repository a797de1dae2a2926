"""The command itself: its name, its target, and how its subcommands are found."""

import logging
import os
import shlex
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.cli.params import Decorator, as_click_error
from maintenance_wsgi.errors import MaintenanceError, StateError
from maintenance_wsgi.state.files import directory_error
from maintenance_wsgi.state.mode import MaintenanceMode

if TYPE_CHECKING:
    from maintenance_wsgi.fleet.store import RedisStore

_PROGRAM = "maintenance-wsgi"
PATH = click.Path(readable=False)  # a directory that cannot be listed will do
_MAGENTO_NAMES = ("allow-ips", "disable", "enable", "status")
# The module of each command, which is imported when the command is called: a start must be quick.
_MODULES = dict.fromkeys(_MAGENTO_NAMES, "switch") | {"follow": "fleet", "run": "run"}
_MODULES |= dict.fromkeys(("check", "explain"), "diagnosis")
_NAMES_ELSEWHERE = {"up": "disable", "off": "disable", "stop": "disable", "list": "allow-ips"}
_NAMES_ELSEWHERE |= dict.fromkeys(("down", "on", "start"), "enable")
_NAMES_ELSEWHERE |= {"add": "allow-ips --add", "remove": "allow-ips --remove"}


@dataclass
class Target:
    """What the options say that a command acts on: a directory, or a fleet.

    A method raises UsageError if the options contradict each other, and StateError if the directory
    cannot be used or redis-py is not installed.
    """

    program: str = ""  # what the operator typed to start it
    dir: str = ""
    redis: str = ""
    fleet: str = ""
    wait: int | None = None  # seconds
    quiet: bool = False
    typed: set[str] = field(default_factory=set)  # not those that the environment gave
    redis_store: "RedisStore | None" = None  # once it is opened

    def directory(self, *, must_exist: bool = True) -> str:
        """Return the absolute path of the directory."""
        name = self.dir if "dir" in self.typed else self.dir.strip()
        path = absolute_path("--dir", name)
        if (path, name) == ("/var", "var"):
            raise click.UsageError("the default directory is /var here; name it with --dir")
        if must_exist and (fault := directory_error(path)):
            raise StateError(f"{fault} with --dir or MAINTENANCE_DIR")
        return path

    def open(self, *, create: bool = False) -> MaintenanceMode:
        """Return the mode of the fleet, or of the directory; `create` is for `open_redis`."""
        if self.wait == 0:
            raise click.BadParameter("0 is too short; use 1 or more seconds", param_hint="'--wait'")
        store = self.open_redis(create=create)
        if self.wait is not None and store is None:
            raise click.UsageError("--wait needs --redis")
        if "dir" in self.typed and store is not None:
            raise click.UsageError(
                "--dir and --redis exclude each other; use --redis='' to change only this directory"
            )
        return MaintenanceMode(store or self.directory())

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
        redis = connection.RedisConnection(self.redis)
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
    if value is not None and value is not False and option.name is not None:
        target = ctx.ensure_object(Target)
        setattr(target, option.name, value)
        if ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            target.typed.add(option.name)


def target_option(*names: str, **settings: Any) -> Decorator:  # noqa: ANN401 (click's own)
    """Return an option whose value is kept in the `Target`; None leaves what is there."""
    return click.option(*names, callback=_keep_in_target, expose_value=False, **settings)


class _Commands(click.Group):
    """Imports a command when it is called, by its own name or by Magento's."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        names = _meant(cmd_name)
        if len(names) != 1:
            if ctx.resilient_parsing:  # a shell asks how to go on
                return None
            raise click.UsageError(_unknown(cmd_name, names), ctx)
        import_module(f"maintenance_wsgi.cli.{_MODULES[names[0]]}")
        command = copy(self.commands[names[0]])
        command.help = (command.help or "").replace(f"  {_PROGRAM}", f"  {ctx.command_path}")
        if ":" in cmd_name:  # Symfony takes its own options after the command's name, too
            taken = {name for option in command.params for name in option.opts}
            own = (option for option in self.params if taken.isdisjoint(option.opts))
            command.params = [*command.params, *own]
        return command

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(f"  {_PROGRAM}", f"  {ctx.command_path}")

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (MaintenanceError, click.UsageError) as error:
            shown = as_click_error(error) if isinstance(error, MaintenanceError) else error
            if isinstance(shown, click.NoSuchOption):
                del (shown.possibilities or [])[1:]
            if ":" in (ctx.invoked_subcommand or ""):
                shown.show()
                raise click.exceptions.Exit(1) from None  # as Magento's own command exits
            raise shown from None


def _meant(typed: str) -> list[str]:
    """Return the commands that a name may mean: Symfony lets people abbreviate, as `maint:en`."""
    namespace, colon, start = typed.partition(":")
    if not colon and typed != "maintenance":
        return [typed] if typed in _MODULES else []
    is_ours = namespace and "maintenance".startswith(namespace)
    names = [start] if start in _MODULES else _MAGENTO_NAMES
    return [name for name in names if is_ours and name.startswith(start)]


def _unknown(typed: str, names: list[str]) -> str:
    """Return what to tell about a name that may mean several commands, or none."""
    if names:
        shown = ", ".join(f"maintenance:{name}" for name in names)
        return f"Command {typed!r} is ambiguous: {shown}."
    from difflib import get_close_matches  # noqa: PLC0415 (for mistakes only)

    _, colon, name = typed.rpartition(":")
    near = _NAMES_ELSEWHERE.get(name) or "".join(get_close_matches(name, _MODULES, 1))
    suggestion = f" Did you mean '{colon and 'maintenance:'}{near}'?" if near else ""
    return f"No such command {typed!r}.{suggestion}"


class _Messages(logging.Handler):
    """Shows the library's log on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        show = warn if record.levelno >= logging.WARNING else partial(click.echo, err=True)
        show(record.getMessage())


def warn(message: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"{click.style('Warning:', fg='yellow')} {message}", err=True)


def _color(ctx: click.Context, _option: object, value: bool | None) -> None:  # noqa: FBT001 (click's)
    ctx.color = ctx.color if value is None else value


@click.group(
    cls=_Commands,
    epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage. Completion: see the README.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@target_option(
    "--dir",
    help="Directory of .maintenance.flag and .maintenance.ip.",
    envvar="MAINTENANCE_DIR",
    default="var",
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    type=PATH,
)
@target_option("-q", "--quiet", is_flag=True, hidden=True)
@click.option("-n", "--no-interaction", is_flag=True, expose_value=False, hidden=True)
@click.option("-v", "verbose", count=True, expose_value=False, hidden=True)
@click.option("--ansi/--no-ansi", default=None, callback=_color, expose_value=False, hidden=True)
@click.version_option(None, "-V", "--version", package_name=_PROGRAM, prog_name=_PROGRAM)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Switch maintenance mode on and off, and list who is exempt from it.

    \b
      maintenance-wsgi enable --ip 203.0.113.7 --until +90m
      maintenance-wsgi status
      maintenance-wsgi disable

    Every command also has Magento's name for it, such as maintenance:enable.
    """
    if os.environ.get("NO_COLOR") and ctx.color is None:  # no-color.org
        ctx.color = False
    ctx.ensure_object(Target).program = ctx.command_path
    logger, handler = logging.getLogger("maintenance_wsgi"), _Messages()
    ctx.call_on_close(partial(logger.setLevel, logger.level))
    ctx.call_on_close(partial(logger.removeHandler, handler))
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)


quiet_option = target_option("-q", "--quiet", is_flag=True, help="Print nothing on success.")


def with_target(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--dir`, and the `Target` as its first argument."""
    option = target_option("--dir", metavar="DIR", type=PATH, help="Same as the global --dir.")
    return option(click.make_pass_decorator(Target)(command))
