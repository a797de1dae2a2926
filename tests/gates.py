"""The gate under the tests of faults; with NAIVE_GATE set, what people write in its place.

`NAIVE_GATE=1 pytest --no-cov tests/test_faults.py tests/test_sweep.py ...` shows which of these
tests tell the two apart.
"""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from helpers import status_of

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.cli import main


class NaiveMiddleware:
    def __init__(self, application: WSGIApplication, var: str | os.PathLike[str]) -> None:
        self.application, self.var = application, var
        self.exempt: set[str] = set()
        self.loaded = 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = os.path.join(self.var, ".maintenance.ip")
        if os.path.exists(os.path.join(self.var, ".maintenance.flag")):
            if os.path.exists(path) and os.path.getmtime(path) > self.loaded:
                self.exempt = set(open(path).read().split(","))  # noqa: SIM115 (naive)
                self.loaded = time.time()
            if environ["REMOTE_ADDR"] not in self.exempt:
                start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
                return [b"maintenance"]
        return self.application(environ, start_response)


def naive_command(var: str, arguments: Sequence[str]) -> int:
    name, *options = arguments
    addresses = [text.removeprefix("--ip=") for text in options if text.lstrip("-ip=")[0].isdigit()]
    path, flag = Path(var, ".maintenance.ip"), Path(var, ".maintenance.flag")
    if name == "enable":
        flag.write_text('{"message": "b"}' if "--message=b" in options else "{}")
    if "--add" in options:
        addresses = [*path.read_text().split(","), *addresses]
    if addresses:
        path.write_text(",".join(addresses))
    if "--none" in options:
        path.unlink()
    if name == "disable":
        flag.unlink()
    return 0


def own_command(var: str, arguments: Sequence[str]) -> int:
    try:
        main(["--dir", var, *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError


NAIVE = "NAIVE_GATE" in os.environ
Middleware = NaiveMiddleware if NAIVE else MaintenanceMiddleware
command = naive_command if NAIVE else own_command


def code_for(gate: WSGIApplication, peer: str) -> int:
    """Return the status code that a gate answers to who connects from there."""
    environ: WSGIEnvironment = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": peer}
    return int(status_of(gate, environ).split()[0])
