"""The gate behind real proxies, configured by the very files that users copy from the examples.

Clients differ by the loopback address they connect from. One of them is exempt.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.support.http import ask
from tests.support.processes import (
    APPLICATIONS,
    PROGRAMS,
    ROOT,
    free_port,
    running,
    skip_without,
    unmeasured,
)
from tests.support.wsgi import Answer

pytestmark = pytest.mark.servers

EXAMPLES = ROOT / "examples" / "proxies"
SEARCHED = f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin"
EXEMPT, STRANGER = "127.0.0.5", "127.0.0.6"

# What a distribution puts around a site. Capital words are replaced, as the ports of the site are.
NGINX = """
user root;
daemon off;
pid FOLDER/pid;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    include SITE;
}
"""
CADDY = """
{
	admin off
	auto_https off
}
import SITE
"""
APACHE = """
ServerName localhost
ServerRoot FOLDER
DefaultRuntimeDir FOLDER
PidFile FOLDER/pid
ErrorLog /dev/stderr
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule cache_module /usr/lib/apache2/modules/mod_cache.so
LoadModule cache_disk_module /usr/lib/apache2/modules/mod_cache_disk.so
Listen 80
Include SITE
"""


@dataclass(frozen=True)
class Proxy:
    """How a proxy is started with its example, and what is replaced in it.

    Attributes:
        site: the example's name.
        here: makes it reach the application and write below the test's own directory.
        plain: makes it listen at 127.0.0.1 and ::1.
        dual: makes it listen at [::] for both families.
        unhardened: takes away what drops the underscore twins.
        frame: what is around the example, where it is no whole configuration.
    """

    package: str
    site: str
    command: str
    here: Mapping[str, str]
    plain: Mapping[str, str]
    dual: Mapping[str, str]
    unhardened: Mapping[str, str]
    frame: str = ""


PROXIES = {
    "nginx": Proxy(
        "nginx",
        "nginx.conf",
        "nginx -p FOLDER -e stderr -c FRAME",
        here={
            "127.0.0.1:8000": "127.0.0.1:UPSTREAM",
            "/var/cache/nginx-shop": "FOLDER/cache",
            "/srv/shop/var": "VAR",
        },
        plain={"listen 80;": "listen 127.0.0.1:PORT;", "listen [::]:80;": "listen [::1]:PORT;"},
        dual={"listen 80;": "", "listen [::]:80;": "listen [::]:PORT ipv6only=off;"},
        unhardened={"underscores_in_headers off;": "underscores_in_headers on;"},
        frame=NGINX,
    ),
    "haproxy": Proxy(
        "haproxy",
        "haproxy.cfg",
        "haproxy -W -db -f SITE",
        here={"127.0.0.1:8000": "127.0.0.1:UPSTREAM"},
        plain={"bind :80": "bind 127.0.0.1:PORT", "bind [::]:80 v6only": "bind [::1]:PORT"},
        dual={"bind :80": "", "bind [::]:80 v6only": "bind [::]:PORT v4v6"},
        unhardened={"    option http-restrict-req-hdr-names delete\n": ""},
    ),
    "varnish": Proxy(
        "varnish",
        "default.vcl",
        "varnishd -F -a :80 -n FOLDER/varnish -f SITE",
        here={'"8000"': '"UPSTREAM"', "/srv/shop/var": "VAR"},
        plain={"-a :80": "-a 127.0.0.1:PORT -a [::1]:PORT"},
        dual={"-a :80": "-a :PORT"},  # at [::] it takes no IPv4, so no peer is a mapped one
        unhardened={"unset req.http.X": "# "},
    ),
    "caddy": Proxy(
        "caddy",
        "Caddyfile",
        "caddy run --adapter caddyfile --config FRAME",
        here={"127.0.0.1:8000": "127.0.0.1:UPSTREAM"},
        plain={"shop.example {": "http://:PORT {\n\tbind 127.0.0.1 ::1"},
        dual={"shop.example {": "http://:PORT {"},
        unhardened={"header_up -X": "# "},
        frame=CADDY,
    ),
    "apache": Proxy(
        "apache2",
        "apache.conf",
        "apache2 -DFOREGROUND -f FRAME",
        here={
            "127.0.0.1:8000": "127.0.0.1:UPSTREAM",
            "/var/cache/apache2/mod_cache_disk": "FOLDER/cache",
            "/srv/shop/var": "VAR",
        },
        plain={"*:80": "*:PORT", "Listen 80": "Listen 127.0.0.1:PORT\nListen [::1]:PORT"},
        dual={"*:80": "*:PORT", "Listen 80": "Listen [::]:PORT"},
        unhardened={"RequestHeader unset X": "# "},
        frame=APACHE,
    ),
}
SERVERS = {
    "gunicorn": "gunicorn --threads=4 --bind=AT proxied_shop:application",
    "cheroot": "cheroot --bind AT proxied_shop:application",
    "granian": "granian --interface=wsgi --blocking-threads=4 --port=PORT proxied_shop:application",
    # It closes each connection. Unless it says so, a proxy that sends one more request fails.
    "uwsgi": "uwsgi --http-socket=AT --add-header='Connection: close' --module=proxied_shop"
    " --threads=4 --die-on-term --need-app",
    "uwsgi-protocol": "uwsgi --socket=AT --module=proxied_shop --threads=4 --die-on-term"
    " --need-app",
    "waitress": "waitress-serve --listen=AT --no-clear-untrusted-proxy-headers"
    " proxied_shop:application",
    "werkzeug": "python -c 'import sys, werkzeug, proxied_shop; werkzeug.run_simple("
    '"127.0.0.1", int(sys.argv[1]), proxied_shop.application, threaded=True)\' PORT',
}
BEHIND = ["gunicorn", "cheroot", "granian", "uwsgi", "waitress"]


@dataclass(frozen=True)
class Front:
    """A proxy that runs."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    def ask(
        self, source: str, path: str = "/", *headers: tuple[str, str], method: str = "GET"
    ) -> Answer:
        """Send a request from an address of either family."""
        host = "::1" if ":" in source else "127.0.0.1"
        return ask((host, self.port), path, method, headers, source=source)


_pages = count()
Serve = Callable[..., int]
Put = Callable[..., Front]


def replaced(texts: list[str], changes: Mapping[str, str]) -> list[str]:
    """Replace in all texts. What is found in none of them was renamed in an example."""
    for old, new in changes.items():
        assert any(old in text for text in texts), old
        texts = [text.replace(old, new) for text in texts]
    return texts


def command_of(text: str, remedy: str) -> list[str]:
    name, *options = shlex.split(text)
    program = shutil.which(name, path=SEARCHED)
    skip_without(program, remedy)
    return [str(program), *options]


def new_folder(parent: Path) -> Path:
    """Make a directory that the proxies' own users may write to."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    (folder / "cache").mkdir()
    for path in (folder, folder / "cache"):
        path.chmod(0o777)
    return folder


@contextmanager
def serving(name: str, root: Path, host: str, header: str) -> Iterator[int]:
    """Start an application server, as its users do; return its port."""
    port = free_port()
    text = SERVERS[name].replace("AT", f"{host}:{port}").replace("PORT", str(port))
    environ = unmeasured() | {
        "MAINTENANCE_DIR": str(root / "var"),
        "MAINTENANCE_TRUSTED_PROXIES": "127.0.0.1, ::1",
        "MAINTENANCE_CLIENT_IP_HEADER": header,
        "PYTHONPATH": str(APPLICATIONS),
    }
    command = command_of(text, f"{name} of the test extra")
    log = new_folder(root) / "log"
    with running(command, ("127.0.0.1", port), log, cwd=APPLICATIONS, env=environ):
        yield port


@contextmanager
def fronting(
    proxy: Proxy, root: Path, upstream: int, var: Path, changes: Mapping[str, str]
) -> Iterator[Front]:
    """Start a proxy with its example."""
    folder, port = new_folder(root), free_port()
    names = {
        "SITE": folder / proxy.site,
        "FRAME": folder / "frame",
        "FOLDER": folder,
        "VAR": var,
        "UPSTREAM": upstream,
        "PORT": port,
    }
    site = (EXAMPLES / proxy.site).read_text(encoding="utf-8")
    texts = replaced([proxy.command, proxy.frame, site], {**proxy.here, **changes})
    for name, value in names.items():
        texts = [text.replace(name, str(value)) for text in texts]
    command, frame, site = texts
    (folder / "frame").write_text(frame, encoding="utf-8")
    (folder / proxy.site).write_text(site, encoding="utf-8")
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    program = command_of(command, f"Debian's {proxy.package}")
    with running(program, ("::1", port), folder / "log", env=unmeasured() | home) as process:
        yield Front(port, folder, process)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Return a directory that the proxies' own users may search; pytest's are closed to them."""
    interfaces = Path("/proc/net/if_inet6")
    skip_without(interfaces.exists() and " lo\n" in interfaces.read_text(), "IPv6 on loopback")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "var").mkdir()
        yield folder


@pytest.fixture(scope="module")
def gate(root: Path) -> MaintenanceMode:
    return MaintenanceMode(root / "var")


@pytest.fixture(scope="module")
def serve(root: Path) -> Iterator[Serve]:
    """Start an application server, once; all of them share the flag."""
    with ExitStack() as stack:

        @cache
        def start(name: str, host: str = "127.0.0.1", header: str = "X-Forwarded-For") -> int:
            return stack.enter_context(serving(name, root, host, header))

        yield start


@pytest.fixture(scope="module")
def put(root: Path) -> Iterator[Put]:
    """Put a proxy before an application, once. A distant one does not see the flag."""
    with ExitStack() as stack:

        @cache
        def start(
            name: str,
            upstream: int,
            listen: str = "plain",
            extra: tuple[tuple[str, str], ...] = (),
            *,
            distant: bool = False,
        ) -> Front:
            proxy = PROXIES[name]
            changes = {**(proxy.dual if listen == "dual" else proxy.plain), **dict(extra)}
            var = root / ("elsewhere" if distant else "var")
            return stack.enter_context(fronting(proxy, root, upstream, var, changes))

        yield start


@pytest.fixture
def on(gate: MaintenanceMode) -> Iterator[MaintenanceMode]:
    gate.enable(exemptions=[EXEMPT])
    yield gate
    gate.disable()


@pytest.fixture
def off(gate: MaintenanceMode) -> Iterator[MaintenanceMode]:
    gate.set_exemptions([EXEMPT])
    yield gate
    gate.disable()


def is_exempt(answer: Answer) -> bool:
    return (answer.code, answer.mark) == (200, "exempt")


def is_blocked(answer: Answer) -> bool:
    """Tell whether the gate blocked; a proxy's own 503 would prove nothing."""
    return (answer.code, answer.mark) == (503, "on")


@pytest.mark.parametrize("name", PROXIES)
def test_only_the_exempt_client_gets_in(
    name: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    front = put(name, serve("gunicorn"))
    for _ in range(3):
        off.enable()
        assert is_exempt(front.ask(EXEMPT))
        blocked = front.ask(STRANGER)
        assert is_blocked(blocked)
        assert (blocked["Retry-After"], blocked["Cache-Control"]) == ("300", "no-store")
        assert b"</html>" in blocked.body
        headed = front.ask(STRANGER, method="HEAD")
        assert is_blocked(headed)
        assert (headed["Retry-After"], headed.body) == ("300", b"")
        assert is_exempt(front.ask(EXEMPT, method="HEAD"))
        off.disable()
        answer = front.ask(STRANGER)
        assert (answer.code, answer.mark) == (200, None)


XFF = "X-Forwarded-For"
FORGED, OTHER = (XFF, EXEMPT), (XFF, "192.0.2.1")
TWINS = ["X_Forwarded_For", "X_Forwarded-For", "X-Forwarded_For", "x_forwarded_for"]
FORGERIES = {
    "address": [FORGED],
    "two-lines": [FORGED, FORGED],
    "many-lines": [FORGED] * 40,
    "lower-case": [("x-forwarded-for", EXEMPT)],
    "list": [(XFF, f"{EXEMPT}, {EXEMPT}")],
    "through-a-trusted-proxy": [(XFF, f"{EXEMPT}, 127.0.0.1")],
    "port": [(XFF, f"{EXEMPT}:80")],
    "mapped": [(XFF, f"::ffff:{EXEMPT}")],
    "trailing-comma": [(XFF, f"{EXEMPT},")],
    "trailing-commas": [(XFF, f"{EXEMPT} ,\t,,")],
    "empty": [(XFF, "")],
    "open-quote": [(XFF, f'"{EXEMPT}')],
    "open-quote-after": [(XFF, f'{EXEMPT}, "')],
    "long": [(XFF, f"{EXEMPT}, " * 300 + EXEMPT)],
    "tab": [(XFF, f"\t{EXEMPT}\t")],
    **{twin: [(twin, EXEMPT)] for twin in TWINS},
    **{f"{twin}-after": [OTHER, (twin, EXEMPT)] for twin in TWINS},
    **{f"{twin}-before": [(twin, EXEMPT), OTHER] for twin in TWINS},
    "all-twins": [OTHER, *((twin, EXEMPT) for twin in TWINS), FORGED],
    "Forwarded": [("Forwarded", f"for={EXEMPT}")],
    "X-Real-IP": [("X-Real-IP", EXEMPT)],
    "True-Client-IP": [("True-Client-IP", EXEMPT)],
    "other-headers": [
        (name, EXEMPT) for name in ("Client-IP", "X-Client-IP", "CF-Connecting-IP", "Via", "From")
    ],
}
# What "Connection" names is for the next hop alone: a proxy that obeyed would drop its own line.
UNCONNECTED = {
    "nothing": [("Connection", XFF)],
    "address": [("Connection", XFF), FORGED],
    "nothing-in-a-list": [("Connection", f"close, {XFF}")],
    "address-in-a-list": [("Connection", f"close, {XFF}"), FORGED],
    "last-in-lower-case": [FORGED, ("Connection", f"{XFF.lower()}, close")],
    "two-lines": [("Connection", "keep-alive"), ("Connection", XFF), FORGED, FORGED],
    "other-headers": [("Connection", XFF), ("X-Real-IP", EXEMPT), ("Forwarded", EXEMPT)],
    **{twin: [("Connection", XFF), (twin, EXEMPT)] for twin in TWINS},
    **{f"{twin}-too": [("Connection", f"{XFF}, {twin}"), (twin, EXEMPT)] for twin in TWINS},
}
MALFORMED = {
    "folded": [(XFF, f"192.0.2.1,\r\n {EXEMPT}")],
    "folded-at-once": [(XFF, f"\r\n\t{EXEMPT}")],
    "folded-at-the-end": [(XFF, f"{EXEMPT}\r\n ")],
    "too-long": [(XFF, f"{EXEMPT}, " * 1700 + EXEMPT)],
    "blank-after-name": [(f"{XFF} ", EXEMPT)],
    "tab-after-name": [(f"{XFF}\t", EXEMPT)],
}
PAIRS = [pytest.param(name, server, id=f"{name}-{server}") for name in PROXIES for server in BEHIND]


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


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(("name", "server"), PAIRS)
def test_nobody_forges_the_exempt_client(name: str, server: str, serve: Serve, put: Put) -> None:
    front = put(name, serve(server))
    assert others(front, STRANGER, FORGERIES, is_blocked) == {}
    unconnected = is_refused if name == "varnish" else is_blocked
    assert others(front, STRANGER, UNCONNECTED, unconnected) == {}
    assert others(front, STRANGER, MALFORMED, is_blocked, is_refused) == {}


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(("name", "server"), PAIRS)
def test_exempt_client_stays_exempt_whatever_it_sends(
    name: str, server: str, serve: Serve, put: Put
) -> None:
    front = put(name, serve(server))
    assert others(front, EXEMPT, FORGERIES, is_exempt) == {}
    assert others(front, EXEMPT, MALFORMED, is_exempt, is_refused) == {}
    unconnected = is_refused if name == "varnish" else is_exempt
    assert others(front, EXEMPT, UNCONNECTED, unconnected) == {}


@pytest.mark.usefixtures("on")
def test_nginx_tells_uwsgi_the_client_itself(serve: Serve, put: Put) -> None:
    """Over the uwsgi protocol the peer is what nginx says: no proxy needs to be trusted."""
    through = "include /etc/nginx/uwsgi_params; uwsgi_pass"
    front = put("nginx", serve("uwsgi-protocol"), extra=(("proxy_pass http://", f"{through} "),))
    assert others(front, EXEMPT, FORGERIES | UNCONNECTED, is_exempt) == {}
    assert others(front, STRANGER, FORGERIES | UNCONNECTED, is_blocked) == {}


def unhardened(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(PROXIES[name].unhardened.items())


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("spelling", TWINS)
@pytest.mark.parametrize(
    ("server", "fooled"),
    [
        ("gunicorn", False),
        ("waitress", False),
        ("werkzeug", False),
        ("cheroot", True),
        ("granian", True),
        ("uwsgi", True),
    ],
)
def test_some_servers_are_fooled_by_a_twin_that_the_proxy_passes_on(
    server: str, spelling: str, serve: Serve, *, fooled: bool
) -> None:
    """The README names these servers: where a release mends one, its row there can go."""
    application = ("127.0.0.1", serve(server))
    sent = [(XFF, STRANGER), (spelling, EXEMPT)]
    answer = ask(application, "/", headers=sent, source="127.0.0.1")
    assert is_exempt(answer) if fooled else is_blocked(answer)


@pytest.mark.parametrize("spelling", TWINS)
@pytest.mark.parametrize("name", PROXIES)
def test_the_examples_drop_the_twins(name: str, spelling: str, serve: Serve, put: Put) -> None:
    upstream = serve("uwsgi")  # joins what it takes for one header, so that both can be seen
    twin = (spelling, "192.0.2.66")
    safe = put(name, upstream)
    assert safe.ask(STRANGER, "/seen", twin).body.decode() == STRANGER
    unsafe = put(name, upstream, extra=unhardened(name))
    assert twin[1] in unsafe.ask(STRANGER, "/seen", twin).body.decode()


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("spelling", TWINS)
@pytest.mark.parametrize(
    ("name", "fooled"),
    [("nginx", True), ("haproxy", True), ("caddy", True), ("apache", True), ("varnish", False)],
)
def test_without_their_hardening_the_examples_let_strangers_in(
    name: str, spelling: str, serve: Serve, put: Put, *, fooled: bool
) -> None:
    """Varnish happens to send its own line last, and cheroot believes the last."""
    sent = [OTHER, (spelling, EXEMPT)]
    upstream = serve("cheroot")
    assert is_blocked(put(name, upstream).ask(STRANGER, "/", *sent))
    unsafe = put(name, upstream, extra=unhardened(name))
    assert is_exempt(unsafe.ask(STRANGER, "/", *sent)) is fooled


# A near cache is on the application's machine: it looks for the flag itself. HAProxy cannot.
NEAR = ["nginx", "varnish", "apache"]
CACHES = [
    *(pytest.param(name, False, id=f"{name}-near") for name in NEAR),
    *(pytest.param(name, True, id=f"{name}-distant") for name in [*NEAR, "haproxy"]),
]


@pytest.fixture
def page() -> str:
    return f"/cached/{next(_pages)}"


def number_of(front: Front, path: str) -> int:
    answer = front.ask(STRANGER, path)
    assert (answer.code, answer.mark) == (200, None)
    return int(answer.body)


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_no_page_of_an_exempt_visitor(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode, *, distant: bool
) -> None:
    front = put(name, serve("gunicorn"), distant=distant)
    off.enable()
    seen = front.ask(EXEMPT, page)
    assert is_exempt(seen)
    assert is_blocked(front.ask(STRANGER, page))
    assert is_exempt(front.ask(EXEMPT, page))
    assert is_blocked(front.ask(STRANGER, page))
    off.disable()
    number = number_of(front, page)
    assert number > int(seen.body)
    assert number_of(front, page) == number  # or it would be no cache that was tested


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_no_503(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode, *, distant: bool
) -> None:
    front = put(name, serve("gunicorn"), distant=distant)
    off.enable()
    for _ in range(3):
        assert is_blocked(front.ask(STRANGER, page))
        assert is_exempt(front.ask(EXEMPT, page))
    off.disable()
    number = number_of(front, page)
    assert number_of(front, page) == number


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_expired_page_gives_way_to_the_503(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode, *, distant: bool
) -> None:
    """Some caches serve what is stale where the application answers with an error."""
    front = put(name, serve("gunicorn"), distant=distant)
    page = page.replace("cached", "briefly")
    number_of(front, page)
    off.enable()
    eventually(lambda: is_blocked(front.ask(STRANGER, page)))


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", NEAR)
def test_cache_that_sees_the_flag_steps_aside(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    front = put(name, serve("gunicorn"))
    number = number_of(front, page)
    assert number_of(front, page) == number
    off.enable()
    assert is_blocked(front.ask(STRANGER, page))
    fresh = front.ask(EXEMPT, page)
    assert is_exempt(fresh)
    assert int(fresh.body) > number


def empty_the_directory(front: Front) -> None:
    command = ["find", f"{front.folder}/cache", "-mindepth", "1", "-delete"]
    subprocess.run(command, check=True, timeout=20)


def ban(front: Front) -> None:
    command = f"varnishadm -n {front.folder}/varnish ban obj.status '!=' 0"
    subprocess.run(command_of(command, "Debian's varnish"), check=True, timeout=20)


def reload(front: Front) -> None:
    front.process.send_signal(signal.SIGUSR2)  # what "systemctl reload haproxy" sends


EMPTIED = {
    "nginx": empty_the_directory,
    "haproxy": reload,
    "varnish": ban,
    "apache": empty_the_directory,
}


@pytest.mark.parametrize("name", EMPTIED)
def test_cache_that_does_not_see_the_flag_has_to_be_emptied(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    front = put(name, serve("gunicorn"), distant=True)
    number = number_of(front, page)
    off.enable()
    for source in (STRANGER, EXEMPT):
        kept = front.ask(source, page)
        assert (kept.code, kept.mark, int(kept.body)) == (200, None, number)
    EMPTIED[name](front)
    eventually(lambda: is_blocked(front.ask(STRANGER, page)))
    assert is_exempt(front.ask(EXEMPT, page))


@pytest.mark.parametrize("listen", ["plain", "dual"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
@pytest.mark.parametrize("name", PROXIES)
def test_both_families(
    name: str, host: str, listen: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    """At [::] an IPv4 peer is an IPv4-mapped one: the proxy's client, the application's proxy."""
    front = put(name, serve("gunicorn", host=host), listen)
    off.enable(exemptions=[EXEMPT])
    assert is_exempt(front.ask(EXEMPT, "/", FORGED))
    assert is_blocked(front.ask(STRANGER, "/", FORGED))
    assert is_blocked(front.ask("::1"))
    off.set_exemptions(["::1"])
    assert is_blocked(front.ask(EXEMPT))
    assert is_blocked(front.ask(STRANGER, "/", (XFF, "::1")))
    assert is_exempt(front.ask("::1"))


FORWARDED = [
    "for={}",
    'for="{}"',
    'for="{}',
    'for={};x="',
    'for={}, for="',
    "for={}, for={}\\",
    "for={}, for=127.0.0.1",
    "for={},",
    "FOR={}",
    "for=_hidden, for={}",
    'for={};for="{}"',
    "",
]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
@pytest.mark.parametrize("how", ["set-header", "add-header"])
def test_forwarded(how: str, host: str, serve: Serve, put: Put, off: MaintenanceMode) -> None:
    """HAProxy 2.6 can write the header; it has no option for it. To add to it is safe as well."""
    lines = (
        ("    option forwardfor\n", ""),
        ("# http-request set-header Forwarded", f"http-request {how} Forwarded"),
    )
    upstream = serve("gunicorn", host=host, header="Forwarded")
    front = put("haproxy", upstream, "dual" if host == "[::]" else "plain", lines)
    off.enable(exemptions=[EXEMPT])
    assert is_exempt(front.ask(EXEMPT))
    assert is_blocked(front.ask("::1"))
    table = {text: [("Forwarded", text.replace("{}", EXEMPT))] for text in FORWARDED}
    table |= {f"{text} twice": sent * 2 for text, sent in table.items()}
    assert others(front, STRANGER, table | FORGERIES, is_blocked) == {}
    if how == "set-header":
        assert others(front, EXEMPT, table, is_exempt) == {}
    off.set_exemptions(["::1"])
    assert is_exempt(front.ask("::1"))
