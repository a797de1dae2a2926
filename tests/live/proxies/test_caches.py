"""What caches in front keep, and what they must not."""

import signal
from itertools import count

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import Front, StartProxy, StartServer, is_blocked, is_exempt
from tests.live.proxies.tables import CACHES, EXEMPT, NEAR, STRANGER
from tests.support.processes import run, wait_for

pytestmark = pytest.mark.servers

_numbers = count()


@pytest.fixture
def cached_path() -> str:
    return f"/cached/{next(_numbers)}"


def number_of(front: Front, path: str) -> int:
    answer = front.ask(STRANGER, path)
    assert (answer.code, answer.mark) == (200, None)
    return int(answer.body)


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_no_page_of_an_exempt_visitor(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
    *,
    distant: bool,
) -> None:
    front = start_proxy(name, start_server("gunicorn"), distant=distant)
    mode.enable()
    seen = front.ask(EXEMPT, cached_path)
    assert is_exempt(seen)
    assert is_blocked(front.ask(STRANGER, cached_path))
    assert is_exempt(front.ask(EXEMPT, cached_path))
    assert is_blocked(front.ask(STRANGER, cached_path))
    mode.disable()
    number = number_of(front, cached_path)
    assert number > int(seen.body)
    assert number_of(front, cached_path) == number  # or it would be no cache that was tested


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_no_503(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
    *,
    distant: bool,
) -> None:
    front = start_proxy(name, start_server("gunicorn"), distant=distant)
    mode.enable()
    for _ in range(3):
        assert is_blocked(front.ask(STRANGER, cached_path))
        assert is_exempt(front.ask(EXEMPT, cached_path))
    mode.disable()
    number = number_of(front, cached_path)
    assert number_of(front, cached_path) == number


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_expired_page_gives_way_to_the_503(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
    *,
    distant: bool,
) -> None:
    """Some caches serve what is stale where the application answers with an error."""
    front = start_proxy(name, start_server("gunicorn"), distant=distant)
    cached_path = cached_path.replace("cached", "briefly")
    number_of(front, cached_path)
    mode.enable()
    wait_for(lambda: is_blocked(front.ask(STRANGER, cached_path)))


@pytest.mark.parametrize("name", NEAR)
def test_cache_that_sees_the_flag_steps_aside(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    front = start_proxy(name, start_server("gunicorn"))
    number = number_of(front, cached_path)
    assert number_of(front, cached_path) == number
    mode.enable()
    assert is_blocked(front.ask(STRANGER, cached_path))
    fresh = front.ask(EXEMPT, cached_path)
    assert is_exempt(fresh)
    assert int(fresh.body) > number


def empty_the_directory(front: Front) -> None:
    run("find", f"{front.folder}/cache", "-mindepth", "1", "-delete")


def ban(front: Front) -> None:
    run("varnishadm", "-n", f"{front.folder}/varnish", "ban", "obj.status", "!=", "0")


def reload(front: Front) -> None:
    front.process.send_signal(signal.SIGUSR2)  # what "systemctl reload haproxy" sends


EMPTIED = {
    "nginx": empty_the_directory,
    "haproxy": reload,
    "varnish": ban,
    "apache": empty_the_directory,
}


@pytest.mark.parametrize("name", EMPTIED)
def test_cache_that_does_not_see_the_flag_has_to_be_emptied(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    front = start_proxy(name, start_server("gunicorn"), distant=True)
    number = number_of(front, cached_path)
    mode.enable()
    for source in (STRANGER, EXEMPT):
        kept = front.ask(source, cached_path)
        assert (kept.code, kept.mark, int(kept.body)) == (200, None, number)
    EMPTIED[name](front)
    wait_for(lambda: is_blocked(front.ask(STRANGER, cached_path)))
    assert is_exempt(front.ask(EXEMPT, cached_path))
