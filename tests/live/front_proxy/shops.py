"""The front proxy and the PHP shop behind it, started as their README says."""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.http import ask
from tests.support.processes import (
    APPLICATIONS,
    COMMAND,
    PROGRAMS,
    ROOT,
    free_port,
    run,
    running,
    skip_without,
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
    skip_without(shutil.which("php"), "Debian's php-cli")
    place = "127.0.0.1", free_port()
    options = ["-d", "post_max_size=0", "-d", "enable_post_data_reading=0"]
    command = ["php", *options, "-S", f"{place[0]}:{place[1]}", "index.php"]
    variables = (
        unmeasured() | {"SHOP_VAR": str(folder / "var"), "PHP_CLI_SERVER_WORKERS": "3"} | env
    )
    with running(command, place, folder / "php.log", cwd=PHP_SHOP, env=variables):
        yield place


@contextmanager
def front_proxy(
    folder: Path, behind: Place, *, address: str = "127.0.0.1", **env: str
) -> Iterator[Place]:
    port = free_port()
    bind = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    variables = {"SHOP": f"http://{behind[0]}:{behind[1]}", "BIND": bind}
    variables |= {"MAINTENANCE_DIR": str(folder / "var"), "PYTHONDONTWRITEBYTECODE": "1"}
    environ = unmeasured() | variables | env
    place = "127.0.0.1", port
    with running([PROGRAMS / "gunicorn"], place, folder / "gunicorn.log", cwd=EXAMPLE, env=environ):
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
    php = shutil.which("php")
    skip_without(php, "Debian's php-cli")
    return run(str(php), *arguments, given=given).stdout


def run_command(directory: Path, *arguments: str) -> None:
    run(COMMAND, "--dir", directory, *arguments)
