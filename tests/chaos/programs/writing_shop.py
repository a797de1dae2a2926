"""Processes and threads whose every request writes to a SQLite file, behind a gate that counts.

Arguments: the directory, the database, and `counted-first` or `looked-first`. Ends with its input.
"""

import logging
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.response.counted import CountedApplication
from tests.support.wsgi import make_environ

_PROCESSES, _THREADS = 2, 8
_PAUSES = [*[0.0] * 9, 0.02]  # seconds; a thread may lose the processor anywhere
_DIRECTORY, _DATABASE, _ORDER = sys.argv[1:]
_connections = threading.local()
_writing = threading.Lock()


def shop(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if not hasattr(_connections, "own"):
        _connections.own = sqlite3.connect(_DATABASE, timeout=30, isolation_level=None)
        _connections.own.execute("PRAGMA synchronous = off")
    time.sleep(random.choice(_PAUSES))  # noqa: S311 (no secret)
    with _writing:
        _connections.own.execute("INSERT INTO orders VALUES (NULL)")
    start_response("200 OK", [])
    return [b"thank you"]


class LookedFirst:
    """The gate that must fail: it looks at the flag, and counts the request afterwards."""

    def __init__(self, counted: CountedApplication) -> None:
        self._counted = counted

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._counted.look() is not None:
            return self._counted.gate(environ, start_response)
        request = self._counted.book.begin()
        try:
            return self._counted.application(environ, start_response)
        finally:
            self._counted.book.end(request)


def slow_gate() -> MaintenanceMiddleware:
    """Return the gate, in whose threads some time may pass after the look."""
    gate = MaintenanceMiddleware(shop, _DIRECTORY, drain=True)
    counted = gate._let_in  # noqa: SLF001 (what is slowed down, or turned round)
    assert isinstance(counted, CountedApplication)
    look = counted.look

    def look_slowly() -> os.stat_result | None:
        found = look()
        time.sleep(random.choice(_PAUSES))  # noqa: S311 (no secret)
        return found

    counted = replace(counted, look=look_slowly)
    gate._let_in = LookedFirst(counted) if _ORDER == "looked-first" else counted  # noqa: SLF001 (likewise)
    return gate


def send_requests(gate: MaintenanceMiddleware) -> None:
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        statuses.append(status)

    while True:
        gate(make_environ(), start_response)
        if statuses.pop().startswith("503"):
            time.sleep(0.001)


def main() -> None:
    logging.getLogger("maintenance_wsgi.changes").disabled = True
    gate = slow_gate()
    children = [os.fork() for _ in range(_PROCESSES - 1)]
    for _ in range(_THREADS):
        threading.Thread(target=send_requests, args=[gate], daemon=True).start()
    sys.stdin.read()
    if 0 not in children:
        for _ in children:
            os.wait()


main()
