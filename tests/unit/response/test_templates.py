import os
import re
import tracemalloc
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from maintenance_wsgi import ConfigError, MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.templates import CUSTOM_PLACEHOLDERS
from tests.support.logs import warnings_of
from tests.support.wsgi import Answer, call, make_environ, shop

BUILT_IN = b"<!DOCTYPE html>\n<html lang="


@pytest.fixture
def page_path(tmp_path: Path, flag: Path) -> Path:
    flag.touch()
    return tmp_path / "page.html"


def ask(var: Path, page_path: Path, peer: str = "192.0.2.9", **environ: str) -> Answer:
    return call(MaintenanceMiddleware(shop, var, page=page_path), make_environ(peer, **environ))


def test_page_is_served_as_it_is_and_read_again(var: Path, page_path: Path) -> None:
    page_path.touch()
    application = MaintenanceMiddleware(shop, var, page=page_path)
    for text in ("<p>one { } % $ {{ other }} {{message}</p>", "<p>two é</p>"):
        page_path.write_text(text, encoding="utf-8")
        answer = call(application)
        assert (answer.code, answer.body.decode()) == (503, text)
        assert answer["Content-Length"] == str(len(answer.body))
        assert answer["Content-Type"] == "text/html; charset=utf-8"
        assert answer["Cache-Control"] == "no-store"
        assert answer["Retry-After"] == "300"
        assert answer.mark == "on"
        assert answer.all("Content-Language") == []


def test_placeholders_are_filled_in_escaped(
    var: Path, page_path: Path, mode: MaintenanceMode
) -> None:
    names = ["message", "until", "client_ip", "until_local", "language", "message", "retry_after"]
    page_path.write_text("|".join(f"{{{{ {name} }}}}" for name in names) + "|{{back_in}}")
    until = datetime(2033, 12, 1, 18, tzinfo=timezone(timedelta(hours=1)))
    mode.enable(message="<b>&\"'{{ until }} https://a.example/", until=until, retry_after=7)
    *found, seconds, back_in = (
        ask(var, page_path, "8.8.8.8", HTTP_ACCEPT_LANGUAGE="de").body.decode().split("|")
    )
    message = "&lt;b&gt;&amp;&quot;&#x27;{{ until }} https://a.example/"
    assert found == [
        message,
        "2033-12-01T18:00:00+01:00",
        "8.8.8.8",
        "1. Dezember 2033, 18:00 (UTC+1)",
        "de",
        message,
    ]
    assert int(seconds) > 10**6
    assert re.fullmatch(r"in etwa \d+ Tagen", back_in)


@pytest.mark.parametrize("content", ["", '{"until": "2001-01-01T00:00:00Z"}'])
def test_what_is_not_known_is_left_empty(
    content: str, var: Path, page_path: Path, flag: Path
) -> None:
    flag.write_text(content)
    names = [name for name in CUSTOM_PLACEHOLDERS if name != "language"]
    page_path.write_text("|".join(f"{{{{ {name} }}}}" for name in names))
    application = MaintenanceMiddleware(shop, var, page=page_path, retry_after=None)
    assert call(application, make_environ("10.0.0.1")).body == b"|" * (len(names) - 1)


@pytest.mark.parametrize(
    ("page", "with_message", "without"),
    [
        ("a{{# message }}<b>{{ message }}</b>{{/ message }}c", "a<b>hi</b>c", "ac"),
        ("a{{#message}}b{{/message}}c{{# message }}d{{/ message }}", "abcd", "ac"),
        ("{{# message }}a{{# client_ip }}b{{/ client_ip }}c{{/ message }}", "ac", ""),
        ("{{# message }}a{{# message }}b{{/ message }}c{{/ message }}d", "abcd", "d"),
        ("{{# message }}a", "{{# message }}a", "{{# message }}a"),
        ("a{{/ message }}", "a{{/ message }}", "a{{/ message }}"),
        (
            "{{# reason }}a{{/ reason }}",
            "{{# reason }}a{{/ reason }}",
            "{{# reason }}a{{/ reason }}",
        ),
        (
            "{{# message }}a{{# until }}b{{/ message }}c{{/ until }}",
            "a{{# until }}bc{{/ until }}",
            "c{{/ until }}",
        ),
        ("{{# retry_after }}{{ retry_after }}{{/ retry_after }}", "300", "300"),
    ],
)
def test_section_vanishes_with_its_value(
    page: str, with_message: str, without: str, var: Path, page_path: Path, mode: MaintenanceMode
) -> None:
    page_path.write_text(page)
    mode.enable()
    assert ask(var, page_path).body.decode() == without
    mode.enable(message="hi")
    assert ask(var, page_path).body.decode() == with_message


def test_large_page_is_not_kept_for_each_language(var: Path, page_path: Path) -> None:
    page_path.write_bytes(b"{{ back_in }}" + b"x" * 1_000_000)
    application = MaintenanceMiddleware(shop, var, page=page_path)
    languages = load_catalogs()
    call(application)
    tracemalloc.start()
    for language in languages:
        call(application, make_environ(HTTP_ACCEPT_LANGUAGE=language))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3_000_000


def test_message_of_a_visitor_in_a_page_of_ones_own(
    var: Path, page_path: Path, mode: MaintenanceMode
) -> None:
    page_path.write_text("{{ message }}")
    mode.enable(message="Moving", messages={"de": "Umzug"})
    assert ask(var, page_path, HTTP_ACCEPT_LANGUAGE="de").body == b"Umzug"
    assert ask(var, page_path, HTTP_ACCEPT_LANGUAGE="fr").body == b"Moving"


def test_page_in_another_charset_names_it_itself(var: Path, page_path: Path) -> None:
    page_path.write_bytes('<meta charset="iso-8859-1">é'.encode("latin-1"))
    answer = ask(var, page_path)
    assert answer["Content-Type"] == "text/html"
    assert answer.body.endswith(b"\xe9")


@pytest.mark.parametrize("fault", ["missing", "too large", "pipe", "loop"])
def test_page_that_cannot_be_read_gives_way_to_the_built_in_one(
    fault: str, var: Path, page_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page_path.touch()
    application = MaintenanceMiddleware(shop, var, page=page_path)
    page_path.unlink()
    if fault == "too large":
        page_path.write_bytes(b"x" * (1024 * 1024 + 1))
    elif fault == "pipe":
        os.mkfifo(page_path)
    elif fault == "loop":
        page_path.symlink_to(page_path)
    for _ in range(3):
        answer = call(application)
        assert answer.code == 503
        assert answer.body.startswith(BUILT_IN)
    (warning,) = warnings_of(caplog)
    assert str(page_path) in warning
    assert "the built-in page is served" in warning


def test_page_of_the_largest_size_is_served(var: Path, page_path: Path) -> None:
    page_path.write_bytes(b"x" * 1024 * 1024)
    assert len(ask(var, page_path).body) == 1024 * 1024


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_other_formats_never_get_it(accept: str, var: Path, page_path: Path) -> None:
    page_path.write_text("<p>my own</p>")
    assert b"my own" not in ask(var, page_path, HTTP_ACCEPT=accept).body


@pytest.mark.parametrize(
    ("accept_language", "body", "language"),
    [
        ("", b"other", []),
        ("fi", b"finnish", ["fi"]),
        ("pt-BR, fi;q=0.5", b"brazilianpt-BR", ["pt-BR"]),
        ("pt-br", b"brazilianpt-BR", ["pt-BR"]),
        ("de, fi;q=0.5", b"finnish", ["fi"]),
        ("de", b"other", []),
        ("../../etc/passwd", b"other", []),
    ],
)
def test_directory_has_a_page_for_each_language(
    accept_language: str, body: bytes, language: list[str], var: Path, tmp_path: Path, flag: Path
) -> None:
    flag.touch()
    pages = tmp_path / "pages"
    pages.mkdir()
    application = MaintenanceMiddleware(shop, var, page=pages)
    assert call(application).body.startswith(BUILT_IN)
    (pages / "page.html").write_bytes(b"other")
    (pages / "page.fi.html").write_bytes(b"finnish")
    (pages / "page.pt_BR.html").write_bytes(b"brazilian{{ language }}")
    (pages / "page.de.html.bak").write_bytes(b"backup")
    answer = call(application, make_environ(HTTP_ACCEPT_LANGUAGE=accept_language))
    assert answer.body == body
    assert answer.all("Content-Language") == language


def test_unreadable_translation_gives_way_to_the_general_page(
    var: Path, tmp_path: Path, flag: Path
) -> None:
    flag.touch()
    pages = tmp_path / "pages"
    (pages / "page.fi.html").mkdir(parents=True)
    (pages / "page.html").write_bytes(b"other")
    assert ask(var, pages, HTTP_ACCEPT_LANGUAGE="fi").body == b"other"


@pytest.mark.parametrize("page_name", ["", "a\0b", "nope.html"])
def test_page_that_is_not_there_is_refused(page_name: str, var: Path) -> None:
    with pytest.raises(ConfigError, match="page"):
        MaintenanceMiddleware(shop, var, page=page_name)
