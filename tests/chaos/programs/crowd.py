"""Asks as a million clients that the gate has never seen; tells what it keeps of them.

    python tests/chaos/programs/crowd.py DIRECTORY

prints the bytes of the process after a fifth of them and after all, and the caches without a bound.
"""

import gc
import json
import os
import sys
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.networks import Address
from tests.support.wsgi import make_environ, shop

CLIENTS = 1_000_000
_STRIDE = 2_654_435_761  # odd, so that its multiples are all different addresses


def environ_of(number: int) -> dict[str, Any]:
    address = str(Address(4, number * _STRIDE % 2**32 or 1))
    if number % 10:
        return {"HTTP_X_FORWARDED_FOR": address}
    # A client that chooses all it can, and never chooses it again.
    return {
        "HTTP_X_FORWARDED_FOR": f"{'x' * (number % 400)}{number}, {address}:{number % 65536}",
        "HTTP_ACCEPT": f"text/x{number};q=0.5,application/json;q=0.{number}{'0' * 900}",
        "HTTP_ACCEPT_LANGUAGE": f"x{number}-{'y' * 900},{['de', 'fr', 'ar'][number % 3]};q=0.5",
        "HTTP_ORIGIN": f"https://{number}.example",
        "HTTP_FORWARDED": f"for={number}",
        "HTTP_COOKIE": f"maintenance-bypass={number}",
        "PATH_INFO": f"/{number}",
        "QUERY_STRING": f"maintenance-bypass={number}",
    }


def resident() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def unbounded_caches() -> list[str]:
    found = [each for each in gc.get_objects() if isinstance(each, _lru_cache_wrapper)]
    own = [each for each in found if each.__module__.startswith("maintenance_wsgi")]
    assert own
    return [each.__qualname__ for each in own if each.cache_parameters()["maxsize"] is None]


def main(directory: str) -> None:
    application = MaintenanceMiddleware(
        shop,
        directory,
        trusted_proxies=["127.0.0.1"],
        exempt_paths=["/hooks/"],
        cors_origins=["*"],
    )
    sizes = []
    given = make_environ("127.0.0.1")
    for number in range(1, CLIENTS + 1):
        body = application(given | environ_of(number), lambda *_: lambda _: None)
        assert b"".join(body)
        if number in {CLIENTS // 5, CLIENTS}:
            sizes.append(resident())
    print(json.dumps([*sizes, unbounded_caches()]))  # noqa: T201 (for who started it)


if __name__ == "__main__":
    main(*sys.argv[1:])
