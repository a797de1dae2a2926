"""The command that prints the help of a command, or a topic; each topic is a file beside it."""

from importlib.resources import files

import click

from maintenance_wsgi.cli.app import Target, main

TOPICS = ("environment", "exit-codes", "files", "headers")


def _names(ctx: click.Context, _option: object, typed: str) -> list[str]:
    names = (*TOPICS, *main.list_commands(ctx))
    return sorted(name for name in names if name.startswith(typed))


@main.command("help", short_help="Print the help of a command, or of a topic.")
@click.argument("name", required=False, metavar="[COMMAND|TOPIC]", shell_complete=_names)
@click.pass_obj
def print_help(target: Target, name: str | None) -> None:
    """Print the help of a command, or one of the topics environment, exit-codes, files, headers.

    \b
    Example:
      maintenance-wsgi help exit-codes
    """
    if name in TOPICS:
        topic = files("maintenance_wsgi.cli").joinpath("topics", f"{name}.txt")
        click.echo(topic.read_text("utf-8"), nl=False)
        return
    try:
        words = [] if name is None else [name]
        main([*words, "--help"], target.program, standalone_mode=False)
    except click.UsageError as error:
        raise click.UsageError(f"{error.message} Topics: {', '.join(TOPICS)}.") from None
