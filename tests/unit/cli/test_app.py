import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.cli import main
from tests.support.commands import invoke
from tests.support.data import load_cases
from tests.support.needs import need_root
from tests.support.processes import COMMAND, environ, run

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
    assert invoke("maintenance:check").exit_code == 0
    assert invoke("maintenance:che").exit_code == 2
    assert os.listdir(var) == [".maintenance.flag"]


def test_ambiguous_abbreviation_is_refused(var: Path) -> None:
    result = invoke("maintenance:")
    assert result.exit_code == 2
    assert "maintenance:allow-ips, maintenance:disable" in result.stderr
    assert os.listdir(var) == []


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
        (["enable", "--ip=203.0.113.7", "--until=2033-12-01"], 2, "'2033-12-01'"),
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


def test_every_command_has_an_example_in_its_help() -> None:
    for name in main.commands:
        result = invoke(name, "--help")
        assert result.exit_code == 0
        assert f"Example:\n    maintenance-wsgi {name}" in result.stdout


def run_module(*arguments: str, **variables: str) -> CompletedProcess[str]:
    variables = {**os.environ, **variables}
    return run(sys.executable, "-m", "maintenance_wsgi", *arguments, code=None, env=variables)


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


def test_module_runs_as_the_command(flag: Path) -> None:
    result = run_module("enable")
    assert (result.returncode, result.stdout) == (0, "Enabled maintenance mode\n")
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


def test_default_directory_is_not_that_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    for line in ("enable", "status", "disable", "check"):
        result = invoke(line)
        assert result.exit_code == 2
        assert "the default directory is /var here; name it with --dir" in result.stderr
