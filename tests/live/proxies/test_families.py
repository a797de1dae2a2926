"""The gate behind real proxies, configured by the very files that users copy from the examples.

Clients differ by the loopback address they connect from. One of them is exempt.
"""

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import StartProxy, StartServer, is_blocked, is_exempt
from tests.live.proxies.tables import EXEMPT, FORGED, PROXIES, STRANGER, XFF

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("name", PROXIES)
def test_only_the_exempt_client_gets_in(
    name: str, start_server: StartServer, start_proxy: StartProxy, mode: MaintenanceMode
) -> None:
    front = start_proxy(name, start_server("gunicorn"))
    for _ in range(3):
        mode.enable()
        assert is_exempt(front.ask(EXEMPT))
        blocked = front.ask(STRANGER)
        assert is_blocked(blocked)
        assert (blocked["Retry-After"], blocked["Cache-Control"]) == ("300", "no-store")
        assert b"</html>" in blocked.body
        headed = front.ask(STRANGER, method="HEAD")
        assert is_blocked(headed)
        assert (headed["Retry-After"], headed.body) == ("300", b"")
        assert is_exempt(front.ask(EXEMPT, method="HEAD"))
        mode.disable()
        answer = front.ask(STRANGER)
        assert (answer.code, answer.mark) == (200, None)


@pytest.mark.parametrize("listen", ["plain", "dual"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
@pytest.mark.parametrize("name", PROXIES)
def test_both_families(
    name: str,
    host: str,
    listen: str,
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    """At [::] an IPv4 peer is an IPv4-mapped one: the proxy's client, the application's proxy."""
    front = start_proxy(name, start_server("gunicorn", host=host), listen)
    mode.enable(exemptions=[EXEMPT])
    assert is_exempt(front.ask(EXEMPT, "/", FORGED))
    assert is_blocked(front.ask(STRANGER, "/", FORGED))
    assert is_blocked(front.ask("::1"))
    mode.set_exemptions(["::1"])
    assert is_blocked(front.ask(EXEMPT))
    assert is_blocked(front.ask(STRANGER, "/", (XFF, "::1")))
    assert is_exempt(front.ask("::1"))
