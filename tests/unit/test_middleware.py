import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper

import pytest
from hypothesis import strategies as st
from werkzeug import Request, Response
from werkzeug.middleware.lint import LintMiddleware

from maintenance_wsgi import (
    ConfigError,
    ConfigTypeError,
    MaintenanceMiddleware,
    MaintenanceMode,
)
from tests.support.logs import warnings_of
from tests.support.processes import run, unmeasured
from tests.support.wsgi import call, code_for, make_environ, shop

EXEMPT = "203.0.113.7"
PROXIED = {"REMOTE_ADDR": "10.0.0.1"}


@pytest.fixture
def wrap(var: Path) -> Callable[..., WSGIApplication]:
    def wrap_shop(application: Any = shop, **options: Any) -> WSGIApplication:
        return LintMiddleware(MaintenanceMiddleware(LintMiddleware(application), var, **options))

    return wrap_shop


Wrap = Callable[..., WSGIApplication]


def test_off_hands_on_the_very_objects(var: Path) -> None:
    seen: list[object] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.extend((environ, start_response))
        return []

    def start_response(*_: object) -> Any:
        raise AssertionError

    environ = make_environ()
    before = dict(environ)
    MaintenanceMiddleware(application, var)(environ, start_response)
    assert seen[0] is environ
    assert seen[1] is start_response
    assert environ == before


def test_off_is_the_same_for_exempt_people(wrap: Wrap, ip_list: Path) -> None:
    ip_list.write_text(EXEMPT)
    application = wrap(exempt_paths=["/healthz"])
    assert call(application, make_environ(EXEMPT)) == call(application)
    assert call(application, make_environ(EXEMPT, "/healthz")).mark is None


def test_states_follow_the_files(wrap: Wrap, flag: Path, ip_list: Path) -> None:
    application = wrap()
    assert call(application).code == 200
    flag.touch()
    assert call(application).code == 503
    ip_list.write_text(EXEMPT)
    assert call(application).code == 503
    assert call(application, make_environ(EXEMPT)).code == 200
    ip_list.unlink()
    assert call(application, make_environ(EXEMPT)).code == 503
    flag.unlink()
    assert call(application).code == 200


def test_exempt_answer_is_for_nobody_else(wrap: Wrap, flag: Path, ip_list: Path) -> None:
    flag.touch()
    ip_list.write_text(EXEMPT)
    answer = call(wrap(), make_environ(EXEMPT))
    assert sorted(answer.headers) == [
        ("Cache-Control", "private, no-cache"),
        ("Content-Type", "text/plain"),
        ("X-Maintenance-Mode", "exempt"),
    ]


def test_exempt_path_keeps_its_cache_fields(wrap: Wrap, flag: Path) -> None:
    flag.touch()
    answer = call(wrap(exempt_paths=["/healthz"]), make_environ(path="/healthz"))
    assert answer["Cache-Control"] == "public, max-age=3600"
    assert answer["Surrogate-Control"] == "max-age=3600"
    assert answer.mark == "exempt"


@pytest.mark.parametrize(
    "name", ["wsgiref.simple_server:demo_app", "wsgiref.simple_server:WSGIServer.set_app"]
)
def test_application_may_be_named_with_dots(name: str, var: Path) -> None:
    MaintenanceMiddleware(name, var)


@pytest.mark.parametrize(
    ("script_name", "path", "admitted"),
    [
        ("", "/healthz", True),
        ("", "/healthz/", False),
        ("", "/healthz/x", False),
        ("", "/Healthz", False),
        ("", "/webhooks/", True),
        ("", "/webhooks/stripe", True),
        ("", "/webhooks/stripe/", True),
        ("/webhooks", "/stripe", False),
        ("/webhooks", "/admin/orders", False),
        ("/healthz", "", False),
        ("/mounted", "/healthz", True),
        ("", "/webhooks", False),
        ("", "/webhooksx", False),
        ("", "/x/webhooks/", False),
        ("", "/webhooks//stripe", False),
        ("", "/webhooks/stripe//", False),
        ("", "/webhooks/./stripe", False),
        ("", "/webhooks/../admin", False),
        ("", "/webhooks/..", False),
        ("/webhooks/..", "/admin", False),
        ("", "//webhooks/stripe", False),
        ("", "/webhooks/...", True),
        ("", "/caf\xc3\xa9/x", True),
        ("", "/caf\xe9/x", False),
        ("", "", False),
    ],
)
def test_exempt_paths(
    script_name: str, path: str, *, admitted: bool, wrap: Wrap, flag: Path
) -> None:
    flag.touch()
    application = wrap(exempt_paths=["/healthz", "/webhooks/", "/café/"])
    environ = make_environ(path=path, SCRIPT_NAME=script_name)
    assert (call(application, environ).code == 200) is admitted


@pytest.mark.parametrize("status", [304, 200])
def test_streamed_exempt_answer_stays_lazy_and_is_closed(
    status: int, var: Path, flag: Path, ip_list: Path
) -> None:
    events: list[str] = []

    class Stream:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(3):
                events.append(f"made {number}")
                yield b"x"

        def close(self) -> None:
            events.append("closed")

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(f"{status} Any", [("Content-Type", "text/plain")])
        return Stream()

    flag.touch()
    ip_list.write_text(EXEMPT)
    middleware = MaintenanceMiddleware(application, var)
    iterable = middleware(make_environ(EXEMPT), lambda *_: lambda _: None)
    assert events == []
    assert next(iter(iterable)) == b"x"
    assert events == ["made 0"]
    assert isinstance(iterable, Stream)
    iterable.close()
    assert events[-1] == "closed"


def test_write_and_late_start_of_exempt_answers_work(flag: Path, ip_list: Path) -> None:
    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written ")
        yield b"yielded"

    flag.touch()
    ip_list.write_text(EXEMPT)
    answer = call(MaintenanceMiddleware(application, flag.parent), make_environ(EXEMPT))
    assert answer.body == b"written yielded"
    assert answer["Cache-Control"] == "private, no-cache"


def two_arguments(application: WSGIApplication) -> WSGIApplication:
    """Wrap an application as the documentation of mod_wsgi does."""

    def wrapped(environ: WSGIEnvironment, start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, headers)

        return application(environ, start)  # type: ignore[arg-type] # takes two, as documented

    return wrapped


def by_name(_: WSGIEnvironment, start_response: Any) -> Iterable[bytes]:
    start_response(status="200 OK", headers=[("Content-Type", "text/plain")])
    return [b"by name"]


def half_by_name(_: WSGIEnvironment, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", headers=[("Content-Type", "text/plain")], exc_info=None)
    return [b"half"]


@pytest.mark.parametrize("application", [shop, by_name, half_by_name])
@pytest.mark.parametrize("peer", [EXEMPT, "198.51.100.9"], ids=["client", "path"])
def test_exempt_answer_starts_with_just_the_arguments_of_the_application(
    peer: str, application: WSGIApplication, flag: Path, ip_list: Path
) -> None:
    flag.touch()
    ip_list.write_text(EXEMPT)
    gate = MaintenanceMiddleware(application, flag.parent, exempt_paths=["/healthz"])
    outer = gate if application is half_by_name else two_arguments(gate)
    path = "/" if peer == EXEMPT else "/healthz"
    answer = call(outer, make_environ(peer, path))
    assert (answer.code, answer.mark) == (200, "exempt")


@pytest.mark.parametrize(
    ("entry", "spelling"),
    [
        ("/api/*", "'/api/'"),
        ("/healthz;/api/", "'/healthz'"),
        ("/healthz$", "'/healthz'"),
        ("/a b", "'/a'"),
        ("\\api", "'/api/'"),
        ("*", "'/api/'"),
        ("status*", "'/api/'"),
        ("/*", "'/api/'"),
        ("//*", "'/api/'"),
        ("/api\n", "'/api'"),
    ],
)
def test_wildcard_in_an_exempt_path_is_refused_with_the_right_spelling(
    entry: str, spelling: str, var: Path
) -> None:
    with pytest.raises(ConfigError, match=f"no wildcards; use {spelling}"):
        MaintenanceMiddleware(shop, var, exempt_paths=[entry])


def test_second_start_with_exc_info_is_private_too(flag: Path, ip_list: Path) -> None:
    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            int("x")
        except ValueError:
            fields = [("Content-Type", "text/plain"), ("Cache-Control", "public")]
            start_response("500 Broken", fields, exc_info=sys.exc_info())  # type: ignore[call-arg] # lenient, as servers are
        return [b"broken"]

    flag.touch()
    ip_list.write_text(EXEMPT)
    answer = call(MaintenanceMiddleware(application, flag.parent), make_environ(EXEMPT))
    assert answer.status == "500 Broken"
    assert answer.all("Cache-Control") == ["private, no-cache"]


def test_file_wrapper_reaches_the_server(flag: Path, ip_list: Path) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](BytesIO(b"file"), 2)
        return wrapped

    flag.touch()
    ip_list.write_text(EXEMPT)
    environ = make_environ(EXEMPT) | {"wsgi.file_wrapper": FileWrapper}
    iterable = MaintenanceMiddleware(application, flag.parent)(environ, lambda *_: lambda _: None)
    assert isinstance(iterable, FileWrapper)


class RemovingFlag(dict[str, Any]):
    """An environ: while the gate reads it, an operator switches maintenance off."""

    def __init__(self, environ: WSGIEnvironment, flag: Path) -> None:
        super().__init__(environ)
        self.flag = flag

    def get(self, key: str, default: Any = None) -> Any:
        self.flag.unlink(missing_ok=True)
        return super().get(key, default)


def test_flag_gone_in_the_middle_of_a_request_is_off(var: Path, flag: Path) -> None:
    flag.touch()
    environ = RemovingFlag(make_environ(), flag)
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        statuses.append(status)

    body = MaintenanceMiddleware(shop, var)(environ, start_response)
    assert (statuses, list(body)) == (["200 OK"], [b"shop at /"])


# The application by name


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "named_shop.py"
    sys.modules.pop("named_shop", None)


GOOD = "from tests.support.wsgi import shop as application\nnumber = 7\n"
FACTORY = """
import time
from tests.support.wsgi import shop

calls = []

def create_app(config=None):
    time.sleep(0.05)
    calls.append(1)
    return shop

def configured(config=None, debug=False):
    return shop

class Shop:
    def __call__(self, environ, start_response):
        return shop(environ, start_response)
"""


def test_named_application_is_imported_at_once_while_off(var: Path, module: Path) -> None:
    module.write_text(GOOD)
    middleware = MaintenanceMiddleware("named_shop:application", var)
    assert "named_shop" in sys.modules
    assert call(middleware).code == 200


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import there_is_no_such_module", "No module named 'there_is_no_such_module'"),
        ("import sys; sys.exit(1)", r"named_shop:application raises SystemExit\(1\) when it is"),
    ],
    ids=["missing-module", "exit"],
)
def test_page_stands_while_the_code_cannot_be_imported(
    code: str,
    fault: str,
    var: Path,
    flag: Path,
    ip_list: Path,
    module: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    flag.touch()
    module.write_text(code)
    middleware = MaintenanceMiddleware("named_shop:application", var)
    assert call(middleware).code == 503
    ip_list.write_text(EXEMPT)
    with pytest.raises(ImportError, match=fault):
        middleware(make_environ(EXEMPT), lambda *_: lambda _: None)
    module.write_text(GOOD)
    assert call(middleware, make_environ(EXEMPT)).code == 200
    assert call(middleware).code == 503
    flag.unlink()
    assert call(middleware).code == 200


@pytest.mark.parametrize(
    "name",
    ["", "shop", "shop:", ":app", "shop.wsgi", "a b:c", "a:b(1)", "a:b()()", "a:()", "a:b:c"],
)
def test_malformed_name_is_refused_even_while_on(name: str, var: Path, flag: Path) -> None:
    flag.touch()
    with pytest.raises(ConfigError, match=r"package\.module:attribute"):
        MaintenanceMiddleware(name, var)


def test_broken_name_is_refused_while_off(var: Path, module: Path) -> None:
    module.write_text(GOOD)
    with pytest.raises(AttributeError):
        MaintenanceMiddleware("named_shop:nothing", var)
    with pytest.raises(ConfigTypeError, match="named_shop:number"):
        MaintenanceMiddleware("named_shop:number", var)


def test_factory_is_called_once_when_it_is_imported(
    var: Path, flag: Path, ip_list: Path, module: Path
) -> None:
    module.write_text(FACTORY)
    MaintenanceMiddleware("named_shop:create_app()", var)
    assert sys.modules.pop("named_shop").calls == [1]
    flag.touch()
    ip_list.write_text(EXEMPT)
    middleware = MaintenanceMiddleware("named_shop:create_app()", var)
    assert "named_shop" not in sys.modules
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(code_for(middleware, EXEMPT)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4
    assert sys.modules["named_shop"].calls == [1]


@pytest.mark.parametrize("name", ["create_app", "Shop", "configured"])
def test_factory_without_brackets_is_recognised_and_named(
    name: str, var: Path, module: Path
) -> None:
    module.write_text(FACTORY)
    with pytest.raises(ConfigTypeError, match=rf"use 'named_shop:{name}\(\)';"):
        MaintenanceMiddleware(f"named_shop:{name}", var)
    assert call(MaintenanceMiddleware(f"named_shop:{name}()", var)).code == 200


# Configuration


async def asgi(_scope: object, _receive: object, _send: object) -> None:
    pass


class ASGI:
    async def __call__(self, scope: object, receive: object, send: object) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param([asgi, "var"], "is an ASGI application; pass a WSGI one", id="function"),
        pytest.param([ASGI(), "var"], "is an ASGI application; pass a WSGI", id="object"),
        pytest.param([partial(asgi, {}), "var"], "is an ASGI application", id="partial"),
        pytest.param([lambda request: request, "var"], "in Django, wrap the", id="get_response"),
        pytest.param([lambda request: request], "wsgi.py, not MIDDLEWARE", id="MIDDLEWARE"),
    ],
)
def test_wrong_wiring_is_refused_in_words(given: list[Any], message: str) -> None:
    with pytest.raises(ConfigTypeError, match=message):
        MaintenanceMiddleware(*given)


@pytest.mark.parametrize(
    "application",
    [
        pytest.param(Request.application(lambda _: Response("")), id="wrapping another signature"),
        pytest.param(dict, id="without a signature"),
        pytest.param(partial(shop), id="partial"),
    ],
)
def test_callable_of_an_unusual_kind_is_accepted(application: Any, var: Path) -> None:
    MaintenanceMiddleware(application, var)


def test_disabled_logger_is_warned_of(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("maintenance_wsgi"), "disabled", True)
    with pytest.warns(UserWarning, match="set disable_existing_loggers to False") as warned:
        MaintenanceMiddleware(shop, var)
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"trusted_proxies": "10.0.0.0/8"}, ConfigTypeError, "trusted_proxies"),
        ({"trusted_proxies": ["nope"]}, ConfigError, "nope"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, ConfigError, "0.0.0.0/0"),
        ({"client_ip_header": "X Y"}, ConfigError, "X Y"),
        ({"retry_after": -1}, ConfigError, "retry_after"),
        ({"retry_after": "300"}, ConfigTypeError, "retry_after"),
        ({"exempt_paths": "/healthz"}, ConfigTypeError, "exempt_paths"),
        ({"exempt_paths": ["healthz"]}, ConfigError, "healthz"),
        ({"exempt_paths": [""]}, ConfigError, "''"),
        ({"exempt_paths": ["/"]}, ConfigError, "'/'"),
        ({"exempt_paths": ["/a//b/"]}, ConfigError, "/a//b/"),
        ({"exempt_paths": ["/a/../b"]}, ConfigError, "/a/../b"),
        ({"exempt_paths": ["/a?b"]}, ConfigError, r"/a\?b"),
        ({"exempt_paths": ["/\udcff"]}, ConfigError, "exempt_paths"),
        ({"exempt_path": ["/a"]}, TypeError, "exempt_path"),
        ({"application": 7}, ConfigTypeError, "application"),
    ],
)
def test_bad_option_is_refused_by_name(
    options: dict[str, Any], error: type[Exception], named: str, var: Path
) -> None:
    application = options.pop("application", shop)
    with pytest.raises(error, match=named) as caught:
        MaintenanceMiddleware(application, var, **options)
    assert isinstance(caught.value, ValueError | TypeError)


def test_mode_can_be_shared(mode: MaintenanceMode) -> None:
    middleware = MaintenanceMiddleware(shop, mode)
    mode.enable()
    assert call(middleware).code == 503


# The client


@pytest.mark.parametrize(
    ("options", "environ", "warning"),
    [
        pytest.param({}, {"HTTP_X_FORWARDED_FOR": EXEMPT}, "not a trusted proxy", id="untrusted"),
        pytest.param(
            {}, {"HTTP_X_REAL_IP": EXEMPT}, "--header 'X-Real-IP: 203.0.113.7'", id="other"
        ),
        pytest.param({}, {"REMOTE_ADDR": ""}, "'unix:'", id="unix"),
        pytest.param({"trusted_proxies": ["10.0.0.1"]}, PROXIED, "did not send", id="no-header"),
        pytest.param(
            {"trusted_proxies": ["10.0.0.1"]},
            {**PROXIED, "HTTP_X_FORWARDED_FOR": "a\x1b[31m\n" * 900},
            "unreadable entry",
            id="unreadable",
        ),
        pytest.param(
            {"trusted_proxies": ["10.0.0.1"]},
            {**PROXIED, "HTTP_X_FORWARDED_FOR": "1.2.3.4,"},
            "empty entry",
            id="empty-entry",
        ),
        pytest.param({}, {}, None, id="direct"),
        pytest.param(
            {"trusted_proxies": ["10.0.0.1"]},
            {**PROXIED, "HTTP_X_FORWARDED_FOR": "1.2.3.4"},
            None,
            id="well-set",
        ),
    ],
)
def test_mis_set_trust_is_logged_once_a_minute(
    options: dict[str, Any],
    environ: dict[str, str],
    warning: str | None,
    var: Path,
    flag: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flag.touch()
    middleware = MaintenanceMiddleware(shop, var, **options)
    for _ in range(3):
        answer = call(middleware, {**make_environ(), **environ})
        assert answer.code == 503
    if warning is None:
        assert not warnings_of(caplog)
    else:
        (found,) = warnings_of(caplog)
        assert warning in found
        assert found.isprintable()
        assert len(found) < 500


def test_translated_addresses_are_logged_once(
    var: Path, flag: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an intranet every visitor's address is private."""
    flag.touch()
    middleware = MaintenanceMiddleware(shop, var)
    now = time.monotonic()
    for minutes in range(3):
        monkeypatch.setattr("time.monotonic", lambda minutes=minutes: now + 61 * minutes)
        assert call(middleware, make_environ("172.17.0.1")).code == 503
        assert call(middleware, make_environ("192.168.1.9")).code == 503
    call(middleware, make_environ("172.17.0.1", HTTP_X_FORWARDED_FOR=EXEMPT))
    first, second = warnings_of(caplog)
    assert "172.17.0.1 is private, and no header names the visitor" in first
    assert "if it does not use X-Forwarded-For; to see why, run: " in second


def test_warnings_that_were_held_back_are_counted(
    var: Path, flag: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag.touch()
    middleware = MaintenanceMiddleware(shop, var)
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now)
    for _ in range(4):
        call(middleware, make_environ(HTTP_X_FORWARDED_FOR=EXEMPT))
    monkeypatch.setattr("time.monotonic", lambda: now + 61)
    call(middleware, make_environ(HTTP_X_FORWARDED_FOR=EXEMPT))
    first, second = warnings_of(caplog)
    assert "more of this kind" not in first
    assert "(3 more of this kind since the last warning)" in second


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        pytest.param({}, {"HTTP_X_FORWARDED_FOR": f"$(id)`id`!, {EXEMPT}"}, id="untrusted"),
        pytest.param({}, {"HTTP_X_REAL_IP": EXEMPT, "HTTP_FORWARDED": 'for="[::1]"'}, id="two"),
        pytest.param({}, {"REMOTE_ADDR": ""}, id="unix"),
        pytest.param({"trusted_proxies": ["10.0.0.1", "unix:"]}, PROXIED, id="no-header"),
        pytest.param(
            {"trusted_proxies": ["10.0.0.1"], "client_ip_header": "x-real-ip"},
            {**PROXIED, "HTTP_X_REAL_IP": "it's"},
            id="unreadable",
        ),
        pytest.param(
            {"trusted_proxies": ["10.0.0.1"], "exempt_paths": ["/api/"]},
            {**PROXIED, "HTTP_X_FORWARDED_FOR": ", ".join([EXEMPT] * 20 + ["x", "10.0.0.1"])},
            id="longer than what is shown",
        ),
    ],
)
def test_logged_command_explains_what_the_server_saw(
    options: dict[str, Any],
    environ: dict[str, str],
    var: Path,
    flag: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flag.touch()
    middleware = MaintenanceMiddleware(shop, var, **options)
    environ = {**make_environ(), **environ}
    assert call(middleware, environ).code == 503
    _, _, command = warnings_of(caplog)[0].partition("; to see why, run: ")
    typed = run("/bin/sh", "-c", f"{command} --json", env=unmeasured())
    found, expected = json.loads(typed.stdout), middleware.explain(environ).as_dict()
    assert found["config"]["trusted_proxies"] == options.get("trusted_proxies", [])
    for member in ("outcome", "client", "reason"):
        assert found[member] == expected[member]


def test_application_is_told_of_an_exempt_visitor(var: Path, flag: Path, ip_list: Path) -> None:
    seen: list[object] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ.get("maintenance_wsgi.exempt"))
        return shop(environ, start_response)

    middleware = MaintenanceMiddleware(application, var, exempt_paths=["/healthz"])
    call(middleware, make_environ(EXEMPT))
    flag.touch()
    ip_list.write_text(EXEMPT)
    call(middleware, make_environ(EXEMPT))
    call(middleware, make_environ(EXEMPT, path="/healthz"))
    assert seen == [None, True, None]


def test_exempt_client_behind_a_proxy(wrap: Wrap, flag: Path, ip_list: Path) -> None:
    flag.touch()
    ip_list.write_text(f"{EXEMPT} 10.0.0.1")
    application = wrap(trusted_proxies=["10.0.0.0/8"], client_ip_header="X-Real-IP")
    assert call(application, make_environ("10.0.0.1", HTTP_X_REAL_IP=EXEMPT)).code == 200
    assert call(application, make_environ("10.0.0.1", HTTP_X_REAL_IP="198.51.100.1")).code == 503
    assert call(application, make_environ("10.0.0.1", HTTP_X_FORWARDED_FOR=EXEMPT)).code == 503
    assert call(application, make_environ("198.51.100.1", HTTP_X_REAL_IP=EXEMPT)).code == 503


ENVIRON_TEXT = st.text(st.characters(max_codepoint=255), max_size=60)


def test_cache_fields_go_however_many_names_an_application_makes_up(
    var: Path, mode: MaintenanceMode
) -> None:
    names = [f"X-{number}" for number in range(300)]

    def inventive(_: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        fields = [("Content-Type", "text/plain"), *((name, "1") for name in names)]
        start_response("200 OK", [*fields, ("X-CDN-Cache-Control", "1")])
        return [b""]

    mode.enable(exemptions=["192.0.2.9"])
    middleware = MaintenanceMiddleware(inventive, var)
    for _ in range(2):
        answer = call(middleware)
        assert [name for name in names if answer.all(name) != ["1"]] == []
        assert answer.all("X-CDN-Cache-Control") == []
