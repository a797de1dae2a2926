import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.cli import main
from maintenance_wsgi.state.users import current_user
from tests.support.commands import invoke
from tests.support.data import load_cases
from tests.support.needs import need, need_root
from tests.support.processes import COMMAND, age, environ, run, unmeasured

pytestmark = pytest.mark.usefixtures("var")


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "var"
    directory.mkdir()
    monkeypatch.chdir(tmp_path)
    return directory


def outcome(*arguments: str) -> tuple[int, str]:
    result = invoke(*arguments)
    return result.exit_code, result.stdout


# Where this project differs from Magento on purpose: what it prints on standard output, and what
# the list holds afterwards. A refusal goes to standard error, with Magento's words.
STATUS_ON = "Status: maintenance mode is enabled\n"
DIFFERENT: dict[str, tuple[int, str, str | None]] = {
    "enable-ip-hostbits": (
        0,
        "Enabled maintenance mode\nSet exempt IP-addresses: 10.0.0.0/8\n",
        "10.0.0.0/8",
    ),
    "enable-comma": (1, "", None),
    "status-spaces": (
        0,
        STATUS_ON + "List of exempt IP-addresses: 203.0.113.7 203.0.113.8\n",
        "203.0.113.7, 203.0.113.8",
    ),
    "allow-noargs": (0, "List of exempt IP-addresses: 203.0.113.7\n", "203.0.113.7"),
    "allow-noargs-off": (0, "List of exempt IP-addresses: none\n", None),
    "allow-word-none": (1, "", "203.0.113.7"),
    "add-emptyfile": (0, "Set exempt IP-addresses: 203.0.113.7\n", "203.0.113.7"),
    "add-spaces": (
        0,
        "Set exempt IP-addresses: 203.0.113.7 10.0.0.1 203.0.113.8\n",
        "203.0.113.7, 10.0.0.1,203.0.113.8",
    ),
    "add-trailing-comma": (
        0,
        "Set exempt IP-addresses: 203.0.113.7 203.0.113.8\n",
        "203.0.113.7,203.0.113.8",
    ),
    "add-v6-case": (0, "Set exempt IP-addresses: 2001:db8::1\n", "2001:DB8::1"),
}


@pytest.mark.parametrize("case", load_cases("cli.json"), ids=lambda case: case["id"])
def test_given_transcript(case: dict[str, Any], flag: Path, ip_list: Path) -> None:
    if case["before"]["flag"]:
        flag.touch()
    if case["before"]["ip_file"] is not None:
        ip_list.write_text(case["before"]["ip_file"])
    magento = (case["exit"], case["stdout"], case["after"]["ip_file"])
    code, stdout, ip_text = DIFFERENT.get(case["id"], magento)
    result = invoke(*case["argv"])
    assert (result.exit_code, result.stdout) == (code, stdout), result.output
    assert flag.exists() is case["after"]["flag"]
    assert (ip_list.read_text() if ip_list.exists() else None) == ip_text
    if code == case["exit"] == 1:
        assert result.stderr.startswith(case["stdout"])


# Prefix lengths that only PHP's idea of a number makes good; Magento masks with some of them
# everybody in.
ODD_MASKS = {
    "val-077-none-allowed": "10.0.0.0/08",
    "val-078-none-allowed": "10.0.0.0/8.0",
    "val-079-none-allowed": "10.0.0.0/8.5",
    "val-084-none-refused": "10.0.0.0/ 8",
    "val-032-none-refused": "0.0.0.0",  # no client has it, nor the next
    "val-041-none-allowed": "::",
}
# Blanks and line ends around an entry are dropped: they come with what people paste.
STRIPPED = {f"val-0{number}" for number in (17, 22, 24, 85, 86, 88)}


def as_shown(message: str) -> str:
    """Return one of Magento's messages as it is shown, its entry without blanks around it."""
    entry = message.removeprefix("Invalid IP ").strip(" \n")
    if message.startswith("Invalid IP ") and not (entry.isascii() and entry.isprintable()):
        entry = ascii(entry)
    return f"Invalid IP {entry}" if message.startswith("Invalid IP ") else message


@pytest.mark.parametrize("case", load_cases("validator.json"), ids=lambda case: case["id"])
def test_given_validation(case: dict[str, Any], var: Path) -> None:
    odd = ODD_MASKS.get(case["id"])
    expected = case["messages"] if odd is None else [f"Invalid IP {odd}"]
    if case["id"][:7] in STRIPPED:
        expected = []
    if case["none_allowed"]:
        result = invoke("maintenance:enable", *(f"--ip={ip}" for ip in case["ips"]))
    else:
        result = invoke("maintenance:allow-ips", "--", *case["ips"])
    # Nothing that is typed breaks a line, or hides in one.
    lines = [as_shown(message) for message in expected]
    assert result.exit_code == (1 if lines else 0)
    assert result.stderr.splitlines()[: len(lines)] == lines
    assert result.stderr.count("Invalid IP") == "".join(lines).count("Invalid IP")
    assert not lines or os.listdir(var) == []


@pytest.mark.parametrize("command", ["enable", "maintenance:enable"])
def test_none_is_used_once_and_alone(command: str, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.9")
    result = invoke(command, "--ip=none", "--ip=none")
    assert result.exit_code == (1 if ":" in command else 2)
    assert result.stderr.startswith("'none' can be only used once\n")
    assert ip_list.read_text() == "203.0.113.9"
    assert invoke(command, "--ip=none").exit_code == 0
    assert not ip_list.exists()


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("enable", 0),
        ("maintenance:enable", 0),
        ("maint:en", 0),
        ("m:e", 0),
        ("m:x", 2),
        ("cache:enable", 2),
        (":enable", 2),
        ("en", 2),
    ],
)
def test_command_names(typed: str, code: int, var: Path) -> None:
    assert invoke(typed).exit_code == code
    assert (var / ".maintenance.flag").exists() is (code == 0)


def test_magento_names_go_before_ours(var: Path) -> None:
    assert invoke("maintenance:e").exit_code == 0
    assert invoke("maintenance:check", "--user", current_user()).exit_code == 0
    assert invoke("maintenance:che").exit_code == 2
    assert os.listdir(var) == [".maintenance.flag"]


@pytest.mark.parametrize("typed", ["maintenance:", "maintenance"])
def test_ambiguous_abbreviation_is_refused(typed: str, var: Path) -> None:
    result = invoke(typed)
    assert result.exit_code == 2
    assert "maintenance:allow-ips, maintenance:disable" in result.stderr
    assert os.listdir(var) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("up", "disable"),
        ("off", "disable"),
        ("stop", "disable"),
        ("down", "enable"),
        ("on", "enable"),
        ("start", "enable"),
        ("list", "allow-ips"),
        ("add", "allow-ips --add"),
        ("remove", "allow-ips --remove"),
        ("enabel", "enable"),
        ("maintenance:enabel", "maintenance:enable"),
        ("maintenence:enable", "maintenance:enable"),
        ("maintenance:up", "maintenance:disable"),
    ],
)
def test_name_of_another_tool_or_a_mistyped_one_is_answered(
    typed: str, meant: str, var: Path
) -> None:
    result = invoke(typed)
    assert result.exit_code == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?\n" in result.stderr
    assert os.listdir(var) == []


def test_nothing_is_suggested_for_a_name_that_resembles_none() -> None:
    assert "No such command 'xyz'.\n" in invoke("xyz").stderr


@pytest.mark.parametrize(
    ("option", "commands"),
    [
        pytest.param("--ip", "disable, enable, run", id="with-a-value"),
        pytest.param("--read-only", "enable, run", id="without-a-value"),
        pytest.param("--exit-code", "status", id="of-one-command"),
    ],
)
def test_option_before_its_command_is_answered_with_its_place(
    option: str, commands: str, var: Path
) -> None:
    result = invoke(option, "203.0.113.7", "enable")
    assert result.exit_code == 2
    place = f"belongs to a command ({commands}); give it after the command's name"
    assert f"Error: {option}: {place}\n" in result.stderr
    assert os.listdir(var) == []


def test_one_option_is_suggested() -> None:
    suggestion = invoke("enable", "--ips").stderr.splitlines()[-1].partition("--ips")[2]
    assert re.findall(r"--[a-z]+", suggestion) == ["--ip"]


@pytest.mark.parametrize(
    "option",
    ["-n", "--no-interaction", "--ansi", "--no-ansi", "-v", "-vv", "-vvv", "-q", "--quiet"],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_options_of_symfony_are_accepted(option: str, place: str, flag: Path) -> None:
    name = ["maintenance:enable"]
    result = invoke(*([option, *name] if place == "before" else [*name, option]))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == ("" if "-q" in option else "Enabled maintenance mode\n")
    assert flag.exists()


@pytest.mark.parametrize("arguments", [["-V"], ["maintenance:enable", "-V"], ["-n", "--version"]])
def test_version_is_told_and_nothing_done(arguments: list[str], var: Path) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("maintenance-wsgi, version ")
    assert os.listdir(var) == []


def test_options_of_symfony_are_those_of_its_names_only() -> None:
    result = invoke("enable", "--no-interaction")
    assert (result.exit_code, "--no-interaction" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "no_color", "is_coloured"),
    [
        (["maintenance:status"], "", True),
        (["--no-ansi", "maintenance:status"], "", False),
        (["maintenance:status", "--no-ansi"], "", False),
        (["status"], "1", False),
        (["--ansi", "status"], "1", True),
    ],
)
def test_colours_can_be_switched_off(
    arguments: list[str], no_color: str, *, is_coloured: bool
) -> None:
    """On a terminal."""
    result = CliRunner(env={"NO_COLOR": no_color}).invoke(main, arguments, color=True)
    assert ("\x1b[" in result.stdout) is is_coloured


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--nope"], 2, "--nope"),
        (["enable", "extra"], 2, "extra"),
        (["enable", "--message"], 2, "--message"),
        (["enable", "--ip=203.0.113.7", "--ip=nope"], 2, "Invalid IP nope"),
        (["enable", "--ip="], 2, "Invalid IP"),
        (["enable", "--ip=203.0.113.7", "--until=tomorrow"], 2, "'tomorrow'"),
        (["enable", "--ip=203.0.113.7", "--until=2001-01-01T00:00:00Z"], 2, "past"),
        (["enable", "--ip=203.0.113.7", "--until=2001-01-01 10:00"], 2, "past"),
        (["enable", "--ip=203.0.113.7", "--until=2033-02-30 10:00"], 2, "2033-02-30"),
        (["enable", "--ip=203.0.113.7", "--until=+0m"], 2, "past"),
        (["enable", "--ip=203.0.113.7", "--until=+"], 2, "'+'"),
        (["enable", "--ip=203.0.113.7", "--until=+99999999999d"], 2, "+99999999999d"),
        (["enable", "--ip=203.0.113.7", "--retry-after=soon"], 2, "'soon'"),
        (["enable", "--ip=203.0.113.7", "--retry-after", "-5"], 2, "'-5'"),
        (["enable", "--ip=203.0.113.7", "--retry-after=9999999999"], 2, "9999999999"),
        (["enable", "--ip=203.0.113.7", f"--message={'x' * 70_000}"], 2, "shorten the message"),
        (["enable", "--message=bad \udcff byte"], 2, "message: holds bytes that are not UTF-8; "),
        (["run", "--message-in", "de", "\udcff", "true"], 2, "not UTF-8; write it in UTF-8"),
        (["enable", "--ip=203.0.113.7", "--until=2033-12-01"], 2, "use '2033-12-01 18:00'"),
        (["enable", "--ip=203.0.113.7", "--until=24:00"], 2, "use 90m, +1h30m, 22:00"),
        (["enable", "--ip=203.0.113.7", "--until=90"], 2, "'90'"),
        (["enable", "--ip=203.0.113.7,203.0.113.8"], 2, "repeat --ip for each"),
        (["enable", "--ip=203.0.113.7", "--until=2033-12-01+01:00"], 2, "'2033-12-01+01:00'"),
        (["enable", "--ip=203.0.113.7", "--until=\x1b[31m"], 2, r"'\x1b[31m'"),
        (["enable", "--ip=\x1b[31m"], 2, r"Invalid IP '\x1b[31m'"),
        (["disable", "--ip=nope"], 2, "Invalid IP nope"),
        (["allow-ips", "203.0.113.8", "none"], 2, "'none' is not allowed"),
        (["allow-ips", "--add", "nope"], 2, "Invalid IP nope"),
        (["--dir=", "enable"], 2, "''"),
        (["--dir=no", "enable"], 1, "does not exist"),
        (["--dir=.maintenance", "status"], 1, "does not exist"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_refused_command_changes_nothing(
    arguments: list[str], code: int, named: str, var: Path
) -> None:
    (var / ".maintenance.ip").write_text("203.0.113.9")
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(var) == [".maintenance.ip"]
    assert (var / ".maintenance.ip").read_text() == "203.0.113.9"


@pytest.mark.parametrize("name", ["maintenance:enable", "maint:en"])
@pytest.mark.parametrize(
    "argument",
    ["--ip=nope", "--ip", "--until=tomorrow", "--until=+0m", "--retry-after=soon", "--x", "x"],
)
def test_wrong_usage_of_magentos_name_exits_as_magento_does(
    name: str, argument: str, var: Path
) -> None:
    result = invoke(name, argument)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: " in result.stderr
    assert os.listdir(var) == []


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("+90m", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("5m", timedelta(minutes=5)),
        ("+90s", timedelta(seconds=90)),
        ("+2d", timedelta(days=2)),
        ("+1h 30m", timedelta(minutes=90)),
        ("+2h", timedelta(hours=2)),
        ("+1d2h3m", timedelta(days=1, hours=2, minutes=3)),
    ],
)
def test_until_takes_a_duration(text: str, after: timedelta, var: Path) -> None:
    now = datetime.now(UTC)
    invoke("enable", "--until", text)
    until = MaintenanceMode(var).status().window.until
    assert until is not None
    assert abs(until - now - after) < timedelta(seconds=10)


@pytest.mark.parametrize(
    "text",
    [
        "2033-12-01T18:00+01:00",
        "2033-12-01T18:00:00.00+01:00",
        "2033-12-01T18:00:00+01:00",
        "2033-12-01 17:00:00Z",
        "2033-12-01T22:45:00+05:45",
    ],
)
def test_until_takes_rfc_3339(text: str, var: Path) -> None:
    invoke("enable", "--until", text)
    assert MaintenanceMode(var).status().window.until == datetime(2033, 12, 1, 17, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2033-12-01 18:00", "2033-12-01T18:00:00"])
def test_until_takes_a_local_time(text: str, var: Path) -> None:
    invoke("enable", "--until", text)
    assert MaintenanceMode(var).status().window.until == datetime(2033, 12, 1, 18).astimezone()


@pytest.mark.parametrize("minutes", [-1, 2])
def test_until_takes_the_next_time_of_the_clock(minutes: int, var: Path) -> None:
    before = datetime.now().astimezone()
    clock = f"{before + timedelta(minutes=minutes):%H:%M}"
    assert invoke("enable", "--until", clock).exit_code == 0
    until = MaintenanceMode(var).status().window.until
    assert until is not None
    assert f"{until.astimezone():%H:%M:%S}" == f"{clock}:00"
    assert before < until <= datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("now", "typed", "until"),
    [
        pytest.param("2026-06-01 19:59", "22:00", "2026-06-01T22:00:00+02:00", id="today"),
        pytest.param("2026-06-01 20:00", "22:00", "2026-06-02T22:00:00+02:00", id="tomorrow"),
        pytest.param("2026-06-01 20:00", "9:00", "2026-06-02T09:00:00+02:00", id="one-digit"),
        pytest.param("2026-10-25 00:10", "02:30", "2026-10-25T02:30:00+02:00", id="first-of-two"),
        pytest.param("2026-10-25 00:50", "02:30", "2026-10-25T02:30:00+01:00", id="second-of-two"),
        pytest.param("2026-03-29 00:30", "02:30", "2026-03-29T03:30:00+02:00", id="left-out"),
        pytest.param("2026-03-28 23:10", "02:30", "2026-03-29T03:30:00+02:00", id="left-out-soon"),
        pytest.param(
            "2026-03-28 23:10", "2026-03-29 02:30", "2026-03-29T03:30:00+02:00", id="left-out-date"
        ),
    ],
)
def test_time_of_the_clock_when_summer_time_begins_and_ends(
    now: str, typed: str, until: str, flag: Path
) -> None:
    """`now` is in UTC, and the clock shows the time of Central Europe."""
    zone = "TZ=CET-1CEST,M3.5.0,M10.5.0/3"
    shifted = [need("faketime"), now, "env", zone, COMMAND, "enable", "--until", typed]
    run(*shifted, env=environ(TZ="UTC"))
    assert json.loads(flag.read_text())["until"] == until


def test_until_none_takes_the_planned_end_back(var: Path) -> None:
    invoke("enable", "--until=+2h", "--message=Umzug")
    assert invoke("enable", "--until=none").exit_code == 0
    window = MaintenanceMode(var).status().window
    assert (window.until, window.message) == (None, "Umzug")
    invoke("disable")
    assert invoke("enable", "--until=none").exit_code == 0
    assert MaintenanceMode(var).status().window.until is None


@pytest.mark.parametrize(
    ("connection", "exempt"),
    [
        ("203.0.113.7 50000 10.0.0.1 22", "203.0.113.7"),
        ("2001:DB8::7 50000 ::1 22", "2001:db8::7"),
        ("::ffff:203.0.113.7 50000 10.0.0.1 22", "203.0.113.7"),
    ],
)
def test_me_is_who_is_connected_by_ssh(
    connection: str, exempt: str, ip_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", connection)
    assert outcome("enable", "--ip=me", "--ip=10.0.0.0/8")[0] == 0
    assert ip_list.read_text() == f"{exempt},10.0.0.0/8"


@pytest.mark.parametrize("connection", [None, "", "UNKNOWN 65535 UNKNOWN 65535"])
def test_me_without_ssh_is_refused(
    connection: str | None, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    if connection is not None:
        monkeypatch.setenv("SSH_CONNECTION", connection)
    result = invoke("enable", "--ip=me")
    assert result.exit_code == 2
    assert "SSH_CONNECTION" in result.stderr
    assert os.listdir(var) == []


def details(*arguments: str) -> dict[str, str]:
    """Return what `status` says, by its names."""
    code, stdout = outcome("status", *arguments)
    assert code == 0
    return dict(line.split(": ", 1) for line in stdout.splitlines())


@pytest.fixture
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_berlin")
@pytest.mark.parametrize(
    ("shift", "distance"),
    [
        (timedelta(seconds=10), "in 0 min"),
        (timedelta(minutes=40), "in 40 min"),
        (timedelta(minutes=60), "in 1 h 0 min"),
        (timedelta(hours=49, minutes=3), "in 2 d 1 h 3 min"),
        (timedelta(minutes=-5), "overdue by 5 min"),
    ],
    ids=str,
)
def test_end_is_told_in_local_time_and_as_a_distance(
    shift: timedelta, distance: str, flag: Path
) -> None:
    until = datetime.now(UTC) + shift + timedelta(seconds=10)
    flag.write_text(json.dumps({"until": until.isoformat()}))
    local = f"{until.astimezone():%Y-%m-%d %H:%M}"
    zone = "CEST" if time.localtime(until.timestamp()).tm_isdst else "CET"
    assert details()["Until"] == f"{local} {zone} ({distance})"


def test_end_that_no_zone_can_show_is_told(flag: Path) -> None:
    flag.write_text('{"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}')
    assert details()["Until"].startswith("9999-12-31 23:59 UTC (in ")


def test_status_prints_no_escape_sequence_of_the_flag(flag: Path) -> None:
    flag.write_text(r'{"message": "a\nb\u200b", "by": "\u202eanna"}')
    found = details()
    assert (found["By"], found["Message"]) == (r"\u202eanna", r"a\nb\u200b")


def test_status_tells_what_is_known(var: Path) -> None:
    invoke("enable", "--message", "Umzug", "--until", "+40m", "--retry-after", "60")
    lines = outcome("status")[1].splitlines()
    assert lines[0] == f"Status: maintenance mode is enabled in {var}"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "Since",
        "By",
        "Until",
        "Message",
        "Retry after",
        "Exempt",
    ]
    assert details()["Since"].endswith(" (0 min ago)")
    assert details()["Until"].endswith(" (in 40 min)")
    invoke("disable")
    off = f"Status: maintenance mode is disabled in {var}\nExempt: none\n"
    assert outcome("status") == (0, off)


def test_status_shows_ten_entries_and_counts_the_others(ip_list: Path) -> None:
    entries = [f"203.0.113.{number}" for number in range(1, 201)]
    ip_list.write_text("\n".join(entries[:10]))
    assert details()["Exempt"] == ", ".join(entries[:10])
    ip_list.write_text("\n".join(entries))
    assert details()["Exempt"] == f"{', '.join(entries[:10])} and 190 more"
    assert outcome("allow-ips")[1] == f"List of exempt IP-addresses: {' '.join(entries)}\n"


def test_touched_flag_has_the_time_and_the_owner_of_its_file(flag: Path) -> None:
    need_root()
    flag.touch()
    shutil.chown(flag, "www-data")
    age(flag, 8 * 60)
    assert details()["Since"].endswith(" (8 min ago, the file's time)")
    assert details()["By"] == "www-data, the file's owner"
    os.chown(flag, 54321, -1)
    assert details()["By"] == "uid 54321, the file's owner"


def test_message_in_more_languages(var: Path) -> None:
    def messages(*arguments: str) -> object:
        assert invoke("enable", *arguments).exit_code == 0
        return MaintenanceMode(var).status().window.messages

    assert messages("--message-in", "de", "Umzug", "--message-in", "pt_BR", "Mudança") == {
        "de": "Umzug",
        "pt-BR": "Mudança",
    }
    assert messages("--message-in", "pt-BR", "") == {"de": "Umzug"}
    assert details()["Message in de"] == "Umzug"
    assert messages("--message", "Moving") is None


@pytest.mark.parametrize(
    ("pairs", "named"),
    [
        (["de", "a", "de", "b"], "a language is given twice"),
        (["de, en", "a"], "'de, en' is not a valid language tag"),
    ],
)
def test_translation_that_is_refused_changes_nothing(
    pairs: list[str], named: str, flag: Path
) -> None:
    options = [
        word
        for tag, text in zip(pairs[::2], pairs[1::2], strict=True)
        for word in ("--message-in", tag, text)
    ]
    result = invoke("enable", *options)
    assert result.exit_code == 2
    assert named in result.stderr
    assert not flag.exists()


def test_link_to_a_flag_that_is_off_tells_no_time(flag: Path, tmp_path: Path) -> None:
    flag.symlink_to(tmp_path / "shop.flag")
    assert not {"Since", "By"} & details().keys()


@pytest.mark.parametrize("name", ["maintenance:status", "m:s"])
def test_magentos_status_is_two_lines(name: str, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7")
    invoke("enable", "--message=a", "--until=+40m")
    assert outcome(name) == (0, f"{STATUS_ON}List of exempt IP-addresses: 203.0.113.7\n")


def test_switch_says_where_until_when_and_for_whom(var: Path) -> None:
    code, stdout = outcome("enable", "--ip=203.0.113.7", "--until=+40m")
    until = f"until {details()['Until']}"
    assert (code, stdout) == (
        0,
        f"Enabled maintenance mode in {var} {until}\nExempt: 203.0.113.7\n",
    )
    assert until.endswith(" (in 40 min)")
    assert outcome("disable") == (0, f"Disabled maintenance mode in {var}\n")
    enabled = f"Enabled maintenance mode in {var}\nExempt: 203.0.113.7\n"
    assert outcome("enable", "--dir=var") == (0, enabled)


def test_switch_says_that_nothing_has_changed(var: Path, flag: Path) -> None:
    assert outcome("disable") == (0, f"Maintenance mode was already off ({var})\n")
    flag.touch()
    already = f"Maintenance mode was already on ({var})\nExempt: none\n"
    assert outcome("enable") == (0, already)
    stdout = outcome("enable", "--until=+40m")[1]
    assert stdout.startswith(f"Updated maintenance mode in {var} until ")
    stdout = outcome("enable", "--add-ip=203.0.113.7")[1]
    assert stdout.startswith(f"Updated maintenance mode in {var} until ")
    stdout = outcome("enable", "--add-ip=203.0.113.7")[1]
    assert stdout.startswith(f"Maintenance mode was already on ({var}) until ")
    assert outcome("disable", "--ip=203.0.113.7")[1].endswith("\nExempt: 203.0.113.7\n")


def test_magentos_switch_says_the_same_as_magento_the_second_time(flag: Path) -> None:
    for _ in range(2):
        assert outcome("maintenance:enable", "--until=+40m") == (0, "Enabled maintenance mode\n")
    for _ in range(2):
        assert outcome("maintenance:disable") == (0, "Disabled maintenance mode\n")
    assert not flag.exists()


def test_status_as_json(var: Path, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7,nope")
    until = "2033-12-01T18:00:00+01:00"
    invoke("enable", "--message=Umzug", "--until", until, "--retry-after=60")
    invoke("enable", "--message-in", "de", "Wir ziehen um")
    result = invoke("status", "--json")
    found = json.loads(result.stdout)
    assert datetime.fromisoformat(found.pop("since")) <= datetime.now(UTC)
    assert "@" in found.pop("by")
    assert found == {
        "enabled": True,
        "directory": str(var),
        "exempt": ["203.0.113.7"],
        "invalid": ["nope"],
        "message": "Umzug",
        "messages": {"de": "Wir ziehen um"},
        "until": "2033-12-01T18:00:00+01:00",
        "retry_after": 60,
        "bypass": False,
        "read_only": False,
    }
    assert "'nope'" in result.stderr
    invoke("disable")
    assert json.loads(invoke("status", "--json").stdout) == {
        "enabled": False,
        "directory": str(var),
        "exempt": ["203.0.113.7"],
        "invalid": ["nope"],
        "since": None,
        "by": None,
        "message": None,
        "messages": None,
        "until": None,
        "retry_after": None,
        "bypass": False,
        "read_only": False,
    }


def test_exit_code_of_status_is_for_scripts() -> None:
    assert outcome("status", "-q", "--exit-code") == (1, "")
    invoke("enable")
    assert outcome("status", "-q", "--exit-code") == (0, "")
    assert outcome("status", "-q") == (0, "")


def test_allow_ips_without_arguments_prints_the_list_and_its_faults(ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7\n\x1b[31m\n")
    result = invoke("allow-ips")
    assert result.stdout == "List of exempt IP-addresses: 203.0.113.7\n"
    assert r"'\x1b[31m'" in result.stderr
    assert invoke("allow-ips", "-q").stdout == ""


TEAM = "# the team\r\n203.0.113.7 # anna\r\n\r\n203.0.113.8, 10.0.0.0/8 nope\r\n"


@pytest.mark.parametrize("name", ["allow-ips", "maintenance:allow-ips"])
def test_list_that_a_person_wrote_is_changed_line_by_line(name: str, ip_list: Path) -> None:
    ip_list.write_bytes(TEAM.encode())
    result = invoke(name, "--add", "203.0.113.9", "203.0.113.7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ip_list.read_bytes() == f"{TEAM}203.0.113.9\r\n".encode()
    result = invoke(name, "--remove", "203.0.113.9", "203.0.113.8")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Set exempt IP-addresses: 203.0.113.7 10.0.0.0/8\n"
    assert ip_list.read_bytes() == TEAM.replace("203.0.113.8, ", "").encode()


def test_enable_adds_to_the_list(ip_list: Path) -> None:
    ip_list.write_text(TEAM)
    assert invoke("enable", "--add-ip=203.0.113.9", "--add-ip=2001:db8::7").stderr == ""
    assert ip_list.read_text() == f"{TEAM}203.0.113.9\n2001:db8::7\n".replace("\r", "")
    invoke("enable", "--ip=203.0.113.5", "--add-ip=203.0.113.9")
    assert ip_list.read_text() == "203.0.113.5,203.0.113.9"


def test_removing_what_is_not_there_is_an_error_that_names_it(ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7,10.0.0.0/8")
    result = invoke("allow-ips", "--remove", "203.0.113.7", "10.0.0.1", "203.0.113.9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "10.0.0.1, 203.0.113.9 not found in the list" in result.stderr
    assert ip_list.read_text() == "203.0.113.7,10.0.0.0/8"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["enable", "--ip=203.0.113.7"],
            "203.0.113.8, 10.0.0.0/8, 'nope', '# the team', '# anna'\n",
        ),
        (["disable", "--ip=10.0.0.0/8"], "203.0.113.7, 203.0.113.8, 'nope', "),
        (["allow-ips", "203.0.113.7", "10.0.0.0/8"], "203.0.113.8, 'nope', '# the team', "),
        (["allow-ips", "--none"], "203.0.113.7, 203.0.113.8, 10.0.0.0/8, 'nope', "),
        (["maintenance:enable", "--ip=203.0.113.7"], "203.0.113.8, 10.0.0.0/8, 'nope', "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_replaced_list_is_named(arguments: list[str], named: str, ip_list: Path) -> None:
    ip_list.write_text(TEAM)
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert f"Warning: dropped from the list: {named}" in result.stderr


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("# a \n203.0.113.7\n", ""),
        ("# a\n203.0.113.7,-5 x,203.0.113.8 // b\n", "'-5', '# a', '// b'"),
        ("# a\n203.0.113.8\0,203.0.113.7", r"'203.0.113.8\x00', '# a'"),
    ],
)
def test_what_is_lost_with_a_removed_entry_is_named(
    content: str, named: str, ip_list: Path
) -> None:
    ip_list.write_text(content)
    result = invoke("allow-ips", "--remove", "203.0.113.7/32")
    warning = f"Warning: dropped from the list: {named}\n" if named else ""
    assert (result.exit_code, result.stderr) == (0, warning)


def test_replaced_list_is_named_in_one_line_of_ten_entries(ip_list: Path) -> None:
    ip_list.write_text("\n".join(f"203.0.113.{number} # \x1b[31m" for number in range(1, 30)))
    (line,) = invoke("allow-ips", "--none").stderr.splitlines()
    assert line.endswith("203.0.113.10 and 20 more")


def test_list_that_is_replaced_by_itself_is_not_named(ip_list: Path) -> None:
    ip_list.write_text("203.0.113.8\n203.0.113.7\n")
    assert invoke("enable", "--ip=203.0.113.7", "--ip=203.0.113.8").stderr == ""


def test_list_in_utf_16_is_kept_as_utf_8(ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7 # Büro\r\n", encoding="utf-16", newline="")
    result = invoke("allow-ips", "--add", "203.0.113.8")
    assert "was in UTF-16, and is in UTF-8 now" in result.stderr
    assert ip_list.read_bytes() == "203.0.113.7 # Büro\r\n203.0.113.8\r\n".encode()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("allow-ips --none 203.0.113.7", 2),
        ("allow-ips --none --add 203.0.113.7", 2),
        ("allow-ips --none --remove", 2),
        ("allow-ips --add --remove 203.0.113.7", 2),
        ("maintenance:allow-ips --none --remove", 1),
        ("maintenance:allow-ips --none --remove 203.0.113.9", 1),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(
    line: str, code: int, ip_list: Path
) -> None:
    ip_list.write_text("203.0.113.9")
    result = invoke(*line.split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert "--none takes no IP" in result.stderr
    assert ip_list.read_text() == "203.0.113.9"


@pytest.mark.parametrize("option", ["--add", "--remove"])
def test_change_of_the_list_without_an_ip_is_wrong_usage(option: str) -> None:
    """An unquoted variable that is empty; Magento prints the list."""
    result = invoke("allow-ips", option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--add and --remove need an IP" in result.stderr
    assert outcome("maintenance:allow-ips", option) == (0, "List of exempt IP-addresses: none\n")


DANGERS = {
    "0.0.0.0/1": "exempts the whole Internet or much of it",
    "127.0.0.1": "exempts this host, and every client behind a proxy",
    "::1": "exempts this host, and every client behind a proxy",
    "10.0.0.5": "covers a trusted proxy",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["enable", "--ip"],
        ["enable", "--add-ip"],
        ["disable", "--ip"],
        ["allow-ips"],
        ["allow-ips", "--add"],
        ["maintenance:enable", "--ip"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("entry", DANGERS)
def test_dangerous_entry_is_warned_of_as_it_is_typed(
    arguments: list[str], entry: str, ip_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXIES", "10.0.0.0/24,unix:")
    result = invoke(*arguments, entry)
    assert result.exit_code == 0
    assert f"Warning: {entry} {DANGERS[entry]}" in result.stderr
    assert ip_list.read_text() == entry
    stderr = invoke(*arguments, "203.0.113.7").stderr
    assert DANGERS[entry] not in stderr
    assert "203.0.113.7" not in stderr


@pytest.mark.parametrize("entry", ["0.0.0.0/0", "::/0"])
@pytest.mark.parametrize("arguments", [["enable", "--ip"], ["allow-ips"], ["run", "--ip"]], ids=str)
def test_whole_internet_needs_force(arguments: list[str], entry: str, var: Path) -> None:
    command = ["true"] if arguments[0] == "run" else []
    result = invoke(*arguments, entry, *command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{entry} exempts the whole Internet" in result.stderr
    assert "use --force" in result.stderr
    assert os.listdir(var) == []
    result = invoke(arguments[0], "--force", *arguments[1:], entry, *command)
    assert result.exit_code == 0
    assert f"Warning: {entry} exempts the whole Internet" in result.stderr


@pytest.mark.parametrize(
    ("connection", "warning"),
    [
        ("10.0.3.4 50000 10.0.0.1 22", "10.0.3.4 is private, and seen by SSH only"),
        ("2a00:1450::7 50000 ::1 22", "exempt 2a00:1450::7/64, which stays the same"),
        ("8.8.8.8 50000 10.0.0.1 22", ""),
    ],
)
def test_me_that_will_not_do_is_warned_of(
    connection: str, warning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", connection)
    stderr = invoke("enable", "--ip=me").stderr
    assert warning in stderr
    assert bool(stderr) is bool(warning)


@pytest.mark.parametrize("command", ["enable", "disable", "allow-ips"])
def test_quiet_prints_nothing(command: str, ip_list: Path) -> None:
    ip = ["203.0.113.7"] if command == "allow-ips" else ["--ip=203.0.113.7"]
    assert outcome(command, "-q", *ip) == (0, "")
    assert ip_list.read_text() == "203.0.113.7"


def test_directory_from_the_environment(
    tmp_path: Path, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("MAINTENANCE_DIR", str(other))
    invoke("enable")
    assert (other / ".maintenance.flag").exists()
    invoke("--dir", "var", "enable")
    assert (var / ".maintenance.flag").exists()


@pytest.mark.parametrize("enabled", [True, False])
def test_state_is_told_though_the_list_cannot_be_read(
    *, enabled: bool, flag: Path, ip_list: Path
) -> None:
    ip_list.mkdir()
    if enabled:
        flag.touch()
    result = invoke("status", "--exit-code")
    assert result.exit_code == (0 if enabled else 1)
    assert "Exempt: none" in result.stdout
    assert str(ip_list) in result.stderr


def test_state_that_cannot_be_told_is_neither_on_nor_off(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for directory in ("loop", "no"):
        for arguments, code in ((["--exit-code"], 2), ([], 1)):
            result = invoke("--dir", directory, "status", "-q", *arguments)
            assert (result.exit_code, result.stdout) == (code, "")
            assert result.stderr.startswith("Error: ")


def test_bad_entries_are_told_once(flag: Path, ip_list: Path) -> None:
    flag.touch()
    ip_list.write_text("nope")
    assert invoke("status").stderr.count("nope") == 1


def test_directory_may_stand_after_the_command(tmp_path: Path) -> None:
    other = tmp_path / "other dir"
    other.mkdir()
    assert invoke("enable", "--dir", str(other)).exit_code == 0
    assert (other / ".maintenance.flag").exists()
    assert not (tmp_path / "var/.maintenance.flag").exists()


@pytest.mark.parametrize(
    ("directory", "remedy"),
    [
        ("file", "is not a directory; use another path"),
        ("loop", "cannot be accessed (Too many levels of symbolic links); use another directory"),
        ("a" * 256, "cannot be accessed (File name too long); use another directory"),
    ],
)
def test_directory_that_cannot_serve_is_refused(
    directory: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    result = invoke("--dir", directory, "enable")
    assert result.exit_code == 1
    assert f"{str(tmp_path / directory)!r} {remedy} with --dir or MAINTENANCE_DIR" in result.stderr
    assert not (tmp_path / ".maintenance.flag").exists()


def test_directory_behind_a_closed_one_has_two_remedies(open_folder: Path) -> None:
    need_root()
    open_folder.chmod(0o700)
    os.setresuid(65534, 65534, 0)
    try:
        result = invoke("--dir", str(open_folder / "var"), "status")
    finally:
        os.setresuid(0, 0, 0)
    remedy = "make its parent directories searchable (chmod o+x), or use another directory with"
    assert f"(Permission denied); {remedy} --dir or MAINTENANCE_DIR" in result.stderr


def test_directory_that_cannot_be_listed_is_enough(open_folder: Path) -> None:
    need_root()
    open_folder.chmod(0o711)
    os.setresuid(65534, 65534, 0)
    try:
        result = invoke("--dir", str(open_folder), "status")
    finally:
        os.setresuid(0, 0, 0)
    assert (result.exit_code, result.stderr) == (0, "")


def test_directory_is_followed_as_the_middleware_follows_it(tmp_path: Path, flag: Path) -> None:
    (tmp_path / "releases/1").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    assert invoke("--dir", "current/../../var", "enable").exit_code == 0
    assert flag.exists()


def test_file_that_only_its_owner_can_read_is_warned_of(ip_list: Path) -> None:
    old = os.umask(0o077)
    try:
        result = invoke("enable", "--ip=203.0.113.7")
    finally:
        os.umask(old)
    assert f"{ip_list}: only its owner can read it" in result.stderr
    ip_list.chmod(0o644)
    assert str(ip_list) not in invoke("allow-ips", "203.0.113.8").stderr


def test_me_can_be_added_to_the_list(ip_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.7 50000 10.0.0.1 22")
    ip_list.write_text("203.0.113.8")
    assert invoke("allow-ips", "--add", "me").exit_code == 0
    assert ip_list.read_text() == "203.0.113.8,203.0.113.7"


@pytest.mark.parametrize(
    ("arguments", "code", "listed"),
    [
        (["enable", "--ip= me\r"], 0, "203.0.113.7"),
        (["enable", "--ip=\tnone \r\n"], 0, None),
        (["enable", "--ip=198.51.100.1\r"], 0, "198.51.100.1"),
        (["enable", "--ip=none\r", "--ip=198.51.100.1"], 2, "203.0.113.9"),
        (["allow-ips", "\u00a0198.51.100.1 ", " me"], 0, "198.51.100.1,203.0.113.7"),
        (["allow-ips", "none "], 2, "203.0.113.9"),
    ],
    ids=ascii,
)
def test_blanks_around_an_entry_are_dropped(
    arguments: list[str],
    code: int,
    listed: str | None,
    ip_list: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.7 50000 10.0.0.1 22")
    ip_list.write_text("203.0.113.9")
    assert invoke(*arguments).exit_code == code
    assert (ip_list.read_text() if ip_list.exists() else None) == listed


@pytest.mark.parametrize(
    "program", ["maintenance-wsgi", "flask maintenance", "python manage.py maintenance"]
)
@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_help_has_an_example_with_the_name_of_the_program(name: str, program: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"], prog_name=program)
    assert result.exit_code == 0
    assert f"Example:\n    {program} {name}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("program", ["maintenance-wsgi", "python manage.py maintenance"])
def test_help_begins_with_the_three_commands_one_needs(program: str) -> None:
    result = CliRunner().invoke(main, ["--help"], prog_name=program)
    lines = result.stdout.splitlines()
    shown = [line.partition(f"    {program} ")[2].split()[0] for line in lines[4:7]]
    assert shown == ["enable", "status", "disable"]
    assert max(map(len, lines)) <= 80


def test_every_command_is_listed() -> None:
    ctx = click.Context(main)
    assert {name for name in main.list_commands(ctx) if main.get_command(ctx, name)} == set(
        main.commands
    )


def completed(*words: str) -> list[str]:
    """Return what a shell offers for the last word."""
    complete = ShellComplete(main, {}, "maintenance-wsgi", "_MAINTENANCE_WSGI_COMPLETE")
    found = complete.get_completions(list(words[:-1]), words[-1])
    return [item.value if item.type == "plain" else item.type for item in found]


def test_shell_completes_commands_options_users_and_paths() -> None:
    assert completed("e") == ["enable", "explain"]
    assert completed("maint:en", "--me") == ["--message", "--message-in"]
    assert completed("check", "--user", "roo") == ["root"]
    assert completed("check", "--page", "") == completed("--dir", "") == ["file"]
    assert "status" in completed("nonsense", "")


def test_shell_completes_the_command_to_run() -> None:
    assert "env" in completed("run", "--", "en")
    assert completed("run", "--", "./mig") == completed("run", "--", "no-such-") == ["file"]
    assert completed("run", "--", "env", "en") == completed("run", "env", "a", "") == ["file"]


def test_status_imports_only_what_it_needs() -> None:
    program = (
        "import sys; from maintenance_wsgi.cli import main;"
        "main(['status'], standalone_mode=False); print(*sys.modules)"
    )
    loaded = set(run(sys.executable, "-c", program, env=unmeasured()).stdout.split())
    others = {"ctypes", "difflib", "hashlib", "html.parser", "importlib.metadata", "redis"}
    others |= {"secrets", "subprocess", "werkzeug", "maintenance_wsgi.diagnosis"}
    others |= {"asyncio", "http.client", "ssl"}
    assert "maintenance_wsgi.cli.switch" in loaded
    assert loaded & others == set()


def run_module(*arguments: str, **variables: str) -> CompletedProcess[str]:
    variables = {**os.environ, **variables}
    return run(sys.executable, "-m", "maintenance_wsgi", *arguments, code=None, env=variables)


@pytest.mark.parametrize("command", ["enable", "enable -q", "disable", "allow-ips 203.0.113.7"])
def test_change_is_told_though_the_output_cannot_be_written(
    command: str, var: Path, flag: Path, ip_list: Path
) -> None:
    if command == "disable":
        flag.touch()
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            [COMMAND, "--dir", var, *command.split()],
            env=environ(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = "standard output: No space left on device; the change, if any, has been made"
    is_quiet = "-q" in command
    assert finished.returncode == (0 if is_quiet else 1)
    assert finished.stderr == ("" if is_quiet else f"Error: {said}\n")
    assert flag.exists() == ("enable" in command)
    assert ip_list.exists() == ("allow-ips" in command)


@pytest.mark.parametrize(
    "command",
    ["--help", "enable --help", "--version", "status", "status --json", "check --user root"],
)
def test_output_that_cannot_be_written_is_told(command: str, var: Path) -> None:
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            [COMMAND, *command.split()],
            env=environ(MAINTENANCE_DIR=str(var)),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: standard output: No space left on device; ")
    assert len(finished.stderr.splitlines()) == 1


def test_output_that_cannot_be_written_is_raised_to_a_program(var: Path) -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,
        redirect_stdout(io.TextIOWrapper(full, write_through=True)),
        pytest.raises(click.ClickException, match="standard output: No space left on device"),
    ):
        main(["--dir", str(var), "status"], standalone_mode=False)


def test_closed_pipe_ends_a_change_without_a_word(var: Path, flag: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        [COMMAND, "--dir", var, "enable"],
        env=environ(),
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (finished.returncode, finished.stderr) == (1, b"")
    assert flag.exists()


def test_version_without_the_metadata_is_told() -> None:
    program = """
import importlib.metadata
def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = missing
from maintenance_wsgi.cli import main
main(["--version"])
"""
    result = run(sys.executable, "-c", program, env=environ(), code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: --version: the package's metadata is missing; ")


def test_module_runs_where_the_working_directory_is_gone(var: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for directory, code, shown in [
        (str(var), 0, "Status: maintenance mode is disabled"),
        ("var", 2, "'var' is relative, and the working directory is gone; change to another"),
    ]:
        gone.mkdir(exist_ok=True)
        status = [sys.executable, "-m", "maintenance_wsgi", "--dir", directory, "status"]
        result = run("sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *status, cwd=gone, code=code)
        assert shown in result.stdout + result.stderr


def test_module_runs_as_the_command(var: Path, flag: Path) -> None:
    result = run_module("enable")
    assert result.stdout == f"Enabled maintenance mode in {var}\nExempt: none\n"
    assert flag.exists()
    assert run_module("--version").stdout.startswith("maintenance-wsgi, version ")


@pytest.mark.parametrize(
    ("content", "zone"),
    [
        ('{"until": "9999-12-31T23:59:59Z"}', "Asia/Tokyo"),
        ('{"since": "0001-01-01T00:00:00Z"}', "America/New_York"),
        ('{"until": "9999-12-31T23:59:59-23:59", "retry_after": 1e999}', "UTC"),
        ("[" * 60_000, "UTC"),
        ("9" * 60_000, "UTC"),
        ('{"message": {}, "by": [], "since": true, "holders": {"a": 1}}', "UTC"),
    ],
)
def test_no_content_of_a_flag_makes_it_look_off(content: str, zone: str, flag: Path) -> None:
    flag.write_text(content)
    for options in (["--exit-code"], ["--json", "--exit-code"], []):
        result = run(COMMAND, "--dir", flag.parent, "status", *options, env=environ(TZ=zone))
        assert "Traceback" not in result.stderr
        assert "enabled" in result.stdout


@pytest.mark.parametrize("options", [["--exit-code"], ["-q", "--exit-code"]])
def test_every_failure_of_status_is_told_from_off(options: list[str], tmp_path: Path) -> None:
    missing = run(COMMAND, "--dir", tmp_path / "no", "status", *options, env=environ(), code=2)
    assert "does not exist" in missing.stderr
    redis = ["--redis", "redis://127.0.0.1:1/0"]
    refused = run(COMMAND, "status", *options, *redis, env=environ(), code=2)
    assert "does not answer" in refused.stderr


@pytest.mark.parametrize("wrong", ["--x", "x", "--dir", "--redis=x", "--fleet=a"])
def test_wrong_usage_of_magentos_status_is_told_from_off(wrong: str) -> None:
    assert outcome("maintenance:status", wrong)[0] == 1
    assert outcome("maintenance:status", "--exit-code", wrong)[0] == 2


@pytest.mark.parametrize("redirection", [">/dev/full 2>&1", "2>/dev/full"])
@pytest.mark.parametrize("arguments", ["", "-q", "--dir=no"])
def test_failure_of_status_that_cannot_be_told_is_told_from_off(
    arguments: str, redirection: str, var: Path, flag: Path, ip_list: Path
) -> None:
    flag.touch()
    ip_list.write_text("nope")  # which is warned of
    line = f"{COMMAND} status --exit-code {arguments} {redirection}"
    run("sh", "-c", line, cwd=var.parent, env=environ(), code=2)


@pytest.mark.parametrize("spelling", ["/", "//", "/usr/..", "/proc/self/root"])
def test_default_directory_is_not_that_of_the_system(
    spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("PWD", spelling)
    for line in ("enable", "status", "disable", "check"):
        result = invoke(line)
        assert result.exit_code == 2
        assert "the default directory is /var here; name it with --dir" in result.stderr
