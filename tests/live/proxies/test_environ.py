"""What the header fields of a client change in the environ, through the examples."""

import json
from itertools import product

import pytest

from tests.live.proxies.fronts import Front, StartProxy, StartServer
from tests.live.proxies.tables import EXEMPT, PROXIES, STRANGER, TWINS

pytestmark = pytest.mark.servers

Field = tuple[str, str]


def spellings(fields: dict[str, str]) -> list[Field]:
    """Return each field with each of its hyphens as it is, and as an underscore."""
    return [
        ("".join(letters), value)
        for name, value in fields.items()
        for letters in product(*("-_" if letter == "-" else letter for letter in name))
    ]


# The path, and what of it a client may claim to be the application's own.
PREFIX, PATH = "/webhooks", "/webhooks/environ"

# Application servers, ProxyFix and other middleware believe these from a proxy.
DROPPED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "8443",
    "X-Forwarded-Prefix": PREFIX,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Scheme": "https",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Ssl": "on",
    "X-Original-URL": PATH,
    "X-Rewrite-URL": PATH,
    "Proxy": "http://evil.example",
    "PATH_INFO": "/admin",
    "SCRIPT_NAME": PREFIX,
}
ALL_DROPPED = [*spellings(DROPPED), *((twin, EXEMPT) for twin in TWINS)]

OTHERS = {
    "Auth-Type": "Basic",
    "Authorization": "Basic YWRtaW46",
    "CF-Connecting-IP": EXEMPT,
    "Client-IP": EXEMPT,
    "Forwarded": f"for={EXEMPT};host=evil.example;proto=https",
    "Front-End-Https": "on",
    "Gateway-Interface": "CGI/1.1",
    "HTTP-HOST": "evil.example",
    "HTTPS": "on",
    "Path-Info": "/admin",
    "Path-Translated": "/admin",
    "Proxy-Protocol": "TCP4",
    "Query-String": "admin=1",
    "Raw-URI": "/admin",
    "Remote-Addr": EXEMPT,
    "Remote-Host": "evil.example",
    "Remote-Ident": "admin",
    "Remote-Port": "1",
    "Remote-User": "admin",
    "Request-Method": "DELETE",
    "Request-URI": "/admin",
    "Script-Filename": "/admin",
    "Script-Name": PREFIX,
    "Script-URL": PREFIX,
    "Server-Name": "evil.example",
    "Server-Port": "8443",
    "Server-Protocol": "HTTP/0.9",
    "Server-Software": "evil",
    "SSL-Client-Verify": "SUCCESS",
    "True-Client-IP": EXEMPT,
    "Url-Scheme": "https",
    "Via": "1.1 evil.example",
    "wsgi.url_scheme": "https",
    "werkzeug.proxy_fix.orig": EXEMPT,
    "X-Forwarded": f"for={EXEMPT}",
    "X-Forwarded-By": EXEMPT,
    "X-Forwarded-For": EXEMPT,
    "X-HTTP-Method-Override": "DELETE",
    "X-Host": "evil.example",
    "X-Real-IP": EXEMPT,
    "X-Remote-User": "admin",
    "X-Scheme": "https",
    "X-Script-Name": PREFIX,
    "X-Url-Scheme": "https",
}
ALL_OTHERS = spellings(OTHERS)


def environ_of(front: Front, *fields: Field) -> dict[str, str]:
    answer = front.ask(STRANGER, PATH, *fields)
    assert answer.code == 200, (fields, answer.status)
    environ: dict[str, str] = json.loads(answer.body)
    # They are about one request or one connection.
    passing = {"REMOTE_PORT", "HTTP_CONNECTION", "HTTP_X_VARNISH"}
    return {key: environ[key] for key in environ.keys() - passing}


def unprefixed(environ: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if not key.startswith("HTTP_")}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn-unix"])
def test_no_field_of_a_client_changes_what_the_server_says(
    proxy: str, server: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    """Gunicorn believes some fields from a proxy on the same machine, and from any Unix socket."""
    front = start_proxy(proxy, start_server(server))
    plain = unprefixed(environ_of(front))
    assert (plain["SCRIPT_NAME"], plain["PATH_INFO"]) == ("", PATH)
    sent = [[field] for field in ALL_DROPPED + ALL_OTHERS]
    sent += [list(DROPPED.items()), list(OTHERS.items())]
    assert [fields for fields in sent if unprefixed(environ_of(front, *fields)) != plain] == []


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn-unix", "cheroot"])
def test_dropped_fields_do_not_arrive(
    proxy: str, server: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    """Cheroot takes underscores for hyphens, so that each spelling would be seen."""
    front = start_proxy(proxy, start_server(server))
    plain = environ_of(front)
    sent = [[field] for field in ALL_DROPPED] + [list(DROPPED.items())]
    assert [fields for fields in sent if environ_of(front, *fields) != plain] == []


@pytest.mark.parametrize(
    "named", ["X-Forwarded-Proto", "close, x-forwarded-proto", "X-Forwarded-Host,X-Forwarded-Proto"]
)
def test_no_client_takes_away_what_the_proxy_says(
    proxy: str, named: str, start_server: StartServer, start_proxy: StartProxy
) -> None:
    """RFC 9110 section 7.6.1: what Connection names is for the next hop only."""
    front = start_proxy(proxy, start_server("gunicorn"))
    plain = environ_of(front)
    assert environ_of(front, ("Connection", named)) == plain
    assert environ_of(front, ("Connection", named), ("X-Forwarded-Proto", "https")) == plain
    assert environ_of(front, ("Connection", "close"), ("Connection", named)) == plain
