"""The application that the tests start under real servers: it tells which process answered."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import FileWrapper

from werkzeug.wsgi import get_input_stream

from maintenance_wsgi import MaintenanceMiddleware, wrap


def slow_stream(seconds: float) -> Iterator[bytes]:
    yield b"%d" % os.getpid()
    time.sleep(seconds)
    yield b"."


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/stream":
        return (b"%d\n" % number for number in range(1000))
    if path == "/file":
        wrap_file = environ.get("wsgi.file_wrapper", FileWrapper)
        file: Iterable[bytes] = wrap_file(Path(__file__).open("rb"))  # noqa: SIM115 (whoever sends it closes it)
        return file
    if path == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    if path == "/slow-stream":
        return slow_stream(float(environ["QUERY_STRING"]))
    if path == "/upload":
        return [b"%d" % len(get_input_stream(environ).read())]
    if path == "/peer":
        names = ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR")
        return [json.dumps([environ.get(name) for name in names]).encode()]
    if path == "/reached":
        print("The shop was reached", file=environ["wsgi.errors"], flush=True)
    if path == "/pid":
        time.sleep(0.01)  # a busy worker leaves the next client to another
    return [b"%d" % os.getpid()]


application = MaintenanceMiddleware.from_environ(shop)
late_application = wrap("late_shop:application") if "LATE_SHOP" in os.environ else application
