"""Measure what maintenance mode costs, beside what a user would take instead.

    .venv/bin/pip install -e '.[bench]' && .venv/bin/python -m tests.bench.run

prints Markdown within three minutes. A figure is the median over rounds, with the quartiles (of
few rounds the ends) behind it; what is compared is measured in the same rounds, in turns.
"""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.crowd import EXEMPT_NETWORK
from tests.bench.lists import ALL_SIZES, entries, intake_table, make_directories
from tests.bench.per_request import FLAG, SIZES, STRANGER, gates_table
from tests.bench.timing import Series, print_table, shuffled_turns
from tests.support.processes import ROOT, held_port, run, running

_ROUNDS = 4
_TURNS = 3  # of a second
_ROWS = {
    "bare": "the bare application",
    "stat": "with one failing `os.stat` for each request",
    "off": "maintenance-wsgi, off",
    "counted": "maintenance-wsgi, `drain=True`, off",
    "blocked": "maintenance-wsgi, blocked",
    "nginx": "nginx in front, `if (-f flag) return 503`, blocked",
}
_NGINX = """
user root; daemon off; pid {base}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {base}/body; proxy_temp_path {base}/proxy;
    fastcgi_temp_path {base}/fastcgi; uwsgi_temp_path {base}/uwsgi; scgi_temp_path {base}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            if (-f {flag}) {{ return 503; }}
            proxy_pass http://127.0.0.1:{upstream};
        }}
    }}
}}
"""


def server_table(base: str) -> None:
    """Print the rates of a server with the gate and without."""
    missing = [program for program in ("wrk", "nginx") if not shutil.which(program)]
    if missing:
        print(f"Whole servers are not measured without {' and '.join(missing)}.\n")
        return
    rates = _requests_per_second(f"{base}/short-1/off", f"{base}/short-1/on", base)
    print("Requests per second of gunicorn (one worker, four threads), as wrk counts them on the")
    print("same machine. Aim: off at least 0.97 of the bare application.\n")
    rows = [[_ROWS[name], rate, rate / rates["bare"]] for name, rate in rates.items()]
    print_table(["Server", "Requests per second", "in the bare application's"], rows)


def _requests_per_second(off: str, on: str, base: str) -> dict[str, Series]:
    """Return the best rate in each round, by path, and of nginx's own gate before the same."""
    with (
        _gunicorn(f"tests.bench.per_request:served({off!r}, {on!r})", Path(base)) as port,
        _nginx(port, os.path.join(on, FLAG), Path(base)) as front,
    ):
        urls = {name: f"http://127.0.0.1:{port}/{name}" for name in _ROWS}
        urls["nginx"] = f"http://127.0.0.1:{front}/bare"
        rounds: list[dict[str, float]] = []
        for _ in range(_ROUNDS):
            rounds.append({})
            for name in shuffled_turns(urls, _TURNS):
                rounds[-1][name] = max(_wrk(urls[name]), rounds[-1].get(name, 0))
    return {name: Series(tuple(found[name] for found in rounds)) for name in urls}


@contextmanager
def _gunicorn(application: str, base: Path) -> Iterator[int]:
    """Serve an application by one worker of four threads; yields the port."""
    options = ["--threads=4", "--log-level=error", f"--pythonpath={ROOT}", application]
    home = os.environ | {"HOME": str(base)}  # where newer versions put their control socket
    with held_port() as port:
        command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", *options]
        with running(command, ("127.0.0.1", port), base / "gunicorn.log", env=home):
            yield port


@contextmanager
def _nginx(upstream: int, flag: str, base: Path) -> Iterator[int]:
    """Serve what is upstream while the flag is not there; yields the port."""
    configuration = base / "nginx.conf"
    with held_port() as port:
        text = _NGINX.format(base=base, port=port, flag=flag, upstream=upstream)
        configuration.write_text(text, encoding="utf-8")
        with running(["nginx", "-c", configuration], ("127.0.0.1", port), base / "nginx.log"):
            yield port


def _wrk(url: str) -> float:
    headers = ["-H", f"X-Forwarded-For: {STRANGER}", "-H", "Accept: text/html,*/*;q=0.8"]
    command = ["wrk", "-t1", "-c4", "-d1", *headers, url]
    printed = run(*command).stdout
    found = re.search(r"Requests/sec: +([0-9.]+)", printed)
    assert found, printed
    return float(found[1])


def main() -> None:
    with tempfile.TemporaryDirectory() as base:
        for size in SIZES:
            make_directories(f"{base}/short-{size}", [*entries(size, 4)[1:], EXEMPT_NETWORK])
        for size, version in ALL_SIZES:
            make_directories(f"{base}/long-{size}-{version}", entries(size, version))
        print(f"CPython {platform.python_version()}, {os.cpu_count()} processors.\n")
        gates_table(base)
        server_table(base)
        intake_table(base)


if __name__ == "__main__":
    main()
