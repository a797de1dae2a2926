"""The commands, in this process."""

from click.testing import CliRunner, Result

from maintenance_wsgi.cli import main


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="maintenance-wsgi")


def invoke_fleet(redis_url: str, command: str, *arguments: str) -> Result:
    return invoke(command, "--redis", redis_url, *arguments)


def succeed(redis_url: str, command: str, *arguments: str) -> str:
    result = invoke_fleet(redis_url, command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout
