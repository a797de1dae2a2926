"""`python manage.py maintenance ...`, if `maintenance_wsgi` is in `INSTALLED_APPS`."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import click
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.servers.basehttp import get_internal_wsgi_application

from maintenance_wsgi.cli import main
from maintenance_wsgi.cli.app import Target

_PROGRAM = f"python {sys.argv[0]} maintenance"
# Options that a value follows, and that may stand before the command.
_VALUED = {"--dir", "--pythonpath", "--settings", "--verbosity", "-v"}


class Command(BaseCommand):  # type: ignore[misc] # Django has no types
    """The admin command, for the application that `WSGI_APPLICATION` names."""

    help = "Switch maintenance mode on and off, and list who is exempt from it."
    requires_system_checks: ClassVar[list[str]] = []  # a site with faults can be closed too

    def create_parser(self, *names: str, **kwargs: Any) -> object:  # noqa: ANN401 (Django's own)
        """Return a parser that takes out Django's own options, wherever they are."""
        parser = super().create_parser(*names, add_help=False, allow_abbrev=False, **kwargs)
        parser.add_argument("--skip-checks", action="store_true")
        parser.parse_args = partial(_parse, parser)
        parser.print_help = partial(main, ["--help"], _PROGRAM)
        return parser

    def handle(self, *args: str, **options: Any) -> None:  # noqa: ANN401 (Django's own)
        """Run the admin command; if it fails, raise CommandError with its exit status."""
        target = Target(framework=("application", get_internal_wsgi_application))
        color = False if options["no_color"] else options["force_color"] or None
        self.stdout.ending = self.stderr.ending = ""  # click ends its own lines
        try:
            with redirect_stdout(self.stdout), redirect_stderr(self.stderr):
                status = main(args, _PROGRAM, standalone_mode=False, obj=target, color=color)
        except click.ClickException as error:
            raise CommandError(error.format_message(), returncode=error.exit_code) from error
        finally:
            self.stdout.ending = self.stderr.ending = "\n"
        if status and self._called_from_command_line:
            sys.exit(status)  # the cause has been printed
        if status:
            raise CommandError(f"exit status {status}", returncode=status)


def _parse(parser: CommandParser, args: list[str]) -> object:
    words = enumerate(pairwise(["", *args]))
    command = next((n for n, (last, word) in words if word[:1] != "-" and last not in _VALUED), 0)
    # What follows belongs to `run`, whose COMMAND has options of its own.
    end = args.index("--") if "--" in args else len(args)
    end = command if args[command : command + 1] == ["run"] else end
    options, ours = parser.parse_known_args(args[:end])
    options.args = [*ours, *args[end:]]
    return options
