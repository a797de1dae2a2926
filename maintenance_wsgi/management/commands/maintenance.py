"""`python manage.py maintenance ...`, if `maintenance_wsgi` is in `INSTALLED_APPS`."""

from django.core.management.base import BaseCommand

from maintenance_wsgi.cli import main


class Command(BaseCommand):  # type: ignore[misc] # Django has no types
    """Hands its arguments to the admin command, which has its own options and help."""

    help = "Switch maintenance mode on and off, and list who is exempt from it."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the admin command; `argv` begins with `manage.py maintenance`."""
        main(args=argv[2:], prog_name=f"python {argv[0]} {argv[1]}")

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Print the help of the admin command, for `manage.py help maintenance`."""
        main(args=["--help"], prog_name=f"python {prog_name} {subcommand}")
