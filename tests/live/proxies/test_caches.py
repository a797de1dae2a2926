"""What caches in front keep, and what they must not."""

import json
from http.client import RemoteDisconnected
from itertools import count

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.request.bypass import new_link
from tests.live.proxies.fronts import (
    EMPTIED,
    Front,
    StartProxy,
    StartServer,
    is_blocked,
    is_exempt,
)
from tests.live.proxies.tables import CACHES, EXEMPT, NEAR, PROXIES, SITE, STRANGER, XFF
from tests.support.http import ask
from tests.support.processes import wait_for

pytestmark = pytest.mark.servers

NO_REFERRER = "no-referrer"
_numbers = count()


@pytest.fixture
def cached_path() -> str:
    return f"/cached/{next(_numbers)}"


def number_of(front: Front, path: str) -> int:
    answer = front.ask(STRANGER, path)
    assert (answer.code, answer.mark) == (200, None)
    return int(answer.body)


@pytest.mark.parametrize(("name", "distant"), CACHES)
def test_cache_keeps_neither_the_503_nor_the_page_of_an_exempt_visitor(
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


@pytest.mark.parametrize("name", PROXIES)
def test_no_proxy_keeps_the_redirect_of_a_bypass_link_or_the_page_behind_it(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    front = start_proxy(name, start_server("gunicorn"))
    url, digest = new_link(f"https://{SITE}{cached_path}?a=b")
    mode.enable(bypass=digest)
    link = url.removeprefix(f"https://{SITE}")
    for _ in range(2):
        redirect = front.ask(STRANGER, link)
        assert (redirect.code, redirect["Location"]) == (303, f"{cached_path}?a=b")
        assert (redirect["Cache-Control"], redirect["Referrer-Policy"]) == ("no-store", NO_REFERRER)
    cookie = ("Cookie", f"a=1; {redirect['Set-Cookie'].partition(';')[0]}")
    seen = front.ask(STRANGER, cached_path, cookie)
    assert is_exempt(seen)
    secret = ("X-Maintenance-Bypass", url.rpartition("=")[2])
    assert is_exempt(front.ask(STRANGER, cached_path, secret))
    assert is_blocked(front.ask(STRANGER, cached_path))
    environ = json.loads(front.ask(STRANGER, "/environ", cookie, secret).body)
    assert environ["HTTP_COOKIE"] == "a=1"
    assert "HTTP_X_MAINTENANCE_BYPASS" not in environ
    mode.enable(bypass="")
    assert is_blocked(front.ask(STRANGER, link))
    assert is_blocked(front.ask(STRANGER, cached_path, cookie))
    mode.disable()
    assert number_of(front, cached_path) > int(seen.body)


@pytest.mark.parametrize("name", PROXIES)
def test_proxy_passes_on_that_a_page_of_an_exempt_visitor_is_private(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    """Caches between the proxy and the visitors obey the header too."""
    upstream = start_server("gunicorn")
    front = start_proxy(name, upstream)
    mode.enable()
    direct = ask(upstream, cached_path, headers=[(XFF, EXEMPT)])
    assert is_exempt(direct)
    assert direct["Cache-Control"].startswith("private, ")
    seen = [front.ask(EXEMPT, cached_path) for _ in range(2)]
    assert [answer["Cache-Control"] for answer in seen] == [direct["Cache-Control"]] * 2
    assert int(direct.body) < int(seen[0].body) < int(seen[1].body)


@pytest.mark.parametrize("word", ["no-cache", "no-store"])
@pytest.mark.parametrize("name", PROXIES)
def test_either_word_keeps_a_private_page_out_of_a_cache(
    name: str,
    word: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    assert not mode.is_enabled()
    front = start_proxy(name, start_server("gunicorn"))
    path = cached_path.replace("cached", f"private/{word}")
    numbers = [number_of(front, path) for _ in range(3)]
    assert numbers == sorted(set(numbers))


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


EVIL = ("Host", "evil.example")
BOTH_HOSTS = (f"server_name {SITE};", f"server_name {SITE} {EVIL[1]};")
NO_KEY = ("proxy_cache_key $scheme$host$request_uri;", "")


def links_of(front: Front, path: str, *sent: tuple[str, str]) -> set[str]:
    """Return the hosts for which the application builds the links of a page."""
    return set(front.ask(STRANGER, path, *sent).body.decode().split())


@pytest.mark.parametrize("name", [*NEAR, "haproxy"])
def test_no_client_poisons_the_links_of_a_page(
    name: str,
    cached_path: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    assert not mode.is_enabled()
    extra = (BOTH_HOSTS,) if name == "nginx-cached" else ()
    front = start_proxy(name, start_server("gunicorn"), extra=extra)
    path = cached_path.replace("cached", "cached/links")
    assert links_of(front, path, EVIL) == {EVIL[1]}
    assert links_of(front, path) == {SITE}
    assert links_of(front, path, EVIL) == {EVIL[1]}
    assert links_of(front, f"{path}/forwarded", ("X-Forwarded-Host", EVIL[1])) == {SITE}


def test_without_the_host_in_its_key_nginx_would_be_poisoned(
    cached_path: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    extra = (BOTH_HOSTS, NO_KEY)
    front = start_proxy("nginx-cached", start_server("gunicorn"), extra=extra)
    path = cached_path.replace("cached", "cached/links")
    assert links_of(front, path, EVIL) == {EVIL[1]}
    assert links_of(front, path) == {EVIL[1]}


@pytest.mark.parametrize("extra", [(), (NO_KEY,)], ids=["key", "no-key"])
def test_nginx_with_a_cache_refuses_foreign_hosts(
    cached_path: str,
    extra: tuple[tuple[str, str], ...],
    start_server: StartServer,
    start_proxy: StartProxy,
) -> None:
    front = start_proxy("nginx-cached", start_server("gunicorn"), extra=extra)
    path = cached_path.replace("cached", "cached/links")
    for host in (EVIL[1], f"{SITE}.{EVIL[1]}", f"evil.{SITE}", "127.0.0.1"):
        with pytest.raises(RemoteDisconnected):
            front.ask(STRANGER, path, ("Host", host))
    assert links_of(front, path) == {SITE}


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
