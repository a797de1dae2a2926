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
from typing import NamedTuple, Unpack

import click
from click.shell_completion import CompletionItem

from maintenance_wsgi.cli.app import Target, main, warn
from maintenance_wsgi.cli.drain import drain_option, wait_for_requests
from maintenance_wsgi.cli.fleet import change_options, wait_for_nodes
from maintenance_wsgi.cli.params import WindowOptions, window_options
from maintenance_wsgi.cli.switch import bypass_option, verify, verify_option, warn_of_entries
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.state.mode import MaintenanceMode

_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # exit statuses of a shell
_SIGNALLED = 128  # a shell adds the number of the signal
_LOOK_SECONDS = 1


class _Ended(NamedTuple):
    status: int
    off_since: datetime | None  # when maintenance was first seen off, though the command ran


def _in_path(_ctx: object, _option: object, typed: str) -> list[CompletionItem]:
    """Return the programs whose names begin so; otherwise a shell completes the path of a file."""
    places = [] if "/" in typed else os.get_exec_path()
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
    mode = target.open()
    _check_executable(command[0])
    warn_of_entries(target, options["exemptions"] or ())
    name, switched_on, ended = f"'{printable(command[0])}'", False, None
    try:
        with mode.window(
            **options, bypass=target.digest, disable_on_failure=disable_on_failure
        ) as switched_on:
            _report_start(target, switched_on=switched_on)
            wait_for_nodes(target)
            wait_for_requests(target)
            verify(target, on=True)
            ended = _run(command, mode)
            if ended.status:
                click.get_current_context().exit(ended.status)
    except click.exceptions.Exit:
        if ended and ended.off_since:
            warn(f"{_told(name, ended)}; {_off(ended.off_since)}")
        elif not switched_on:
            warn(f"{_told(name, ended)}; maintenance mode was on before, and is left as it is")
        elif not disable_on_failure:
            warn(f"{_told(name, ended)}; maintenance mode stays on; {_remedy(target)}")
        raise
    except (click.ClickException, StateError):
        stays = "stays on" if target.redis_store or not ended else "may still be on"
        is_left_on = switched_on and (ended or not disable_on_failure)
        state = f"; maintenance mode {stays}; {_remedy(target)}" if is_left_on else ""
        warn(f"{_told(name, ended)}{state}")
        raise
    if ended.off_since:
        raise click.ClickException(f"{_told(name, ended)}; {_off(ended.off_since)}")
    if target.verify and not mode.is_enabled():  # another run may keep it on
        _verify_end(target, name)


def _verify_end(target: Target, name: str) -> None:
    try:
        verify(target, on=False)
    except click.ClickException:
        warn(f"{name} succeeded; maintenance mode was switched off, but not for every visitor")
        raise


def _told(name: str, ended: _Ended | None) -> str:
    if ended is None:
        return f"{name} was not run"
    status = ended.status
    return f"{name} failed with exit status {status}" if status else f"{name} succeeded"


def _off(since: datetime) -> str:
    return (
        "but another process or Redis took maintenance mode away: it was off while the command ran,"
        f" at the latest since {since:%Y-%m-%d %H:%M:%S %Z}"
    )


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
        warn("maintenance mode was on before, and is left as it is")
        return
    if not target.quiet:
        started = f"Maintenance mode is on; if this process is killed, {_remedy(target)}"
        click.echo(printable(started, LINE_LIMIT), err=True)
    target.tell_link(err=True)  # standard output is the command's


@contextmanager
def _watched(mode: MaintenanceMode) -> Iterator[list[datetime]]:
    """Yield a list, to which the moment is added at which maintenance is first seen off."""
    off: list[datetime] = []
    done = threading.Event()

    def look() -> None:
        with suppress(StateError):  # a Redis that is away switches nothing off
            if not off and not mode.is_enabled():
                off.append(datetime.now().astimezone())

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield off
    finally:
        done.set()
        thread.join()
        look()


def _run(command: Sequence[str], mode: MaintenanceMode) -> _Ended:
    """Run a command, and forward signals to it; its status is that of a shell."""
    awaited = {signal.SIGCHLD, *_FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        process = subprocess.Popen(  # noqa: S603 (the operator's own command)
            command,
            env={name: os.environ[name] for name in os.environ if name != "MAINTENANCE_REDIS"},
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 (no thread runs yet)
        )
        with _watched(mode) as off:  # its thread leaves the signals to this one
            while process.poll() is None:
                info = signal.sigwaitinfo(awaited)
                # Ctrl-C reaches the whole foreground group: the command must not get it twice. A
                # code above 0 means that the kernel sent the signal, for the terminal.
                if info.si_signo in _FORWARDED and info.si_code <= 0:
                    process.send_signal(info.si_signo)
    except OSError as error:
        click.echo(f"Error: '{printable(command[0])}': {error.strerror}", err=True)
        return _Ended(_NOT_EXECUTABLE, None)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = process.returncode
    return _Ended(status if status >= 0 else _SIGNALLED - status, off[0] if off else None)
