"""The proxies, what is forged before them, and the servers behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.support.processes import ROOT

EXAMPLES = ROOT / "examples" / "proxies"

# The host that the examples name.
SITE = "shop.example"

EXEMPT, STRANGER = "127.0.0.5", "127.0.0.6"

# What a distribution puts around a site. Capital words are replaced, as the ports of the site are.
NGINX = """
user root;
daemon off;
pid FOLDER/pid;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    include SITE;
}
"""

CADDY = """
{
	admin off
	auto_https off
}
import SITE
"""

APACHE = """
ServerName localhost
ServerRoot FOLDER
DefaultRuntimeDir FOLDER
PidFile FOLDER/pid
ErrorLog /dev/stderr
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule cache_module /usr/lib/apache2/modules/mod_cache.so
LoadModule cache_disk_module /usr/lib/apache2/modules/mod_cache_disk.so
Listen 80
Include SITE
"""


@dataclass(frozen=True)
class Proxy:
    """How a proxy is started with its example, and what is replaced in it.

    Attributes:
        site: the example's name.
        here: makes it reach the application and write below the test's own directory.
        unix: what takes the place of the same keys of `here`, for an application at a Unix socket.
        plain: makes it listen at 127.0.0.1 and ::1.
        dual: makes it listen at [::] for both families.
        unhardened: takes away what drops the underscore twins.
        frame: what is around the example, where it is no whole configuration.
    """

    site: str
    command: str
    here: Mapping[str, str]
    unix: Mapping[str, str]
    plain: Mapping[str, str]
    dual: Mapping[str, str]
    unhardened: Mapping[str, str]
    frame: str = ""


PROXIES = {
    "nginx": Proxy(
        "nginx.conf",
        "nginx -p FOLDER -e stderr -c FRAME",
        here={"127.0.0.1:8000": "127.0.0.1:UPSTREAM"},
        unix={"127.0.0.1:8000": "unix:UPSTREAM"},
        plain={"listen 80;": "listen 127.0.0.1:PORT;", "listen [::]:80;": "listen [::1]:PORT;"},
        dual={"listen 80;": "", "listen [::]:80;": "listen [::]:PORT ipv6only=off;"},
        unhardened={"underscores_in_headers off;": "underscores_in_headers on;"},
        frame=NGINX,
    ),
    "nginx-cached": Proxy(
        "nginx-cached.conf",
        "nginx -p FOLDER -e stderr -c FRAME",
        here={
            "127.0.0.1:8000": "127.0.0.1:UPSTREAM",
            "/var/cache/nginx-shop": "FOLDER/cache",
            "/srv/shop/var": "VAR",
        },
        unix={"127.0.0.1:8000": "unix:UPSTREAM"},
        plain={"listen 80": "listen 127.0.0.1:PORT", "listen [::]:80": "listen [::1]:PORT"},
        dual={
            "listen 80;": "",
            "listen 80 default_server;": "",
            "listen [::]:80 default_server;": "listen [::]:PORT default_server ipv6only=off;",
            "listen [::]:80;": "listen [::]:PORT;",
        },
        unhardened={"underscores_in_headers off;": "underscores_in_headers on;"},
        frame=NGINX,
    ),
    "haproxy": Proxy(
        "haproxy.cfg",
        "haproxy -W -db -f SITE",
        here={"127.0.0.1:8000": "127.0.0.1:UPSTREAM"},
        unix={"127.0.0.1:8000": "unix@UPSTREAM"},
        plain={"bind :80": "bind 127.0.0.1:PORT", "bind [::]:80 v6only": "bind [::1]:PORT"},
        dual={"bind :80": "", "bind [::]:80 v6only": "bind [::]:PORT v4v6"},
        unhardened={"    option http-restrict-req-hdr-names delete\n": ""},
    ),
    "varnish": Proxy(
        "default.vcl",
        "varnishd -F -a :80 -n FOLDER/varnish -f SITE",
        here={'.port = "8000";': '.port = "UPSTREAM";', "/srv/shop/var": "VAR"},
        unix={'.port = "8000";': "", '.host = "127.0.0.1";': '.path = "UPSTREAM";'},
        plain={"-a :80": "-a 127.0.0.1:PORT -a [::1]:PORT"},
        dual={"-a :80": "-a :PORT"},  # at [::] it takes no IPv4, so no peer is a mapped one
        unhardened={"unset req.http.X": "# "},
    ),
    "caddy": Proxy(
        "Caddyfile",
        "caddy run --adapter caddyfile --config FRAME",
        here={"127.0.0.1:8000": "127.0.0.1:UPSTREAM"},
        unix={"127.0.0.1:8000": "unix/UPSTREAM"},
        plain={"shop.example {": "http://:PORT {\n\tbind 127.0.0.1 ::1"},
        dual={"shop.example {": "http://:PORT {"},
        unhardened={"header_up -*_*": ""},
        frame=CADDY,
    ),
    "apache": Proxy(
        "apache.conf",
        "apache2 -DFOREGROUND -f FRAME",
        here={
            "http://127.0.0.1:8000/": "http://127.0.0.1:UPSTREAM/",
            "/var/cache/apache2/mod_cache_disk": "FOLDER/cache",
            "/srv/shop/var": "VAR",
        },
        unix={"http://127.0.0.1:8000/": "unix:UPSTREAM|http://localhost/"},
        plain={"*:80": "*:PORT", "Listen 80": "Listen 127.0.0.1:PORT\nListen [::1]:PORT"},
        dual={"*:80": "*:PORT", "Listen 80": "Listen [::]:PORT"},
        unhardened={"RequestHeader unset X": "# "},
        frame=APACHE,
    ),
}

UVICORN = (
    "import uvicorn, proxied_shop; from a2wsgi import WSGIMiddleware;"
    " uvicorn.run(WSGIMiddleware(proxied_shop.application)"
)

SERVERS = {
    "gunicorn": "gunicorn --threads=4 --bind=AT proxied_shop:application",
    "gunicorn-unix": "gunicorn --threads=4 --bind=unix:AT proxied_shop:application",
    "cheroot": "cheroot --bind AT proxied_shop:application",
    "granian": "granian --interface=wsgi --blocking-threads=4 --port=PORT proxied_shop:application",
    # It closes each connection. Unless it says so, a proxy that sends one more request fails.
    "uwsgi": "uwsgi --http-socket=AT --add-header='Connection: close' --module=proxied_shop"
    " --threads=4 --die-on-term --need-app",
    "uwsgi-protocol": "uwsgi --socket=AT --module=proxied_shop --threads=4 --die-on-term"
    " --need-app",
    "waitress": "waitress-serve --listen=AT --no-clear-untrusted-proxy-headers"
    " proxied_shop:application",
    "werkzeug": "python -c 'import sys, werkzeug, proxied_shop; werkzeug.run_simple("
    '"127.0.0.1", int(sys.argv[1]), proxied_shop.application, threaded=True)\' PORT',
    "uvicorn": f"python -c '{UVICORN}, port=PORT)'",
    "uvicorn-bare": f"python -c '{UVICORN}, port=PORT, proxy_headers=False)'",
    "uvicorn-unix": f"python -c '{UVICORN}, uds=\"AT\")'",
    "hypercorn": "hypercorn --bind=AT wsgi:proxied_shop:application",
}

BEHIND = ["gunicorn", "cheroot", "granian", "uwsgi", "waitress", "uvicorn", "hypercorn"]
XFF = "X-Forwarded-For"

FORGED, OTHER = (XFF, EXEMPT), (XFF, "192.0.2.1")
TWINS = ["X_Forwarded_For", "X_Forwarded-For", "X-Forwarded_For", "x_forwarded_for"]
FORGERIES = {
    "address": [FORGED],
    "two-lines": [FORGED, FORGED],
    "many-lines": [FORGED] * 40,
    "lower-case": [("x-forwarded-for", EXEMPT)],
    "list": [(XFF, f"{EXEMPT}, {EXEMPT}")],
    "through-a-trusted-proxy": [(XFF, f"{EXEMPT}, 127.0.0.1")],
    "port": [(XFF, f"{EXEMPT}:80")],
    "mapped": [(XFF, f"::ffff:{EXEMPT}")],
    "trailing-comma": [(XFF, f"{EXEMPT},")],
    "trailing-commas": [(XFF, f"{EXEMPT} ,\t,,")],
    "empty": [(XFF, "")],
    "open-quote": [(XFF, f'"{EXEMPT}')],
    "open-quote-after": [(XFF, f'{EXEMPT}, "')],
    "long": [(XFF, f"{EXEMPT}, " * 300 + EXEMPT)],
    "tab": [(XFF, f"\t{EXEMPT}\t")],
    **{twin: [(twin, EXEMPT)] for twin in TWINS},
    **{f"{twin}-after": [OTHER, (twin, EXEMPT)] for twin in TWINS},
    **{f"{twin}-before": [(twin, EXEMPT), OTHER] for twin in TWINS},
    "all-twins": [OTHER, *((twin, EXEMPT) for twin in TWINS), FORGED],
    "Forwarded": [("Forwarded", f"for={EXEMPT}")],
    "X-Real-IP": [("X-Real-IP", EXEMPT)],
    "True-Client-IP": [("True-Client-IP", EXEMPT)],
    "other-headers": [
        (name, EXEMPT) for name in ("Client-IP", "X-Client-IP", "CF-Connecting-IP", "Via", "From")
    ],
}

# What "Connection" names is for the next hop alone: a proxy that obeyed would drop its own line.
UNCONNECTED = {
    "nothing": [("Connection", XFF)],
    "address": [("Connection", XFF), FORGED],
    "nothing-in-a-list": [("Connection", f"close, {XFF}")],
    "address-in-a-list": [("Connection", f"close, {XFF}"), FORGED],
    "last-in-lower-case": [FORGED, ("Connection", f"{XFF.lower()}, close")],
    "two-lines": [("Connection", "keep-alive"), ("Connection", XFF), FORGED, FORGED],
    "other-headers": [("Connection", XFF), ("X-Real-IP", EXEMPT), ("Forwarded", EXEMPT)],
    **{twin: [("Connection", XFF), (twin, EXEMPT)] for twin in TWINS},
    **{f"{twin}-too": [("Connection", f"{XFF}, {twin}"), (twin, EXEMPT)] for twin in TWINS},
}

MALFORMED = {
    "folded": [(XFF, f"192.0.2.1,\r\n {EXEMPT}")],
    "folded-at-once": [(XFF, f"\r\n\t{EXEMPT}")],
    "folded-at-the-end": [(XFF, f"{EXEMPT}\r\n ")],
    "too-long": [(XFF, f"{EXEMPT}, " * 1700 + EXEMPT)],
    "blank-after-name": [(f"{XFF} ", EXEMPT)],
    "tab-after-name": [(f"{XFF}\t", EXEMPT)],
}

PAIRS = [pytest.param(name, server, id=f"{name}-{server}") for name in PROXIES for server in BEHIND]

# A near cache is on the application's machine: it looks for the flag itself. HAProxy cannot.
NEAR = ["nginx-cached", "varnish", "apache"]
CACHES = [
    *(pytest.param(name, False, id=f"{name}-near") for name in NEAR),
    *(pytest.param(name, True, id=f"{name}-distant") for name in [*NEAR, "haproxy"]),
]

FORWARDED = [
    "for={}",
    'for="{}"',
    'for="{}',
    'for={};x="',
    'for={}, for="',
    "for={}, for={}\\",
    "for={}, for=127.0.0.1",
    "for={},",
    "FOR={}",
    "for=_hidden, for={}",
    'for={};for="{}"',
    "",
]
