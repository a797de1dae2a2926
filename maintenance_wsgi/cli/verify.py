"""The option that asks a URL, as visitors do, whether they see the switch."""

import sys

import click

from maintenance_wsgi.cli.app import Target, target_option, warn
from maintenance_wsgi.cli.params import Decorator, site
from maintenance_wsgi.grammar import LINE_LIMIT, printable

verify_option: Decorator = target_option(
    "--verify",
    type=site,
    metavar="URL",
    help="Ask this URL as visitors do, at every address of its host, until all answers are right;"
    " exit with 1 if one is not within --wait. The switch stays as it is.",
)


def verify(target: Target, *, on: bool) -> None:
    """Ask the URL of `--verify` until all answers are right; return at once without it."""
    if target.verify is None:
        return
    from maintenance_wsgi.diagnosis import verification  # noqa: PLC0415 (slow to import)

    on_terminal = sys.stderr.isatty() and not target.quiet
    for visits in verification.rounds(target.verify, on=on, seconds=target.wait or 30):
        if on_terminal:
            right = sum(not visit.wrong(on=on) for visit in visits)
            click.echo(f"\r{right} of {len(visits)} addresses are right", nl=False, err=True)
    if on_terminal:
        click.echo(err=True)
    for fault in (faults := list(verification.faults(target.verify, visits, on=on)))[:-1]:
        click.echo(f"Error: {printable(fault, LINE_LIMIT)}", err=True)
    if faults:
        raise click.ClickException(faults[-1])
    if not target.magento:
        places = ", ".join(visit.address for visit in visits)
        target.tell(f"Verified {target.verify} at {places}: {visits[0].answers[0]}")
    if all(answer.marks == {"exempt"} for visit in visits for answer in visit.answers):
        warn("each answer is for an exempt client, and does not tell what other clients get")
