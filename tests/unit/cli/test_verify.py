"""`--verify`: the switch, and then a look at the site from outside."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess

import pexpect
import pytest

from maintenance_wsgi import MaintenanceMode
from tests.support.commands import invoke
from tests.support.mounts import naming
from tests.support.needs import need
from tests.support.processes import COMMAND, ROOT, environ, held_port, run
from tests.support.sites import answering, gated

NAME, NODES = "shop.example", ("127.0.0.2", "127.0.0.3")
ON = "503 with X-Maintenance-Mode: on (Server: "
WRONG = "without X-Maintenance-Mode (Server: "
REMEDY = "let the application there read this directory, or use the URL of the one that does\n"


def verify(
    var: Path, name: str, port: int, *more: str, host: str = "127.0.0.1", code: int = 0
) -> CompletedProcess[str]:
    """Run a command in a process of its own: the gate's log goes to this one."""
    site = f"--verify=http://{host}:{port}/"
    return run(COMMAND, "--dir", var, name, site, *more, env=environ(), code=code)


def test_switch_is_seen_from_outside(var: Path) -> None:
    with gated(var) as port:
        site = f"Verified http://127.0.0.1:{port}/ at 127.0.0.1: "
        for command, expected in [
            ("enable", ON),
            ("disable", f"200 {WRONG}"),
            ("enable --ip=127.0.0.1", "200 with X-Maintenance-Mode: exempt (Server: "),
            ("enable --ip=203.0.113.9 --wait=20", ON),
        ]:
            name, *options = command.split()
            result = verify(var, name, port, *options)
            assert f"\n{site}{expected}" in result.stdout
            is_let_in = "--ip=127.0.0.1" in options
            assert ("does not tell what other clients get" in result.stderr) is is_let_in
        assert verify(var, "disable", port, "-q").stdout == ""


def test_ipv6(var: Path) -> None:
    with gated(var, "::1") as port:
        result = verify(var, "enable", port, host="[::1]")
        assert result.stderr == ""
        assert f"Verified http://[::1]:{port}/ at ::1: {ON}" in result.stdout


@pytest.mark.parametrize("name", ["maintenance:enable", "maintenance:disable"])
def test_magento_prints_no_more_than_its_two_lines(name: str, var: Path) -> None:
    with gated(var) as port:
        result = verify(var, name, port, "--ip=203.0.113.9")
        assert result.stderr == ""
        assert len(result.stdout.splitlines()) == 2
        verify(var, name, port, "--wait=3", host="shop.invalid", code=1)


def test_wrong_site_leaves_the_switch_as_it_is(var: Path, flag: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with gated(tmp_path / "other") as port:
        result = verify(var, "enable", port, "--wait=3", code=1)
        assert result.stdout == f"Enabled maintenance mode in {var}\nExempt: none\n"
        where = f"Error: http://127.0.0.1:{port}/: 10 of 10 answers at 127.0.0.1 are"
        assert result.stderr.startswith(f"{where} 200 {WRONG}")
        assert result.stderr.endswith(f"; {REMEDY}")
        assert flag.exists()
        MaintenanceMode(tmp_path / "other").enable()
        result = verify(var, "disable", port, "--wait=3", code=1)
        assert result.stderr.startswith(f"{where} {ON}")
        assert "switch off the other application or directory that sends it" in result.stderr
        assert not flag.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--verify=http://anna:hunter2@shop.example/"],
        ["--verify=ftp://shop.example/hunter2@"],
        ["--verify=shop.example"],
        ["--verify="],
        ["--verify=http://shop.example/", "--wait=0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_changes_nothing(options: list[str], var: Path) -> None:
    for command in ("enable", "disable", "run"):
        result = invoke("--dir", str(var), command, *options, *["true"] * (command == "run"))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "use " in result.stderr
        assert "hunter2" not in result.stderr
    assert os.listdir(var) == []


def of_name(folder: Path, *addresses: str) -> list[str | Path]:
    return [*naming(folder, NAME, *addresses), COMMAND]


def test_node_with_another_directory_is_named(var: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    command = of_name(tmp_path, *NODES, "::1")
    with held_port() as port, ExitStack() as stack:
        for host, directory in zip(("::1", *NODES), (var, var, tmp_path / "other"), strict=True):
            stack.enter_context(gated(directory, host, port))
        options = ["--dir", str(var), "enable", f"--verify=http://{NAME}:{port}/"]
        result = run(*command, *options, "--wait=3", env=environ(), code=1)
        assert re.fullmatch(
            rf"Error: http://{NAME}:{port}/: 10 of 10 answers at 127\.0\.0\.3 are 200"
            rf" without X-Maintenance-Mode \(Server: .*\), while those at"
            rf" (::1, 127\.0\.0\.2|127\.0\.0\.2, ::1) are right; {REMEDY}",
            result.stderr,
        )
        MaintenanceMode(tmp_path / "other").enable()
        result = run(*command, *options, env=environ())
        assert all(f"{node}" in result.stdout for node in (*NODES, "::1"))


def test_each_thing_that_is_wrong_has_its_line(var: Path, tmp_path: Path) -> None:
    command = of_name(tmp_path, "127.0.0.1", "127.0.0.4")
    with gated(var) as port:
        (tmp_path / "other").mkdir()
        options = ["--dir", f"{tmp_path}/other", "enable", f"--verify=http://{NAME}:{port}/"]
        result = run(*command, *options, "--wait=3", env=environ(), code=1)
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["Error", "Error"]
    assert "10 of 10 answers at 127.0.0.1 are 200" in result.stderr
    assert "request 1 of 10 at 127.0.0.4 got no answer (Connection refused)" in result.stderr


def test_addresses_without_a_route_and_beyond_sixteen_are_told(var: Path, tmp_path: Path) -> None:
    nodes = [f"127.0.0.{number}" for number in range(1, 18)]
    command = of_name(tmp_path, "2001:db8::1", *nodes)
    alone: list[str | Path] = [
        "unshare",
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    need("ip")
    program = (
        "import subprocess, sys; from pathlib import Path;"
        "from tests.support.sites import gated;"
        "site = gated(Path(sys.argv[1]), '0.0.0.0'); port = site.__enter__();"
        f"code = subprocess.call([*sys.argv[2:], f'--verify=http://{NAME}:{{port}}/']);"
        "site.__exit__(None, None, None); sys.exit(code)"
    )
    options = [*command, "--dir", var, "enable", "--wait=60"]
    result = run(
        *alone, sys.executable, "-c", program, var, *options, env=environ(PYTHONPATH=str(ROOT))
    )
    asked = re.search(r"^Verified .* at (.*): 503", result.stdout, re.MULTILINE)
    assert asked is not None
    missed = {"2001:db8::1", *nodes} - set(asked[1].split(", "))
    assert len(missed) == 2
    assert "2001:db8::1" in missed
    told = re.search("not asked at (.*): only 16 addresses are", result.stderr)
    assert told is not None
    assert set(told[1].split(", ")) == missed


def test_terminal_shows_how_many(var: Path) -> None:
    with gated(var) as port:
        options = ["--dir", str(var), "enable", f"--verify=http://127.0.0.1:{port}/"]
        said = pexpect.run(f"{COMMAND} {' '.join(options)}", env=environ(), timeout=60)
    assert "1 of 1 addresses are right" in str(said)


def test_command_is_run_after_the_site_is_right(var: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with gated(var) as port:
        result = verify(var, "run", port, "sh", "-c", f"test -e {var}/.maintenance.flag")
        assert result.stderr.count("Verified") == 2
        assert not MaintenanceMode(var).is_enabled()
        other = MaintenanceMode(tmp_path / "other")
        seen = tmp_path / "seen"
        result = verify(tmp_path / "other", "run", port, "--wait=3", "touch", str(seen), code=1)
    assert "10 of 10 answers" in result.stderr
    assert "'touch' was not run; maintenance mode stays on; switch it off with" in result.stderr
    assert (other.is_enabled(), seen.exists()) == (True, False)


def test_end_of_a_run_is_verified_too(var: Path, flag: Path) -> None:
    numbers = count()

    def answer(_: bytes) -> Iterator[bytes]:
        code = 502 if next(numbers) >= 10 else 503
        mark = b"X-Maintenance-Mode: on" * (code == 503)
        yield b"HTTP/1.1 %d\r\n%b\r\n\r\n" % (code, mark)

    with answering(answer) as port:
        result = verify(var, "run", port, "--wait=3", "true", code=1)
    assert "'true' succeeded; maintenance mode was switched off, but" in result.stderr
    assert "10 of 10 answers at 127.0.0.1 are 502 without" in result.stderr
    assert "was not run" not in result.stderr
    assert not flag.exists()


def test_end_of_a_run_is_not_verified_while_another_one_lasts(var: Path) -> None:
    with gated(var) as port, MaintenanceMode(var).window():
        result = verify(var, "run", port, "true")
        assert result.stderr.count("Verified") == 1
