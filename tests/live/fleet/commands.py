"""The commands of a fleet, in this process, and a node that acknowledges."""

from pathlib import Path

from click.testing import CliRunner, Result

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.cli import main
from maintenance_wsgi.fleet.nodes import NodeIdentity
from maintenance_wsgi.fleet.store import Fleet
from maintenance_wsgi.state.store import Contents


def run(url: str, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, "--redis", url, *arguments], prog_name="m")


def succeed(url: str, command: str, *arguments: str) -> str:
    result = run(url, command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def beat(fleet: Fleet, node: str, fault: str = "") -> None:
    revision = fleet.read()
    fleet.beat(NodeIdentity(node, f"{node} here"), revision.name if revision else "", fault)


def contents(var: Path) -> Contents:
    return MaintenanceMode(var).contents()
