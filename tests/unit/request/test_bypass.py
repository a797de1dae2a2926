"""The bypass link through the gate, and what must not pass."""

import hmac
import json
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from a2wsgi.wsgi import build_environ
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from maintenance_wsgi import ConfigError, ConfigTypeError, MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.request.bypass import hide, new_link
from tests.support.commands import invoke
from tests.support.logs import warnings_of
from tests.support.wsgi import Answer, call, make_environ, shop

TEXT = st.text(st.characters(max_codepoint=255), max_size=20)
PARAMETER = "maintenance-bypass"
SITE = "https://shop.example/"


def secret_of(url: str) -> str:
    (found,) = re.findall(rf"[?&]{PARAMETER}=([^&#]*)", url)
    return str(found)


def cookie_of(secret: str) -> str:
    """Return the cookie as the documentation defines it."""
    code = hmac.new(secret.encode(), b"maintenance-wsgi bypass", "sha256").digest()
    return urlsafe_b64encode(code).decode().rstrip("=")


@pytest.fixture
def secret(mode: MaintenanceMode) -> str:
    link = new_link(SITE)
    mode.enable(bypass=link.digest)
    return secret_of(link.url)


@pytest.fixture
def seen() -> list[WSGIEnvironment]:
    return []


@pytest.fixture
def gate(var: Path, seen: list[WSGIEnvironment]) -> MaintenanceMiddleware:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(dict(environ))
        return shop(environ, start_response)

    return MaintenanceMiddleware(application, var, exempt_paths=["/healthz"])


def ask(gate: WSGIApplication, path: str = "/", query: str = "", **environ: Any) -> Answer:
    return call(gate, make_environ(path=path, QUERY_STRING=query, **environ))


def test_flag_holds_neither_secret_nor_cookie(secret: str, flag: Path) -> None:
    members = json.loads(flag.read_text())
    assert members["bypass"] == sha256(cookie_of(secret).encode()).hexdigest()
    assert secret not in flag.read_text()
    assert cookie_of(secret) not in flag.read_text()


def test_secrets_have_192_bits_and_differ() -> None:
    secrets = {secret_of(new_link(SITE).url) for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch("[A-Za-z0-9_-]{32}", found) for found in secrets)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_link_sets_the_cookie_and_leads_back(
    method: str, gate: MaintenanceMiddleware, secret: str, seen: list[WSGIEnvironment]
) -> None:
    query = f"b=%C3%A9+2&{PARAMETER}={secret}&a=1&b=%2f"
    answer = ask(gate, "/caf\xc3\xa9/a b;c=%", query, REQUEST_METHOD=method)
    cookie = f"__Host-{PARAMETER}={cookie_of(secret)}"
    assert (answer.status, answer.body, seen) == ("303 See Other", b"", [])
    assert dict(answer.headers) == {
        "Location": "/caf%C3%A9/a%20b;c=%25?b=%C3%A9+2&a=1&b=%2f",
        "Set-Cookie": f"{cookie}; Path=/; Secure; HttpOnly; SameSite=Lax",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Maintenance-Mode": "exempt",
        "Content-Type": "text/plain",
        "Content-Length": "0",
    }
    admitted = ask(gate, HTTP_COOKIE=cookie)
    assert (admitted.code, admitted.mark) == (200, "exempt")
    assert admitted.all("Cache-Control") == ["private, no-cache"]
    assert admitted.all("Surrogate-Control") == []
    assert seen[0]["maintenance_wsgi.exempt"] is True


def test_link_over_http_sets_a_cookie_that_browsers_keep_there(
    gate: MaintenanceMiddleware, mode: MaintenanceMode
) -> None:
    link = new_link("http://127.0.0.1:8000/")
    mode.enable(bypass=link.digest)
    secret = secret_of(link.url)
    answer = ask(gate, "/", f"{PARAMETER}={secret}")
    cookie = f"{PARAMETER}={cookie_of(secret)}"
    assert answer["Set-Cookie"] == f"{cookie}; Path=/; HttpOnly; SameSite=Lax"
    assert ask(gate, HTTP_COOKIE=cookie).code == 200
    assert ask(gate, HTTP_X_MAINTENANCE_BYPASS=secret).code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_machine_passes_by_its_header(
    method: str, gate: MaintenanceMiddleware, secret: str, seen: list[WSGIEnvironment]
) -> None:
    answer = ask(gate, HTTP_X_MAINTENANCE_BYPASS=secret, REQUEST_METHOD=method)
    assert (answer.code, answer.mark, answer.all("Set-Cookie")) == (200, "exempt", [])
    assert "HTTP_X_MAINTENANCE_BYPASS" not in seen[0]
    assert seen[0]["maintenance_wsgi.exempt"] is True


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("{ours}", None),
        ("a=1; {ours}; b=2", "a=1; b=2"),
        ("{ours}; b=2;c", "b=2;c"),
        ("a=1;{ours}", "a=1"),
        ('a="1;2";  {ours};b= 3 ; =;', 'a="1;2";b= 3 ; =;'),
        ("x-{ours}x; {ours}", "x-{ours}x"),
        ("maintenance-bypass=old; a; {ours}", "a"),
    ],
)
def test_only_our_cookies_are_taken_away(
    sent: str, left: str | None, gate: MaintenanceMiddleware, secret: str, seen: list[Any]
) -> None:
    ours = f"__Host-{PARAMETER}={cookie_of(secret)}"
    assert ask(gate, HTTP_COOKIE=sent.format(ours=ours)).code == 200
    assert seen[0].get("HTTP_COOKIE") == (left and left.format(ours=ours))


WAYS: dict[str, Callable[[str], dict[str, str]]] = {
    "cookie": lambda secret: {"HTTP_COOKIE": f"{PARAMETER}={cookie_of(secret)}"},
    "header": lambda secret: {"HTTP_X_MAINTENANCE_BYPASS": secret},
    "parameter": lambda secret: {
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": f"a=1&{PARAMETER}={secret}",
        "RAW_URI": f"/?a=1&{PARAMETER}={secret}",
        "REQUEST_URI": f"/?{PARAMETER}={secret}",
    },
    "link": lambda secret: {"QUERY_STRING": f"{PARAMETER}={secret}"},
}
OTHERWISE = {
    "address": {"REMOTE_ADDR": "203.0.113.7"},
    "path": {"PATH_INFO": "/healthz"},
}


@pytest.mark.parametrize(
    ("method", "query", "headers", "left"),
    [
        ("GET", "a=1", [("cookie", "a=1; maintenance-bypass={cookie}")], [("cookie", "a=1")]),
        ("GET", "a=1", [("cookie", "maintenance-bypass={cookie}")], []),
        ("GET", "a=1", [("x-maintenance-bypass", "{secret}")], []),
        ("POST", "a=1&maintenance-bypass={secret}", [("x_maintenance_bypass", "{secret}")], []),
    ],
    ids=["cookie", "only-cookie", "header", "parameter"],
)
def test_application_behind_a2wsgi_never_sees_the_secret(
    method: str,
    query: str,
    headers: list[tuple[str, str]],
    left: list[tuple[str, str]],
    gate: MaintenanceMiddleware,
    secret: str,
    seen: list[WSGIEnvironment],
) -> None:
    """It gets the request as it came, too."""
    values = {"secret": secret, "cookie": cookie_of(secret)}
    fields = [("accept", "*/*"), *((name, value.format(**values)) for name, value in headers)]
    scope: Any = {"method": method, "path": "/", "http_version": "1.1", "client": ("192.0.2.1", 1)}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in fields]
    scope["query_string"] = query.format(**values).encode()
    sent = dict(scope)
    assert call(gate, build_environ(scope, BytesIO())).code == 200  # type: ignore[arg-type] # reads
    found = seen[0]["asgi.scope"]
    assert (scope, found["path"], found["query_string"]) == (sent, "/", b"a=1")
    kept = [("accept", "*/*"), *left]
    assert sorted(found["headers"]) == [(name.encode(), value.encode()) for name, value in kept]


@pytest.mark.parametrize("otherwise", OTHERWISE)
@pytest.mark.parametrize("way", WAYS)
def test_application_never_sees_the_secret(
    way: str,
    otherwise: str,
    gate: MaintenanceMiddleware,
    secret: str,
    mode: MaintenanceMode,
    seen: list[WSGIEnvironment],
) -> None:
    """A client that passes by its address or path can send what another client passes by."""
    mode.set_exemptions(["203.0.113.7"])
    answer = call(gate, make_environ() | OTHERWISE[otherwise] | WAYS[way](secret))
    assert answer.code == (303 if way == "link" else 200)
    for environ in seen:
        shown = repr([value for value in environ.values() if isinstance(value, str)])
        assert secret not in shown
        assert cookie_of(secret) not in shown


def test_query_that_remains_is_kept(secret: str) -> None:
    environ: WSGIEnvironment = {**WAYS["parameter"](secret)}
    del environ["RAW_URI"]  # which only gunicorn and werkzeug give
    hide(environ)
    left = {"QUERY_STRING": "a=1", "REQUEST_URI": "/", "REQUEST_METHOD": "POST"}
    assert environ == left


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "get", "QUERY"])
def test_parameter_is_ignored_on_other_methods(
    method: str, gate: MaintenanceMiddleware, secret: str
) -> None:
    environ = make_environ(QUERY_STRING=f"{PARAMETER}={secret}", REQUEST_METHOD=method)
    statuses: list[str] = []
    gate(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type] # writes nothing
    assert statuses == ["503 Service Unavailable"]


BAD: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "wrong": lambda _: "A" * 32,
    "shortened": lambda right: right[:-1],
    "prolonged": lambda right: f"{right}A",
    "other-case": str.swapcase,
    "not-latin": lambda right: f"{right}\xe9",
    "beyond-latin": lambda right: f"{right}\u20ac\ud800",
    "zero": lambda right: f"{right}\0",
    "doubled": lambda right: f"{right},{right}",
    "long": lambda _: "A" * 100_000,
    "separators": lambda right: "&;, =" * 20_000 + right,
    "quoted": lambda right: f'"{right}"',
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("way", ["parameter", "header", "cookie"])
def test_what_is_not_right_gets_the_503_soon(
    way: str, bad: str, gate: MaintenanceMiddleware, secret: str
) -> None:
    value = BAD[bad](cookie_of(secret) if way == "cookie" else secret)
    key, sent = {
        "parameter": ("QUERY_STRING", f"{PARAMETER}={value}"),
        "header": ("HTTP_X_MAINTENANCE_BYPASS", value),
        "cookie": ("HTTP_COOKIE", f"__Host-{PARAMETER}={value}"),
    }[way]
    answers: list[tuple[str, list[Any]]] = []
    times = []
    for _ in range(3):
        began = time.perf_counter()
        gate(make_environ(**{key: sent}), lambda *given: answers.append(given))  # type: ignore[arg-type] # writes nothing
        times.append(time.perf_counter() - began)
    assert {status for status, _ in answers} == {"503 Service Unavailable"}
    assert min(times) < 0.05


def test_doubled_parameter_is_not_right(gate: MaintenanceMiddleware, secret: str) -> None:
    for other in (secret, "wrong", ""):
        query = f"{PARAMETER}={secret}&{PARAMETER}={other}"
        assert ask(gate, "/", query).code == 503


def test_a_few_cookies_are_looked_at(gate: MaintenanceMiddleware, secret: str) -> None:
    right = f"__Host-{PARAMETER}={cookie_of(secret)}"
    for number, code in [(3, 200), (4, 503)]:
        others = "; ".join([f"{PARAMETER}=old"] * number)
        assert ask(gate, HTTP_COOKIE=f"{others}; {right}").code == code


def test_503_does_not_tell_that_a_link_is_in_force(
    gate: MaintenanceMiddleware, mode: MaintenanceMode
) -> None:
    mode.enable(until=None)
    without = ask(gate, "/", f"{PARAMETER}=A", HTTP_COOKIE=f"{PARAMETER}=A")
    mode.enable(bypass=new_link(SITE).digest)
    assert ask(gate, "/", f"{PARAMETER}=A", HTTP_COOKIE=f"{PARAMETER}=A") == without


@pytest.mark.parametrize(
    ("script_name", "path", "location"),
    [
        ("", "", "/"),
        ("", "/", "/"),
        ("", "//evil.example/", "/evil.example/"),
        ("", "///evil.example", "/evil.example"),
        ("", "/\\evil.example", "/%5Cevil.example"),
        ("", "//\\/evil.example", "/%5C/evil.example"),
        ("", "\\\\evil.example", "/%5C%5Cevil.example"),
        ("", "/\t/evil.example", "/%09/evil.example"),
        ("", "/a\r\nSet-Cookie: b", "/a%0D%0ASet-Cookie:%20b"),
        ("", "/a?b#c", "/a%3Fb%23c"),
        ("", "/ a ", "/%20a%20"),
        ("/shop", "/cart", "/shop/cart"),
        ("/shop", "", "/shop"),
        ("//evil.example", "/", "/evil.example/"),
        ("https://evil.example", "/", "/https://evil.example/"),
        ("", "/\u20ac", "/%3F"),
    ],
)
def test_redirect_stays_on_the_host(
    script_name: str, path: str, location: str, gate: MaintenanceMiddleware, secret: str
) -> None:
    query = f"{PARAMETER}={secret}"
    found: list[list[tuple[str, str]]] = []
    environ = make_environ(path=path, SCRIPT_NAME=script_name, QUERY_STRING=query)
    gate(environ, lambda _, headers: found.append(headers))  # type: ignore[arg-type] # writes nothing
    assert dict(found[0])["Location"] == location


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(script_name=TEXT, path=TEXT, query=TEXT)
def test_no_redirect_leaves_the_host_or_breaks_its_line(
    script_name: str, path: str, query: str, gate: MaintenanceMiddleware, secret: str
) -> None:
    found: list[list[tuple[str, str]]] = []
    environ = make_environ(path=path, SCRIPT_NAME=script_name)
    environ["QUERY_STRING"] = f"{query.replace(PARAMETER, '')}&{PARAMETER}={secret}"
    gate(environ, lambda _, headers: found.append(headers))  # type: ignore[arg-type] # writes nothing
    location = dict(found[0])["Location"]
    assert re.fullmatch(r"/(?![/\\])[!-~]*", location)
    assert secret not in location


def test_mounted_application_and_a_forged_prefix(var: Path, secret: str) -> None:
    gate = MaintenanceMiddleware(shop, var)
    mounted = DispatcherMiddleware(shop, {"/blog": gate})
    query = f"{PARAMETER}={secret}"
    assert ask(mounted, "/blog/2027", query)["Location"] == "/blog/2027"
    fixed = ProxyFix(gate, x_prefix=1)
    forged = ask(fixed, "/cart", query, HTTP_X_FORWARDED_PREFIX="//evil.example")
    assert forged["Location"] == "/evil.example/cart"


def test_cookie_ends_with_its_window(
    gate: MaintenanceMiddleware, secret: str, mode: MaintenanceMode
) -> None:
    cookie = f"__Host-{PARAMETER}={cookie_of(secret)}"
    mode.enable(message="later")
    assert ask(gate, HTTP_COOKIE=cookie).code == 200
    mode.enable(bypass="")
    assert ask(gate, HTTP_COOKIE=cookie).code == 503
    mode.enable(bypass=new_link(SITE).digest)
    assert ask(gate, HTTP_COOKIE=cookie).code == 503
    mode.disable()
    mode.enable()
    assert ask(gate, HTTP_COOKIE=cookie).code == 503
    mode.disable()
    with mode.window(bypass=sha256(cookie_of(secret).encode()).hexdigest()):
        assert ask(gate, HTTP_COOKIE=cookie).code == 200


def test_application_gets_everything_while_maintenance_is_off(
    gate: MaintenanceMiddleware, seen: list[WSGIEnvironment]
) -> None:
    sent = {
        "HTTP_COOKIE": f"{PARAMETER}=a",
        "HTTP_X_MAINTENANCE_BYPASS": "b",
        "QUERY_STRING": f"{PARAMETER}=c",
    }
    assert call(gate, make_environ(**sent)).code == 200
    assert {key: seen[0][key] for key in sent} == sent


@pytest.mark.parametrize("member", ["abc", "g" * 64, "a" * 63, "a" * 65, "", 7, True, ["a" * 64]])
def test_member_that_is_not_a_digest_admits_no_client(
    member: object, gate: MaintenanceMiddleware, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_text(json.dumps({"bypass": member}))
    for secret in ("", "abc", str(member)):
        assert ask(gate, "/", f"{PARAMETER}={secret}", HTTP_X_MAINTENANCE_BYPASS=secret).code == 503
    (warning,) = warnings_of(caplog)
    assert warning == f"{flag}: bypass: what it holds is not a valid value and is ignored"


def test_digest_may_be_in_capitals(gate: MaintenanceMiddleware, secret: str, flag: Path) -> None:
    members = json.loads(flag.read_text())
    flag.write_text(json.dumps(members | {"bypass": members["bypass"].upper()}))
    assert ask(gate, HTTP_X_MAINTENANCE_BYPASS=secret).code == 200


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("https://shop.example", r"https://shop\.example/\?SECRET"),
        ("HTTPS://shop.example:8443/a/?b=c&d", r"HTTPS://shop\.example:8443/a/\?b=c&d&SECRET"),
        ("https://shop.example.:65535?..", r"https://shop\.example\.:65535/\?\.\.&SECRET"),
        ("https://[2001:db8::1]/#top", r"https://\[2001:db8::1\]/\?SECRET#top"),
        ("https://shop.example?a#b", r"https://shop\.example/\?a&SECRET#b"),
        (f"https://shop.example/?{PARAMETER}=old&a=1", r"https://shop\.example/\?a=1&SECRET"),
        ("http://localhost/", rf"http://localhost/\?{PARAMETER}=http\.[A-Za-z0-9_-]{{32}}"),
    ],
)
def test_link_keeps_the_url(url: str, pattern: str) -> None:
    pattern = pattern.replace("SECRET", rf"{PARAMETER}=[A-Za-z0-9_-]{{32}}")
    assert re.fullmatch(pattern, new_link(url).url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "/cart",
        "ftp://shop.example/",
        "https://",
        "https:///cart",
        "https://:443/",
        "https://a@shop.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/\r\nX: y",
        "https://shop.example/a b",
        "javascript://shop.example/",
        "https://shop.example:0/",
        "https://shop.example:65536/",
        "https://shop.example:https/",
        "https://shop..example/",
        "https://.example/",
        "https://[::1/",
        "https://anna:secret@shop.example/",
    ],
)
def test_url_that_is_not_one_of_a_site_is_refused(url: str, flag: Path) -> None:
    refused = r"^bypass: '.*' is not a valid URL; use https://shop"
    with pytest.raises(ConfigError, match=refused) as raised:
        new_link(url)
    assert "secret" not in str(raised.value)
    assert invoke("--dir", str(flag.parent), "enable", "--bypass", url).exit_code == 2
    assert not flag.exists()


@pytest.mark.parametrize("digest", ["abc", "A" * 32, new_link(SITE).url, 7, False, b"a" * 64])
def test_operator_cannot_choose_a_secret(digest: Any, mode: MaintenanceMode) -> None:
    error = ConfigError if isinstance(digest, str) else ConfigTypeError
    with pytest.raises(error, match=r"^bypass: is not .*new_link\(url\)\.digest") as raised:
        mode.enable(bypass=digest)
    assert repr(digest) not in str(raised.value)
    assert not mode.is_enabled()


# The command


def link_in(stdout: str) -> str:
    (found,) = re.findall(r"^Bypass link: (\S+)$", stdout, re.MULTILINE)
    return str(found)


def test_command_prints_the_link_once(
    var: Path, gate: MaintenanceMiddleware, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(*arguments: str) -> str:
        result = invoke("--dir", str(var), *arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    secret = secret_of(link_in(run("enable", "--bypass", SITE)))
    header = {"HTTP_X_MAINTENANCE_BYPASS": secret}
    assert ask(gate, **header).code == 200
    later = run("enable", "--message", "Moving") + run("status") + run("status", "--json")
    assert "\nBypass: a link is in force\n" in later
    assert '"bypass": true' in later
    assert json.loads(flag.read_text())["bypass"] not in later
    assert ask(gate, **header).code == 200
    explained = run("explain", "192.0.2.9", "--header", f"X-Maintenance-Bypass: {secret}")
    assert "verdict  let through: by the bypass header" in explained
    cookie = f"Cookie: a=1; __Host-{PARAMETER}={cookie_of(secret)}"
    explained += run("explain", "192.0.2.9", "--header", cookie)
    assert "verdict  let through: by the bypass cookie" in explained
    assert "flag     present              a bypass link is in force" in explained
    explained += run("explain", "192.0.2.9", "--path", f"/cart?a=1&{PARAMETER}={secret}")
    assert "verdict  let through: by the bypass link, with a redirect and a cookie" in explained
    explained += run("explain", "--json", "192.0.2.9", "--path", f"/?{PARAMETER}={secret}")
    assert '"outcome": "bypass_link"' in explained
    posted = ["--method=POST", "--path", f"/?{PARAMETER}={secret}"]
    assert "verdict  blocked: 503" in run("explain", "192.0.2.9", *posted)
    assert secret not in later + explained + caplog.text
    assert cookie_of(secret) not in later + explained + caplog.text
    run("enable", "--bypass", "none")
    assert ask(gate, **header).code == 503
    assert "Bypass" not in run("status")
    stale = run("explain", "192.0.2.9", "--header", cookie)
    hint = "hint     a bypass link, header or cookie is sent, but"
    assert f"{hint} no link is in force; run enable --bypass\n" in stale
    run("disable")
    off = run("explain", "192.0.2.9", "--header", cookie)
    assert f"{hint} no link is in force; run enable --bypass\n" in off
    run("enable", "--bypass", SITE)
    stale = run("explain", "192.0.2.9", "--header", cookie)
    assert f"{hint} not of the link that is in force\n" in stale


def test_quiet_command_prints_the_link_alone(var: Path, gate: MaintenanceMiddleware) -> None:
    printed = invoke("--dir", str(var), "enable", "-q", "--bypass", f"{SITE}?a=1").stdout
    assert re.fullmatch(rf"{SITE}\?a=1&{PARAMETER}=\S+\n", printed)
    assert ask(gate, HTTP_X_MAINTENANCE_BYPASS=secret_of(printed.strip())).code == 200


def test_magento_prints_its_lines_and_the_link(var: Path) -> None:
    printed = invoke("--dir", str(var), "maintenance:enable", "--ip=203.0.113.7", "--bypass", SITE)
    first, second, third = printed.stdout.splitlines()
    assert first == "Enabled maintenance mode"
    assert second == "Set exempt IP-addresses: 203.0.113.7"
    assert third.startswith(f"Bypass link: {SITE}?{PARAMETER}=")


def test_run_prints_the_link_for_its_window(
    var: Path, flag: Path, tmp_path: Path, gate: MaintenanceMiddleware
) -> None:
    kept = tmp_path / "kept"
    result = invoke("--dir", str(var), "run", "--bypass", SITE, "--", "cp", str(flag), str(kept))
    assert (result.exit_code, flag.exists()) == (0, False)
    secret = secret_of(link_in(result.stderr))
    flag.write_bytes(kept.read_bytes())
    assert ask(gate, HTTP_X_MAINTENANCE_BYPASS=secret).code == 200
    quiet = invoke("--dir", str(var), "run", "-q", "--bypass", SITE, "--", "true")
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    assert "Bypass" not in quiet.stderr  # maintenance was on before, and its flag stays as it is
    assert "maintenance mode was on before" in quiet.stderr


def test_link_is_not_printed_if_the_flag_does_not_hold_it(
    var: Path, ip_list: Path, flag: Path
) -> None:
    ip_list.mkdir()
    result = invoke("--dir", str(var), "enable", "--bypass", SITE, "--add-ip", "203.0.113.7")
    assert flag.read_bytes() == b""
    assert "Bypass" not in result.stdout
    assert "without the values that were given" in result.stderr
