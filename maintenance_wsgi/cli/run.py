"""The command that keeps maintenance on around another command."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Unpack

import click
from click.shell_completion import CompletionItem

from maintenance_wsgi.cli.app import Target, main, warn
from maintenance_wsgi.cli.drain import drain_option
from maintenance_wsgi.cli.fleet import change_options
from maintenance_wsgi.cli.params import WindowOptions, window_options
from maintenance_wsgi.cli.switch import bypass_option, wait_until_on, warn_of_entries
from maintenance_wsgi.cli.verify import verify, verify_option
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.state.mode import MaintenanceMode

_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # exit statuses of a shell
_SIGNALLED = 128  # a shell adds the number of the signal
_LOOK_SECONDS = 1
_WAS_ON = "maintenance mode was on before, and is left as it is"


def _in_path(ctx: click.Context, _option: object, typed: str) -> list[CompletionItem]:
    """Return the programs whose names begin so; otherwise a shell completes the path of a file."""
    places = [] if "/" in typed or ctx.params.get("command") else os.get_exec_path()
    names = {path.name for place in places for path in Path(place).glob(f"{typed}*")}
    return [*map(CompletionItem, sorted(names))] or [CompletionItem(typed, type="file")]


@main.command(
    short_help="Keep maintenance mode on while a command runs.",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] [--]",
)
@click.option(
    "--disable-on-failure", is_flag=True, help="Switch maintenance mode off even if COMMAND fails."
)
@window_options
@drain_option
@bypass_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=_in_path)
@verify_option
@change_options
def run(
    target: Target,
    *,
    disable_on_failure: bool,
    command: tuple[str, ...],
    **options: Unpack[WindowOptions],
) -> None:
    """Keep maintenance mode on while COMMAND runs, and restore what was found.

    If maintenance was already on, it stays on, unchanged. If COMMAND fails, maintenance stays on
    too, and a message says so. If several runs overlap, the last one to end switches it off. The
    exit status is that of COMMAND, or 128 + N if signal N ended it; or 1 if maintenance was off
    while COMMAND ran. MAINTENANCE_REDIS is not passed on to COMMAND.

    \b
    Example:
      maintenance-wsgi run --message 'Moving house' -- ./migrate --all
    """
    mode, target.err = target.open(), True  # standard output is the command's
    _check_executable(command[0])
    warn_of_entries(target, options["exemptions"] or ())
    switched_on, status, off = False, None, list[datetime]()
    told = f"'{printable(command[0])}' was not run"
    try:
        with mode.window(
            **options, bypass=target.digest, disable_on_failure=disable_on_failure
        ) as switched_on:
            _report_start(target, switched_on=switched_on)
            wait_until_on(target)
            status = _run(command, mode, off)
            if status is not None:
                told = _told(command[0], status, off)
            if status:
                click.get_current_context().exit(status)
    except click.exceptions.Exit:
        state = f"maintenance mode stays on; {_remedy(target)}" if switched_on else _WAS_ON
        if off or not (switched_on and disable_on_failure):
            warn(told if off else f"{told}; {state}")
        raise
    except (click.ClickException, StateError, KeyboardInterrupt):
        if switched_on and (status is not None or not disable_on_failure):
            stays = "stays on" if target.redis_store or status is None else "may still be on"
            told += f"; maintenance mode {stays}; {_remedy(target)}"
        warn(told)
        raise
    if status is None:
        click.get_current_context().exit(_NOT_EXECUTABLE)
    if off:
        raise click.ClickException(told)
    _check_end(target, mode, told, switched_on=switched_on)


def _check_end(target: Target, mode: MaintenanceMode, told: str, *, switched_on: bool) -> None:
    """Tell whether maintenance is off now, for every visitor too if `--verify` asks for that."""
    if mode.is_enabled():
        if switched_on:
            others = f"see which with: {target.command_line('status')}"
            warn(f"another process keeps maintenance mode on; {others}")
        return
    try:
        verify(target, on=False)
    except click.ClickException:
        warn(f"{told}; maintenance mode was switched off, but not for every visitor")
        raise


def _told(name: str, status: int, off: list[datetime]) -> str:
    ended = f"failed with exit status {status}" if status else "succeeded"
    taken = "but another process or Redis took maintenance mode away: it was off while it ran,"
    since = f"; {taken} at the latest since {off[0]:%Y-%m-%d %H:%M:%S %Z}" if off else ""
    return f"'{printable(name)}' {ended}{since}"


def _remedy(target: Target) -> str:
    return f"switch it off with: {target.command_line('disable')}"


def _check_executable(name: str) -> None:
    """Refuse a command that cannot be run, before anything is changed."""
    if shutil.which(name) is not None:
        return
    is_missing = shutil.which(name, os.F_OK) is None
    fault = "command not found" if is_missing else "command is not executable"
    click.echo(f"Error: '{printable(name)}': {fault}; nothing was changed", err=True)
    raise click.exceptions.Exit(_NOT_FOUND if is_missing else _NOT_EXECUTABLE)


def _report_start(target: Target, *, switched_on: bool) -> None:
    if not switched_on:
        warn(f"{_WAS_ON}; see who switched it on with: {target.command_line('status')}")
        return
    if not target.quiet:
        started = f"Maintenance mode is on; if this process is killed, {_remedy(target)}"
        click.echo(printable(started, LINE_LIMIT), err=True)
    target.tell_link()


@contextmanager
def _watched(mode: MaintenanceMode, off: list[datetime]) -> Iterator[None]:
    """Add the moment to a list at which maintenance is first seen off during a block."""
    done = threading.Event()

    def look() -> None:
        directory = getattr(mode.store, "directory", os.curdir)
        with suppress(StateError):  # a Redis or a directory that is away switches nothing off
            if not off and not mode.is_enabled() and os.path.isdir(directory):
                off.append(datetime.now().astimezone())

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        look()


def _run(command: Sequence[str], mode: MaintenanceMode, off: list[datetime]) -> int | None:
    """Run a command, and forward signals to it.

    Returns its status as a shell does, or None if it could not be started, which is told.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited: no status would ever come
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    awaited = {signal.SIGCHLD, *_FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        process = subprocess.Popen(  # noqa: S603 (the operator's own command)
            command,
            env={name: os.environ[name] for name in os.environ if name != "MAINTENANCE_REDIS"},
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 (no thread runs yet)
        )
        with _watched(mode, off):  # its thread leaves the signals to this one
            while process.poll() is None:
                info = signal.sigwaitinfo(awaited)
                # Ctrl-C reaches the whole foreground group: the command must not get it twice. A
                # code above 0 means that the kernel sent the signal, for the terminal.
                if info.si_signo in _FORWARDED and info.si_code <= 0:
                    process.send_signal(info.si_signo)
    except OSError as error:
        fault = f"{error.strerror}; nothing was changed"
        click.echo(f"Error: '{printable(command[0])}': {fault}", err=True)
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = process.returncode
    return status if status >= 0 else _SIGNALLED - status
