"""What strangers send to pass for the exempt client, through real proxies."""

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import (
    StartProxy,
    StartServer,
    is_blocked,
    is_exempt,
    is_refused,
    others,
)
from tests.live.proxies.tables import (
    EXEMPT,
    FORGERIES,
    FORWARDED,
    MALFORMED,
    OTHER,
    PAIRS,
    PROXIES,
    STRANGER,
    TWINS,
    UNCONNECTED,
    XFF,
)
from tests.support.http import ask

pytestmark = pytest.mark.servers


@pytest.mark.usefixtures("maintenance_on")
@pytest.mark.parametrize(("name", "server"), PAIRS)
def test_nobody_forges_the_exempt_client(
    name: str, server: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    front = start_proxy(name, start_server(server))
    assert others(front, STRANGER, FORGERIES, is_blocked) == {}
    unconnected = is_refused if name == "varnish" else is_blocked
    assert others(front, STRANGER, UNCONNECTED, unconnected) == {}
    assert others(front, STRANGER, MALFORMED, is_blocked, is_refused) == {}


@pytest.mark.usefixtures("maintenance_on")
@pytest.mark.parametrize(("name", "server"), PAIRS)
def test_exempt_client_stays_exempt_whatever_it_sends(
    name: str, server: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    front = start_proxy(name, start_server(server))
    assert others(front, EXEMPT, FORGERIES, is_exempt) == {}
    assert others(front, EXEMPT, MALFORMED, is_exempt, is_refused) == {}
    unconnected = is_refused if name == "varnish" else is_exempt
    assert others(front, EXEMPT, UNCONNECTED, unconnected) == {}


@pytest.mark.usefixtures("maintenance_on")
def test_nginx_tells_uwsgi_the_client_itself(
    start_server: StartServer, start_proxy: StartProxy
) -> None:
    """Over the uwsgi protocol the peer is what nginx says: no proxy needs to be trusted."""
    through = "include /etc/nginx/uwsgi_params; uwsgi_pass"
    front = start_proxy(
        "nginx", start_server("uwsgi-protocol"), extra=(("proxy_pass http://", f"{through} "),)
    )
    assert others(front, EXEMPT, FORGERIES | UNCONNECTED, is_exempt) == {}
    assert others(front, STRANGER, FORGERIES | UNCONNECTED, is_blocked) == {}


def unhardened(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(PROXIES[name].unhardened.items())


@pytest.mark.usefixtures("maintenance_on")
@pytest.mark.parametrize("spelling", TWINS)
@pytest.mark.parametrize(
    ("server", "fooled"),
    [
        ("gunicorn", False),
        ("waitress", False),
        ("werkzeug", False),
        ("cheroot", True),
        ("granian", True),
        ("uwsgi", True),
        ("uvicorn", False),
        ("uvicorn-bare", True),
        ("uvicorn-unix", True),
        ("hypercorn", True),
    ],
)
def test_some_servers_are_fooled_by_a_twin_that_the_proxy_passes_on(
    server: str, spelling: str, start_server: StartServer, *, fooled: bool
) -> None:
    """The README names these servers: where a release mends one, its row there can go."""
    application = start_server(server)
    sent = [(XFF, STRANGER), (spelling, EXEMPT)]
    answer = ask(application, "/", headers=sent, source="127.0.0.1")
    assert is_exempt(answer) if fooled else is_blocked(answer)


@pytest.mark.parametrize("spelling", TWINS)
@pytest.mark.parametrize("name", PROXIES)
def test_the_examples_drop_the_twins(
    name: str, spelling: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    upstream = start_server("uwsgi")  # joins what it takes for one header, so that both can be seen
    twin = (spelling, "192.0.2.66")
    safe = start_proxy(name, upstream)
    assert safe.ask(STRANGER, "/seen", twin).body.decode() == STRANGER
    unsafe = start_proxy(name, upstream, extra=unhardened(name))
    assert twin[1] in unsafe.ask(STRANGER, "/seen", twin).body.decode()


@pytest.mark.usefixtures("maintenance_on")
@pytest.mark.parametrize("spelling", TWINS)
@pytest.mark.parametrize(
    ("name", "fooled"),
    [(name, name != "varnish") for name in PROXIES],
)
def test_without_their_hardening_the_examples_let_strangers_in(
    name: str, spelling: str, start_server: StartServer, start_proxy: StartProxy, *, fooled: bool
) -> None:
    """Varnish happens to send its own line last, and cheroot believes the last."""
    sent = [OTHER, (spelling, EXEMPT)]
    upstream = start_server("cheroot")
    assert is_blocked(start_proxy(name, upstream).ask(STRANGER, "/", *sent))
    unsafe = start_proxy(name, upstream, extra=unhardened(name))
    assert is_exempt(unsafe.ask(STRANGER, "/", *sent)) is fooled


@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
@pytest.mark.parametrize("how", ["set-header", "add-header"])
def test_forwarded(
    how: str, host: str, start_server: StartServer, start_proxy: StartProxy, mode: MaintenanceMode
) -> None:
    """HAProxy 2.6 can write the header; it has no option for it. To add to it is safe as well."""
    lines = (
        ("    option forwardfor\n", ""),
        ("# http-request set-header Forwarded", f"http-request {how} Forwarded"),
    )
    upstream = start_server("gunicorn", host=host, header="Forwarded")
    front = start_proxy("haproxy", upstream, "dual" if host == "[::]" else "plain", lines)
    mode.enable(exemptions=[EXEMPT])
    assert is_exempt(front.ask(EXEMPT))
    assert is_blocked(front.ask("::1"))
    table = {text: [("Forwarded", text.replace("{}", EXEMPT))] for text in FORWARDED}
    table |= {f"{text} twice": sent * 2 for text, sent in table.items()}
    assert others(front, STRANGER, table | FORGERIES, is_blocked) == {}
    if how == "set-header":
        assert others(front, EXEMPT, table, is_exempt) == {}
    mode.set_exemptions(["::1"])
    assert is_exempt(front.ask("::1"))
