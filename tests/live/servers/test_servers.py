"""The gate under every server that our users run: real processes, real sockets."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException, RemoteDisconnected
from pathlib import Path

import click
import markupsafe
import netaddr
import pytest
import werkzeug

import maintenance_wsgi
from maintenance_wsgi import MaintenanceMode
from tests.support.http import Connection, Listener, ask
from tests.support.needs import need
from tests.support.processes import (
    APPLICATIONS,
    COMMAND,
    ROOT,
    held_port,
    make_open_folder,
    meanwhile,
    run,
    running,
    unmeasured,
)

pytestmark = pytest.mark.servers

EXEMPT = [("X-Forwarded-For", "203.0.113.66, 203.0.113.7")]
STRANGER = [("X-Forwarded-For", "203.0.113.7, 198.51.100.1")]
SHOP = APPLICATIONS / "live_shop.py"
UPLOAD = 60 * 1024 * 1024
APACHE = """
ServerName localhost
ServerRoot {folder}
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog /dev/stderr
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
RequestReadTimeout body=2,minrate=500
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess shop processes=2 threads=2 python-path={folder}
WSGIProcessGroup shop
WSGIApplicationGroup %{{GLOBAL}}
WSGIChunkedRequest On
WSGIScriptAlias / {folder}/shop.wsgi
<Directory {folder}>
  Require all granted
</Directory>
"""


@dataclass(frozen=True)
class Server:
    """How a server is started, and what it can do by its own nature.

    Attributes:
        command: what starts `{application}` of a module, listening at `{at}`.
        unix: what `{at}` is for a Unix socket at `{path}`; None where it has none.
        tcp: what `{at}` is for `{port}` of 127.0.0.1.
        workers: how many processes answer.
        keeps_alive: whether it takes another request over the connection after a 503.
        answers_uploads: whether a blocked client that is still sending gets its answer.
        reload: the signal that makes it start new workers, where it can.
        unix_peer: what it reports as REMOTE_ADDR of a Unix socket.
    """

    command: str
    tcp: str = "127.0.0.1:{port}"
    unix: str | None = "{path}"
    workers: int = 1
    keeps_alive: bool = True
    answers_uploads: bool = True
    reload: signal.Signals | None = None
    unix_peer: str | None = ""


def gunicorn(options: str, *, keeps_alive: bool = True) -> Server:
    # A worker that is ended while it boots does not hear of it; gunicorn then kills it in time.
    command = "gunicorn --workers=2 --graceful-timeout=3 --bind={at} {application} " + options
    return Server(
        command, unix="unix:{path}", workers=2, reload=signal.SIGHUP, keeps_alive=keeps_alive
    )


SERVERS = {
    "gunicorn-sync": gunicorn("", keeps_alive=False),
    "gunicorn-gthread": gunicorn("--threads=2"),
    "gunicorn-gevent": gunicorn("--worker-class=gevent"),
    "gunicorn-preload": gunicorn("--threads=2 --preload"),
    "uwsgi": Server(
        "uwsgi --http-socket={at} --module={application} --master --processes=2 --threads=2"
        " --die-on-term --need-app",
        workers=2,
        keeps_alive=False,
        reload=signal.SIGHUP,
        unix_peer="0.0.0.0",
    ),
    "waitress": Server(
        "waitress-serve {at} --no-clear-untrusted-proxy-headers {application}",
        tcp="--listen=127.0.0.1:{port}",
        unix="--unix-socket={path}",
        unix_peer="localhost",
    ),
    "cheroot": Server("cheroot --bind {at} {application}"),
    "granian": Server(
        "granian --interface=wsgi --workers=2 --blocking-threads=2 {at} {application}",
        tcp="--port={port}",
        unix="--uds={path}",
        workers=2,
        answers_uploads=False,
        reload=signal.SIGHUP,
    ),
    "werkzeug": Server(
        "python -c 'import sys, pkgutil, werkzeug; werkzeug.run_simple("
        "sys.argv[1], int(sys.argv[2]), pkgutil.resolve_name(sys.argv[3]), threaded=True)'"
        " {at} {application}",
        tcp="127.0.0.1 {port}",
        unix="unix://{path} 0",
        keeps_alive=False,
        unix_peer="<local>",
    ),
    "uvicorn": Server(
        "python -c 'import sys, pkgutil, a2wsgi, uvicorn; uvicorn.run(a2wsgi.WSGIMiddleware("
        "pkgutil.resolve_name(sys.argv[3])), port=int(sys.argv[1]), uds=sys.argv[2] or None)'"
        " {at} {application}",
        tcp='{port} ""',
        unix="0 {path}",
        unix_peer=None,
    ),
    "mod_wsgi": Server(
        "apache2 -DFOREGROUND -f {folder}/apache.conf",
        unix=None,
        workers=2,
        keeps_alive=False,
        reload=signal.SIGUSR1,
    ),
}
KINDS = [
    (name, kind)
    for name, server in SERVERS.items()
    for kind in ("tcp", "unix")
    if kind == "tcp" or server.unix
]
ANSWER_UPLOADS = [kind for kind in KINDS if SERVERS[kind[0]].answers_uploads]
RELOAD = [kind for kind in KINDS if SERVERS[kind[0]].reload]


@dataclass(frozen=True)
class Live:
    """A server that runs, and the directory of its two files."""

    server: Server
    listener: Listener
    var: Path
    process: subprocess.Popen[bytes]

    @property
    def mode(self) -> MaintenanceMode:
        return MaintenanceMode(self.var)

    def pids(self) -> dict[bytes, set[str | None]]:
        """Ask until all workers have answered; return what each said of maintenance.

        Several ask at once: a lone client may be answered by the same worker for ever.
        """
        deadline = time.monotonic() + 30
        with ThreadPoolExecutor(4) as clients:
            while time.monotonic() < deadline:
                seen: dict[bytes, set[str | None]] = {}  # anew: a reload ends workers that answered
                for answer in clients.map(ask, [self.listener] * 8, ["/pid"] * 8):
                    if answer.code == 200:  # while Apache reloads it has a 503 of its own
                        seen.setdefault(answer.body, set()).add(answer.mark)
                if len(seen) == self.server.workers:
                    return seen
        pytest.fail(f"{len(seen)} workers answered, not {self.server.workers}")


@contextmanager
def started(
    server: Server, kind: str, folder: Path, application: str, **extra: str
) -> Iterator[Live]:
    """Start a server as its users do; its files are in `folder`."""
    var = folder / "var"
    var.mkdir(exist_ok=True)
    environ = unmeasured() | {
        "MAINTENANCE_DIR": str(var),
        "MAINTENANCE_TRUSTED_PROXIES": "127.0.0.1, unix:",
        "MAINTENANCE_EXEMPT_PATHS": "/pid",
        "PYTHONPATH": f"{folder}:{APPLICATIONS}",
    }
    at = server.unix if kind == "unix" else server.tcp
    assert at is not None
    with held_port() as port:
        names = {"port": port, "path": folder / "s", "folder": folder, "application": application}
        name, *options = shlex.split(server.command.format(at=at.format_map(names), **names))
        command = [need(name), *options]
        if name == "apache2":
            write_apache_files(folder, port, application)
        listener: Listener = str(folder / "s") if kind == "unix" else ("127.0.0.1", port)
        environ |= extra
        with running(command, listener, folder / "log", cwd=APPLICATIONS, env=environ) as process:
            yield Live(server, listener, var, process)


def write_apache_files(folder: Path, port: int, application: str) -> None:
    """Write the configuration, and copies of the code where Apache's own user may read them."""
    module, attribute = application.split(":")
    (folder / "shop.wsgi").write_text(f"from {module} import {attribute} as application\n")
    (folder / "apache.conf").write_text(APACHE.format(folder=folder, port=port))
    shutil.copy(SHOP, folder)
    for package in (maintenance_wsgi, click, netaddr, werkzeug, markupsafe):
        shutil.copytree(package.__path__[0], folder / package.__name__)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    name, kind = request.param
    server = SERVERS[name]
    with (
        make_open_folder() as folder,
        started(server, kind, folder, "live_shop:application") as made,
    ):
        yield made


@pytest.fixture
def in_maintenance(live: Live) -> Iterator[Live]:
    """Switch maintenance on, with one address exempt."""
    live.mode.enable(exemptions=["203.0.113.7"])
    yield live
    live.mode.disable()


def test_each_worker_sees_each_flip(live: Live) -> None:
    for _ in range(3):
        live.mode.enable()
        assert set().union(*live.pids().values()) == {"exempt"}
        live.mode.disable()
        assert set().union(*live.pids().values()) == {None}


def test_only_the_exempt_client_gets_in(in_maintenance: Live) -> None:
    blocked = ask(in_maintenance.listener, "/", "GET", STRANGER)
    assert (blocked.code, blocked["Retry-After"], blocked.mark) == (503, "300", "on")
    assert int(blocked["Content-Length"]) == len(blocked.body)
    assert ask(in_maintenance.listener).code == 503
    exempt = ask(in_maintenance.listener, "/", "GET", EXEMPT)
    assert (exempt.code, exempt.mark) == (200, "exempt")
    assert exempt["Cache-Control"] == "private, no-cache"
    command = [COMMAND, f"--dir={in_maintenance.var}", "allow-ips", "198.51.100.1"]
    run(*command)
    assert ask(in_maintenance.listener, "/", "GET", EXEMPT).code == 503
    assert ask(in_maintenance.listener, "/", "GET", STRANGER).code == 200


def test_exempt_path_opens_no_other_page(in_maintenance: Live) -> None:
    """By default gunicorn believes a header SCRIPT_NAME of a peer on this machine."""
    forged = [("SCRIPT_NAME", "/webhooks"), *STRANGER]
    answer = ask(in_maintenance.listener, "/webhooks/stream", "GET", forged)
    assert answer.code == 503 or answer.body.isdigit()  # not the page at /stream


def test_peer_of_a_unix_socket(live: Live) -> None:
    peer, _ = json.loads(ask(live.listener, "/peer").body)
    assert peer == (live.server.unix_peer if isinstance(live.listener, str) else "127.0.0.1")


def test_head(in_maintenance: Live) -> None:
    blocked = ask(in_maintenance.listener, "/", "GET", STRANGER)
    headed = ask(in_maintenance.listener, "/", "HEAD", STRANGER)
    assert (headed.code, headed.body) == (503, b"")
    assert headed["Content-Length"] == blocked["Content-Length"]
    assert ask(in_maintenance.listener, "/", "HEAD", EXEMPT).code == 200


def test_exempt_client_gets_streams_files_and_uploads(in_maintenance: Live) -> None:
    streamed = ask(in_maintenance.listener, "/stream", "GET", EXEMPT)
    assert streamed.body == b"".join(b"%d\n" % number for number in range(1000))
    assert ask(in_maintenance.listener, "/file", "GET", EXEMPT).body == SHOP.read_bytes()
    uploaded = ask(in_maintenance.listener, "/upload", "POST", EXEMPT, body=b"x" * 3_000_000)
    assert (uploaded.code, uploaded.body) == (200, b"3000000")


@pytest.mark.parametrize("live", ANSWER_UPLOADS, indirect=True, ids="-".join)
def test_large_upload_gets_its_answer(in_maintenance: Live) -> None:
    answer = ask(in_maintenance.listener, "/upload", "POST", STRANGER, body=b"x" * UPLOAD)
    assert (answer.code, answer.mark) == (503, "on")
    assert len(answer.body) == int(answer["Content-Length"])


def pieces(pause: float) -> Iterator[bytes]:
    for _ in range(5):
        time.sleep(pause)
        yield b"x" * 20_000


@pytest.mark.parametrize("live", ANSWER_UPLOADS, indirect=True, ids="-".join)
def test_slow_upload_gets_its_answer(in_maintenance: Live) -> None:
    send_slowly(in_maintenance, {"Content-Length": "100000"})


@pytest.mark.parametrize("live", ANSWER_UPLOADS, indirect=True, ids="-".join)
def test_slow_upload_in_chunks_gets_its_answer(in_maintenance: Live) -> None:
    send_slowly(in_maintenance, {})


def send_slowly(live: Live, fields: dict[str, str]) -> None:
    connection = Connection(live.listener)
    connection.request("POST", "/upload", pieces(0.1), fields | dict(STRANGER))
    response = connection.getresponse()
    assert (response.status, response.getheader("X-Maintenance-Mode")) == (503, "on")
    assert len(response.read()) == int(response.getheader("Content-Length", ""))
    connection.close()


def test_client_that_asks_before_it_sends_gets_its_answer(in_maintenance: Live) -> None:
    """RFC 9110 section 10.1.1: the client waits for "100 Continue", or for the final answer."""
    connection = Connection(in_maintenance.listener)
    connection.connect()
    head = "POST /upload HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in STRANGER)
    connection.sock.sendall(f"{head}{fields}Content-Length: 100000\r\n\r\n".encode())
    with connection.sock.makefile("rb") as answers:
        first = answers.readline()
        if b" 100 " in first:
            connection.sock.sendall(b"x" * 100_000)
        while b" 100 " in first:  # werkzeug's server says it twice
            assert answers.readline() == b"\r\n"
            first = answers.readline()
        assert first.split()[1] == b"503"
    connection.close()


def test_connection_survives_the_answer(in_maintenance: Live) -> None:
    connection = Connection(in_maintenance.listener)
    connection.connect()
    sock = connection.sock
    upload = [b"x" * 100_000] if in_maintenance.server.answers_uploads else []
    for body in (None, *upload, None) if in_maintenance.server.keeps_alive else (None,):
        answer = connection.ask("/", "POST" if body else "GET", STRANGER, body)
        assert answer.code == 503
        assert connection.sock is sock or not in_maintenance.server.keeps_alive
    connection.close()


def has_new_workers(live: Live, before: set[bytes]) -> bool:
    try:
        return before.isdisjoint(live.pids())
    except (OSError, HTTPException):  # granian breaks some connections off while it reloads
        return False


@pytest.mark.parametrize("live", RELOAD, indirect=True, ids="-".join)
def test_reload_lets_nobody_in(in_maintenance: Live) -> None:
    assert in_maintenance.server.reload is not None
    before = set(in_maintenance.pids())
    statuses: list[int] = []

    def knock() -> None:
        with suppress(OSError, HTTPException):
            statuses.append(ask(in_maintenance.listener, "/", "GET", STRANGER).code)

    with meanwhile(knock):
        in_maintenance.process.send_signal(in_maintenance.server.reload)
        deadline = time.monotonic() + 30
        while not has_new_workers(in_maintenance, before):
            assert time.monotonic() < deadline
    assert statuses
    assert set(statuses) == {503}
    while (
        ask(in_maintenance.listener, "/", "GET", EXEMPT).code != 200
    ):  # Apache's own 503 for a moment
        assert time.monotonic() < deadline


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "gunicorn-preload"])
def test_application_may_come_later(name: str, open_folder: Path) -> None:
    (open_folder / "var").mkdir()
    mode = MaintenanceMode(open_folder / "var")
    mode.enable(exemptions=["203.0.113.7"])
    with started(
        SERVERS[name], "tcp", open_folder, "live_shop:late_application", LATE_SHOP="1"
    ) as live:
        assert ask(live.listener, "/", "GET", STRANGER).code == 503
        with suppress(RemoteDisconnected):  # uWSGI has no page for it
            assert ask(live.listener, "/", "GET", EXEMPT).code == 500
        (open_folder / "late_shop.py").write_text("from live_shop import shop as application\n")
        assert ask(live.listener, "/", "GET", EXEMPT).code == 200
        mode.disable()
        assert ask(live.listener, "/", "GET", STRANGER).code == 200


def test_gunicorn_takes_the_expression_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "late_shop.py").write_text("from live_shop import shop as application\n")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r" gunicorn ('maintenance_wsgi:wrap.*')$", readme, re.MULTILINE)
    assert found is not None
    application = found[1].replace("shop.wsgi", "late_shop")
    with started(SERVERS["gunicorn-gthread"], "tcp", tmp_path, application) as live:
        assert ask(live.listener).code == 200
        live.mode.enable()
        assert ask(live.listener).code == 503


def test_waitress_by_itself_takes_the_header_away(tmp_path: Path) -> None:
    command = SERVERS["waitress"].command.replace("--no-clear-untrusted-proxy-headers ", "")
    server = replace(SERVERS["waitress"], command=command)
    with started(server, "tcp", tmp_path, "live_shop:application") as live:
        live.mode.enable(exemptions=["203.0.113.7"])
        assert ask(live.listener, "/", "GET", EXEMPT).mark == "on"
        assert "the proxy did not send it" in (tmp_path / "log").read_text()


PEER = "/webhooks/peer"  # "/peer" of an application at "/webhooks"


@pytest.mark.parametrize(
    ("option", "believed"),
    [("", True), (" --forwarder-headers=''", False)],
    ids=["default", "none"],
)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_gunicorn_believes_script_name_from_a_proxy(
    kind: str, option: str, tmp_path: Path, *, believed: bool
) -> None:
    """The README names the option, for proxies that pass the header on."""
    server = gunicorn(f"--threads=2{option}")
    with started(server, kind, tmp_path, "live_shop:application") as live:
        plain = ask(live.listener, PEER)
        forged = ask(live.listener, PEER, headers=[("SCRIPT_NAME", "/webhooks")])
        assert plain.body.isdigit()
        assert forged.body.startswith(b"[") is believed


def peers_over_one_connection(live: Live, client: str) -> list[str]:
    """Ask twice behind a PROXY line, as a proxy that passes TCP on; return the peers.

    There is one only if the server closes the connection.
    """
    connection = Connection(live.listener)
    connection.connect()
    connection.sock.sendall(f"PROXY TCP4 {client} 127.0.0.1 4711 80\r\n".encode())
    peers: list[str] = []
    while connection.sock and len(peers) < 2:
        peers.append(json.loads(connection.ask("/peer").body)[0])
    connection.close()
    return peers


@pytest.mark.parametrize(
    ("options", "peers"),
    [
        pytest.param("", ["192.0.2.66"], id="sync"),
        pytest.param("--worker-class=gevent", ["192.0.2.66", "192.0.2.66"], id="gevent"),
        pytest.param("--threads=2", ["192.0.2.66", "127.0.0.1"], id="gthread"),
        pytest.param("--threads=2 --keep-alive=0", ["192.0.2.66"], id="gthread-closes"),
    ],
)
def test_gthread_forgets_the_client_of_a_proxy_line(
    options: str, peers: list[str], tmp_path: Path
) -> None:
    """The README warns of it: where a release mends it, the row there can be shorter."""
    server = gunicorn(f"--proxy-protocol {options}")
    with started(server, "tcp", tmp_path, "live_shop:application") as live:
        assert peers_over_one_connection(live, "192.0.2.66") == peers


def test_gthread_behind_a_proxy_line_lets_a_stranger_in(tmp_path: Path) -> None:
    """From the second request on the proxy is the peer, and the header is the client's own."""
    server = gunicorn("--proxy-protocol --threads=2")
    with started(server, "tcp", tmp_path, "live_shop:application") as live:
        live.mode.enable(exemptions=["203.0.113.7"])
        connection = Connection(live.listener)
        connection.connect()
        connection.sock.sendall(b"PROXY TCP4 192.0.2.66 127.0.0.1 4711 80\r\n")
        forged = [("X-Forwarded-For", "203.0.113.7")]
        answers = [connection.ask("/", "GET", forged).mark for _ in range(2)]
        connection.close()
        assert answers == ["on", "exempt"]


HYPERCORN = Server("hypercorn --bind {at} wsgi:{application}", unix="unix:{path}")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_hypercorn_has_no_answer_without_a_body(kind: str, tmp_path: Path) -> None:
    """The README warns of it: where a release mends it, the server can go to the table above."""
    with started(HYPERCORN, kind, tmp_path, "live_shop:application") as live:
        live.mode.enable(exemptions=["203.0.113.7"])
        assert ask(live.listener, "/", "GET", STRANGER).code == 503
        assert ask(live.listener, "/", "GET", EXEMPT).mark == "exempt"
        assert ask(live.listener, "/", "HEAD", STRANGER).code == 500


LENGTHY_SHOP = """
def application(environ, start_response):
    body = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_uwsgi_takes_a_chunked_body_for_a_request(tmp_path: Path) -> None:
    """The README advises against the option: that request comes from a proxy that is trusted."""
    (tmp_path / "lengthy_shop.py").write_text(LENGTHY_SHOP)
    command = SERVERS["uwsgi"].command.replace("--http-socket", "--http11-socket")
    server = replace(SERVERS["uwsgi"], command=command)
    body = b"DELETE /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    with started(server, "unix", tmp_path, "lengthy_shop:application") as live:
        connection = Connection(live.listener)
        connection.putrequest("POST", "/first")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        assert connection.getresponse().read() == b"/first"
        connection.sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        with connection.sock.makefile("rb") as answers:
            assert answers.read().endswith(b"/smuggled")
        connection.close()


def test_uwsgi_forgets_who_is_connected(tmp_path: Path) -> None:
    """Another reason for the README's advice against the option."""
    command = SERVERS["uwsgi"].command.replace("--http-socket", "--http11-socket")
    server = replace(SERVERS["uwsgi"], command=command)
    trust = {"MAINTENANCE_TRUSTED_PROXIES": "unix:"}
    with started(server, "tcp", tmp_path, "live_shop:application", **trust) as live:
        live.mode.enable(exemptions=["203.0.113.7"])
        connection = Connection(live.listener)
        answers = [connection.ask("/", "GET", EXEMPT).mark for _ in range(2)]
        connection.close()
        # It reports 0.0.0.0 from the second request on, as it does for a Unix socket.
        assert answers == ["on", "exempt"]
