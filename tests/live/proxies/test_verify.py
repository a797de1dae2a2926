"""`--verify` behind real proxies, whose caches were filled before the switch."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import EMPTIED, Front, StartProxy, StartServer
from tests.live.proxies.tables import CACHES, NEAR, PROXIES, SITE, STRANGER
from tests.support.mounts import naming
from tests.support.processes import COMMAND, environ, held_port, run, wait_for

pytestmark = pytest.mark.servers

Verify = Callable[..., CompletedProcess[str]]
AT = r"at (127\.0\.0\.1, ::1|::1, 127\.0\.0\.1): "


@pytest.fixture
def verify(mode: MaintenanceMode, tmp_path: Path) -> Verify:
    """Give a command that switches, and looks at a path of a site with two addresses."""
    start = naming(tmp_path, SITE, "127.0.0.1", "::1")

    def verify(
        name: str, front: Front, path: str = "/", seconds: int = 40, code: int = 0
    ) -> CompletedProcess[str]:
        options = [f"--verify=http://{SITE}:{front.port}{path}", f"--wait={seconds}"]
        command = [*start, COMMAND, "--dir", str(mode.store), name, *options]
        return run(*command, env=environ(), code=code)

    return verify


def fill(front: Front, path: str) -> None:
    """Ask until two answers are the same, which is in the cache then."""
    host = ("Host", f"{SITE}:{front.port}")
    wait_for(lambda: front.ask(STRANGER, path, host).body == front.ask("::1", path, host).body)


@pytest.mark.parametrize("name", sorted({*PROXIES} - {case.values[0] for case in CACHES} | {*NEAR}))
def test_proxy_that_shows_the_switch_at_once(
    name: str, start_server: StartServer, start_proxy: StartProxy, verify: Verify
) -> None:
    front, path = start_proxy(name, start_server("gunicorn")), f"/cached/near/{name}"
    if name in NEAR:
        fill(front, path)
    for command, seen in [
        ("enable", "503 with X-Maintenance-Mode: on"),
        ("disable", "200 without"),
    ]:
        result = verify(command, front, path)
        assert re.search(f"^Verified http://{SITE}:.* {AT}{seen}", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", EMPTIED)
def test_cache_that_does_not_see_the_flag_is_told_until_it_is_emptied(
    name: str, start_server: StartServer, start_proxy: StartProxy, verify: Verify
) -> None:
    front, path = start_proxy(name, start_server("gunicorn"), distant=True), f"/cached/far/{name}"
    fill(front, path)
    result = verify("enable", front, path, seconds=4, code=1)
    for line in result.stderr.splitlines():
        assert f"http://{SITE}:{front.port}{path}: 5 of 10 answers at " in line
        assert "are 200 without X-Maintenance-Mode" in line
        assert line.endswith(
            ", and none with a random query, so a cache serves what it stored; purge that cache"
        )
    assert not {"varnish", "apache", "haproxy"} & {name} or "Age: " in result.stderr
    EMPTIED[name](front)
    verify("enable", front, path)
    verify("disable", front, path)


@pytest.mark.parametrize("name", PROXIES)
def test_answer_that_a_proxy_makes_itself_is_told(
    name: str, start_proxy: StartProxy, verify: Verify
) -> None:
    with held_port() as port:
        front = start_proxy(name, ("127.0.0.1", port), distant=True)
        seconds = 8 if name == "haproxy" else 2  # it tries for three seconds
        for command in ("enable", "disable"):
            result = verify(command, front, seconds=seconds, code=1)
            assert re.search("(.+) of \\1 answers at .* are 50[23] without", result.stderr)
            assert "which a proxy or a server makes in place of the application" in result.stderr
