"""What a proxy must not make of the 503: the README and nginx's example name these settings."""

import time

import pytest

from maintenance_wsgi import MaintenanceMode
from tests.live.proxies.fronts import StartProxy, StartServer, is_blocked, is_exempt
from tests.live.proxies.tables import EXEMPT, STRANGER
from tests.support.processes import wait_for

pytestmark = pytest.mark.servers

SERVER = "server 127.0.0.1:UPSTREAM;"
COUNTED = {
    "nginx": (
        ("server {", f"upstream shop {{ {SERVER} {SERVER} }}\nserver {{"),
        ("http://127.0.0.1:UPSTREAM", "http://shop"),
        ("# proxy_next_upstream", "proxy_next_upstream"),
    ),
    "haproxy": (
        (
            "127.0.0.1:UPSTREAM",
            "127.0.0.1:UPSTREAM check inter 1h observe layer7 error-limit 1 on-error mark-down",
        ),
    ),
    "caddy": (("header_up -Proxy", "fail_duration 1h\n\t\tunhealthy_status 503"),),
}
REPLACED = {
    "proxy_intercept_errors": (
        503,
        (("# proxy_intercept_errors on;", "proxy_intercept_errors on; error_page 503 /503.html;"),),
    ),
    "auth_request": (
        500,
        (
            ("# auth_request /path-of-the-application;", "auth_request /path;"),
            (
                "location / {",
                "location = /path { proxy_pass http://127.0.0.1:UPSTREAM; }\nlocation / {",
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_proxy_that_counts_the_503_as_a_failure_shuts_exempt_visitors_out(
    name: str, start_server: StartServer, start_proxy: StartProxy, mode: MaintenanceMode
) -> None:
    upstream = start_server("gunicorn")
    safe, unsafe = start_proxy(name, upstream), start_proxy(name, upstream, extra=COUNTED[name])
    assert unsafe.ask(EXEMPT).code == 200
    mode.enable()
    for front in (safe, unsafe):
        assert is_blocked(front.ask(STRANGER))
        for _ in range(3):
            front.ask(STRANGER)
    assert is_exempt(safe.ask(EXEMPT))
    shut_out = unsafe.ask(EXEMPT)
    assert (shut_out.code in {502, 503}, shut_out.mark) == (True, None)


@pytest.mark.parametrize(("path", "stays"), [("/healthz", True), ("/other", False)])
def test_health_path_keeps_a_server_in_the_balancer(
    path: str,
    stays: bool,  # noqa: FBT001 (a parameter)
    start_server: StartServer,
    start_proxy: StartProxy,
    mode: MaintenanceMode,
) -> None:
    extra = (
        ("# option httpchk GET /healthz", f"option httpchk GET {path}"),
        ("# default-server check", "default-server check inter 50ms fall 1 rise 1"),
    )
    front = start_proxy("haproxy", start_server("gunicorn"), extra=extra)
    wait_for(lambda: front.ask(STRANGER).code == 200)
    mode.enable()
    if stays:
        for _ in range(20):  # a second, in which the server is checked twenty times
            assert is_blocked(front.ask(STRANGER))
            time.sleep(0.05)
    else:
        wait_for(lambda: (front.ask(STRANGER).code, front.ask(STRANGER).mark) == (503, None))


@pytest.mark.parametrize("name", REPLACED)
def test_nginx_that_replaces_the_503(
    name: str, start_server: StartServer, start_proxy: StartProxy, mode: MaintenanceMode
) -> None:
    status, extra = REPLACED[name]
    front = start_proxy("nginx", start_server("gunicorn"), extra=extra)
    assert front.ask(STRANGER).code == 200
    mode.enable()
    replaced = front.ask(STRANGER)
    assert (replaced.code, replaced.mark, replaced.all("Retry-After")) == (status, None, [])
