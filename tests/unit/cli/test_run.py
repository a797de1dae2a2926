"""`run` as people use it: real commands, real signals, a real terminal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from click.testing import Result

from maintenance_wsgi import MaintenanceMode
from tests.support.commands import invoke
from tests.support.processes import COMMAND, counting, run

IGNORING = "trap '' TERM INT; echo ready; for i in 1 2 3 4 5; do sleep 0.2; done; exit 7"


def invoke_run(var: Path, *arguments: str) -> Result:
    return invoke("--dir", str(var), "run", *arguments)


def start_run(var: Path, *command: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [COMMAND, "--dir", str(var), "run", "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_maintenance_is_on_while_the_command_runs(var: Path, flag: Path, ip_list: Path) -> None:
    ip_list.write_text("203.0.113.9")
    seen = var / "seen"
    script = f"cp {flag} {seen}; cat {ip_list} >> {seen}"
    options = ["--message=Umzug", "--until=+2h", "--retry-after=60", "--ip=203.0.113.7"]
    result = invoke_run(var, *options, "--", "sh", "-c", script)
    assert result.exit_code == 0, result.output
    assert '"message": "Umzug"' in seen.read_text()
    assert seen.read_text().endswith("203.0.113.7")
    assert not flag.exists()
    assert ip_list.read_text() == "203.0.113.9"


def test_failing_command_leaves_it_on_and_says_so(var: Path, flag: Path) -> None:
    result = invoke_run(var, "sh", "-c", "exit 3")
    assert result.exit_code == 3
    assert flag.exists()
    assert f"--dir {var} disable" in result.stderr
    assert "failed with exit status 3" in result.stderr


def test_failing_command_can_end_it(var: Path, flag: Path) -> None:
    result = invoke_run(var, "--disable-on-failure", "--", "sh", "-c", "exit 3")
    assert result.exit_code == 3
    assert not flag.exists()
    assert "stays on" not in result.stderr


def test_what_was_on_before_stays_on_untouched(var: Path, flag: Path) -> None:
    flag.write_text("back at 5")
    for exit_code in (0, 3):
        result = invoke_run(
            var, "--message=b", "--disable-on-failure", "sh", "-c", f"exit {exit_code}"
        )
        assert result.exit_code == exit_code
        assert "was on before" in result.stderr
        assert f"--dir {var} status\n" in result.stderr
        assert "switch it off" not in result.stderr
        assert flag.read_text() == "back at 5"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "COMMAND"),
        (["no-such-command"], 127, "'no-such-command'"),
        (["/dev/null"], 126, "'/dev/null'"),
        (["--mesage=a", "true"], 2, "--mesage"),
        (["--ip=nope", "true"], 2, "Invalid IP nope"),
        (["--until=tomorrow", "true"], 2, "'tomorrow'"),
    ],
)
def test_mistake_changes_nothing(arguments: list[str], code: int, named: str, var: Path) -> None:
    result = invoke_run(var, *arguments)
    assert result.exit_code == code
    assert named in result.stderr
    assert os.listdir(var) == []


def test_command_that_succeeds_is_told_though_the_state_cannot_be_restored(var: Path) -> None:
    result = invoke_run(var, "sh", "-c", f"mv {var} {var}.away")
    assert result.exit_code == 1
    assert "'sh' succeeded; maintenance mode may still be on" in result.stderr
    assert f"--dir {var} disable" in result.stderr


@pytest.mark.parametrize(
    ("script", "code", "ended", "is_left_on"),
    [
        ("rm {}", 1, "'sh' succeeded", False),
        ("rm {}; exit 3", 3, "'sh' failed with exit status 3", False),
        ("rm {0}; sleep 2.5; touch {0}", 1, "'sh' succeeded", True),
        ("rm {}; kill -KILL $$", 137, "'sh' failed with exit status 137", False),
    ],
)
@pytest.mark.parametrize("was_on", [False, True])
def test_hold_that_was_taken_away_is_told(
    script: str, code: int, ended: str, var: Path, flag: Path, *, is_left_on: bool, was_on: bool
) -> None:
    if was_on:
        flag.touch()
    result = invoke_run(var, "sh", "-c", script.format(flag))
    assert result.exit_code == code
    taken = "another process or Redis took maintenance mode away: it was off while it ran"
    assert f"{ended}; but {taken}" in result.stderr
    assert re.search(r"at the latest since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \w+\n", result.stderr)
    assert "stays on" not in result.stderr
    assert flag.exists() is is_left_on


def test_hold_that_was_made_permanent_is_left_on(var: Path, flag: Path) -> None:
    result = invoke_run(var, COMMAND, "--dir", str(var), "enable")
    assert (result.exit_code, "took" in result.stderr) == (0, False)
    assert flag.exists()


def test_options_after_the_command_are_its_own(var: Path, tmp_path: Path) -> None:
    script = f'echo "$@" > {tmp_path / "seen"}'
    assert invoke_run(var, "-q", "sh", "-c", script, "sh", "--message", "hi", "-q").stderr == ""
    assert (tmp_path / "seen").read_text() == "--message hi -q\n"


def test_way_to_end_it_can_be_typed(tmp_path: Path) -> None:
    var = tmp_path / "my var"
    var.mkdir()
    command = [sys.executable, "-m", "maintenance_wsgi", "--dir", str(var), "run", "false"]
    result = run(*command, code=1)
    assert f"switch it off with: python -m maintenance_wsgi --dir '{var}' disable" in result.stderr


def test_way_to_end_it_leaves_a_fleet_alone_too(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_REDIS", "redis://127.0.0.1:1/0")
    result = invoke_run(var, "--redis=", "false")
    assert f"--dir {var} disable --redis ''\n" in result.stderr


def test_command_does_not_get_the_password_of_the_fleet(
    var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_REDIS", "redis://u:hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("MAINTENANCE_FLEET", "shop")
    assert invoke_run(var, "--redis=", "sh", "-c", f"env > {tmp_path}/seen").exit_code == 0
    seen = (tmp_path / "seen").read_text()
    assert "MAINTENANCE_FLEET=shop\n" in seen
    assert "hunter2" not in seen
    assert os.environ["MAINTENANCE_REDIS"]


def test_command_that_cannot_be_executed(var: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    result = invoke_run(var, "--ip=203.0.113.7", "--", str(broken))
    assert result.exit_code == 126
    assert "Exec format error; nothing was changed" in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert os.listdir(var) == []


@pytest.mark.parametrize("script", ["exit 3", "sleep 0.5; exit 3"], ids=["quick", "slow"])
def test_status_is_known_although_the_parent_ignores_its_children(
    script: str, var: Path, flag: Path
) -> None:
    program = """if True:
        import os, signal, sys
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.execv(sys.argv[1], sys.argv[1:])
    """
    command = [sys.executable, "-c", program, COMMAND, "--dir", str(var), "run", "sh", "-c", script]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert ended.returncode == 3
    assert "failed with exit status 3; maintenance mode stays on" in ended.stderr
    assert flag.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_is_handed_on(number: signal.Signals, var: Path, flag: Path) -> None:
    process = start_run(var, "sh", "-c", "echo ready; exec sleep 30")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert flag.exists()
    assert "stays on" in stderr


def test_command_may_ignore_signals(var: Path) -> None:
    process = start_run(var, "sh", "-c", IGNORING)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 7


def test_killed_run_leaves_it_on_and_has_said_how_to_end_it(var: Path, flag: Path) -> None:
    process = start_run(var, "sh", "-c", "echo ready; exec sleep 2")
    process.kill()
    _, stderr = process.communicate(timeout=20)
    assert flag.exists()
    assert f"switch it off with: maintenance-wsgi --dir {var} disable" in stderr
    with MaintenanceMode(var).window():
        pass
    assert flag.exists()


def test_last_of_two_runs_ends_it(var: Path, flag: Path, tmp_path: Path) -> None:
    wait = "echo ready; while [ ! -e {} ]; do sleep 0.05; done"
    ends = [tmp_path / "first", tmp_path / "second"]
    runs = [start_run(var, "sh", "-c", wait.format(end)) for end in ends]
    for end, process, left_on in zip(ends, runs, (True, False), strict=True):
        assert flag.exists()
        end.touch()
        process.communicate(timeout=20)
        assert process.returncode == 0
        assert flag.exists() is left_on


def test_run_that_ends_tells_that_another_one_keeps_maintenance_on(
    var: Path, flag: Path, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    wait = f"echo ready; while [ ! -e {end} ]; do sleep 0.05; done"
    first = start_run(var, "sh", "-c", wait)
    assert invoke_run(var, "false").exit_code == 1
    end.touch()
    _, stderr = first.communicate(timeout=20)
    assert first.returncode == 0
    assert "another process keeps maintenance mode on; see which with: maintenance-" in stderr
    assert flag.exists()


def test_interrupt_while_it_waits_is_told_with_the_way_to_end_it(var: Path, flag: Path) -> None:
    with counting(var):
        process = subprocess.Popen(
            [COMMAND, "--dir", str(var), "run", "--drain=60", "--", "true"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Maintenance mode is on; if this process")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "'true' was not run; maintenance mode stays on; switch it off with: " in stderr
    assert flag.exists()


def test_standard_output_is_the_commands(var: Path) -> None:
    with counting(var, 0):
        result = invoke_run(var, "--drain=60", "--bypass=https://shop.example/", "echo", "a dump")
    assert result.exit_code == 0
    assert result.stdout == ""  # the command's own goes past click's runner
    assert "Drained: no earlier request still runs" in result.stderr
    assert "Bypass link: https://shop.example/?" in result.stderr


def test_interrupt_at_a_terminal_reaches_the_command_once(var: Path, flag: Path) -> None:
    script = "trap 'n=$((n+1))' INT; echo ready; for i in 1 2 3 4; do sleep 0.3; done; echo got $n"
    terminal = pexpect.spawn(COMMAND, ["--dir", str(var), "run", "sh", "-c", script], timeout=20)
    terminal.expect("ready")
    terminal.sendintr()
    terminal.expect("got 1")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert not flag.exists()


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_a_terminal_only(
    environ: dict[str, str], *, coloured: bool, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    MaintenanceMode(var).enable()
    arguments = ["--dir", str(var), "status"]
    terminal = pexpect.spawn(
        COMMAND, arguments, env={**os.environ, **environ}, timeout=20, encoding="utf-8"
    )
    assert ("\x1b[" in terminal.read()) is coloured
    terminal.close()
    piped = run(COMMAND, *arguments)
    assert "\x1b[" not in piped.stdout
