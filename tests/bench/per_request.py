"""What a gate adds to a request, in the system calls that cannot be done without.

One application behind each gate that a user may choose, and the requests that it gets.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from ipaddress import ip_address, ip_network
from itertools import repeat
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
from tests.bench.timing import Run, Series, print_table, side_by_side

PROXY = "10.0.0.1"
EXEMPT = "81.2.69.142"
STRANGER = "93.184.216.34"
FLAG, LIST = ".maintenance.flag", ".maintenance.ip"
_PAGE = b"<!DOCTYPE html><html lang=en><title>Maintenance</title><h1>Back soon</h1></html>"


class Gate(NamedTuple):
    """What is timed of a gate: each request, and the same without the gate."""

    bare: Run
    off: Run
    exempt: Run
    blocked: Run


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


def browser(client: str, **extra: Any) -> WSGIEnvironment:
    """Return the environ of a browser behind a proxy, as gunicorn makes it."""
    return {
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
        "HTTP_X_FORWARDED_FOR": client,
        **extra,
    }


def requests(app: WSGIApplication, environ: WSGIEnvironment) -> Run:
    """Return what sends a request again and again, each time with an environ of its own."""

    def run(number: int) -> None:
        for _ in repeat(None, number):
            _ask(app, environ.copy())

    return run


def _ask(app: WSGIApplication, environ: WSGIEnvironment) -> None:
    chunks = app(environ, _start_response)
    for _ in chunks:
        pass
    if close := getattr(chunks, "close", None):
        close()


def _start_response(_status: str, _fields: object, _error: object = None, /) -> Any:
    return None


def gate(wrap: Callable[[str], WSGIApplication], off: str, on: str) -> Gate:
    """Return what is timed of a gate: `wrap` puts it before the application, for a directory."""
    switched_on = wrap(on)
    return Gate(
        requests(application, browser(STRANGER)),
        requests(wrap(off), browser(STRANGER)),
        requests(switched_on, browser(EXEMPT)),
        requests(switched_on, browser(STRANGER)),
    )


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


def django_gate(directory: str) -> Gate:
    """Return what is timed of it.

    It gets the client as the peer, because it resolves no header by itself: less work than the
    other gates have.
    """
    states = {}
    for state in "01":
        states[state] = os.path.join(directory, f"django-state-{state}")
        with open(states[state], "w", encoding="ascii") as file:
            file.write(state)
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["maintenance_mode"],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        MAINTENANCE_MODE_STATE_FILE_PATH=states["0"],
        MAINTENANCE_MODE_IGNORE_IP_ADDRESSES=[rf"^{re.escape(EXEMPT)}$"],
    )
    django.setup()
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # it logs each 503
    bare = WSGIHandler()
    settings.MIDDLEWARE = ["maintenance_mode.middleware.MaintenanceModeMiddleware"]
    gated = WSGIHandler()

    def switched(state: str, client: str) -> Run:
        send = requests(gated, browser(client, REMOTE_ADDR=client))

        def run(number: int) -> None:
            settings.MAINTENANCE_MODE_STATE_FILE_PATH = states[state]
            send(number)

        return run

    return Gate(
        requests(bare, browser(STRANGER, REMOTE_ADDR=STRANGER)),
        switched("0", STRANGER),
        switched("1", EXEMPT),
        switched("1", STRANGER),
    )


SIZES = (1, 1_000)
_SITUATIONS = ("off", "exempt", "blocked")
_AIMS = (1.3, 1.6, 2.5)
_OURS = "maintenance-wsgi"
_OTHERS = {
    "maintenance-wsgi, `drain=True`": counting,
    "`ProxyFix` and a scan": proxy_fix_and_scan,
    "`ProxyFix` and `netaddr.IPSet`": proxy_fix_and_ip_set,
}


def gates_table(base: str) -> None:
    """Print what each gate adds to the bare application."""
    gates = {
        (kind, f"{size:,}"): gate(wrap, f"{base}/short-{size}/off", f"{base}/short-{size}/on")
        for size in SIZES
        for kind, wrap in ({_OURS: ours} | _OTHERS).items()
    }
    gates["django-maintenance-mode", "1"] = django_gate(base)
    runs: dict[tuple[str, ...], Run] = {
        (*name, situation): getattr(found, situation)
        for name, found in gates.items()
        for situation in ("bare", *_SITUATIONS)
    }
    times = side_by_side(runs | _system_calls(base))
    failing, two = times["failing stat",], times["two stats",]
    costs = {
        name: [times[*name, situation] - times[*name, "bare"] for situation in _SITUATIONS]
        for name in gates
    }
    rows: list[list[object]] = [["aim, at most", "", "`os.stat`", *_AIMS]]
    for (kind, size), cost in costs.items():
        if kind == _OURS:
            rows.append([kind, size, "`os.stat`", *_ratios(cost, [failing, two, two])])
            rows.append(["", "", "µs", *_microseconds(cost)])
        else:
            rows.append([kind, size, "ours", *_ratios(cost, costs[_OURS, size])])
    print("What a gate adds to a request; `os.stat` is one that fails (off), or two that succeed:")
    print(f"{', '.join(map(str, _microseconds([failing, two])))} µs.\n")
    print_table(["Gate", "Entries", "Multiples of", *_SITUATIONS], rows)


def _ratios(costs: list[Series], units: list[Series]) -> list[Series]:
    return [cost / unit for cost, unit in zip(costs, units, strict=True)]


def _microseconds(times: Iterable[Series]) -> list[Series]:
    return [time.times(1e-3) for time in times]


def _system_calls(base: str) -> dict[tuple[str, ...], Run]:
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

    return {("failing stat",): failing, ("two stats",): two}
