"""Nothing foreign reaches a terminal raw, or begins a line of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.support.commands import invoke
from tests.support.processes import COMMAND, environ, run

# Escape sequences, line ends, a change of direction, characters without a width.
HOSTILE = "x\x1b[2J\r\nStatus: off\x85\u2028\u202e\u200b\u2066\ufeff\x9b31m\x07\u3164\u034f"
LINES = [
    ["enable", "--ip", HOSTILE],
    ["enable", "--until", HOSTILE],
    ["enable", "--retry-after", HOSTILE],
    ["enable", f"--{HOSTILE}"],
    ["allow-ips", HOSTILE],
    ["allow-ips", "--add", HOSTILE],
    ["maintenance:allow-ips", HOSTILE],
    [f"maintenance:{HOSTILE}"],
    [HOSTILE],
    [f"--{HOSTILE}", "status"],
    ["--dir", HOSTILE, "status"],
    ["--dir", HOSTILE, "enable"],
    ["--dir", HOSTILE, "explain", "1.2.3.4"],
    ["status", "--redis", HOSTILE],
    ["status", "--redis", f"redis://{HOSTILE}/0"],
    ["status", "--redis", "redis://127.0.0.1:1", "--fleet", HOSTILE],
    ["follow", "--redis", "redis://127.0.0.1:1", "--node", HOSTILE, "--once"],
    ["explain", HOSTILE],
    ["explain", "1.2.3.4", "--path", HOSTILE, "--exempt-path", "/a"],
    ["explain", "1.2.3.4", "--header", f"X-Forwarded-For: {HOSTILE}"],
    ["explain", "1.2.3.4", "--header", HOSTILE],
    ["explain", "1.2.3.4", "--client-ip-header", HOSTILE],
    ["explain", "1.2.3.4", "--trusted-proxy", HOSTILE],
    ["explain", "1.2.3.4", "--exempt-path", HOSTILE],
    ["check", "--user", HOSTILE],
    ["check", "--trusted-proxy", HOSTILE],
    ["check", "--page", HOSTILE],
    ["run", "--", HOSTILE],
]
FILES = [["status"], ["allow-ips"], ["check"], ["explain", "1.2.3.4"], ["disable"], ["enable"]]


def assert_clean(printed: str, line: object) -> None:
    for shown in printed.split("\n"):
        assert shown.isprintable(), (line, shown)
        assert "\u3164" not in shown
        assert "\u034f" not in shown
        assert not shown.startswith("Status: off"), line


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line).replace(HOSTILE, "!"))
def test_argument_is_escaped(line: list[str], var: Path) -> None:
    prefix = [] if "--dir" in line else ["--dir", str(var)]
    result = invoke(*prefix, *line)
    assert result.exit_code in {1, 2, 127} or line[0] in {"explain", "check"}
    assert "Traceback" not in result.output
    assert_clean(result.output, line)


@pytest.mark.parametrize("line", FILES, ids=" ".join)
@pytest.mark.parametrize("is_object", [True, False], ids=["json", "garbage"])
def test_content_of_the_files_is_escaped(
    line: list[str], flag: Path, ip_list: Path, *, is_object: bool
) -> None:
    members = dict.fromkeys(("message", "by", "until", "since", HOSTILE), HOSTILE)
    flag.write_text(json.dumps(members) if is_object else HOSTILE, encoding="utf-8")
    ip_list.write_text(f"203.0.113.7,{HOSTILE}\n{HOSTILE}", encoding="utf-8", newline="")
    result = invoke("--dir", str(flag.parent), *line)
    assert_clean(result.output, line)


def test_name_of_a_page_is_escaped(var: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "page.html").touch()
    (pages / "page.\x1b[31m\nStatus: off.html").touch()
    result = invoke("--dir", str(var), "check", "--page", str(pages))
    assert "is never served" in result.output
    assert_clean(result.output, "check")


def test_name_of_the_operator_is_written_escaped(var: Path, flag: Path) -> None:
    run(COMMAND, "--dir", var, "enable", env=environ(SUDO_USER="ceo\nStatus: off\x1b[31m"))
    by = json.loads(flag.read_text())["by"]
    assert by.isprintable()
    assert by.startswith("ceo")


def test_terminal_gets_no_sequence_but_colours(var: Path, flag: Path, ip_list: Path) -> None:
    flag.write_text(json.dumps({"message": HOSTILE}))
    ip_list.write_text(HOSTILE, encoding="utf-8")
    text = str(pexpect.run(f"{COMMAND} --dir {var} status", env=environ(), encoding="utf-8"))
    for colour in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"):
        text = text.replace(colour, "")
    assert "Message: x" in text
    assert_clean(text.replace("\r\n", "\n"), "status")


def test_run_keeps_the_password_of_the_fleet_to_itself(var: Path) -> None:
    program = "import os; print(sorted(name for name in os.environ if 'MAINTENANCE' in name))"
    printed = subprocess.run(
        [COMMAND, "--dir", var, "run", "-q", "--redis=", "--", sys.executable, "-c", program],
        env=environ(MAINTENANCE_REDIS="redis://:secret@127.0.0.1:1/0", MAINTENANCE_FLEET="shop"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "['MAINTENANCE_FLEET']\n"
    assert "PATH" in os.environ
