"""The command that keeps maintenance on around another command."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

import click

from maintenance_wsgi.cli.group import directory_option, main, open_mode, warn
from maintenance_wsgi.cli.values import window, window_options

_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as shells have it
_DIED_OF = 128


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--disable-on-failure", is_flag=True, help="Also where COMMAND fails.")
@window_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(  # noqa: PLR0913 (the options of enable)
    ctx: click.Context,
    *,
    disable_on_failure: bool,
    ips: tuple[str, ...],
    message: str | None,
    until: str | None,
    retry_after: str | None,
    command: tuple[str, ...],
) -> None:
    """Keep maintenance mode on while COMMAND runs, and restore what was found.

    Where maintenance was on before, it stays on, untouched. Where COMMAND fails it stays on too,
    and this says so. The exit status is COMMAND's, 128 + N where signal N ended it.

    Example: maintenance-wsgi run --message 'Moving house' -- ./migrate --all
    """
    mode = open_mode()
    options = window(ips, message, until, retry_after)
    if shutil.which(command[0]) is None:
        click.echo(f"Error: {command[0]!r} is no command; nothing was changed", err=True)
        ctx.exit(_NOT_FOUND)
    try:
        with mode.enabled(**options, disable_on_failure=disable_on_failure) as switched_on:
            _tell_beginning(switched_on=switched_on)
            _run(command)
    except subprocess.CalledProcessError as failure:
        if mode.is_enabled():
            warn(
                f"maintenance mode stays on, because {command[0]!r} failed with exit status"
                f" {failure.returncode}; end it with: {_way_to_end()}"
            )
        ctx.exit(failure.returncode)


def _tell_beginning(*, switched_on: bool) -> None:
    if switched_on:
        click.echo(
            f"Maintenance mode is on; should this be killed, end it with: {_way_to_end()}", err=True
        )
    else:
        warn("maintenance mode was on before, and is left as it was")


def _way_to_end() -> str:
    return f"{os.path.basename(sys.argv[0])} --dir {directory_option()} disable"


def _run(command: Sequence[str]) -> None:
    """Run a command to its end, and hand on the signals that come meanwhile.

    Raises:
        CalledProcessError: it failed; the return code is the exit status to end with.
    """
    awaited = {signal.SIGCHLD, *_FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        process = subprocess.Popen(  # noqa: S603 (the operator's own command)
            command,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 (no thread runs here)
        )
        while process.poll() is None:
            info = signal.sigwaitinfo(awaited)
            if info.si_signo in _FORWARDED and not _came_from_terminal(info):
                process.send_signal(info.si_signo)
    except OSError as error:
        click.echo(f"Error: {command[0]}: {error.strerror}", err=True)
        raise subprocess.CalledProcessError(_NOT_EXECUTABLE, command) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = process.returncode
    if status:
        raise subprocess.CalledProcessError(status if status > 0 else _DIED_OF - status, command)


def _came_from_terminal(info: signal.struct_siginfo) -> bool:
    # Ctrl-C reaches the whole foreground group, the command too: twice would be once too often.
    return info.si_code > 0
