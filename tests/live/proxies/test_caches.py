"""What caches in front keep, and what they must not."""

import signal
from itertools import count

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import Front, Put, Serve, command_of, is_blocked, is_exempt
from tests.live.proxies.tables import (
    CACHES,
    EXEMPT,
    NEAR,
    STRANGER,
)
from tests.support.processes import run, wait_for

pytestmark = pytest.mark.servers

_pages = count()


@pytest.fixture
def page() -> str:
    return f"/cached/{next(_pages)}"


def number_of(front: Front, path: str) -> int:
    answer = front.ask(STRANGER, path)
    assert (answer.code, answer.mark) == (200, None)
    return int(answer.body)


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_no_page_of_an_exempt_visitor(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode, *, distant: bool
) -> None:
    front = put(name, serve("gunicorn"), distant=distant)
    off.enable()
    seen = front.ask(EXEMPT, page)
    assert is_exempt(seen)
    assert is_blocked(front.ask(STRANGER, page))
    assert is_exempt(front.ask(EXEMPT, page))
    assert is_blocked(front.ask(STRANGER, page))
    off.disable()
    number = number_of(front, page)
    assert number > int(seen.body)
    assert number_of(front, page) == number  # or it would be no cache that was tested


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_no_503(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode, *, distant: bool
) -> None:
    front = put(name, serve("gunicorn"), distant=distant)
    off.enable()
    for _ in range(3):
        assert is_blocked(front.ask(STRANGER, page))
        assert is_exempt(front.ask(EXEMPT, page))
    off.disable()
    number = number_of(front, page)
    assert number_of(front, page) == number


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_expired_page_gives_way_to_the_503(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode, *, distant: bool
) -> None:
    """Some caches serve what is stale where the application answers with an error."""
    front = put(name, serve("gunicorn"), distant=distant)
    page = page.replace("cached", "briefly")
    number_of(front, page)
    off.enable()
    wait_for(lambda: is_blocked(front.ask(STRANGER, page)))


@pytest.mark.parametrize("name", NEAR)
def test_cache_that_sees_the_flag_steps_aside(
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    front = put(name, serve("gunicorn"))
    number = number_of(front, page)
    assert number_of(front, page) == number
    off.enable()
    assert is_blocked(front.ask(STRANGER, page))
    fresh = front.ask(EXEMPT, page)
    assert is_exempt(fresh)
    assert int(fresh.body) > number


def empty_the_directory(front: Front) -> None:
    command = ["find", f"{front.folder}/cache", "-mindepth", "1", "-delete"]
    run(*command)


def ban(front: Front) -> None:
    command = f"varnishadm -n {front.folder}/varnish ban obj.status '!=' 0"
    run(*command_of(command, "Debian's varnish"))


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
    name: str, page: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    front = put(name, serve("gunicorn"), distant=True)
    number = number_of(front, page)
    off.enable()
    for source in (STRANGER, EXEMPT):
        kept = front.ask(source, page)
        assert (kept.code, kept.mark, int(kept.body)) == (200, None, number)
    EMPTIED[name](front)
    wait_for(lambda: is_blocked(front.ask(STRANGER, page)))
    assert is_exempt(front.ask(EXEMPT, page))
