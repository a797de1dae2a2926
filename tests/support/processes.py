"""Programs that the tests start, and what runs beside a test."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.http import Connection, Listener

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
COMMAND = str(PROGRAMS / "maintenance-wsgi")
APPLICATIONS = Path(__file__).with_name("applications")
# A distribution's daemons are in the directory "sbin" beside "bin".
PATH = ":".join([str(PROGRAMS), os.environ["PATH"], os.environ["PATH"].replace("/bin", "/sbin")])


def environ(**variables: str) -> dict[str, str]:
    """Return the environment for a program, with no option of ours but these variables."""
    kept = {name: text for name, text in os.environ.items() if "MAINTENANCE" not in name}
    return kept | {"PATH": PATH} | variables


def unmeasured(**variables: str) -> dict[str, str]:
    """Likewise, for a program whose user cannot write down what was covered."""
    return {name: text for name, text in environ(**variables).items() if "COVERAGE" not in name}


def run(
    *command: str | Path,
    code: int | None = 0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    seconds: float = 110,
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; it must end with the exit code `code`, if one is given."""
    finished = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=env,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert code in {None, finished.returncode}, (finished.args, finished.stdout, finished.stderr)
    return finished


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Do something again and again in a thread, until the block ends, however it ends."""
    done = threading.Event()

    def repeat() -> None:
        while not done.is_set():
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(60)


def age(path: str | os.PathLike[str], seconds: float = 10) -> None:
    """Set back a file's mtime; its ctime cannot be set."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@contextmanager
def make_open_folder() -> Iterator[Path]:
    """Make a directory that every user can reach; pytest's own are closed to others."""
    # Its path is short enough for a Unix socket.
    with TemporaryDirectory(prefix="shop-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def held_port() -> Iterator[int]:
    """Hold a port for a program that cannot choose one itself and say which.

    The socket is bound at all addresses and does not listen. So no other process is given the
    port, a client of it is refused, and a server, which sets SO_REUSEADDR, can bind it too.
    """
    both = socket.has_dualstack_ipv6()
    with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as holder:
        if both:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        port = _bind("::" if both else "", holder)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield port


def _bind(host: str, holder: socket.socket) -> int:
    # The kernel gives out what is above, and the bus of a Redis cluster is 10,000 higher.
    for port in random.sample(range(10_000, 22_000), 100):
        with suppress(OSError):
            holder.bind((host, port))
            return port
    pytest.fail("100 ports are taken")


@contextmanager
def running(
    command: Sequence[str | os.PathLike[str]],
    listener: Listener,
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program, wait until it accepts connections, end it and whatever it started.

    What it prints is in `log`, and in the failure where it does not start.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_it_listens(process, listener, log)
        yield process
    finally:
        _end(process)


@contextmanager
def counting(var: Path, requests: int = 1, user: int | None = None) -> Iterator[int]:
    """Run a process that counts, with so many requests in flight; yield its number."""
    arguments = [str(var), str(requests), str(os.getuid() if user is None else user)]
    program = [sys.executable, str(APPLICATIONS / "counting.py"), *arguments]
    environ = unmeasured(PYTHONPATH=":".join(sys.path))
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def _wait_until_it_listens(
    process: "subprocess.Popen[bytes]", listener: Listener, log: Path
) -> None:
    deadline = time.monotonic() + 30
    while True:
        connection = Connection(listener)
        try:
            connection.connect()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{process.args!r} does not run:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
        else:
            return
        finally:
            connection.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.terminate()
        # A worker that still boots does not hear it; its master waits for it.
        process.wait(6)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
    finally:
        # Children that outlive their parent are ours too: the session is our own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
