"""What some tests need and Python does not bring: without it they are left out."""

import os
import shutil
from typing import NoReturn

import pytest

from tests.support.processes import PATH

# Kinds of tests, the programs that they need, and Debian's packages of these.
PACKAGES = {
    "proxies and servers": {
        "nginx": "nginx",
        "haproxy": "haproxy",
        "varnishd": "varnish",
        "caddy": "caddy",
        "apache2": "apache2 libapache2-mod-wsgi-py3",
    },
    "uWSGI, which pip compiles": {"uwsgi": "gcc python3-dev; pip install uwsgi"},
    "fleets": {"redis-server": "redis-server", "ip": "iproute2"},
    "other clocks": {"faketime": "faketime"},
    "TLS": {"openssl": "openssl"},
    "the PHP shop": {"php": "php-cli"},
    "failing system calls": {"gcc": "gcc"},
    "the page in a browser": {
        "chromium": "chromium fonts-noto-core fonts-noto-cjk",
        "java": "default-jre-headless",
    },
    "mounts": {"mount": "mount"},
    "units of systemd": {"systemd-analyze": "systemd"},
    "monitoring": {
        "promtool": "prometheus",
        "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    },
    "append-only directories": {"chattr": "e2fsprogs"},
    "the guides' requests": {"curl": "curl"},
}


def leave_out(kind: str, remedy: str) -> NoReturn:
    """Leave a test out; in CI it fails instead, because nothing may be left out there."""
    give_up = pytest.fail if os.environ.get("CI") else pytest.skip
    give_up(f"{kind}: {remedy}")


def need(program: str) -> str:
    """Return the path of a program; leave the test out if there is none."""
    found = shutil.which(program, path=PATH)
    if found:
        return found
    kind, packages = next(item for item in PACKAGES.items() if program in item[1])
    # All that the kind lacks, so that its tests say the same.
    missing = [package for name, package in packages.items() if not shutil.which(name, path=PATH)]
    leave_out(kind, f"apt-get install {' '.join(missing)}")


def need_root() -> None:
    if os.geteuid() != 0:
        leave_out("other users", "run pytest as root")
