"""Count instructions per request, which are the same each time, unlike seconds.

    .venv/bin/python tests/bench/count.py

needs Debian's `valgrind` and takes two minutes. Kernel time is not in the figures.
"""

import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.alternatives import EXEMPT, STRANGER, application, browser, ours, requests
from tests.bench.lists import SETTLING_SECONDS, make_directories
from tests.bench.timing import print_table

_CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
_FEW, _MANY = 300, 1300
_REQUESTS = {
    "bare": STRANGER,
    "off": STRANGER,
    "exempt": EXEMPT,
    "blocked": STRANGER,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as base:
        make_directories(base, [EXEMPT])
        time.sleep(SETTLING_SECONDS)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda name: per_request(name, base), _REQUESTS)
            counts = dict(zip(_REQUESTS, found, strict=True))
    rows = [[name, f"{count:,}", f"{count - counts['bare']:,}"] for name, count in counts.items()]
    print_table(["Request", "Instructions", "Over the bare application"], rows)


def per_request(name: str, base: str) -> int:
    """Return the instructions of one request: what a few more of them add."""
    few, many = (_count(name, base, number) for number in (_FEW, _MANY))
    return round((many - few) / (_MANY - _FEW))


def _count(name: str, base: str, number: int) -> int:
    result = subprocess.run(
        [*_CALLGRIND, sys.executable, __file__, name, base, str(number)],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        text=True,
        timeout=300,
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    assert found, result.stderr
    return int(found[1])


def _send(name: str, base: str, number: int) -> None:
    directory = f"{base}/{'off' if name == 'off' else 'on'}"
    app = application if name == "bare" else ours(directory)
    send = requests(app, browser(_REQUESTS[name]))
    gc.disable()
    send(number)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _send(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
