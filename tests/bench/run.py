"""Measure what maintenance mode costs, beside what a user would take instead.

    .venv/bin/pip install -e '.[bench]' && .venv/bin/python tests/bench/run.py

prints Markdown within four minutes. A figure is the median over rounds, with the quartiles (of
few rounds the ends) behind it; what is compared is measured in the same rounds, in turns.
"""

import os
import platform
import tempfile
import time

from tests.bench import per_request
from tests.bench.alternatives import EXEMPT
from tests.bench.lists import ALL_SIZES, SETTLING_SECONDS, entries, list_table, make_directories
from tests.bench.server import server_table


def main() -> None:
    with tempfile.TemporaryDirectory() as base:
        for size in per_request.SIZES:
            make_directories(f"{base}/short-{size}", [*entries(size, 4)[1:], EXEMPT])
        make_directories(f"{base}/wide", [per_request.WIDE])
        for size, version in ALL_SIZES:
            make_directories(f"{base}/long-{size}-{version}", entries(size, version))
        time.sleep(SETTLING_SECONDS)
        print(f"CPython {platform.python_version()}, {os.cpu_count()} processors.\n")
        per_request.gates_table(base)
        per_request.odd_table(base)
        server_table(base)
        list_table(base)


if __name__ == "__main__":
    main()
