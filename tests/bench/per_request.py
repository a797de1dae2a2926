"""What a gate adds to a request, in the system calls that cannot be done without."""

import os
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, repeat
from wsgiref.types import WSGIApplication

from tests.bench.alternatives import (
    EXEMPT,
    FLAG,
    PROXY,
    STRANGER,
    application,
    browser,
    gate,
    ours,
    proxy_fix_and_ip_set,
    proxy_fix_and_scan,
    requests,
    requests_of,
)
from tests.bench.django_gate import django_gate
from tests.bench.timing import Run, Series, print_table, side_by_side

SIZES = (1, 1_000)
WIDE = "81.0.0.0/8"
_SITUATIONS = ("off", "exempt", "blocked")
_AIMS = (1.3, 1.6, 2.5)
_OURS = "maintenance-wsgi"
_OTHERS = {
    "`ProxyFix` and a scan": proxy_fix_and_scan,
    "`ProxyFix` and `netaddr.IPSet`": proxy_fix_and_ip_set,
}
_UNSEEN = 20_000
_HOPS = 10_000


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


def odd_table(base: str) -> None:
    """Print what clients never seen before cost, and headers that somebody made long."""
    directory = f"{base}/wide/on"
    apps = {kind: wrap(directory) for kind, wrap in _OTHERS.items()}
    apps |= {"bare": application, _OURS: ours(directory, trusted_proxies=[f"{PROXY}/8"])}
    runs: dict[tuple[str, ...], Run] = {
        (request, kind): send(app)
        for request, send in _odd_requests().items()
        for kind, app in apps.items()
    }
    environ = browser("", HTTP_FORWARDED=_hops(93, "for={};proto=https", f"for={STRANGER}"))
    last = f"`Forwarded` of {_HOPS:,} hops, blocked"
    runs[last, "bare"] = requests(application, environ)
    runs[last, _OURS] = requests(ours(directory, client_ip_header="Forwarded"), environ)
    times = side_by_side(runs | _system_calls(base), rounds=5)
    rows: list[list[object]] = []
    for request, kind in runs:
        if kind == _OURS:
            bare = times[request, "bare"]
            cost = times[request, kind] - bare
            others = [times[request, other] - bare for other in _OTHERS if request != last]
            factors: list[object] = [other / cost for other in others]
            rows.append(
                [
                    request,
                    *_microseconds([cost]),
                    cost / times["two stats",],
                    *(factors or ["", ""]),
                ]
            )
    print_table(["Request", "µs", "in two `os.stat`", *(f"{x}, in ours" for x in _OTHERS)], rows)


def _odd_requests() -> dict[str, Callable[[WSGIApplication], Run]]:
    long, proxies = _hops(93, "{}", STRANGER), _hops(10, "{}", PROXY)
    return {
        "usual client, blocked": lambda app: requests(app, browser(STRANGER)),
        "unseen client, blocked": lambda app: requests_of(app, cycle(_addresses(93, _UNSEEN))),
        "usual client, exempt": lambda app: requests(app, browser(EXEMPT)),
        "unseen client, exempt": lambda app: requests_of(app, cycle(_addresses(81, _UNSEEN))),
        f"{_HOPS:,} hops, blocked": lambda app: requests(app, browser(long)),
        f"{_HOPS:,} hops, proxies all": lambda app: requests(app, browser(proxies)),
    }


def _hops(first: int, form: str, last: str) -> str:
    return ", ".join([*map(form.format, _addresses(first, _HOPS - 1)), last])


def _addresses(first: int, number: int) -> Iterator[str]:
    """Yield different addresses of a network /8, in no order."""
    for value in random.sample(range(1 << 24), number):
        yield f"{first}.{value >> 16}.{value >> 8 & 255}.{value & 255}"


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
