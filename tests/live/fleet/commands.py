"""The commands of a fleet, in this process, and a node that acknowledges."""

from pathlib import Path

from click.testing import CliRunner, Result

from maintenance_wsgi.cli import main
from maintenance_wsgi.fleet.nodes import NodeIdentity
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.store import FileStore, Snapshot


def run(url: str, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, "--redis", url, *arguments], prog_name="m")


def succeed(url: str, command: str, *arguments: str) -> str:
    result = run(url, command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def heartbeat(fleet: RedisStore, node: str, fault: str = "") -> None:
    present = fleet.nodes().revision
    fleet.heartbeat(NodeIdentity(node, f"{node} here"), present, fault)


def snapshot(var: Path) -> Snapshot:
    return FileStore(var).read()
