"""The command that keeps maintenance on around another command."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence

import click

from maintenance_wsgi.cli.app import main, quiet_option, same_directory_option, warn
from maintenance_wsgi.cli.fleet import (
    disabling_command,
    fleet_options,
    open_state,
    wait_for_nodes,
    wait_option,
)
from maintenance_wsgi.cli.params import window, window_options

_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as shells have it
_DIED_OF = 128


@main.command(
    short_help="Keep maintenance mode on while a command runs.",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] [--]",
)
@click.option("--disable-on-failure", is_flag=True, help="Switch off also where COMMAND fails.")
@window_options
@fleet_options
@wait_option
@quiet_option
@same_directory_option
@click.argument(
    "command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGUMENT]..."
)
@click.pass_context
def run(  # noqa: PLR0913 (the options of enable)
    ctx: click.Context,
    *,
    disable_on_failure: bool,
    ips: tuple[str, ...],
    message: str | None,
    until: str | None,
    retry_after: str | None,
    wait: int | None,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Keep maintenance mode on while COMMAND runs, and restore what was found.

    Where maintenance was on before, it stays on, untouched. Where COMMAND fails it stays on too,
    and this says so. Of several that overlap, the last to end switches it off. The exit status is
    COMMAND's, 128 + N where signal N ended it.

    \b
    Example:
      maintenance-wsgi run --message 'Moving house' -- ./migrate --all
    """
    mode = open_state(wait=wait)
    options = window(ips, message, until, retry_after)
    _refuse_what_cannot_run(ctx, command[0])
    switched_on = False
    try:
        with mode.enabled(**options, disable_on_failure=disable_on_failure) as switched_on:
            _tell_beginning(switched_on=switched_on, quiet=quiet)
            wait_for_nodes(wait, quiet=quiet)
            _run(command)
    except click.ClickException:
        if switched_on and not disable_on_failure:
            warn(f"not run; maintenance mode stays on; end it with: {disabling_command()}")
        raise
    except subprocess.CalledProcessError as failure:
        failed = f"{command[0]!r} failed with exit status {failure.returncode}"
        if not switched_on:
            warn(f"{failed}; maintenance mode was on before, and is left as it is")
        elif not disable_on_failure:
            warn(f"{failed}: maintenance mode stays on; end it with: {disabling_command()}")
        ctx.exit(failure.returncode)


def _refuse_what_cannot_run(ctx: click.Context, name: str) -> None:
    if shutil.which(name, os.F_OK) is None:
        click.echo(f"Error: {name!r} is no command; nothing was changed", err=True)
        ctx.exit(_NOT_FOUND)
    if shutil.which(name) is None:
        click.echo(f"Error: {name!r} may not be executed; nothing was changed", err=True)
        ctx.exit(_NOT_EXECUTABLE)


def _tell_beginning(*, switched_on: bool, quiet: bool) -> None:
    if not switched_on:
        warn("maintenance mode was on before, and is left as it is")
    elif not quiet:
        end = disabling_command()
        click.echo(f"Maintenance mode is on; should this be killed, end it with: {end}", err=True)


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
