"""The command that keeps maintenance on around another command."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import click
from click.shell_completion import CompletionItem

from maintenance_wsgi.cli.app import Target, main, warn
from maintenance_wsgi.cli.fleet import change_options, wait_for_nodes
from maintenance_wsgi.cli.params import WindowOptions, window_options
from maintenance_wsgi.cli.switch import bypass_option, warn_of_entries
from maintenance_wsgi.errors import StateError
from maintenance_wsgi.grammar import LINE_LIMIT, printable

_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # exit statuses of a shell
_SIGNALLED = 128  # a shell adds the number of the signal


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
@bypass_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=_in_path)
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
    exit status is that of COMMAND, or 128 + N if signal N ended it. MAINTENANCE_REDIS is not passed
    on to COMMAND.

    \b
    Example:
      maintenance-wsgi run --message 'Moving house' -- ./migrate --all
    """
    mode = target.open()
    _check_executable(command[0])
    warn_of_entries(target, options["exemptions"] or ())
    name, switched_on, finished = f"'{printable(command[0])}'", False, False
    try:
        with mode.window(
            **options, bypass=target.digest, disable_on_failure=disable_on_failure
        ) as switched_on:
            _report_start(target, switched_on=switched_on)
            wait_for_nodes(target)
            _run(command)
            finished = True
    except subprocess.CalledProcessError as failure:
        failed = f"{name} failed with exit status {failure.returncode}"
        if not switched_on:
            warn(f"{failed}; maintenance mode was on before, and is left as it is")
        elif not disable_on_failure:
            warn(f"{failed}; maintenance mode stays on; {_remedy(target)}")
        raise click.exceptions.Exit(failure.returncode) from failure
    except (click.ClickException, StateError):
        if finished:
            warn(f"{name} succeeded; maintenance mode may still be on; {_remedy(target)}")
        elif switched_on and not disable_on_failure:
            warn(f"{name} was not run; maintenance mode stays on; {_remedy(target)}")
        raise


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


def _run(command: Sequence[str]) -> None:
    """Run a command, forward signals to it; a failure is a CalledProcessError with its status."""
    awaited = {signal.SIGCHLD, *_FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        process = subprocess.Popen(  # noqa: S603 (the operator's own command)
            command,
            env={name: os.environ[name] for name in os.environ if name != "MAINTENANCE_REDIS"},
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 (no thread runs here)
        )
        while process.poll() is None:
            info = signal.sigwaitinfo(awaited)
            # Ctrl-C reaches the whole foreground group: the command must not get it twice. A code
            # above 0 means that the kernel sent the signal, for the terminal.
            if info.si_signo in _FORWARDED and info.si_code <= 0:
                process.send_signal(info.si_signo)
    except OSError as error:
        click.echo(f"Error: '{printable(command[0])}': {error.strerror}", err=True)
        raise subprocess.CalledProcessError(_NOT_EXECUTABLE, command) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if status := process.returncode:
        raise subprocess.CalledProcessError(status if status > 0 else _SIGNALLED - status, command)
