import json
import os
import re
import runpy
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.cli import main
from tests.support.commands import invoke
from tests.support.data import load_cases
from tests.support.needs import need, need_root
from tests.support.processes import COMMAND, environ, run, unmeasured

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
        "203.0.113.7,10.0.0.1,203.0.113.8",
    ),
    "add-trailing-comma": (
        0,
        "Set exempt IP-addresses: 203.0.113.7 203.0.113.8\n",
        "203.0.113.7,203.0.113.8",
    ),
    "add-v6-case": (0, "Set exempt IP-addresses: 2001:db8::1\n", "2001:db8::1"),
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
STRIPPED = {f"val-0{number}" for number in (22, 24, 85, 86, 88)}


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
    lines = [message.translate({0xA: r"\n", 0xFEFF: r"\ufeff"}) for message in expected]
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
    assert invoke("maintenance:check").exit_code == 0
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
        (["enable", "--ip=203.0.113.7", "--until=2033-12-01"], 2, "use '2033-12-01 18:00'"),
        (["enable", "--ip=203.0.113.7", "--until=24:00"], 2, "use 90m, +1h30m, 22:00"),
        (["enable", "--ip=203.0.113.7", "--until=90"], 2, "'90'"),
        (["enable", "--ip=203.0.113.7,203.0.113.8"], 2, "repeat --ip for each"),
        (["enable", "--ip=203.0.113.7", "--until=2033-12-01+01:00"], 2, "'2033-12-01+01:00'"),
        (["enable", "--ip=203.0.113.7", "--until=\x1b[31m"], 2, r"'\x1b[31m'"),
        (["enable", "--ip=\x1b[31m"], 2, r"Invalid IP \x1b[31m"),
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
        pytest.param("2026-06-01 19:59", "22:00", "2026-06-01T20:00:00+00:00", id="today"),
        pytest.param("2026-06-01 20:00", "22:00", "2026-06-02T20:00:00+00:00", id="tomorrow"),
        pytest.param("2026-06-01 20:00", "9:00", "2026-06-02T07:00:00+00:00", id="one-digit"),
        pytest.param("2026-10-25 00:10", "02:30", "2026-10-25T00:30:00+00:00", id="first-of-two"),
        pytest.param("2026-10-25 00:50", "02:30", "2026-10-25T01:30:00+00:00", id="second-of-two"),
        pytest.param("2026-03-29 00:30", "02:30", "2026-03-29T01:30:00+00:00", id="left-out"),
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


def test_status_says_that_the_end_has_passed(flag: Path) -> None:
    flag.write_text('{"until": "2001-01-01T00:00:00Z"}')
    assert outcome("status")[1].splitlines()[-1].endswith(" (passed)")


def test_status_prints_no_escape_sequence_of_the_flag(flag: Path) -> None:
    flag.write_text(r'{"message": "a\nb\u200b", "by": "\u202eanna"}')
    lines = outcome("status")[1].splitlines()
    assert lines[2:] == [r"By: \u202eanna", r"Message: a\nb\u200b"]


def test_status_tells_what_is_known() -> None:
    invoke("enable", "--message", "Umzug", "--until", "2033-12-01T18:00:00Z", "--retry-after", "60")
    code, stdout = outcome("status")
    lines = stdout.splitlines()
    assert code == 0
    assert lines[:2] == [
        "Status: maintenance mode is enabled",
        "List of exempt IP-addresses: none",
    ]
    assert [line.partition(":")[0] for line in lines[2:]] == [
        "Since",
        "By",
        "Message",
        "Until",
        "Retry after",
    ]


def test_status_as_json(ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7,nope")
    invoke("enable", "--message", "Umzug", "--until", "2033-12-01T18:00:00Z", "--retry-after", "60")
    result = invoke("status", "--json")
    found = json.loads(result.stdout)
    assert datetime.fromisoformat(found.pop("since")) <= datetime.now(UTC)
    assert "@" in found.pop("by")
    assert found == {
        "enabled": True,
        "exempt": ["203.0.113.7"],
        "invalid": ["nope"],
        "message": "Umzug",
        "until": "2033-12-01T18:00:00+00:00",
        "retry_after": 60,
    }
    assert "'nope'" in result.stderr
    invoke("disable")
    assert json.loads(invoke("status", "--json").stdout) == {
        "enabled": False,
        "exempt": ["203.0.113.7"],
        "invalid": ["nope"],
        "since": None,
        "by": None,
        "message": None,
        "until": None,
        "retry_after": None,
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


def test_add_names_what_it_drops(ip_list: Path) -> None:
    ip_list.write_text("203.0.113.7 nope # office\n")
    result = invoke("allow-ips", "--add", "203.0.113.8")
    assert ip_list.read_text() == "203.0.113.7,203.0.113.8"
    assert "Warning:" in result.stderr
    assert "'nope' (line 1)" in result.stderr
    assert "comments" in result.stderr


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
    assert "List of exempt IP-addresses: none" in result.stdout
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


@pytest.mark.parametrize("directory", ["file", "loop"])
def test_directory_that_cannot_serve_is_refused(directory: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    result = invoke("--dir", directory, "enable")
    assert result.exit_code == 1
    assert repr(str(tmp_path / directory)) in result.stderr
    assert not (tmp_path / ".maintenance.flag").exists()


def test_directory_that_cannot_be_listed_is_enough() -> None:
    need_root()
    with TemporaryDirectory() as directory:
        os.chmod(directory, 0o711)  # noqa: S103 (others may search it, and not list it)
        os.setresuid(65534, 65534, 0)
        try:
            result = invoke("--dir", directory, "status")
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
    assert completed("maint:en", "--me") == ["--message"]
    assert completed("check", "--user", "roo") == ["root"]
    assert completed("check", "--page", "") == completed("--dir", "") == ["file"]
    assert "status" in completed("nonsense", "")


def test_shell_completes_the_command_to_run() -> None:
    assert "env" in completed("run", "--", "en")
    assert completed("run", "--", "./mig") == completed("run", "--", "env", "no-such-") == ["file"]


def test_status_imports_only_what_it_needs() -> None:
    program = (
        "import sys; from maintenance_wsgi.cli import main;"
        "main(['status'], standalone_mode=False); print(*sys.modules)"
    )
    loaded = set(run(sys.executable, "-c", program, env=unmeasured()).stdout.split())
    others = {"ctypes", "difflib", "hashlib", "html.parser", "importlib.metadata", "redis"}
    others |= {"secrets", "subprocess", "werkzeug", "maintenance_wsgi.diagnosis"}
    assert "maintenance_wsgi.cli.switch" in loaded
    assert loaded & others == set()


def run_module(*arguments: str, **variables: str) -> CompletedProcess[str]:
    variables = {**os.environ, **variables}
    return run(sys.executable, "-m", "maintenance_wsgi", *arguments, code=None, env=variables)


def test_module_runs_in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["maintenance-wsgi", "status"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("maintenance_wsgi", run_name="__main__")
    assert caught.value.code == 0
    assert "is disabled" in capsys.readouterr().out


def test_module_runs_as_the_command(flag: Path) -> None:
    result = run_module("enable")
    assert (result.returncode, result.stdout) == (0, "Enabled maintenance mode\n")
    assert flag.exists()
    assert run_module("--version").stdout.startswith("maintenance-wsgi, version ")
