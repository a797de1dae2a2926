"""Proxies and servers that run, and how their answers are told apart."""

import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.proxies.tables import EXAMPLES, SERVERS, SITE, Proxy
from tests.support.http import Listener, ask
from tests.support.needs import leave_out, need
from tests.support.processes import APPLICATIONS, held_port, run, running, unmeasured
from tests.support.wsgi import Answer


@dataclass(frozen=True)
class Front:
    """A proxy that runs."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def ask(
        self, source: str, path: str = "/", *headers: tuple[str, str], method: str = "GET"
    ) -> Answer:
        """Send a request from an address of either family, to the examples' site."""
        host = "::1" if ":" in source else "127.0.0.1"
        fields = headers if "Host" in dict(headers) else (("Host", SITE), *headers)
        return ask((host, self.port), path, method, fields, source=source)


StartServer = Callable[..., Listener]

StartProxy = Callable[..., Front]


def replaced(texts: list[str], changes: Mapping[str, str]) -> list[str]:
    """Replace in all texts. What is found in none of them was renamed in an example."""
    for old, new in changes.items():
        assert any(old in text for text in texts), old
        texts = [text.replace(old, new) for text in texts]
    return texts


def command_of(text: str) -> list[str]:
    name, *options = shlex.split(text)
    return [need(name), *options]


def new_folder(parent: Path) -> Path:
    """Make a directory that the proxies' own users may write to."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    (folder / "cache").mkdir()
    for path in (folder, folder / "cache"):
        path.chmod(0o777)
    return folder


@contextmanager
def serving(name: str, shared_folder: Path, host: str, header: str) -> Iterator[Listener]:
    """Start an application server, as its users do, at a port or at a Unix socket."""
    environ = unmeasured() | {
        "MAINTENANCE_DIR": str(shared_folder / "var"),
        "MAINTENANCE_TRUSTED_PROXIES": "127.0.0.1, ::1, unix:",
        "MAINTENANCE_CLIENT_IP_HEADER": header,
        "MAINTENANCE_HEALTH_PATHS": "/healthz",
        "PYTHONPATH": str(APPLICATIONS),
    }
    folder = new_folder(shared_folder)
    path = str(folder / "socket") if name.endswith("-unix") else None
    with held_port() as port:
        text = SERVERS[name].replace("AT", path or f"{host}:{port}")
        command = command_of(text.replace("PORT", str(port)))
        listener: Listener = path or ("127.0.0.1", port)
        with running(command, listener, folder / "log", cwd=APPLICATIONS, env=environ):
            yield listener


@contextmanager
def fronting(
    proxy: Proxy, shared_folder: Path, upstream: Listener, var: Path, changes: Mapping[str, str]
) -> Iterator[Front]:
    """Start a proxy with its example."""
    folder = new_folder(shared_folder)
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with held_port() as port:
        command = configure(proxy, folder, port, upstream, var, changes)
        with running(command, ("::1", port), folder / "log", env=unmeasured() | home) as process:
            yield Front(port, folder, process)


def configure(
    proxy: Proxy, folder: Path, port: int, upstream: Listener, var: Path, changes: Mapping[str, str]
) -> list[str]:
    """Write the example for this place; return the command that starts the proxy with it."""
    names = {
        "SITE": folder / proxy.site,
        "FRAME": folder / "frame",
        "FOLDER": folder,
        "VAR": var,
        "UPSTREAM": upstream if isinstance(upstream, str) else upstream[1],
        "PORT": port,
    }
    site = (EXAMPLES / proxy.site).read_text(encoding="utf-8")
    here = {**proxy.here, **(proxy.unix if isinstance(upstream, str) else {})}
    texts = replaced([proxy.command, proxy.frame, site], {**here, **changes})
    for name, value in names.items():
        texts = [text.replace(name, str(value)) for text in texts]
    command, frame, site = texts
    (folder / "frame").write_text(frame, encoding="utf-8")
    (folder / proxy.site).write_text(site, encoding="utf-8")
    arguments = command_of(command)
    interfaces = Path("/proc/net/if_inet6")
    if not (interfaces.exists() and " lo\n" in interfaces.read_text()):
        leave_out("proxies and servers", "give the loopback interface its IPv6 address")
    return arguments


def _empty_the_directory(front: Front) -> None:
    run("find", f"{front.folder}/cache", "-mindepth", "1", "-delete")


def _ban(front: Front) -> None:
    run("varnishadm", "-n", f"{front.folder}/varnish", "ban", "obj.status", "!=", "0")


def _reload(front: Front) -> None:
    front.process.send_signal(signal.SIGUSR2)  # what "systemctl reload haproxy" sends


# How the cache of a proxy is emptied.
EMPTIED = {
    "nginx-cached": _empty_the_directory,
    "haproxy": _reload,
    "varnish": _ban,
    "apache": _empty_the_directory,
}


def is_exempt(answer: Answer) -> bool:
    return (answer.code, answer.mark) == (200, "exempt")


def is_blocked(answer: Answer) -> bool:
    """Tell whether the gate blocked; a proxy's own 503 would prove nothing."""
    return (answer.code, answer.mark) == (503, "on")


def is_refused(answer: Answer) -> bool:
    """Tell whether a proxy refused the request, or the application server did behind it."""
    return 400 <= answer.code < 500 or answer.code == 502


def others(
    front: Front,
    source: str,
    table: Mapping[str, list[tuple[str, str]]],
    *expected: Callable[[Answer], bool],
) -> dict[str, tuple[str, str | None]]:
    """Send what is in a table; return the answers that nobody expected."""
    answers = {case: front.ask(source, "/", *sent) for case, sent in table.items()}
    return {
        case: (answer.status, answer.mark)
        for case, answer in answers.items()
        if not any(is_so(answer) for is_so in expected)
    }
