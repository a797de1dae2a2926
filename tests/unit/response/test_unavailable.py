import json
import re
import time
import tracemalloc
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from html import escape, unescape
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.unavailable import UnavailableResponse
from maintenance_wsgi.state.flag import Window
from maintenance_wsgi.state.reader import StateReader
from tests.support.wsgi import Answer, call, make_environ, shop


@pytest.fixture
def application(var: Path, flag: Path) -> WSGIApplication:
    flag.touch()
    return MaintenanceMiddleware(shop, var)


def ask(application: WSGIApplication, **environ: Any) -> Answer:
    return call(application, make_environ(**environ))


def test_fields_of_the_answer(application: WSGIApplication) -> None:
    answer = ask(application)
    assert answer.status == "503 Service Unavailable"
    headers = dict(answer.headers)
    policy = headers.pop("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert headers == {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(answer.body)),
        "Content-Language": "en",
        "Cache-Control": "no-store",
        "Vary": "Accept, Accept-Language",
        "X-Robots-Tag": "noindex",
        "X-Maintenance-Mode": "on",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Retry-After": "300",
    }


@pytest.mark.parametrize("message", [None, "<style>p {}</style>", "{{ client_ip }}"])
@pytest.mark.parametrize("language", ["en", "ar", "zh-TW"])
@pytest.mark.parametrize("read_only", [False, True])
def test_policy_allows_the_page_its_style_and_script_and_nothing_else(
    *,
    read_only: bool,
    language: str,
    message: str | None,
    application: WSGIApplication,
    mode: MaintenanceMode,
) -> None:
    mode.enable(message=message, read_only=read_only, until=datetime.now(UTC) + timedelta(hours=1))
    asked = {"HTTP_ACCEPT_LANGUAGE": language, "REMOTE_ADDR": "8.8.4.4", "REQUEST_METHOD": "POST"}
    answer = ask(application, **asked)
    allowed = {
        "default-src": "'none'",
        "style-src": digest_of("style", answer.body),
        "img-src": "data:",
        **dict.fromkeys(["base-uri", "form-action", "frame-ancestors"], "'none'"),
    }
    if read_only:
        assert b"<script" not in answer.body
    else:
        allowed |= {"script-src": digest_of("script", answer.body), "connect-src": "'self'"}
    directives = answer["Content-Security-Policy"].split("; ")
    assert dict(directive.split(" ", 1) for directive in directives) == allowed
    assert len(directives) == len(allowed)


def digest_of(element: str, body: bytes) -> str:
    pattern = rf"<{element}[^>]*>(.*?)</{element}>".encode()
    (content,) = re.findall(pattern, body, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content).digest()).decode()}'"


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_other_formats_have_no_policy(accept: str, application: WSGIApplication) -> None:
    assert ask(application, HTTP_ACCEPT=accept).all("Content-Security-Policy") == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_every_method_gets_the_answer(method: str, application: WSGIApplication) -> None:
    answer = ask(application, REQUEST_METHOD=method)
    assert answer.code == 503
    assert answer.body.startswith(b"<!DOCTYPE html>")


def test_head_gets_the_fields_alone(application: WSGIApplication) -> None:
    got, headed = ask(application), ask(application, REQUEST_METHOD="HEAD")
    assert headed.headers == got.headers
    assert headed.body == b""


def test_problem_document(application: WSGIApplication, mode: MaintenanceMode) -> None:
    until = datetime(2033, 12, 1, 18, tzinfo=UTC)
    mode.enable(message="Umzug …", until=until)
    problem = json.loads(ask(application, HTTP_ACCEPT="application/json").body)
    assert problem.pop("retry_after") > 0
    assert problem == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Umzug …",
        "until": "2033-12-01T18:00:00+00:00",
    }


@pytest.mark.parametrize("language", load_catalogs())
@pytest.mark.parametrize("content", ["", '{"until": "2101-12-01T18:00:00Z", "message": "\\u2026"}'])
def test_problem_document_keeps_the_rules_of_rfc_9457(
    content: str, language: str, application: WSGIApplication, flag: Path
) -> None:
    flag.write_text(content)
    answer = ask(application, HTTP_ACCEPT="application/json", HTTP_ACCEPT_LANGUAGE=language)
    assert answer["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.body)
    # Section 3.1: the types of the members; 3.1.2: the status is the one that was sent.
    for member in ("type", "title", "detail"):
        assert isinstance(problem[member], str)
    assert problem["status"] == answer.code
    # Section 4.2.1: with about:blank the title is the status phrase, which may be translated.
    assert problem["type"] == "about:blank"
    assert problem["title"] == "Service Unavailable" or language != "en"
    # Section 3.2: names of extensions begin with a letter, have three characters or more, of
    # letters, digits and underscores alone.
    for member in problem:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{2,}", member)
    assert str(problem["retry_after"]) == answer["Retry-After"]


def test_message_is_escaped_and_counted_in_bytes(
    application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(message="<script>é</script> {title}")
    answer = ask(application)
    assert "&lt;script&gt;é&lt;/script&gt; {title}" in answer.body.decode()
    assert answer["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("option", "flag_content", "sent"),
    [
        (120, {}, ["120"]),
        (0, {}, ["0"]),
        (None, {}, []),
        (None, {"retry_after": 7}, ["7"]),
        (120, {"retry_after": 0}, ["0"]),
        (120, {"retry_after": "7\r\nX: y"}, ["120"]),
        (120, {"until": "2001-01-01T00:00:00Z"}, ["120"]),
        (120, {"until": "9999-12-31T00:00:00Z"}, ["2147483648"]),
    ],
)
def test_retry_after(
    option: int | None, flag_content: dict[str, object], sent: list[str], var: Path, flag: Path
) -> None:
    flag.write_text(json.dumps(flag_content))
    answer = ask(MaintenanceMiddleware(shop, var, retry_after=option))
    assert answer.all("Retry-After") == sent


def test_retry_after_counts_down_to_the_end(
    application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(until=datetime.now(UTC) + timedelta(minutes=40), retry_after=7)
    assert 2380 <= int(ask(application)["Retry-After"]) <= 2400


@pytest.mark.parametrize(
    ("accept", "start"),
    [
        ("text/html", "<!DOCTYPE html>"),
        ("application/json", '{"type": "about:blank", "title": "Dienst nicht verfügbar"'),
        ("text/plain", "Wartungsarbeiten\n\nWir arbeiten"),
    ],
)
def test_every_format_speaks_the_language(
    accept: str, start: str, application: WSGIApplication
) -> None:
    answer = ask(application, HTTP_ACCEPT=accept, HTTP_ACCEPT_LANGUAGE="de-CH")
    assert answer.body.decode().startswith(start)
    assert answer["Content-Language"] == "de"
    assert answer["Vary"] == "Accept, Accept-Language"
    assert answer["Content-Length"] == str(len(answer.body))


def test_text(application: WSGIApplication, mode: MaintenanceMode) -> None:
    mode.enable(message="Moving house", until=datetime(2101, 12, 1, 18, tzinfo=UTC))
    lines = ask(application, HTTP_ACCEPT="text/plain").body.decode().split("\n")
    assert lines[:3] == ["Down for maintenance", "", "Moving house"]
    assert lines[4].startswith("We expect to be back in about ")
    assert lines[5:] == ["1 December 2101, 18:00 (UTC)", ""]


def test_page_tells_when_to_come_back(application: WSGIApplication, mode: MaintenanceMode) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    until = datetime.now(zone) + timedelta(minutes=39, seconds=30)
    mode.enable(until=until)
    page = ask(application).body.decode()
    assert "We expect to be back in about 40 minutes." in page
    assert f'<time datetime="{until.isoformat(timespec="seconds")}">' in page
    assert f"{until:%H:%M} (UTC+5:30)</time>" in page


def test_same_time_with_another_offset_is_another_answer(
    application: WSGIApplication, mode: MaintenanceMode
) -> None:
    until = datetime(2101, 12, 1, 18, tzinfo=UTC)
    mode.enable(until=until)
    assert b"1 December 2101, 18:00 (UTC)" in ask(application).body
    mode.enable(until=until.astimezone(timezone(timedelta(hours=9))))
    assert b"2 December 2101, 03:00 (UTC+9)" in ask(application).body


@pytest.mark.parametrize(
    ("accept_language", "shown", "lang"),
    [
        ("", "Moving house", ""),
        ("en", "Moving house", ""),
        ("de-AT, en", "Wir ziehen um", ""),
        ("PT-BR", "Estamos de mudança", ' lang="pt-BR"'),
        ("pt", "Moving house", ""),
        ("eo, de", "Ni translokiĝas", ' lang="eo"'),
        ("fr, de;q=0.5", "Wir ziehen um", ' lang="de"'),
        ("fr", "Moving house", ""),
    ],
)
def test_message_in_the_language_of_the_visitor(
    accept_language: str, shown: str, lang: str, application: WSGIApplication, mode: MaintenanceMode
) -> None:
    messages = {"de": "Wir ziehen um", "pt_BR": "Estamos de mudança", "eo": "Ni translokiĝas"}
    mode.enable(message="Moving house", messages=messages)
    asked = {"HTTP_ACCEPT_LANGUAGE": accept_language}
    page = ask(application, **asked).body.decode()
    assert f'<p class="message" dir="auto"{lang}>{shown}</p>' in page
    problem = json.loads(ask(application, HTTP_ACCEPT="application/json", **asked).body)
    assert problem["detail"] == shown
    text = ask(application, HTTP_ACCEPT="text/plain", **asked).body.decode()
    assert text.splitlines()[2] == shown


def test_message_in_no_language_of_the_visitor(
    application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(message=" ", messages={"de": "Wir ziehen um", "en": "\n"})  # blank: not given
    assert b"We are working on this site" in ask(application, HTTP_ACCEPT_LANGUAGE="en").body
    mode.enable(read_only=True)
    for language, shown in (("en", b"You can look around"), ("de", b"Wir ziehen um")):
        answer = ask(application, HTTP_ACCEPT_LANGUAGE=language, REQUEST_METHOD="POST")
        assert shown in answer.body


@pytest.mark.parametrize("retry_after", [None, 7])
def test_every_format_tells_the_address_and_the_time(
    retry_after: int | None, var: Path, mode: MaintenanceMode
) -> None:
    mode.enable()
    application = MaintenanceMiddleware(shop, var, retry_after=retry_after)
    page, text, problem = (
        ask(application, peer="8.8.4.4", HTTP_ACCEPT=accept).body.decode()
        for accept in ("text/html", "text/plain", "application/json")
    )
    assert 'Your address: <span dir="ltr">8.8.4.4</span>' in page
    assert f'data-seconds="{retry_after or ""}"' in page
    assert text.endswith("back soon.\n\nYour address: 8.8.4.4\n")
    known = json.loads(problem)
    assert (known["client_ip"], known.get("retry_after")) == ("8.8.4.4", retry_after)


LINK = '<a dir="ltr" href="{0}" rel="noopener nofollow">{0}</a>'


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "See https://a.example/b.",
            "See {}.",
        ),
        ("(https://a.example/b)", "({})"),
        ("https://a.example/b_(c), d", "{}, d"),
        ("https://a.example/?b=1&c=2#d!", "{}!"),
        ("«https://a.example/é»", "«{}»"),
        ("詳細はhttps://a.example/b。ご覧", "詳細は{}。ご覧"),
        ("https://a.example/b를 보세요", "{}를 보세요"),
        ("<https://a.example/b>", "&lt;{}&gt;"),
        ('"https://a.example/b"', "&quot;{}&quot;"),
        ("https://a.example/'b'x", "{}"),
        ("https://a.example https://b.example", "{} {}"),
    ],
)
def test_web_address_in_a_message_is_a_link(
    message: str, shown: str, application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(message=message)
    page = ask(application).body.decode()
    links = re.findall(r"(?<=href=\")https://[^\"]*", page)
    assert f'dir="auto">{shown.format(*(LINK.format(link) for link in links))}</p>' in page
    assert unescape("".join(links)) in message.replace(" ", "")


@pytest.mark.parametrize(
    "message",
    [
        "http://a.example/",
        "javascript:alert(1)",
        "www.a.example",
        "anna@a.example",
        "https:// a",
        "https://...",
        "ftp://a.example",
        "<a href=x>",
    ],
)
def test_nothing_else_in_a_message_is_a_link(
    message: str, application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(message=message)
    page = ask(application).body.decode()
    assert f'dir="auto">{escape(message)}</p>' in page
    assert page.count("<a ") == 1


def test_blank_lines_part_paragraphs(application: WSGIApplication, mode: MaintenanceMode) -> None:
    mode.enable(message="\n\na\nb\n \n\nc\n", messages={"eo": "d\n\ne"})
    page = ask(application).body.decode()
    assert '<p class="message" dir="auto">a\nb</p>\n<p class="message" dir="auto">c</p>' in page
    page = ask(application, HTTP_ACCEPT_LANGUAGE="eo").body.decode()
    assert page.count('<p class="message" dir="auto" lang="eo">') == 2


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_page_says_that_it_takes_longer(
    accept: str, application: WSGIApplication, flag: Path
) -> None:
    flag.write_text('{"until": "2001-01-01T00:00:00Z"}')
    page = ask(application, HTTP_ACCEPT=accept).body.decode()
    assert "longer than planned" in page
    assert "UTC" not in page
    assert "<time" not in page


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_until_at_the_end_of_time_is_no_error(
    until: str, application: WSGIApplication, flag: Path
) -> None:
    flag.write_text(json.dumps({"until": until}))
    assert ask(application).code == 503


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        ("8.8.4.4", b"8.8.4.4"),
        ("2a00:1450:4001:0::5", b"2a00:1450:4001::5"),
        ("10.1.2.3", None),
        ("127.0.0.1", None),
        ("169.254.1.1", None),
        ("100.64.0.1", None),
        ("fd00::1", None),
        ("fec0::1", None),
        ("::10.0.0.1", None),
        ("64:ff9b::a00:1", None),
        ("2001:db8::1", None),
        ("3fff::1", None),
        ("ff02::1", None),
        ("224.0.0.1", None),
        ("::1", None),
        ("", None),
    ],
)
def test_only_a_public_address_is_shown(
    peer: str, shown: bytes | None, application: WSGIApplication
) -> None:
    body = ask(application, peer=peer).body
    assert (b"Your address" in body) is (shown is not None)
    if shown is None:
        assert not peer or peer.encode() not in body
    else:
        assert shown in body


def test_address_goes_below_the_message_whatever_it_holds(
    application: WSGIApplication, flag: Path
) -> None:
    flag.write_text('{"message": "a\\u0000b\\u001b[31m\\nc"}')
    page = ask(application, peer="8.8.4.4").body.decode()
    assert "ab[31m\nc</p>" in page
    assert page.count("8.8.4.4") == 1


def test_message_holds_no_placeholder(application: WSGIApplication, mode: MaintenanceMode) -> None:
    mode.enable(message="{{ client_ip }} {{{title}}} {{{{ client_ip }}}}")
    page = ask(application, peer="8.8.4.4").body.decode()
    assert page.count("8.8.4.4") == 1
    shown = unescape(page.partition('dir="auto">')[2].partition("</p>")[0])
    assert shown == "{{ client_ip }} {{{title}}} {{{{ client_ip }}}}"


@pytest.mark.parametrize("language", load_catalogs())
def test_page_is_one_small_file(
    language: str, application: WSGIApplication, mode: MaintenanceMode
) -> None:
    mode.enable(message="x" * 1000, until=datetime.now(UTC) + timedelta(days=3))
    page = ask(application, peer="8.8.4.4", HTTP_ACCEPT_LANGUAGE=language).body.decode()
    assert len(page.encode()) < 14_000
    assert f'<html lang="{language}" dir="' in page
    assert "{{" not in page
    assert len(page.partition("<script")[2].partition("</script>")[0]) < 1100
    assert re.findall(r'(?:src|href|url\()="?(?!data:|")', page) == []


def test_caches_are_bounded(var: Path, flag: Path) -> None:
    flag.touch()
    page = UnavailableResponse(300, None, ())
    reader = StateReader(var)
    tracemalloc.start()
    for number in range(2000):
        if number == 1000:
            before, _ = tracemalloc.get_traced_memory()
        blocked_bodies(page, reader, f"x{number:05}-{'y' * 90}")
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 500_000


def test_cache_of_a_countdown_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    page = UnavailableResponse(300, None, ())
    now = time.time()
    details = Window(message="x" * 1000, until=datetime.fromtimestamp(now + 10**6, UTC))
    environ = make_environ(HTTP_ACCEPT="application/json")
    seconds = iter(range(5000))
    monkeypatch.setattr("time.time", lambda: now + next(seconds))
    tracemalloc.start()
    for _ in range(5000):
        page(environ, lambda *_: lambda _: None, details, None)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000_000


def blocked_bodies(
    page: UnavailableResponse, reader: StateReader, language: str
) -> Iterable[bytes]:
    flag = reader.flag()
    assert flag
    details = reader.window(flag)
    assert details
    environ = make_environ(HTTP_ACCEPT_LANGUAGE=language)
    return page(environ, lambda *_: lambda _: None, details, None)
