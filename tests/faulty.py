"""What a gate answers while the file system or the clock is at fault; runs under `faults.c`."""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gates import Middleware, code_for
from helpers import shop
from shim import EVERY, begin, set_clock

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
    gate = Middleware(shop, var)
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
    gate = Middleware(shop, var)
    (var / ".maintenance.flag").touch()
    found["off"] = [fault.ask_all(gate), sound.ask_all(gate)]
    return found


def clock(var: Path, ahead: int, tick: int) -> list[int]:
    """Edit the list under a clock at fault; return the edits that the next request missed."""
    (var / ".maintenance.flag").touch()
    path = var / ".maintenance.ip"
    path.write_text(REMOVED)
    gate = Middleware(shop, var)
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


SCENARIOS: dict[str, Callable[..., Any]] = {"single": single, "every": every, "clock": clock}

if __name__ == "__main__":
    logging.disable()
    name, directory, *numbers = sys.argv[1:]
    print(json.dumps(SCENARIOS[name](Path(directory), *map(int, numbers))))  # noqa: T201 (its result)
