"""What a gate answers where the file system, the clock or the process is at fault.

Runs under `faults.c`, each scenario in a process of its own.
"""

import json
import logging
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from maintenance_wsgi import MaintenanceMiddleware
from tests.support.faults import EVERY, begin, set_clock
from tests.support.processes import meanwhile
from tests.support.wsgi import code_for, shop

STRANGER, REMOVED, ADDED = "198.51.100.1", "203.0.113.7", "203.0.113.8"
CLIENTS = (STRANGER, REMOVED, ADDED)


def in_child(action: Callable[[], Any]) -> Any:
    """Return what an action returns in a process of its own, which shares nothing afterwards."""
    reading, writing = os.pipe()
    if not os.fork():
        result = None
        try:
            result = action()
        except OSError as error:
            result = repr(error)
        finally:
            os.write(writing, json.dumps(result).encode())
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as output:
        result = json.load(output)
    os.wait()
    return result


class Fault:
    """The calls of one number, or every call, fail while the clients ask."""

    def __init__(self, var: Path, number: int, error: int) -> None:
        self.var, self.number, self.error = str(var), number, error

    def ask(self, gate: Any, client: str) -> int | str:
        begin(self.var, self.number, self.error)
        try:
            return code_for(gate, client)
        except OSError as error:
            return repr(error)
        finally:
            begin(self.var, 0, 0)

    def ask_all(self, gate: Any) -> list[int | str]:
        return [self.ask(gate, client) for client in CLIENTS]


def changed_gate(var: Path, *, knows: bool) -> Any:
    """Return a gate that knows the list, or does not, of before an edit: one out, another in."""
    flag, path = var / ".maintenance.flag", var / ".maintenance.ip"
    flag.write_text("{}")
    path.write_text(REMOVED)
    gate = MaintenanceMiddleware(shop, var)
    if knows:
        code_for(gate, REMOVED)
    path.write_text(ADDED)
    flag.write_text('{"message": "b"}')
    return gate


def single(var: Path, error: int) -> list[Any]:
    """Fail one call of a request, the first, the second, and so on; ask again without."""
    found = []
    for client in CLIENTS:
        for number in range(1, 12):

            def attempt(client: str = client, number: int = number) -> list[Any]:
                gate = changed_gate(var, knows=True)
                answer = Fault(var, number, error).ask(gate, client)
                return [client, answer, Fault(var, 0, 0).ask_all(gate)]

            found.append(in_child(attempt))
    return found


def every(var: Path, error: int) -> dict[str, Any]:
    """Fail every call: while on, the list known and not; while off, and switched on meanwhile."""
    fault, sound = Fault(var, EVERY, error), Fault(var, 0, 0)
    found: dict[str, Any] = {}
    for name, knows in (("known", True), ("unknown", False)):
        gate = changed_gate(var, knows=knows)
        found[name] = [fault.ask_all(gate), sound.ask_all(gate)]
    (var / ".maintenance.flag").unlink()
    gate = MaintenanceMiddleware(shop, var)
    (var / ".maintenance.flag").touch()
    found["off"] = [fault.ask_all(gate), sound.ask_all(gate)]
    return found


def clock(var: Path, ahead: int, tick: int) -> list[int]:
    """Edit the list under a clock at fault; return the edits that the next request missed."""
    (var / ".maintenance.flag").touch()
    path = var / ".maintenance.ip"
    path.write_text(REMOVED)
    gate = MaintenanceMiddleware(shop, var)
    code_for(gate, REMOVED)
    status = path.stat()
    set_clock(ahead, tick)
    missed = []
    for number in range(200):
        text = (ADDED, REMOVED)[number % 2]
        path.write_text(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        if (code_for(gate, ADDED), code_for(gate, REMOVED)) != (
            (200, 503) if text == ADDED else (503, 200)
        ):
            missed.append(number)
    return missed


def descriptors(var: Path) -> dict[str, Any]:
    """Ask while no file can be opened any more, with a list that is known and not; and after."""
    gates = [changed_gate(var, knows=True), changed_gate(var, knows=False)]
    sound = Fault(var, 0, 0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
    opened: list[int] = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        reached = error.strerror
    during = [sound.ask_all(gate) for gate in gates]
    for descriptor in opened:
        os.close(descriptor)
    return {
        "reached": reached,
        "during": during,
        "after": [sound.ask_all(gate) for gate in gates],
    }


def forks(var: Path) -> list[Any]:
    """Change the state after a fork, and ask in the children, which another thread never left."""
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is the point
    gate = changed_gate(var, knows=True)
    sound = Fault(var, 0, 0)

    def later() -> list[int | str]:
        signal.alarm(20)  # a child that waits for a thread that it does not have
        changed_gate(var, knows=False)
        return sound.ask_all(gate)

    found = []
    with meanwhile(lambda: code_for(gate, ADDED)):
        for _ in range(12):
            (var / ".maintenance.ip").write_text(REMOVED)
            found.append(in_child(later))
    return found


def threads(var: Path) -> list[Any]:
    """Change the state between two rounds of 64 threads, and ask in all of them at once."""
    flag, path = var / ".maintenance.flag", var / ".maintenance.ip"
    path.write_text(REMOVED)
    status = path.stat()
    gate = MaintenanceMiddleware(shop, var)
    found = []
    with ThreadPoolExecutor(64) as pool:
        for turn in range(24):
            flag.unlink(missing_ok=True) if turn % 4 == 3 else flag.touch()
            path.write_text((ADDED, REMOVED)[turn % 2])
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            start = threading.Barrier(64, timeout=60)
            clients = [CLIENTS[number % 3] for number in range(64)]
            answers = pool.map(lambda client: start.wait() * 0 + code_for(gate, client), clients)  # noqa: B023 (used up in this turn)
            found.append(sorted(set(zip(clients, answers, strict=True))))
    return found


SCENARIOS: dict[str, Callable[..., Any]] = {
    "single": single,
    "every": every,
    "clock": clock,
    "descriptors": descriptors,
    "forks": forks,
    "threads": threads,
}

if __name__ == "__main__":
    logging.disable()
    name, directory, *numbers = sys.argv[1:]
    print(json.dumps(SCENARIOS[name](Path(directory), *map(int, numbers))))  # noqa: T201 (its result)
