"""The command itself: its name, its target, and how its subcommands are found."""

import logging
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
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
    from maintenance_wsgi.diagnosis.verification import Site
    from maintenance_wsgi.fleet.store import RedisStore

_PROGRAM = "maintenance-wsgi"
PATH = click.Path(readable=False)  # a directory that cannot be listed will do
_MAGENTO_NAMES = ("allow-ips", "disable", "enable", "status")
# The module of each command, which is imported when the command is called: a start must be quick.
_MODULES = dict.fromkeys(_MAGENTO_NAMES, "switch") | {"follow": "fleet", "run": "run"}
_MODULES |= dict.fromkeys(("check", "explain", "preview"), "diagnosis") | {"help": "help"}
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
    dir: str | None = None  # if it is given
    redis: str = ""
    fleet: str = ""
    name: str = ""  # the fleet, as 1.0 named the option
    wait: int | None = None  # seconds
    strict: bool = False
    drain: int | None = None  # seconds
    verify: "Site | None" = None
    quiet: bool = False
    framework: tuple[str, Callable[[], object]] | None = None  # its application's name and loader
    force: bool = False
    bypass: tuple[str, str] | None = None  # a link and its digest; empty to take it back
    err: bool = False  # whether results go to standard error
    magento: bool = False  # whether the command was called by Magento's name
    typed: set[str] = field(default_factory=set)  # not those that the environment gave
    redis_store: "RedisStore | None" = None  # once it is opened

    def directory(self, *, must_exist: bool = True) -> str:
        """Return the absolute path of the directory."""
        default = self.application.directory if self.application else "var"
        name = default if self.dir is None else self.dir.strip()
        path = absolute_path("--dir", name)
        if name == "var" and os.path.realpath(os.path.dirname(path)) == "/":
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
        except (Exception, SystemExit) as error:  # noqa: BLE001 (an application's code raises anything)
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
        for name, seconds in {"--wait": self.wait, "--drain": self.drain}.items():
            if seconds == 0:
                fault = "0 is too short; use 1 or more seconds"
                raise click.BadParameter(fault, param_hint=f"'{name}'")
        store = self.open_redis(create=create)
        if self.wait is not None and store is None and self.verify is None:
            raise click.UsageError("--wait needs --redis or --verify")
        if self.strict and (self.wait is None or store is None):
            raise click.UsageError("--strict needs --wait and --redis")
        if self.drain is not None and store is not None and self.wait is None:
            raise click.UsageError("--drain with --redis needs --wait, in which the nodes drain")
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
            if self.typed & {"fleet", "name"}:
                raise click.UsageError("--fleet needs --redis")
            return None
        if self.name:
            warn("--name and MAINTENANCE_NAME are deprecated; use --fleet and MAINTENANCE_FLEET")
            source = click.get_current_context().get_parameter_source("fleet")
            self.fleet = self.name if source is ParameterSource.DEFAULT else self.fleet
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

    @property
    def digest(self) -> str | None:
        """The digest of the bypass link that is given, as `MaintenanceMode` takes it."""
        return self.bypass[1] if self.bypass else None

    def tell_link(self) -> None:
        """Print the bypass link, if one is given: the only time that it is shown."""
        if self.bypass and (link := self.bypass[0]):
            click.echo(link if self.quiet else f"Bypass link: {link}", err=self.err)

    def tell(self, message: str) -> None:
        """Print a result, unless the operator wants none."""
        if not self.quiet:
            click.echo(message, err=self.err)

    def command_line(self, command: str) -> str:
        """Return what to type for another command on this target, without a secret."""
        program, store = self.program.split(), self.redis_store
        # A URL that came from the environment will come from there again.
        url = store.connection.redacted_url if store else ""
        redis = ["--redis", url] if "redis" in self.typed else []
        where = [] if store else ["--dir", self.directory(must_exist=False)]
        fleet = ["--fleet", store.fleet] if store else []
        return shlex.join([*program, *where, command, *redis, *fleet])


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

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 (click's own)
        try:
            return super().main(*args, **settings)
        except OSError as error:  # errors of files are StateErrors
            done = "the change, if any, has been made"
            fault = click.ClickException(f"standard output: {error.strerror}; {done}")
            if not settings.get("standalone_mode", True):
                raise fault from error
            fault.show()
            sys.exit(1)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except RuntimeError as error:
            if type(error) is not RuntimeError:  # click's own Exit
                raise
            missing = "--version: the package's metadata is missing; install it with the package"
            raise click.ClickException(f"{missing} (PyInstaller: --copy-metadata)") from error
        except click.UsageError as error:
            if isinstance(error, click.NoSuchOption) and (names := self._takers(ctx, error)):
                fault = f"belongs to a command ({names}); give it after the command's name"
                raise click.UsageError(f"{error.option_name}: {fault}", ctx) from None
            raise _escaped(error) from None

    def _takers(self, ctx: click.Context, error: click.NoSuchOption) -> str:
        """Return the names of the commands that take an option which the group does not have."""
        commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        return ", ".join(
            str(command.name)
            for command in commands
            if command and any(error.option_name in option.opts for option in command.params)
        )

    def invoke(self, ctx: click.Context) -> object:
        asks_for_state = "--exit-code" in ctx.args  # which click takes away
        try:
            return super().invoke(ctx)
        except (MaintenanceError, click.UsageError) as error:
            shown = _escaped(
                as_click_error(error) if isinstance(error, MaintenanceError) else error
            )
            if ":" in (ctx.invoked_subcommand or ""):
                shown.show()
                # As Magento's own command exits; but 1 would say that maintenance is off.
                raise click.exceptions.Exit(2 if asks_for_state else 1) from None
            raise shown from None


def _escaped(error: click.ClickException) -> click.ClickException:
    """Return an error that quotes what was typed with no character that a terminal obeys."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    if isinstance(error, click.NoSuchOption):
        del (error.possibilities or [])[1:]
    message = printable(error.format_message(), LINE_LIMIT)
    if isinstance(error, click.UsageError):
        return click.UsageError(message, error.ctx)
    return click.ClickException(message)


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
        with suppress(OSError):  # a log that cannot be written ends no follower
            if record.levelno >= logging.WARNING:
                warn(record.getMessage())
            else:
                click.echo(printable(record.getMessage(), LINE_LIMIT), err=True)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    shown = printable(message, LINE_LIMIT)
    click.echo(f"{click.style('Warning:', fg='yellow')} {shown}", err=True)


def _color(ctx: click.Context, _option: object, value: bool | None) -> None:  # noqa: FBT001 (click's)
    ctx.color = ctx.color if value is None else value


@click.group(
    cls=_Commands,
    epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage. More: help TOPIC."
    " The topics of help are environment, exit-codes, files and headers.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@target_option(
    "--dir",
    help="Directory of .maintenance.flag and .maintenance.ip.",
    envvar="MAINTENANCE_DIR",
    show_default="var, or the application's",
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
