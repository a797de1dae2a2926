"""What a gate adds to a request, in the system calls that cannot be done without.

One application behind each gate that a user may choose, and the requests that it gets.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from ipaddress import ip_address, ip_network
from itertools import cycle, islice, repeat
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from netaddr import IPAddress, IPSet
from werkzeug.middleware.proxy_fix import ProxyFix

from maintenance_wsgi import MaintenanceMiddleware
from tests.bench.crowd import blocked_crowd, exempt_crowd
from tests.bench.timing import Run, print_table, side_by_side

PROXY = "10.0.0.1"
EXEMPT = "81.2.69.142"
STRANGER = "93.184.216.34"
FLAG, LIST = ".maintenance.flag", ".maintenance.ip"
_PAGE = b"<!DOCTYPE html><html lang=en><title>Maintenance</title><h1>Back soon</h1></html>"


class Situation(NamedTuple):
    """Who asks, and in which state."""

    state: str  # the directory's name
    # Returns the fields by which the visitors' requests differ.
    visitors: Callable[[], list[dict[str, str]]]
    aim: float  # at most so many `os.stat`: one that fails (off), or two that succeed


def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = b"<!DOCTYPE html><title>Shop</title><h1>Shop</h1>"
    fields = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "public, max-age=60"),
        ("Set-Cookie", "session=c2Vzc2lvbg; Path=/; HttpOnly; SameSite=Lax"),
    ]
    start_response("200 OK", fields)
    return [body]


# The environ of a browser behind a proxy, as gunicorn makes it.
_BROWSER: WSGIEnvironment = {
    "wsgi.errors": None,
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.file_wrapper": None,
    "wsgi.input_terminated": True,
    "wsgi.input": BytesIO(),
    "wsgi.url_scheme": "http",
    "gunicorn.socket": None,
    "SERVER_SOFTWARE": "gunicorn/23.0.0",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/catalogue/shoes",
    "QUERY_STRING": "page=2",
    "RAW_URI": "/catalogue/shoes?page=2",
    "REMOTE_ADDR": PROXY,
    "REMOTE_PORT": "51342",
    "HTTP_HOST": "shop.example",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "de-DE,de;q=0.8,en-US;q=0.5,en;q=0.3",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_X_FORWARDED_PROTO": "https",
}


def requests(app: WSGIApplication, visitors: list[dict[str, str]]) -> Run:
    """Return what sends the requests of visitors in turn, each with an environ of its own."""
    following = cycle(visitors)

    def run(number: int) -> None:
        for visitor in islice(following, number):
            _ask(app, _BROWSER | visitor)

    return run


def _ask(app: WSGIApplication, environ: WSGIEnvironment) -> None:
    chunks = app(environ, _start_response)
    for _ in chunks:
        pass
    if close := getattr(chunks, "close", None):
        close()


def _start_response(_status: str, _fields: object, _error: object = None, /) -> Any:
    return None


def ours(directory: str, **options: Any) -> WSGIApplication:
    options = {"trusted_proxies": [PROXY, "127.0.0.1"]} | options
    return MaintenanceMiddleware(application, directory, **options)


def counting(directory: str) -> WSGIApplication:
    return ours(directory, drain=True)


def proxy_fix_and_scan(directory: str) -> WSGIApplication:
    """Put what many write themselves before the application: the list is read and scanned."""
    path = os.path.join(directory, LIST)

    def admits(client: str) -> bool:
        address = ip_address(client)
        with open(path, encoding="ascii") as file:
            return any(address in ip_network(entry) for entry in file.read().split(","))

    return ProxyFix(_naive_gate(directory, admits))


def proxy_fix_and_ip_set(directory: str) -> WSGIApplication:
    """Likewise with netaddr's set, read once and for all: a change needs a restart."""
    with open(os.path.join(directory, LIST), encoding="ascii") as file:
        networks = IPSet(file.read().split(","))
    return ProxyFix(_naive_gate(directory, lambda client: IPAddress(client) in networks))


def _naive_gate(directory: str, admits: Callable[[str], bool]) -> WSGIApplication:
    flag = os.path.join(directory, FLAG)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if os.path.exists(flag) and not admits(environ["REMOTE_ADDR"]):
            start_response(
                "503 Service Unavailable",
                [("Content-Type", "text/html"), ("Retry-After", "300")],
            )
            return [_PAGE]
        return application(environ, start_response)

    return app


def served(off: str, on: str) -> WSGIApplication:
    """Return what a server is measured with: by path the application bare and behind gates."""
    apps = {
        "/bare": application,
        "/stat": _behind_one_stat(os.path.join(off, FLAG)),
        "/off": ours(off),
        "/counted": counting(off),
        "/naive": proxy_fix_and_scan(on),
        "/blocked": ours(on),
    }
    return lambda environ, start_response: apps[environ["PATH_INFO"]](environ, start_response)


def _behind_one_stat(flag: str) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with suppress(FileNotFoundError):
            os.stat(flag)
        return application(environ, start_response)

    return app


def shop(_: HttpRequest) -> HttpResponse:
    return HttpResponse("<!DOCTYPE html><title>Shop</title><h1>Shop</h1>")


urlpatterns = [path("catalogue/shoes", shop)]


class _DjangoGate:
    """What stands before a Django application.

    It gets the client as the peer, because it resolves no header by itself: less work than the
    other gates have.
    """

    def __init__(self, directory: str) -> None:
        self._states = {}
        for state in "01":
            self._states[state] = os.path.join(directory, f"django-state-{state}")
            with open(self._states[state], "w", encoding="ascii") as file:
                file.write(state)
        settings.configure(
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            INSTALLED_APPS=["maintenance_mode"],
            TEMPLATES=[
                {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
            ],
            MAINTENANCE_MODE_STATE_FILE_PATH=self._states["0"],
            MAINTENANCE_MODE_IGNORE_IP_ADDRESSES=[r"^81\."],  # EXEMPT_NETWORK
        )
        django.setup()
        logging.getLogger("django.request").setLevel(logging.CRITICAL)  # it logs each 503
        self._bare = WSGIHandler()
        settings.MIDDLEWARE = ["maintenance_mode.middleware.MaintenanceModeMiddleware"]
        self._gated = WSGIHandler()

    def runs(self, situation: Situation) -> tuple[Run, Run]:
        """Return what is timed: the application bare, and behind the gate."""
        visitors = [
            visitor | {"REMOTE_ADDR": visitor["HTTP_X_FORWARDED_FOR"]}
            for visitor in situation.visitors()
        ]
        send = requests(self._gated, visitors)
        path = self._states["0" if situation.state == "off" else "1"]

        def run(number: int) -> None:
            settings.MAINTENANCE_MODE_STATE_FILE_PATH = path
            send(number)

        return requests(self._bare, visitors), run


def _always(client: str) -> Callable[[], list[dict[str, str]]]:
    return lambda: [{"HTTP_X_FORWARDED_FOR": client}]


_SITUATIONS = {
    "a crowd of new clients, blocked": Situation("until", blocked_crowd, 5),
    "a crowd of new clients, exempt": Situation("until", exempt_crowd, 4),
    "the same client, blocked": Situation("on", _always(STRANGER), 2.5),
    "the same client, exempt": Situation("on", _always(EXEMPT), 1.6),
    "off": Situation("off", _always(STRANGER), 1.3),
}
SIZES = (1, 1_000, 100_000)
# For so long after its first reading of a file, a process compares the bytes at each request.
SETTLING_SECONDS = 2.1
_OTHERS: dict[str, tuple[Callable[[str], WSGIApplication], int]] = {  # with the list's length
    "`drain=True`": (counting, 1),
    "`ProxyFix` and a scan of 1": (proxy_fix_and_scan, 1),
    "of 1,000": (proxy_fix_and_scan, 1_000),
    "`ProxyFix` and `netaddr.IPSet`": (proxy_fix_and_ip_set, 1),
}
_DJANGO = "django-maintenance-mode"


def gates_table(base: str) -> None:
    """Print what each gate adds to the bare application, first for a crowd of new clients."""
    rows: list[list[object]] = []
    django_gate, system_calls = _DjangoGate(base), _system_calls(base)
    for name, situation in _SITUATIONS.items():
        # One situation at a time: a process that serves a crowd does little else.
        times = side_by_side(_settled(_runs(base, situation, django_gate)) | system_calls)
        unit = times["failing stat" if situation.state == "off" else "two stats"]
        costs = {other: times[other] - times["bare"] for other in _OTHERS}
        costs[_DJANGO] = times[_DJANGO] - times["bare Django"]
        for size in SIZES:
            cost = times[f"{size:,}"] - times["bare"]
            figures = [unit.times(1e-3), cost.times(1e-3), situation.aim, cost / unit]
            rows.append([name, f"{size:,}", *figures, *(found / cost for found in costs.values())])
    print("What a gate adds to a request; `os.stat` is one that fails (off), or two that succeed.")
    print("The last columns say how many times as long other gates take.\n")
    columns = ["Request", "Entries", "`os.stat`, µs", "µs", "aim", "in `os.stat`"]
    print_table([*columns, *_OTHERS, _DJANGO], rows)


def _runs(base: str, situation: Situation, django_gate: _DjangoGate) -> dict[str, Run]:
    runs = {"bare": requests(application, situation.visitors())}
    for size in SIZES:
        directory = f"{base}/short-{size}/{situation.state}"
        runs[f"{size:,}"] = requests(ours(directory), situation.visitors())
    for other, (wrap, size) in _OTHERS.items():
        directory = f"{base}/short-{size}/{situation.state}"
        runs[other] = requests(wrap(directory), situation.visitors())
    runs["bare Django"], runs[_DJANGO] = django_gate.runs(situation)
    return runs


def _settled(runs: dict[str, Run]) -> dict[str, Run]:
    for run in runs.values():
        run(1)
    time.sleep(SETTLING_SECONDS)
    return runs


def _system_calls(base: str) -> dict[str, Run]:
    missing, found = f"{base}/short-1/off/{FLAG}", f"{base}/short-1/on/{FLAG}"

    def failing(number: int) -> None:
        for _ in repeat(None, number):
            try:  # noqa: SIM105 (suppress takes time of its own)
                os.stat(missing)
            except FileNotFoundError:
                pass

    def two(number: int) -> None:
        for _ in repeat(None, number):
            os.stat(found)
            os.stat(found)

    return {"failing stat": failing, "two stats": two}
