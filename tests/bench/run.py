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

from tests.bench.crowd import EXEMPT_NETWORK, blocked_crowd
from tests.bench.lists import ALL_SIZES, entries, intake_table, make_directories
from tests.bench.per_request import FLAG, SIZES, gates_table
from tests.bench.timing import Series, print_table, shuffled_turns
from tests.support.processes import ROOT, held_port, run, running

_TURNS = 9  # of a second
_ROWS = {
    "bare": "the bare application",
    "stat": "with one failing `os.stat` for each request",
    "off": "maintenance-wsgi, off",
    "counted": "maintenance-wsgi, `drain=True`, off",
    "naive": "`ProxyFix` and a scan of a list of one entry, blocked",
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
# What wrk sends: requests of visitors of a crowd, by chance, with the headers of each.
_CROWD = """
local visitors = {{}}
function init()
    math.randomseed(os.time())
    for line in io.lines("{path}") do
        local address, accept, language = line:match("(.-)\\t(.-)\\t(.*)")
        visitors[#visitors + 1] = {{
            ["X-Forwarded-For"] = address, ["Accept"] = accept, ["Accept-Language"] = language,
        }}
    end
end
function request()
    return wrk.format(nil, nil, visitors[math.random(#visitors)])
end
"""
_WORKERS = {"sync": ["--worker-class=sync"], "gthread": ["--threads=4"]}


def server_table(base: str) -> None:
    """Print the rates of a server with the gate and without."""
    missing = [program for program in ("wrk", "nginx") if not shutil.which(program)]
    if missing:
        print(f"Whole servers are not measured without {' and '.join(missing)}.\n")
        return
    script = _write_crowd(base)
    print(
        "Requests per second of gunicorn (one worker; of gthread four threads), as wrk counts them"
    )
    print("on the same machine, from a crowd of new clients: the median of nine turns. Aim: off at")
    print("least 0.97 of the bare application.\n")
    rows: list[list[object]] = []
    for worker in _WORKERS:
        rates = _requests_per_second(worker, f"{base}/short-1", base, script)
        rows += [[worker, _ROWS[name], rate, rate / rates["bare"]] for name, rate in rates.items()]
    print_table(["Worker", "Application", "Requests per second", "in the bare application's"], rows)


def _write_crowd(base: str) -> str:
    """Write what wrk needs to send a crowd's requests; return the script's path."""
    script, data = Path(base, "crowd.lua"), Path(base, "crowd.txt")
    lines = ("\t".join(visitor.values()) for visitor in blocked_crowd())
    data.write_text("\n".join(lines), encoding="ascii")
    script.write_text(_CROWD.format(path=data), encoding="ascii")
    return str(script)


def _requests_per_second(worker: str, states: str, base: str, script: str) -> dict[str, Series]:
    """Return the rate in each turn, by path, and of nginx's own gate before the same."""
    application = f"tests.bench.per_request:served({f'{states}/off'!r}, {f'{states}/until'!r})"
    with (
        _gunicorn([*_WORKERS[worker], application], Path(base)) as port,
        _nginx(port, f"{states}/until/{FLAG}", Path(base)) as front,
    ):
        urls = {name: f"http://127.0.0.1:{port}/{name}" for name in _ROWS}
        urls["nginx"] = f"http://127.0.0.1:{front}/bare"
        found: dict[str, list[float]] = {name: [] for name in urls}
        for name in shuffled_turns(urls, _TURNS):
            found[name].append(_wrk(urls[name], script))
    return {name: Series(tuple(rates)) for name, rates in found.items()}


@contextmanager
def _gunicorn(options: list[str], base: Path) -> Iterator[int]:
    """Serve an application by one worker; yields the port."""
    options = ["--log-level=error", f"--pythonpath={ROOT}", *options]
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


def _wrk(url: str, script: str) -> float:
    command = ["wrk", "-t1", "-c4", "-d1", "-s", script, url]
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
