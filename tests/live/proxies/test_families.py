"""The gate behind real proxies, configured by the very files that users copy from the examples.

Clients differ by the loopback address they connect from. One of them is exempt.
"""

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import Put, Serve, is_blocked, is_exempt
from tests.live.proxies.tables import EXEMPT, FORGED, PROXIES, STRANGER, XFF

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("name", PROXIES)
def test_only_the_exempt_client_gets_in(
    name: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    front = put(name, serve("gunicorn"))
    for _ in range(3):
        off.enable()
        assert is_exempt(front.ask(EXEMPT))
        blocked = front.ask(STRANGER)
        assert is_blocked(blocked)
        assert (blocked["Retry-After"], blocked["Cache-Control"]) == ("300", "no-store")
        assert b"</html>" in blocked.body
        headed = front.ask(STRANGER, method="HEAD")
        assert is_blocked(headed)
        assert (headed["Retry-After"], headed.body) == ("300", b"")
        assert is_exempt(front.ask(EXEMPT, method="HEAD"))
        off.disable()
        answer = front.ask(STRANGER)
        assert (answer.code, answer.mark) == (200, None)


@pytest.mark.parametrize("listen", ["plain", "dual"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
@pytest.mark.parametrize("name", PROXIES)
def test_both_families(
    name: str, host: str, listen: str, serve: Serve, put: Put, off: MaintenanceMode
) -> None:
    """At [::] an IPv4 peer is an IPv4-mapped one: the proxy's client, the application's proxy."""
    front = put(name, serve("gunicorn", host=host), listen)
    off.enable(exemptions=[EXEMPT])
    assert is_exempt(front.ask(EXEMPT, "/", FORGED))
    assert is_blocked(front.ask(STRANGER, "/", FORGED))
    assert is_blocked(front.ask("::1"))
    off.set_exemptions(["::1"])
    assert is_blocked(front.ask(EXEMPT))
    assert is_blocked(front.ask(STRANGER, "/", (XFF, "::1")))
    assert is_exempt(front.ask("::1"))
