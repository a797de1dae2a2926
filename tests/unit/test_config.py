"""The middleware's options as texts: environment variables, ini files, and no code at all."""

import os
import re
import sys
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
from paste.deploy import loadapp

from maintenance_wsgi import ConfigError, MaintenanceMiddleware, MaintenanceMode, wrap
from maintenance_wsgi.config import options_from_environ, options_from_ini
from tests.support.processes import ROOT, run
from tests.support.wsgi import call, make_environ, shop

VALUES = [
    pytest.param("dir", "/srv/shop/var", "/srv/shop/var", id="directory"),
    pytest.param("dir", " /srv/shop/var\n", "/srv/shop/var", id="blanks-around"),
    pytest.param("client_ip_header", "X-Real-IP\r\n", "X-Real-IP", id="line-end"),
    pytest.param(
        "trusted_proxies", "127.0.0.1, 10.0.0.0/8 unix:", ["127.0.0.1", "10.0.0.0/8", "unix:"]
    ),
    pytest.param("trusted_proxies", "\n 127.0.0.1\n ::1\n", ["127.0.0.1", "::1"], id="lines"),
    pytest.param("trusted_proxies", ",,", [], id="commas-alone"),
    pytest.param("client_ip_header", "X-Real-IP", "X-Real-IP"),
    pytest.param("exempt_paths", "/healthz,/webhooks/", ["/healthz", "/webhooks/"]),
    pytest.param("health_paths", "/healthz", ["/healthz"]),
    pytest.param("write_paths", "/login /logout", ["/login", "/logout"]),
    pytest.param("retry_after", " 120 ", 120),
    pytest.param("retry_after", "None", None, id="no-retry-after"),
    pytest.param("page", "response/pages/page.html", "response/pages/page.html"),
    pytest.param("cors_origins", "https://shop.example", ["https://shop.example"]),
    pytest.param("drain", "1", True, id="drain"),
    pytest.param("drain", "False", False, id="no-drain"),
]
MISTAKES = [
    pytest.param("trusted_proxy", "10.0.0.1", "did you mean {trusted_proxies}?", id="mistyped"),
    pytest.param("trustd_proxy", "1", "did you mean {trusted_proxies}?", id="two-mistakes"),
    pytest.param("helth_path", "1", "did you mean {health_paths}?", id="two-letters-missing"),
    pytest.param("dr", "1", "did you mean {dir}?", id="letter-missing"),
    pytest.param("dor", "", "did you mean {dir}?", id="wrong-letter-and-empty"),
    pytest.param("paeg", "1", "did you mean {page}?", id="letters-exchanged"),
    pytest.param("cors_origin", "1", "did you mean {cors_origins}?", id="singular"),
    pytest.param("retry_after", "5m", "'5m' is not a number of seconds; use 300, or none", id="5m"),
    pytest.param("drain", "2", "'2' is not a yes or no; use 1 or 0", id="drain-2"),
    pytest.param("drain", "ja", "'ja' is not a yes or no; use 1 or 0", id="drain-ja"),
    pytest.param("retry_after", "-1", "'-1' is not a number of seconds", id="negative"),
    pytest.param("retry_after", "1_000", "'1_000' is not a number of seconds", id="underscore"),
    pytest.param("retry_after", "٣٠٠", "'٣٠٠' is not a number of seconds", id="unicode-digits"),
    pytest.param("retry_after", "9" * 5000, "is not a number of seconds", id="5000-digits"),
]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MAINTENANCE_"):
            monkeypatch.delenv(name)


def spelled_as_variables(text: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: f"MAINTENANCE_{name[1].upper()}", text)


@pytest.mark.parametrize(("name", "text", "value"), VALUES)
def test_value(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MAINTENANCE_{name.upper()}", text)
    assert options_from_environ() == {name: value}
    assert options_from_ini({name: text}) == {name: value}


@pytest.mark.parametrize(("name", "text", "message"), MISTAKES)
def test_mistake(name: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MAINTENANCE_{name.upper()}", text)
    with pytest.raises(ConfigError) as environment:
        options_from_environ()
    assert str(environment.value).startswith(f"MAINTENANCE_{name.upper()}: ")
    assert spelled_as_variables(message) in str(environment.value)
    with pytest.raises(ConfigError) as ini:
        options_from_ini({name: text})
    assert str(ini.value).startswith(f"{name}: ")
    assert re.sub("[{}]", "", message) in str(ini.value)


def test_variables_of_the_command_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS", "FLEET", "NODE"):
        monkeypatch.setenv(f"MAINTENANCE_{name}", "web1")
    assert options_from_environ() == {}


def test_empty_text_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_DIR", "")
    monkeypatch.setenv("MAINTENANCE_RETRY_AFTER", "")
    monkeypatch.setenv("MAINTENANCE", "of somebody else")
    assert options_from_environ() == {}


def assert_configured(application: Any, var: Path) -> None:
    """Check that each option has reached the gate."""
    MaintenanceMode(var).enable(exemptions=["203.0.113.7"], read_only=False)
    exempt = {"HTTP_X_REAL_IP": "203.0.113.7"}
    blocked = call(application, make_environ("192.0.2.9", **exempt))
    assert (blocked.code, blocked["Retry-After"]) == (503, "77")
    assert blocked.body == b"<p>Ours</p>"
    asked = call(application, make_environ(HTTP_ORIGIN="https://shop.example"))
    assert asked["Access-Control-Allow-Origin"] == "https://shop.example"
    assert call(application, make_environ("192.0.2.1", **exempt)).code == 200
    assert call(application, make_environ(path="/healthz")).mark == "exempt"
    assert call(application, make_environ(path="/alive")).body == b"ok\n"
    MaintenanceMode(var).enable(read_only=True)
    posted = make_environ(path="/login", REQUEST_METHOD="POST")
    assert call(application, posted).mark == "read-only"
    assert call(application, posted).code == 200


def test_from_environ(var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>Ours</p>")
    monkeypatch.setenv("MAINTENANCE_DIR", str(var))
    monkeypatch.setenv("MAINTENANCE_TRUSTED_PROXIES", "192.0.2.1")
    monkeypatch.setenv("MAINTENANCE_CLIENT_IP_HEADER", "X-Real-IP")
    monkeypatch.setenv("MAINTENANCE_EXEMPT_PATHS", "/healthz")
    monkeypatch.setenv("MAINTENANCE_HEALTH_PATHS", "/alive")
    monkeypatch.setenv("MAINTENANCE_WRITE_PATHS", "/login")
    monkeypatch.setenv("MAINTENANCE_RETRY_AFTER", "77")
    monkeypatch.setenv("MAINTENANCE_PAGE", str(page))
    monkeypatch.setenv("MAINTENANCE_CORS_ORIGINS", "https://shop.example")
    assert_configured(MaintenanceMiddleware.from_environ(shop), var)
    assert_configured(wrap("tests.support.wsgi:shop"), var)


FOREIGN = {
    "MAINTENANCE_SERVICE_HOST": "10.96.0.17",
    "MAINTENANCE_SERVICE_PORT_HTTP": "80",
    "MAINTENANCE_PORT": "tcp://10.96.0.17:80",
    "MAINTENANCE_PORT_80_TCP_ADDR": "10.96.0.17",
    "MAINTENANCE_REDIS_SERVICE_HOST": "10.96.0.9",
    "MAINTENANCE_PAGE_URL": "//s3.example/m.html",
    "MAINTENANCE_MODE": "false",
    "MAINTENANCE_IMAGE": "nginx",
    "MAINTENANCE_EXTRA_PATHS": "/srv/extra",
    "MAINTENANCE_TEMP_PATHS": "/srv/temp",
    "MAINTENANCE_FILE_PATHS": "/srv/files",
}


def test_variables_of_a_platform_are_one_warning(
    var: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MAINTENANCE_DIR", str(var))
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    assert call(MaintenanceMiddleware.from_environ(shop)).code == 200
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in FOREIGN)


def test_unknown_option_of_an_ini_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="xyz: unknown option; use one of dir, trusted_proxies"):
        options_from_ini({"xyz": "1"})


@pytest.mark.parametrize("variable", [None, "", " \n"])
def test_directory_must_be_given(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's working directory may be another than the operator's."""
    monkeypatch.chdir(tmp_path)
    if variable is not None:
        monkeypatch.setenv("MAINTENANCE_DIR", variable)
    with pytest.raises(ConfigError, match="MAINTENANCE_DIR: is not set"):
        MaintenanceMiddleware.from_environ(shop)
    with pytest.raises(ConfigError, match="MAINTENANCE_DIR: is not set"):
        wrap("tests.support.wsgi:shop")


@pytest.mark.parametrize("variable", ["var", "other", "./other/", " var\n"])
def test_directory_is_that_of_the_command(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or maintenance would be switched on in one place, and looked for in another."""
    for name in ("var", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("MAINTENANCE_DIR", variable)
    monkeypatch.chdir(tmp_path)
    application = MaintenanceMiddleware.from_environ(shop)
    run(sys.executable, "-m", "maintenance_wsgi", "enable", "-q", cwd=tmp_path)
    assert call(application).code == 503


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("TRUSTED_PROXIES", "10.0.0.0/255.0.0.0", "trusted_proxies: '10.0.0.0/255.0.0.0' is no"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", "would let every client name its own address"),
        ("EXEMPT_PATHS", "healthz", "exempt_paths: 'healthz' is not a valid path"),
        ("CLIENT_IP_HEADER", "X-Real-IP, Forwarded", "client_ip_header: 'X-Real-IP, Forwarded'"),
        ("RETRY_AFTER", "9999999999", "retry_after"),
        ("CORS_ORIGINS", "shop.example", "cors_origins: 'shop.example' is not a valid origin"),
    ],
)
def test_values_are_refused_as_the_constructor_refuses_them(
    variable: str, text: str, message: str, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_DIR", str(var))
    monkeypatch.setenv(f"MAINTENANCE_{variable}", text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        MaintenanceMiddleware.from_environ(shop)


INI = """
[app:main]
paste.app_factory = tests.support.wsgi:shop_factory
filter-with = maintenance

[filter:maintenance]
use = egg:maintenance-wsgi
dir = %(here)s/var
trusted_proxies =
    192.0.2.1
    unix:
client_ip_header = X-Real-IP
exempt_paths = /healthz
write_paths = /login
health_paths = /alive
retry_after = 77
page = %(here)s/page.html
cors_origins = https://shop.example

[DEFAULT]
debug = false
"""


@pytest.fixture
def ini(tmp_path: Path, var: Path) -> Path:
    assert var.parent == tmp_path
    (tmp_path / "page.html").write_text("<p>Ours</p>")
    path = tmp_path / "shop.ini"
    path.write_text(INI)
    return path


def test_paste_filter(ini: Path, var: Path) -> None:
    assert_configured(loadapp(f"config:{ini}"), var)


def test_paste_filter_refuses_what_it_does_not_know(ini: Path) -> None:
    ini.write_text(INI.replace("trusted_proxies", "trusted_proxy"))
    with pytest.raises(ConfigError, match="trusted_proxy: unknown option; did you"):
        loadapp(f"config:{ini}")
    ini.write_text(INI.replace("dir = %(here)s/var\n", ""))
    with pytest.raises(ConfigError, match="dir: is not set; set it to the absolute path"):
        loadapp(f"config:{ini}")


def load_paste_example(folder: Path, pipeline: str = "maintenance shop") -> WSGIApplication:
    """Load the example with a shop of our own."""
    text = (ROOT / "examples/deploy/paste.ini").read_text()
    shop_of_our_own = "paste.app_factory = tests.support.wsgi:shop_factory\n"
    text = text.replace("use = egg:shop\n", shop_of_our_own)
    text = text.replace("pipeline = maintenance shop\n", f"pipeline = {pipeline}\n")
    path = folder / "shop.ini"
    path.write_text(f"{text}\n[filter:prefix]\nuse = egg:PasteDeploy#prefix\n")
    application: WSGIApplication = loadapp(f"config:{path}")
    return application


def test_paste_example(var: Path, tmp_path: Path) -> None:
    application = load_paste_example(tmp_path)
    assert call(application).code == 200
    (var / ".maintenance.flag").touch()
    assert call(application).code == 503


@pytest.mark.parametrize(
    ("pipeline", "fooled"),
    [("maintenance prefix shop", False), ("prefix maintenance shop", True)],
    ids=["gate-first", "prefix-first"],
)
def test_paste_prefix_before_the_gate_lets_a_forged_address_in(
    pipeline: str, var: Path, tmp_path: Path, *, fooled: bool
) -> None:
    MaintenanceMode(var).enable(exemptions=["203.0.113.7"])
    application = load_paste_example(tmp_path, pipeline)
    exempt, stranger = "203.0.113.7", "198.51.100.9"
    forged = make_environ("127.0.0.1", HTTP_X_FORWARDED_FOR=f"{exempt}, {stranger}")
    assert (call(application, forged).code == 200) is fooled
    honest = make_environ("127.0.0.1", HTTP_X_FORWARDED_FOR=f"{stranger}, {exempt}")
    assert (call(application, honest).code == 503) is fooled
