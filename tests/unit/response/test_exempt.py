from functools import partial
from typing import Any

import pytest

from maintenance_wsgi.response.exempt import EXEMPT, start_exempt_client, start_for_all

Headers = list[tuple[str, str]]


def sent(start: Any, *headers: tuple[str, str]) -> Headers:
    started: list[tuple[str, Headers]] = []
    start(lambda *given: started.append(given), "200 OK", list(headers))
    ((status, found),) = started
    assert status == "200 OK"
    return found


@pytest.mark.parametrize(
    "name",
    [
        "Cache-Control",
        "CACHE-CONTROL",
        "CDN-Cache-Control",
        "Vendor-CDN-Cache-Control",
        "Expires",
        "Surrogate-Control",
        "X-Accel-Expires",
        "Edge-Control",
        "X-Maintenance-Mode",
    ],
)
def test_header_that_lets_a_cache_store_an_exempt_clients_answer_is_dropped(name: str) -> None:
    kept = ("Content-Type", "text/plain")
    assert sent(start_exempt_client, (name, "public"), kept) == [
        kept,
        ("Cache-Control", "private, no-cache"),
        ("X-Maintenance-Mode", "exempt"),
    ]


@pytest.mark.parametrize("name", ["Set-Cookie", "ETag", "Vary", "Age", "X-Cache-Control-Info"])
def test_other_header_of_an_exempt_clients_answer_is_kept(name: str) -> None:
    header = (name, "value")
    assert sent(start_exempt_client, header, header)[:2] == [header, header]


def test_answer_for_an_exempt_path_is_only_marked() -> None:
    headers = [("Cache-Control", "public"), ("Expires", "0")]
    assert sent(partial(start_for_all, EXEMPT), *headers, ("x-maintenance-mode", "on")) == [
        *headers,
        ("X-Maintenance-Mode", "exempt"),
    ]
