"""Interrupt a command at its first call on the directory, then at its second, and so on.

Runs under `faults.c`. Each attempt is a process of its own, forked so that nothing is imported
again. What it left, and what a gate makes of that, is printed, one JSON object an attempt.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.cli import main as cli
from tests.support.faults import KILL, begin, calls
from tests.support.wsgi import code_for, shop

CLIENTS = ("203.0.113.7", "203.0.113.8", "198.51.100.1")
LINK = "-> "


def write_state(var: Path, before: dict[str, str]) -> None:
    for path in var.iterdir():
        path.unlink()
    for name, text in before.items():
        if text.startswith(LINK):
            (var / name).symlink_to(text.removeprefix(LINK))
        else:
            (var / name).write_text(text)


def attempt(var: Path, arguments: list[str], number: int, error: int) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        begin(str(var), number, error)
        code = 99
        try:
            code = command(str(var), arguments)
        finally:
            sys.stderr.flush()
            os.write(writing, b"\n%d" % calls())
            os._exit(code)
    os.close(writing)
    with open(reading, encoding="utf-8") as output:
        said, _, count = output.read().rpartition("\n")
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "said": said, "calls": count}


def observe(var: Path, gate: Any) -> dict[str, Any]:
    files = {path.name: path.read_text() for path in var.iterdir()}
    links = [path.name for path in var.iterdir() if path.is_symlink()]
    answers = {client: code_for(gate, client) for client in CLIENTS}
    return {"files": files, "links": links, "answers": answers}


def command(var: str, arguments: Sequence[str]) -> int:
    try:
        cli(["--dir", var, *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError


def main(var: Path, error: int, before: dict[str, str], arguments: list[str]) -> None:
    logging.getLogger("maintenance_wsgi").addHandler(
        logging.NullHandler()
    )  # for the gate's changes
    gate = MaintenanceMiddleware(shop, var)
    write_state(var, before)
    total = int(attempt(var, arguments, 0, 0)["calls"])
    for number in range(1, total + 2):
        write_state(var, before)
        code_for(gate, CLIENTS[0])
        outcome = attempt(var, arguments, number, error) | observe(var, gate)
        if error == KILL:
            outcome["again"] = attempt(var, arguments, 0, 0) | observe(var, gate)
        print(json.dumps(outcome | {"number": number}))  # noqa: T201 (its result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])
