"""`help`: what it prints, and that each topic says what the code does."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.cli import main
from maintenance_wsgi.cli.help import TOPICS
from maintenance_wsgi.gate import _WRITING
from maintenance_wsgi.state.files import _TEMPORARY
from tests.project import surface
from tests.support.commands import invoke
from tests.support.data import load

COMMANDS = main.list_commands(click.Context(main))


def topic(name: str) -> str:
    result = invoke("help", name)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("name", [*COMMANDS, "maintenance:enable", "maint:en"])
@pytest.mark.parametrize("program", ["maintenance-wsgi", "flask maintenance"])
def test_help_of_a_command_is_what_its_option_prints(name: str, program: str) -> None:
    by_option, by_command = (
        CliRunner().invoke(main, line, prog_name=program)
        for line in ([name, "--help"], ["help", name])
    )
    assert by_command.exit_code == 0
    assert by_command.output == by_option.output
    assert f"Usage: {program} {name} " in by_command.stdout


def test_general_help_names_the_topics() -> None:
    assert invoke("help").output == invoke("--help").output
    words = re.findall(r"[\w-]+", invoke("help").stdout.partition("topics of help")[2])
    assert words == ["are", *TOPICS[:-1], "and", TOPICS[-1]]


@pytest.mark.parametrize("name", ["nope", "maintenance:nope", "maintenance:", "Files", "--", ""])
def test_unknown_topic_is_refused_and_the_topics_are_named(name: str) -> None:
    result = invoke("help", "--", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(" Topics: environment, exit-codes, files, headers.\n")


def test_shell_completes_topics_and_commands() -> None:
    help_command = main.get_command(click.Context(main), "help")
    assert help_command
    (argument,) = help_command.params
    items = argument.shell_complete(click.Context(main), "e")
    assert [item.value for item in items] == ["enable", "environment", "exit-codes", "explain"]


@pytest.mark.parametrize("name", TOPICS)
def test_topic_fits_on_a_terminal(name: str) -> None:
    lines = topic(name).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 64
    assert not any(line.endswith(" ") for line in lines)


def test_every_variable_that_is_read_is_in_the_topic() -> None:
    named = re.findall(r"^  ([A-Z_]+) ", topic("environment"), re.MULTILINE)
    assert set(named) == surface.variables()


JSON_TYPES = {
    "string": str,
    "number": int,
    "boolean": bool,
    "object of strings": dict,
    "list of strings": list,
}


def test_every_member_of_the_flag_is_in_the_topic(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    surface.answers(tmp_path)
    flag = tmp_path / "var/.maintenance.flag"
    members = json.loads(flag.read_text())
    flag.unlink()
    with MaintenanceMode(tmp_path / "var").window():
        members |= json.loads(flag.read_text())
    pattern = rf"^    (\w+) +({'|'.join(JSON_TYPES)}): "
    named = dict(re.findall(pattern, topic("files"), re.MULTILINE))
    assert {name: JSON_TYPES[kind] for name, kind in named.items()} == {
        name: type(value) for name, value in members.items()
    }


def test_every_file_is_in_the_topic() -> None:
    named = set(re.findall(r"\.maintenance\.[a-z0-9.]+", topic("files")))
    left_over = {name for name in named if _TEMPORARY.fullmatch(name)}
    assert {name.split(".")[2] for name in left_over} == {"flag", "ip"}
    assert named - left_over == surface.strings(surface.FILE_NAME)


SENT, _, READ = topic("headers").partition("Read from a request:\n")
HEADER = r"[A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)+|Vary|Location|Origin|Accept|Cookie|Upgrade|Forwarded"


def header(key: str) -> str:
    """Return the name of a header from its key in an environ."""
    return key.removeprefix("HTTP_").replace("_", "-").lower()


def test_every_header_that_is_sent_is_in_the_topic(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    found = surface.answers(tmp_path).values()
    sent = {pair for answer in found for pair in answer["headers"].items()}
    names = {name for name, _ in sent} - {"Expires"}  # the application's
    named = set(re.findall(HEADER, SENT))
    assert names - named == set()
    assert {name.lower() for name in named - names} <= set(map(header, read_keys()))
    pairs = re.findall(r"  ([A-Z][\w-]+): (.+?)(?=  |$)", SENT, re.MULTILINE)
    assert pairs
    assert set(pairs) - sent == set()
    assert surface.strings(HEADER, "response") - named == set()
    marks = {value for name, value in sent if name == "X-Maintenance-Mode"}
    assert set(re.findall(r"^  ([a-z-]+)  ", SENT, re.MULTILINE)) == marks
    keys = {key for answer in found for key in answer["environ"]}
    assert set(re.findall(r"maintenance_wsgi\.\w+", READ)) == keys


def read_keys() -> set[str]:
    """Return the keys of the headers that decide: what `explain` only shows is not among them."""
    parts = ("request", "response", "state")
    return {
        *_WRITING,
        *(key for part in parts for key in surface.strings("HTTP_[A-Z_]+", part)),
    }


def test_every_header_that_is_read_is_in_the_topic() -> None:
    named = {name.lower() for name in re.findall(HEADER, READ)}
    assert named == set(map(header, read_keys()))


def test_every_exit_code_is_in_the_topic() -> None:
    """Those of `follow` need a Redis; and a signal of the shell's is not the command's."""
    general, *sections = re.split(
        r"^(?=[a-z])", topic("exit-codes").partition("\nUnder ")[0], flags=re.MULTILINE
    )
    everywhere = set(re.findall(r"^ +(\d+)  ", general, re.MULTILINE))
    documented = {
        (name, code)
        for section in sections
        for name in re.findall(r"[a-z-]+(?: --exit-code)?", section.partition("\n")[0])
        for code in re.findall(r"^ +(\d+)  ", section, re.MULTILINE)
    }
    seen = {
        (command_of(line), str(code)) for line, code in load("surface.json")["exit codes"].items()
    }
    commands = {("run", "7"), ("run", "137")}
    assert {code for _, code in seen - documented - commands} <= everywhere
    assert commands <= seen
    assert documented - seen == {("follow", "0")}


def command_of(line: str) -> str:
    words = line.rpartition("| ")[2].removeprefix("--dir no ").split()
    return " ".join([words[0], *(word for word in words if word == "--exit-code")])
