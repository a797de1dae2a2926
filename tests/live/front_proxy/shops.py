"""The front proxy and the PHP shop behind it, started as their README says."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.http import ask
from tests.support.needs import need
from tests.support.processes import (
    APPLICATIONS,
    COMMAND,
    PROGRAMS,
    ROOT,
    held_port,
    run,
    running,
    unmeasured,
)
from tests.support.wsgi import Answer

EXAMPLE = ROOT / "examples" / "magento_front_proxy"
PHP_SHOP = APPLICATIONS / "php_shop"
Place = tuple[str, int]

# All of 127.0.0.0/8 is this machine, so that each of these has an address of its own.
SHOP_SEES = "127.0.0.1"  # where the front proxy connects from
DEVELOPER = "127.0.0.2"
STRANGER = "127.0.0.3"
TLS_PROXY = "127.0.0.9"
MEGABYTE = 1 << 20


@contextmanager
def php_shop(folder: Path, **env: str) -> Iterator[Place]:
    options = ["-d", "post_max_size=0", "-d", "enable_post_data_reading=0"]
    variables = {"SHOP_VAR": str(folder / "var"), "PHP_CLI_SERVER_WORKERS": "3"}
    environ = unmeasured() | variables | env
    with held_port() as port:
        command = [need("php"), *options, "-S", f"127.0.0.1:{port}", "index.php"]
        place = "127.0.0.1", port
        with running(command, place, folder / "php.log", cwd=PHP_SHOP, env=environ):
            yield place


@contextmanager
def front_proxy(
    folder: Path, behind: Place, *, address: str = "127.0.0.1", **env: str
) -> Iterator[Place]:
    variables = {"SHOP": f"http://{behind[0]}:{behind[1]}", "PYTHONDONTWRITEBYTECODE": "1"}
    variables |= {"MAINTENANCE_DIR": str(folder / "var")} | env
    host = f"[{address}]" if ":" in address else address
    with held_port() as port:
        environ = unmeasured() | variables | {"BIND": f"{host}:{port}"}
        place, log = ("127.0.0.1", port), folder / "gunicorn.log"
        with running([PROGRAMS / "gunicorn"], place, log, cwd=EXAMPLE, env=environ):
            yield place


def exchange(place: Place, request: bytes) -> bytes:
    """Send bytes, and no more; return all that comes."""
    with socket.create_connection(place, timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def echo(answer: Answer) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(answer.body)
    return seen


def headers_at_shop(
    front: Place, *headers: tuple[str, str], source: str = STRANGER
) -> dict[str, str]:
    seen: dict[str, str] = echo(ask(front, headers=headers, source=source))["headers"]
    return seen


def codes(*places: Place, source: str = STRANGER) -> tuple[int, ...]:
    return tuple(ask(place, source=source).code for place in places)


def run_php(*arguments: str | Path, given: str = "") -> str:
    return run(need("php"), *arguments, given=given).stdout


def run_command(directory: Path, *arguments: str) -> None:
    run(COMMAND, "--dir", directory, *arguments)
