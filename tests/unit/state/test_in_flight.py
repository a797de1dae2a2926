import errno
import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import FileWrapper

import pexpect
import pytest
from click.testing import Result

from maintenance_wsgi import ConfigTypeError, MaintenanceMiddleware, MaintenanceMode, StateError
from maintenance_wsgi.state import in_flight
from maintenance_wsgi.state.in_flight import Lock, describe, open_book
from tests.support.commands import invoke
from tests.support.logs import warnings_of
from tests.support.needs import need, need_root
from tests.support.processes import COMMAND, counting, environ, run, unmeasured, wait_for
from tests.support.wsgi import call, make_environ, shop

NOBODY_COUNTS = "no application counts its requests here; construct it with drain=True"


@pytest.fixture
def book(var: Path) -> Path:
    return var / ".maintenance.requests"


def enable(var: Path, *options: str) -> Result:
    return invoke("--dir", str(var), "enable", "--drain=1", *options)


def number_running(var: Path) -> int:
    """Return how many requests of this directory are in flight."""
    return len(open_book(str(var)).running())


class Answer:
    """An answer that counts what is done with it."""

    def __init__(self, fault: str = "") -> None:
        self.closed = 0
        self._fault = fault

    def __iter__(self) -> Iterator[bytes]:
        yield b"a"
        if self._fault == "iteration":
            raise ValueError(self._fault)
        yield b"b"

    def close(self) -> None:
        self.closed += 1
        if self._fault == "close":
            raise ValueError(self._fault)


def counted(var: Path, answer: Any) -> Callable[..., Any]:
    """Return what calls a middleware whose application answers so; it may be an exception."""

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        assert number_running(var) == 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    gate = MaintenanceMiddleware(application, var, drain=True)
    return lambda **extra: gate(make_environ(**extra), lambda *_: lambda _: None)


@pytest.mark.parametrize("answer", [[b"a"], (), [], (b"a", b"b")], ids=repr)
def test_list_and_tuple_are_finished_at_return(answer: object, var: Path) -> None:
    assert counted(var, answer)() is answer
    assert number_running(var) == 0


def test_file_for_the_server_is_finished_at_return_and_the_very_object(var: Path) -> None:
    sent = FileWrapper(BytesIO(b"file"))
    assert counted(var, sent)(**{"wsgi.file_wrapper": FileWrapper}) is sent
    file = BytesIO(b"file")  # as uWSGI has it
    assert counted(var, file)(**{"wsgi.file_wrapper": lambda file, _: file}) is file
    assert number_running(var) == 0
    assert counted(var, file)(**{"wsgi.file_wrapper": FileWrapper}) is not file
    assert counted(var, file)() is not file


def test_other_answer_is_finished_at_its_close(var: Path) -> None:
    answer = Answer()
    returned = counted(var, answer)()
    assert list(returned) == [b"a", b"b"]
    assert (number_running(var), answer.closed) == (1, 0)
    returned.close()
    assert (number_running(var), answer.closed) == (0, 1)


def test_answer_that_is_broken_off_is_closed_once(var: Path) -> None:
    answer = Answer()
    returned = counted(var, answer)()
    chunks = iter(returned)
    assert next(chunks) == b"a"
    returned.close()
    del chunks, returned
    assert (number_running(var), answer.closed) == (0, 1)


def test_answer_without_close(var: Path) -> None:
    returned = counted(var, iter([b"a"]))()
    assert number_running(var) == 1
    returned.close()
    assert number_running(var) == 0


def test_answer_that_the_server_forgets_to_close_is_finished_when_it_is_dropped(var: Path) -> None:
    assert [number_running(var) for _ in counted(var, Answer())()] == [1, 1]
    assert number_running(var) == 0


@pytest.mark.parametrize("fault", ["iteration", "close"])
def test_answer_that_fails_is_finished(fault: str, var: Path) -> None:
    returned = counted(var, Answer(fault))()
    with pytest.raises(ValueError, match=fault), closing(returned):
        list(returned)
    assert number_running(var) == 0


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(1), KeyboardInterrupt()])
def test_application_that_fails_is_finished(error: BaseException, var: Path) -> None:
    with pytest.raises(type(error)):
        counted(var, error)()
    assert number_running(var) == 0


def test_answers_are_as_the_standard_wants_them(var: Path, flag: Path) -> None:
    application = MaintenanceMiddleware(lambda *given: iter(shop(*given)), var, drain=True)
    assert call(application) == call(shop)
    flag.touch()
    assert call(application).code == 503
    flag.unlink()
    assert call(application) == call(shop)


def test_what_maintenance_does_not_stop_is_not_counted(
    var: Path, flag: Path, ip_list: Path
) -> None:
    seen: list[int] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(number_running(var))
        return shop(environ, start_response)

    gate = MaintenanceMiddleware(application, var, exempt_paths=["/webhooks/"], drain=True)
    webhook = make_environ(path="/webhooks/paid")
    assert call(gate, webhook).mark is None
    ip_list.write_text("203.0.113.7")
    flag.touch()
    assert call(gate, webhook).mark == "exempt"
    assert call(gate, make_environ("203.0.113.7")).mark == "exempt"
    assert call(gate).code == 503
    assert seen == [0, 0, 0]
    flag.unlink()
    assert call(gate).code == 200
    assert seen == [0, 0, 0, 1]


def test_request_that_meets_the_switch_is_decided_by_it(var: Path, flag: Path) -> None:
    """The look before it found maintenance off; the next one is made once it is counted."""
    gate = MaintenanceMiddleware(shop, var, drain=True)
    for _ in range(3):
        flag.touch()
        assert call(gate).code == 503
        flag.unlink()
        assert call(gate).code == 200
    assert number_running(var) == 0


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_value_that_is_not_a_bool_is_refused(value: Any, var: Path) -> None:
    with pytest.raises(ConfigTypeError, match=f"drain: {value!r} is not a bool; pass True or"):
        MaintenanceMiddleware(shop, var, drain=value)


def test_command_waits_for_nobody_if_nobody_counts(var: Path, flag: Path, book: Path) -> None:
    for is_made in (False, True):
        if is_made:
            book.touch()
        result = enable(var)
        assert (result.exit_code, result.stderr) == (1, f"Error: {var}: {NOBODY_COUNTS}\n")
        assert flag.exists()


def test_command_says_how_many_processes_it_asked(var: Path) -> None:
    MaintenanceMiddleware(shop, var, drain=True)  # this very process serves nothing
    with counting(var, 0):
        assert (
            "Drained: no earlier request still runs (processes that count: 1)\n"
            in enable(var).stdout
        )
        with counting(var, 0):
            assert "still runs (processes that count: 2)\n" in enable(var).stdout
            assert enable(var, "-q").stdout == ""
    assert NOBODY_COUNTS in enable(var).stderr


def test_command_prints_nothing_of_its_own_under_magentos_name(var: Path) -> None:
    with counting(var, 0):
        result = invoke("--dir", str(var), "maintenance:enable", "--drain=1")
    assert result.stdout == "Enabled maintenance mode\n"


def test_command_names_what_still_runs(var: Path, flag: Path) -> None:
    with counting(var, 3) as first, counting(var, 1) as second:
        result = enable(var)
        assert result.exit_code == 1
        assert "requests that began before still run after 1 s: " in result.stderr
        shown = rf"process {first} \(python\w*\): 3 requests, the oldest for [1-9] s"
        assert re.search(shown, result.stderr)
        assert re.search(rf"process {second} \(python\w*\): 1 for [1-9] s", result.stderr)
        assert "; maintenance mode is on; wait and try again, or reload the ser" in result.stderr
        assert flag.exists()


@pytest.mark.parametrize(
    ("lock", "shown"),
    [
        (Lock(0, 2**62, 2**62), "a process of another container or machine: 1 for "),
        (Lock(-1, 2**62, 2**62), "a process of another container or machine: 1 for "),
        (Lock(2**22 + 1, 2**62, 2**62), f"process {2**22 + 1}: 1 for "),  # it has ended since
        (Lock(1, 2**63 - 1, 2**63 - 1), "): 1 for 0 s"),  # a clock that is ahead
        (Lock(1, 2**62, 2**62 + 1), "): a lock that is not a request"),
    ],
)
def test_process_is_described(lock: Lock, shown: str) -> None:
    assert shown in describe([lock])


def test_terminal_shows_how_many(var: Path) -> None:
    with counting(var, 2):
        command = f"{COMMAND} --dir={var} enable --drain=1"
        said = str(pexpect.run(command, env=environ(), timeout=60))
    assert "\\r2 earlier requests still run \\x08\\r2 earlier" in said
    assert "Error: requests that began before still run after 1 s: process " in said


def test_command_waits_until_the_last_has_ended(var: Path) -> None:
    with ThreadPoolExecutor(1) as pool, counting(var, 0):
        with counting(var, 1):
            waiting = pool.submit(invoke, "--dir", str(var), "enable", "--drain=20")
            wait_for((var / ".maintenance.flag").exists)
            assert not waiting.done()
        assert waiting.result().exit_code == 0


def test_killed_process_is_out_of_the_book(var: Path) -> None:
    with counting(var, 0), counting(var, 5) as process:
        assert number_running(var) == 5
        os.kill(process, 9)
        wait_for(lambda: number_running(var) == 0)
        assert enable(var).exit_code == 0


def test_requests_that_begin_later_are_not_waited_for(var: Path) -> None:
    book = open_book(str(var))
    with counting(var, 1):
        earlier = book.running()
        with counting(var, 2):
            assert book.remaining(earlier) == earlier
            assert number_running(var) == 3


def test_run_does_not_start_its_command(var: Path, flag: Path, tmp_path: Path) -> None:
    arguments = ["--dir", str(var), "run", "--drain=1", "touch", str(tmp_path / "seen")]
    with counting(var, 1):
        result = invoke(*arguments)
    assert result.exit_code == 1
    assert "requests that began before still run after 1 s: process" in result.stderr
    assert "'touch' was not run; maintenance mode stays on; switch it off with:" in result.stderr
    assert flag.exists()
    assert not (tmp_path / "seen").exists()
    flag.unlink()
    assert NOBODY_COUNTS in invoke(*arguments).stderr
    flag.unlink()
    with counting(var, 0):
        assert invoke(*arguments).exit_code == 0
    assert (tmp_path / "seen").exists()
    assert not flag.exists()


def test_no_time_at_all_is_refused(var: Path) -> None:
    result = invoke("--dir", str(var), "enable", "--drain=0")
    assert (result.exit_code, os.listdir(var)) == (2, [])
    assert "'--drain': 0 is too short; use 1 or more seconds" in result.stderr


def test_command_in_the_applications_process_leaves_its_book_alone(var: Path, book: Path) -> None:
    opened = set(os.listdir("/proc/self/fd"))
    gates = [MaintenanceMiddleware(shop, var, drain=True) for _ in range(3)]
    assert len({open_book(str(var)), *(open_book(f"{var}/../var") for _ in gates)}) == 1
    request = open_book(str(var)).begin()
    result = enable(var)
    assert result.exit_code == 1
    assert f"process {os.getpid()} (" in result.stderr
    run(COMMAND, f"--dir={var}", "enable", "--drain=1", code=1)  # it is still held
    open_book(str(var)).end(request)
    open_book(str(var)).end(request)
    run(COMMAND, f"--dir={var}", "enable", "--drain=1")
    held = [fd for fd in set(os.listdir("/proc/self/fd")) - opened if is_same(fd, book)]
    assert len(held) == 1


def is_same(descriptor: str, path: Path) -> bool:
    with suppress(OSError):
        return Path(f"/proc/self/fd/{descriptor}").samefile(path)
    return False


def test_forked_child_counts_for_itself(var: Path) -> None:
    """Its parent's request is not its own: the child neither holds it nor ends it."""
    MaintenanceMiddleware(shop, var, drain=True)
    own = open_book(str(var))
    request = own.begin()
    to_parent, to_child = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        own.end(request)
        own.begin()
        os.write(to_parent[1], b"1")
        os.read(to_child[0], 1)
        os._exit(0)
    os.read(to_parent[0], 1)
    running = own.running()
    assert sorted(lock.process for lock in running) == sorted([os.getpid(), child])
    assert own.counting(running) == 2
    own.end(request)
    assert [lock.process for lock in own.running()] == [child]
    os.write(to_child[1], b"1")
    os.waitpid(child, 0)
    assert number_running(var) == 0


def test_threads_count_each_request_once(var: Path) -> None:
    MaintenanceMiddleware(shop, var, drain=True)
    own, barrier = open_book(str(var)), threading.Barrier(64)

    def serve(_: int) -> None:
        for _ in range(20):
            own.end(own.begin())
        request = own.begin()
        barrier.wait(60)
        if barrier.wait(60) == 0:
            assert len(own.running()) == 64
        barrier.wait(60)
        own.end(request)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(serve, range(64)))
    assert number_running(var) == 0


@contextmanager
def locked(book: Path, kind: int) -> Iterator[int]:
    """Have another process hold a lock on the whole file; yield its number."""
    program = "import fcntl,os,sys; fcntl.lockf(os.open(sys.argv[1],2), int(sys.argv[2])); print()"
    command = [sys.executable, "-c", f"{program}; sys.stdout.flush(); sys.stdin.read()"]
    with subprocess.Popen(
        [*command, str(book), str(kind)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_local_user_who_locks_the_file_stops_no_request(
    var: Path, book: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book.touch()
    with locked(book, fcntl.LOCK_EX) as process:
        gate = MaintenanceMiddleware(shop, var, drain=True)
        assert [call(gate).code for _ in range(3)] == [200] * 3
        fault = "requests are not counted (Resource temporarily unavailable)"
        assert warnings_of(caplog) == [f"{book}: {fault}; find who locks it in /proc/locks"]
        result = enable(var)
        assert result.exit_code == 1
        assert f"process {process} (" in result.stderr
        assert "): a lock that is not a request; maintenance" in result.stderr
    MaintenanceMode(var).disable()
    answer = gate(make_environ(), lambda *_: lambda _: None)
    assert number_running(var) == 0  # a list
    del answer
    assert run(COMMAND, f"--dir={var}", "enable", "--drain=1").returncode == 0


def test_local_user_who_holds_many_locks_is_named_by_the_kernel_only(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "_MAX_LOCKS", 10)
    with counting(var, 11):
        assert "too many locks; find who locks it in /proc/locks" in enable(var).stderr


@pytest.mark.parametrize("obstacle", ["link", "pipe", "directory", "hard-link"])
def test_obstacle_in_place_of_the_file_is_refused(
    obstacle: str, var: Path, book: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.touch()
    makers: dict[str, Callable[[], object]] = {
        "link": lambda: book.symlink_to(target),
        "pipe": lambda: os.mkfifo(book),
        "directory": book.mkdir,
        "hard-link": lambda: book.hardlink_to(target),
    }
    makers[obstacle]()
    for _ in range(2):
        with pytest.raises(StateError, match=r"requests: .* cannot open it \(.*\); remove it"):
            MaintenanceMiddleware(shop, var, drain=True)
        assert "; remove it" in enable(var).stderr
    MaintenanceMiddleware(shop, var)


def as_www_data(action: Callable[[], object]) -> None:
    """Do something in a child that is www-data; it must not raise."""
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(33)
            os.setuid(33)
            action()
        except BaseException as error:  # noqa: BLE001 (the child must not go on)
            logging.getLogger().critical("%r", error)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_directory_where_the_file_cannot_be_made_is_refused(open_folder: Path) -> None:
    need_root()
    book = open_folder / ".maintenance.requests"

    def open_it() -> None:
        remedy = re.escape(f"(Permission denied); as its owner, run: touch {book}")
        with pytest.raises(StateError, match=f"{book}: www-data cannot open it {remedy}"):
            open_book(str(open_folder))

    as_www_data(open_it)
    book.touch()
    as_www_data(lambda: open_book(str(open_folder)))


def test_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"\(No such file or directory\)"):
        MaintenanceMiddleware(shop, tmp_path / "var", drain=True)


WWW_DATA = 33
# Only root may be able to read Python itself, so the process changes its user after the import.
COMMAND_AS = """
import os, sys
from maintenance_wsgi.cli import main, switch
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
main(sys.argv[2:])
"""


@pytest.mark.parametrize("serving", ["www-data", "root"])
@pytest.mark.parametrize("owner", ["www-data", "root"])
def test_users_see_each_other(serving: str, owner: str, open_folder: Path) -> None:
    need_root()
    shutil.chown(open_folder, owner)
    book = open_folder / ".maintenance.requests"
    if owner != serving:
        book.touch()
    umask = os.umask(0o077)
    try:
        users = {"www-data": WWW_DATA, "root": 0}
        with counting(open_folder, 1, users.pop(serving)) as process:
            assert book.stat().st_mode & 0o777 == 0o644
            assert f"process {process} (" in enable(open_folder).stderr
            ((commanding, user),) = users.items()
            program = [sys.executable, "-c", COMMAND_AS, str(user), f"--dir={open_folder}"]
            found = run(*program, "enable", "--drain=1", code=1, env=unmeasured())
            if owner == "www-data" or commanding == "root":  # otherwise www-data cannot switch
                assert f"process {process} (" in found.stderr
    finally:
        os.umask(umask)


def test_process_of_another_container_is_waited_for(var: Path) -> None:
    need_root()
    with counting(var, 1):
        command = [need("unshare"), "--pid", "--fork", "--mount-proc", COMMAND, f"--dir={var}"]
        found = run(*command, "enable", "--drain=1", code=1, env=unmeasured())
    assert "a process of another container or machine: 1 for 1 s" in found.stderr


def test_book_without_locks_is_no_fault_of_a_request(
    var: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its descriptor is gone: what a program closes that makes itself a daemon."""
    closed = in_flight.Book("book", os.open(var, os.O_PATH))
    assert closed.begin()
    closed.end(closed.begin())
    closed.join()
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"book: requests are not counted ({os.strerror(errno.EBADF)}); find")


def test_file_system_without_locks_is_told(var: Path) -> None:
    book = in_flight.Book("book", os.open(var, os.O_PATH))
    fault = rf"book: {os.strerror(errno.EBADF)}; keep the directory on a file system with locks"
    with pytest.raises(StateError, match=fault):
        book.running()
