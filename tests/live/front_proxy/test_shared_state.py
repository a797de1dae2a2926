"""Maintenance, by the proxy and the shop, through the same two files."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.request.bypass import new_link
from maintenance_wsgi.state.store import FileStore
from tests.live.front_proxy.shops import (
    DEVELOPER,
    EXAMPLE,
    SHOP_SEES,
    STRANGER,
    TLS_PROXY,
    Place,
    codes,
    echo,
    exchange,
    front_proxy,
    php_shop,
    run_command,
    run_php,
)
from tests.support.http import ask
from tests.support.needs import need
from tests.support.processes import PROGRAMS, environ, held_port, run, running, unmeasured

pytestmark = pytest.mark.servers


def test_both_agree_at_once_whoever_toggles(
    front: Place, php: Place, mode: MaintenanceMode, shop_var: Path
) -> None:
    flag = shop_var / ".maintenance.flag"
    on: list[Callable[[], object]] = [
        lambda: run_command(shop_var, "enable", "--message", "moving"),
        lambda: run_php("-r", f"touch('{flag}');"),
    ]
    off: list[Callable[[], object]] = [
        lambda: run_command(shop_var, "disable"),
        lambda: run_php("-r", f"unlink('{flag}');"),
    ]
    for enable in on:
        for disable in off:
            enable()
            assert codes(front, php) == (503, 503)
            disable()
            assert codes(front, php) == (200, 200)
    assert not mode.is_enabled()


@pytest.fixture(scope="module")
def front_with_exempt_paths(folder: Path, php: Place) -> Iterator[Place]:
    with front_proxy(folder, php, MAINTENANCE_EXEMPT_PATHS="/healthz /webhooks/") as place:
        yield place


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/healthz", b"exempt"),
        ("/webhooks/a?b", b"exempt"),
        ("http://a/healthz", b"exempt"),
        ("/healthz/", b"on"),
        ("/healthz/../admin", b"on"),
        ("/healthz%2f..%2fadmin", b"on"),
        ("/healthz;/../admin", b"on"),
        ("/webhooks/../admin", b"on"),
        ("/webhooks/%2e%2e/admin", b"on"),
        ("/webhooks/..%2Fadmin", b"on"),
        ("/webhooks//admin", b"on"),
        ("//a/webhooks/x", b"on"),
        ("http://a/webhooks/../admin", b"on"),
        ("http://a/admin?/healthz", b"on"),
        ("http://a?/healthz", b"on"),
        ("/admin?/../healthz", b"on"),
    ],
)
def test_exempt_path_is_what_the_shop_serves(
    front_with_exempt_paths: Place, mode: MaintenanceMode, path: str, mark: bytes
) -> None:
    mode.enable()
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(front_with_exempt_paths, request)
    assert b"\r\nX-Maintenance-Mode: " + mark in answer


def test_prefix_that_a_client_sends_does_not_reach_the_shop(folder: Path, php: Place) -> None:
    """Without the example's settings, gunicorn believes SCRIPT_NAME of a peer on this machine.

    The gate compares an exempt path with the rest, "/webhooks/x", so that the shop must get that.
    """
    prefix = [("SCRIPT_NAME", "/admin")]
    arguments = "--forwarder-headers=SCRIPT_NAME"
    with front_proxy(folder, php, GUNICORN_CMD_ARGS=arguments) as place:
        answer = ask(place, "/admin/webhooks/x?a=%2F", headers=prefix, source="127.0.0.1")
    assert echo(answer)["target"] == "/webhooks/x?a=%2F"


def test_blocked_visitor_gets_the_page_of_the_proxy(front: Place, mode: MaintenanceMode) -> None:
    mode.enable()
    answer = ask(front)
    assert (answer.mark, answer.all("X-Shop")) == ("on", [])


def test_list_is_obeyed_by_both_at_once_whoever_writes_it(
    front: Place, php: Place, mode: MaintenanceMode, shop_var: Path
) -> None:
    mode.enable()
    listed = shop_var / ".maintenance.ip"
    run_command(shop_var, "allow-ips", f"{SHOP_SEES}/32", DEVELOPER)
    assert codes(front, php, source=DEVELOPER) == (200, 200)
    assert codes(front, php, source=STRANGER) == (503, 503)
    run_php("-r", f"file_put_contents('{listed}', '{SHOP_SEES},{STRANGER}');")
    assert codes(front, php, source=DEVELOPER) == (503, 503)
    assert codes(front, php, source=STRANGER) == (200, 200)


@pytest.fixture
def developer_exempt(mode: MaintenanceMode) -> MaintenanceMode:
    mode.enable(exemptions=[DEVELOPER])
    return mode


@pytest.mark.usefixtures("developer_exempt")
def test_shop_refuses_the_developer_whom_the_proxy_admits(front: Place) -> None:
    answer = ask(front, source=DEVELOPER)
    assert (answer.code, answer.body) == (503, b"shop: maintenance")
    assert answer.mark == "exempt"  # by the proxy, which did let them through


def test_proxy_in_the_shared_list_lets_everybody_in_who_comes_from_its_address(
    front: Place, developer_exempt: MaintenanceMode
) -> None:
    developer_exempt.add_exemptions([SHOP_SEES])
    assert ask(front, source=DEVELOPER).code == 200
    assert ask(front, source=STRANGER).code == 503
    # Another proxy on the same machine, which the front proxy does not know of.
    stranger = [("X-Forwarded-For", STRANGER)]
    assert ask(front, headers=stranger, source=SHOP_SEES).code == 200


@pytest.fixture(scope="module")
def trusting_php(folder: Path, shop_var: Path) -> Iterator[Place]:
    assert shop_var.is_dir()
    with php_shop(folder, SHOP_TRUSTED_PROXY=SHOP_SEES) as place:
        yield place


@pytest.fixture(scope="module")
def trusting_front(folder: Path, trusting_php: Place) -> Iterator[Place]:
    with front_proxy(folder, trusting_php) as place:
        yield place


def test_remedy_the_shop_reads_the_header(
    trusting_front: Place, trusting_php: Place, developer_exempt: MaintenanceMode
) -> None:
    assert developer_exempt.is_enabled()
    admitted = ask(trusting_front, source=DEVELOPER)
    assert (admitted.code, admitted["X-Shop"]) == (200, "here")
    forged = [("X-Forwarded-For", DEVELOPER)]
    assert ask(trusting_front, headers=forged, source=STRANGER).mark == "on"
    # What the shop would say by itself, to the proxy and to whoever gets past it.
    appended = [("X-Forwarded-For", f"{DEVELOPER}, {STRANGER}")]
    assert ask(trusting_php, headers=appended, source=SHOP_SEES).code == 503
    assert ask(trusting_php, headers=forged, source=STRANGER).code == 503


@pytest.fixture(scope="module")
def own_directory(folder: Path, shop_var: Path) -> Path:
    found = re.search(r"```console\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert found is not None
    directory = folder / "front"
    steps = [line.removeprefix("$ ") for line in found[1].splitlines() if "gunicorn" not in line]
    script = "\n".join(steps).replace("/srv/shop/var", str(shop_var))
    script = script.replace("/srv/front", str(directory))
    script = script.replace("10.0.0.5", SHOP_SEES).replace("203.0.113.7", DEVELOPER)
    run("/bin/sh", "-ec", script, env=environ())
    return directory


@pytest.fixture(scope="module")
def front_with_own_list(folder: Path, php: Place, own_directory: Path) -> Iterator[Place]:
    with front_proxy(folder, php, MAINTENANCE_DIR=str(own_directory)) as place:
        yield place


def test_remedy_two_lists(
    front_with_own_list: Place, php: Place, shop_var: Path, mode: MaintenanceMode
) -> None:
    assert mode.exemptions == (SHOP_SEES,)
    for _ in range(2):
        run_command(shop_var, "enable")
        assert codes(front_with_own_list, php) == (503, 503)
        assert ask(front_with_own_list, source=DEVELOPER)["X-Shop"] == "here"
        assert ask(front_with_own_list, source=SHOP_SEES).code == 503
        run_php("-r", f"unlink('{shop_var}/.maintenance.flag');")
        assert codes(front_with_own_list, php) == (200, 200)


def test_bypass_link_reaches_a_shop_that_exempts_the_proxy(
    front: Place, front_with_own_list: Place, mode: MaintenanceMode
) -> None:
    """Magento knows addresses only: the documented limit, and the remedy of two lists."""
    url, digest = new_link("http://shop.example/cart?a=b")
    mode.enable(exemptions=[DEVELOPER], bypass=digest)
    secret = [("X-Maintenance-Bypass", url.rpartition("=")[2])]
    limited = ask(front, headers=secret, source=STRANGER)
    assert (limited.code, limited.body, limited.mark) == (503, b"shop: maintenance", "exempt")
    mode.set_exemptions([SHOP_SEES])
    redirect = ask(front_with_own_list, url.removeprefix("http://shop.example"), source=STRANGER)
    assert (redirect.code, redirect["Location"]) == (303, "/cart?a=b")
    cookie = [("Cookie", f"a=1; {redirect['Set-Cookie'].partition(';')[0]}")]
    seen = echo(ask(front_with_own_list, "/cart?a=b", headers=cookie, source=STRANGER))
    assert (seen["target"], seen["headers"]["cookie"]) == ("/cart?a=b", "a=1")
    machine = ask(front_with_own_list, headers=secret, source=STRANGER)
    assert machine["X-Shop"] == "here"
    assert secret[0][1] not in machine.body.decode()
    assert ask(front_with_own_list, source=STRANGER).code == 503


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_magento_is_closed_in_read_only_mode_too(
    method: str, front: Place, php: Place, mode: MaintenanceMode
) -> None:
    """A reader of the flag that knows no more than its existence stays closed."""
    mode.enable(read_only=True)
    assert ask(php, method=method, body=b"").code == 503
    at_front = ask(front, method=method, body=b"")
    assert (at_front.code, at_front.mark) == (503, "read-only")
    assert (at_front.body == b"shop: maintenance") is (method == "GET")


def test_own_directory_shows_the_state_but_cannot_switch_off(
    front_with_own_list: Place, php: Place, own_directory: Path, mode: MaintenanceMode
) -> None:
    assert not MaintenanceMode(own_directory).is_enabled()
    run_command(own_directory, "enable")
    assert mode.is_enabled()
    assert MaintenanceMode(own_directory).is_enabled()
    assert codes(front_with_own_list, php) == (503, 503)
    run_command(own_directory, "disable")
    opened = ask(front_with_own_list)
    assert (opened.mark, opened.body) == (None, b"shop: maintenance")
    assert mode.is_enabled()
    link = own_directory / ".maintenance.flag"
    assert not link.is_symlink()
    assert isinstance(mode.store, FileStore)
    link.symlink_to(mode.store.flag_path)


def test_unit_starts_the_proxy(folder: Path, shop_var: Path, php: Place) -> None:
    unit = (EXAMPLE / "front-proxy.service").read_text(encoding="utf-8")
    settings = [line.split("=", 1) for line in unit.splitlines() if "=" in line]
    variables = dict(value.split("=", 1) for name, value in settings if name == "Environment")
    (command,) = (value for name, value in settings if name == "ExecStart")
    variables |= {"SHOP": f"http://{php[0]}:{php[1]}", "MAINTENANCE_DIR": str(shop_var)}
    program, log = PROGRAMS / Path(command).name, folder / "unit.log"
    with held_port() as port:
        place = ("127.0.0.1", port)
        environ = unmeasured(**variables | {"BIND": f"127.0.0.1:{port}"})
        with running([program], place, log, cwd=EXAMPLE, env=environ):
            assert ask(place)["X-Shop"] == "here"


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen {place[0]}:{place[1]}; {recipe} location / {{ return 200 $remote_addr; }} }}
}}
"""


@pytest.mark.parametrize(
    ("source", "header", "client"),
    [
        pytest.param(DEVELOPER, [], DEVELOPER, id="direct"),
        pytest.param(STRANGER, [DEVELOPER], STRANGER, id="forged"),
        pytest.param(TLS_PROXY, [f"{DEVELOPER}, {STRANGER}"], STRANGER, id="through-both"),
    ],
)
def test_nginx_recipe_of_the_readme(
    folder: Path, shop_var: Path, source: str, header: list[str], client: str
) -> None:
    found = re.search(r"```nginx\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert found and shop_var.is_dir()  # noqa: PT018 (two things that must be there)
    recipe = found[1].replace("10.0.0.5", SHOP_SEES).replace("10.0.0.4", TLS_PROXY)
    config = folder / "nginx.conf"
    headers = [("X-Forwarded-For", value) for value in header]
    with held_port() as port:
        place = "127.0.0.1", port
        config.write_text(NGINX.format(folder=folder, place=place, recipe=recipe))
        nginx = [need("nginx"), "-e", "stderr", "-c", str(config)]
        with running(nginx, place, folder / "nginx.log"), front_proxy(folder, place) as front:
            assert ask(front, headers=headers, source=source).body.decode() == client
