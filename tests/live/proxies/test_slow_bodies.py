"""Blocked requests whose bodies do not end hold no worker for long, behind the examples too."""

import time

import pytest

from tests.live.proxies.fronts import StartProxy, StartServer, is_blocked, is_exempt
from tests.live.proxies.tables import EXEMPT, PROXIES, STRANGER
from tests.support.slow_clients import SLOW_BODIES, slow_clients

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("maintenance_on")]

# Two seconds are promised; a busy machine needs some more. Varnish connects before it has a body to
# send, and gunicorn waits five seconds for a request, before it is one that the gate could block.
MOST = dict.fromkeys(PROXIES, 4) | {"varnish": 8}


@pytest.mark.parametrize("kind", SLOW_BODIES)
@pytest.mark.parametrize("name", PROXIES)
def test_other_visitors_are_answered(
    name: str, kind: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    front = start_proxy(name, start_server("gunicorn"))
    with slow_clients(kind, ("127.0.0.1", front.port)):
        began = time.monotonic()
        assert is_blocked(front.ask(STRANGER))
        assert is_exempt(front.ask(EXEMPT))
        assert time.monotonic() - began < MOST[name]
