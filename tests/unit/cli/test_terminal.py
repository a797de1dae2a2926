"""Foreign text on a terminal: what was typed, found in a file or an environment, or sent by Redis.

It must forge no line, move no cursor and hide nothing.
"""

import json
import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import click
import pexpect
import pytest

from maintenance_wsgi.cli import main
from maintenance_wsgi.grammar import printable
from tests.support.commands import invoke
from tests.support.processes import ROOT, environ

# Escape sequences of 7 and 8 bits, line ends of every kind, characters that turn the direction of
# text or have no width, and a byte that is not UTF-8.
HOSTILE = (
    "a\x1b[2J\x1b]0;b\x07\nFORGED\rFORGED\x85FORGED\u2028FORGED"
    "\u202e\u2066\u200b\ufeff\u3164\u034f\x9b1m\udcff"
)
COLOURS = re.compile(r"\x1b\[(?:0|32|33)m")  # our own
COMMANDS = ["enable", "disable", "status", "allow-ips", "explain 127.0.0.1", "check", "run true"]
COMMANDS += ["status --json", "allow-ips --add 203.0.113.7", "enable --until=+1h", "run false"]
FOLLOW = "follow --once --redis=redis://127.0.0.1:1"

# Words of a command line; "¤" stands for the hostile text.
REFUSED = [
    "",
    "¤",
    "--¤",
    "--dir",
    "--dir=¤ ¤",
    "maintenance:¤",
    "maintenance:en¤",
    "¤:enable",
    "--¤ status",
    "allow-ips --add ¤",
    "maintenance:allow-ips ¤",
    "status --redis=redis://¤/0",
    *(f"{command} --dir=¤" for command in [*COMMANDS, FOLLOW] if "run" not in command),
    "run --dir=¤ true",
    *(f"{name} --¤" for name in main.list_commands(click.Context(main))),
    *(f"maintenance:{command} --¤" for command in COMMANDS[:4]),
    "help ¤",
    "enable ¤",
    "enable --ip=¤",
    "maintenance:enable --ip=¤",
    "enable --ip=none --ip=¤",
    "enable --message=¤ ¤",
    "enable --quiet=¤",
    "enable --until=¤",
    "enable --until=2033-01-01T00:00¤",
    "enable --retry-after=¤",
    "enable --verify=¤",
    "enable --verify=http://¤/",
    "enable -q --wait=1 --verify=http://127.0.0.1:1/¤",
    "disable --ip=¤",
    "status --json=¤",
    "allow-ips ¤ 203.0.113.7¤",
    "maintenance:allow-ips none¤",
    "explain ¤",
    "explain 127.0.0.1 --header=¤",
    "explain 127.0.0.1 --header=X-¤:a",
    "explain 127.0.0.1 --trusted-proxy=¤",
    "explain 127.0.0.1 --client-ip-header=¤",
    "explain 127.0.0.1 --exempt-path=¤",
    "explain 127.0.0.1 --exempt-path=/¤",
    "check --user=¤",
    "check --trusted-proxy=¤",
    "check --page=¤",
    "check --page=pages",
    "preview --page=¤/no",
    "run ¤",
    "run ./¤",
    "run pages",
    "run --disable-on-failure=¤ true",
    "run -- ./failing¤",
    "run -- ./broken¤",
    "follow --redis=¤",
    "follow --redis=redis://¤",
    "follow --once --redis=redis://127.0.0.1:1/0?client_name=¤",
    "follow --once --redis=redis://%1b%5b2J%0aFORGED:1/0",
    "follow --once --redis=redis://\u3164..a:1/0",
    "status --redis=redis://u:¤@127.0.0.1:1/0",
    "status --redis=redis://u:\udcff@127.0.0.1:1/0",
    "status --redis=redis://127.0.0.1:¤/0",
    "status --redis=redis://127.0.0.1:1/0?¤=1",
    "status --redis=redis+sentinel://127.0.0.1:1/%0aFORGED%1b",
    "status --redis=redis://127.0.0.1:1 --fleet=¤",
    "enable --redis=redis://127.0.0.1:1 --wait=¤",
    f"{FOLLOW} --node=¤",
]
ACCEPTED = [
    "enable --message=¤",
    "explain 127.0.0.1 --header=X-Forwarded-For:¤ --trusted-proxy=127.0.0.1",
    "explain 127.0.0.1 --header=X-Forwarded-For:¤",
    "explain 127.0.0.1 --header=X-Real-IP:¤ --client-ip-header=X-Real-IP --trusted-proxy=127.0.0.1",
    "explain 127.0.0.1 --path=/¤ --json",
    "explain 127.0.0.1 --path=¤",
]
VARIABLES = {
    "SUDO_USER": ["enable", "run false"],
    "SSH_CONNECTION": ["enable --ip=me"],
    "MAINTENANCE_DIR": [*COMMANDS, FOLLOW],
    "MAINTENANCE_REDIS": ["status", "enable", "follow"],
    "MAINTENANCE_FLEET": ["status --redis=redis://127.0.0.1:1"],
    "MAINTENANCE_NODE": [FOLLOW],
    "MAINTENANCE_¤": ["status"],
    "_MAINTENANCE_WSGI_COMPLETE": ["status"],
}
FILES: dict[str, dict[str, str]] = {
    "none": {},
    "list": {".maintenance.ip": f"203.0.113.7 {HOSTILE}\n# {HOSTILE}"},
    "garbage": {".maintenance.flag": HOSTILE, ".maintenance.ip": HOSTILE},
    "values": {
        ".maintenance.flag": json.dumps(
            dict.fromkeys(["message", "by", "until", "since", "retry_after", "holders"], HOSTILE)
        ),
        ".maintenance.ip": f"{HOSTILE},203.0.113.8",
    },
    "directories": {".maintenance.flag/a": "", ".maintenance.ip/a": ""},
}


class Case(NamedTuple):
    """A command line, the name of a variable that is hostile, and the files that are there."""

    line: str
    variable: str = ""
    files: str = "none"

    def __str__(self) -> str:
        return f"{self.line} {self.variable} {self.files}"

    def words(self) -> list[str]:
        return [word.replace("¤", HOSTILE) for word in self.line.split()]

    def variables(self) -> dict[str, str]:
        return {self.variable.replace("¤", HOSTILE): HOSTILE} if self.variable else {}


CASES = [Case(line) for line in REFUSED + ACCEPTED]
CASES += [Case(line, variable=name) for name, lines in VARIABLES.items() for line in lines]
CASES += [Case(line, files=kind) for kind in list(FILES)[1:] for line in COMMANDS]


def place_files(case: Case) -> None:
    """Leave in the working directory the state files of a case, and no other."""
    for name in (".maintenance.flag", ".maintenance.ip"):
        shutil.rmtree(name, ignore_errors=True)
        Path(name).unlink(missing_ok=True)
    for name, text in FILES[case.files].items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, errors="surrogateescape")


def run_all() -> None:
    """Run every case in this process: starting one for each would take a minute."""
    before = dict(os.environ)
    for case in CASES:
        place_files(case)
        os.environ.update(case.variables())
        sys.stdout.write("= next\n")
        try:
            main(case.words(), prog_name="maintenance-wsgi")
        except SystemExit:
            pass
        except Exception:  # noqa: BLE001 (it is a failure of its case only)
            traceback.print_exc()
        sys.stdout.flush()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory with a hostile name, and files whose names and contents are hostile."""
    directory = tmp_path_factory.mktemp("hostile") / HOSTILE
    (directory / "pages").mkdir(parents=True)
    page = f'<img src="{HOSTILE}"><style>@import "{HOSTILE}"</style>{{{{ {HOSTILE} }}}}'
    for name in ("page.html", f"page.{HOSTILE}.html", "page.de.html"):
        (directory / "pages" / name).write_text(page, errors="surrogateescape")
    for name, content in {"failing": b"#!/bin/sh\nexit 3\n", "broken": b"\x7fELF"}.items():
        (directory / f"{name}{HOSTILE}").write_bytes(content)
        (directory / f"{name}{HOSTILE}").chmod(0o755)
    (directory / HOSTILE).touch()
    return directory


@pytest.fixture(scope="module")
def on_terminal(directory: Path) -> dict[Case, str]:
    """Run every case on a terminal; return what each prints there."""
    arguments = ["-c", f"from {__name__} import run_all; run_all()"]
    variables = environ(MAINTENANCE_DIR=str(directory), TERM="xterm", PYTHONPATH=str(ROOT))
    terminal = pexpect.spawn(
        sys.executable, arguments, cwd=directory, env=variables, encoding="utf-8", timeout=110
    )
    _, *printed = terminal.read().split("= next\r\n")
    terminal.close()
    return dict(zip(CASES, printed, strict=True))


def assert_safe(output: str) -> None:
    shown = COLOURS.sub("", output.replace("\r\n", "\n"))
    assert not [c for c in shown if c != "\n" and printable(c) != c], shown
    assert not [line for line in shown.splitlines() if line.startswith("FORGED")]
    assert "Traceback" not in shown


@pytest.mark.parametrize("case", CASES, ids=str)
def test_foreign_text_is_safe_to_print(
    case: Case, on_terminal: dict[Case, str], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_safe(on_terminal[case])
    for name in os.environ:
        if "MAINTENANCE" in name:
            monkeypatch.delenv(name)
    for name, text in {"MAINTENANCE_DIR": str(directory), **case.variables()}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(directory)
    place_files(case)
    result = invoke(*case.words())
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code != 0 or case.line not in REFUSED
    assert_safe(result.output_bytes.decode())


def test_colours_are_the_only_escape_sequences(on_terminal: dict[Case, str]) -> None:
    """And there are some, so that the cases above have really run on a terminal."""
    assert COLOURS.search(on_terminal[Case("status", files="values")])
