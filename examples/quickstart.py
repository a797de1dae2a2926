"""Wrap an application, put it into maintenance mode, and show how it answers real requests.

python examples/quickstart.py          take the tour, then keep serving until Ctrl-C
python examples/quickstart.py --once   only take the tour; exit with 1 if a step went wrong
"""

import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.serving import WSGIRequestHandler, make_server

from maintenance_wsgi import MaintenanceMiddleware

COMMAND = str(Path(sys.executable).with_name("maintenance-wsgi"))


def shop(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Stand in for your application."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Welcome to the shop.\n"]


class QuietHandler(WSGIRequestHandler):
    """Logs no requests, so that the terminal shows only the tour."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Print nothing."""


def listen() -> socket.socket:
    """Return a socket on port 8000, or on another port if that one is taken."""
    try:
        return socket.create_server(("127.0.0.1", 8000))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


class Tour:
    """Shows the main use, step by step."""

    def __init__(self, port: int, directory: str) -> None:
        """Remember the server's port and the directory of the two files."""
        self.port = port
        self.directory = directory
        self.failed = False

    def get(self, expected: int) -> None:
        """Send a request, show the answer, and check its status."""
        print(f"\n$ curl -i http://127.0.0.1:{self.port}/")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/")
        answer = connection.getresponse()
        print(f"HTTP/1.1 {answer.status} {answer.reason}")
        for name in ("Retry-After", "X-Maintenance-Mode"):
            if value := answer.getheader(name):
                print(f"{name}: {value}")
        connection.close()
        complete = answer.status != 503 or answer.getheader("Retry-After")  # noqa: PLR2004 (HTTP)
        self.check(answer.status == expected and bool(complete))

    def run(self, *arguments: str) -> None:
        """Run the admin command as an operator would."""
        command = [COMMAND, "--dir", self.directory, *arguments]
        print(f"\n$ {shlex.join(command)}", flush=True)
        self.check(subprocess.run(command, check=False).returncode == 0)  # noqa: S603 (our own command)

    def check(self, right: bool) -> None:  # noqa: FBT001 (the only argument)
        """Report a step that went wrong."""
        if not right:
            self.failed = True
            print("^ this is not what should have happened")

    def go(self) -> None:
        """Take all steps."""
        self.get(200)
        self.run("enable", "--message", "Back soon", "--until", "+40m")
        self.get(503)
        self.run("allow-ips", "127.0.0.1")
        self.get(200)
        self.run("status")
        self.run("disable")
        self.get(200)


def main() -> int:
    """Serve the wrapped application and take the tour."""
    with tempfile.TemporaryDirectory(prefix="maintenance-") as directory, listen() as listener:
        application = MaintenanceMiddleware(shop, directory)
        port = listener.getsockname()[1]
        server = make_server(
            "127.0.0.1",
            port,
            application,
            threaded=True,
            request_handler=QuietHandler,
            fd=listener.fileno(),
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        tour = Tour(port, directory)
        tour.go()
        if not tour.failed and "--once" not in sys.argv[1:]:
            serve_until_interrupted(thread, port, directory)
        server.shutdown()
        return int(tour.failed)


def serve_until_interrupted(thread: threading.Thread, port: int, directory: str) -> None:
    """Print what to try next, and return on Ctrl-C."""
    try:
        print(f"\nServing http://127.0.0.1:{port}/ until Ctrl-C. Try it from another terminal:")
        print(f"$ {COMMAND} --dir {directory} enable --ip none", flush=True)
        thread.join()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
