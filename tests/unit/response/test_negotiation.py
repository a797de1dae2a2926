import pytest

from maintenance_wsgi.response.languages import load_catalogs
from maintenance_wsgi.response.negotiation import (
    HTML,
    PROBLEM,
    TEXT,
    choose_format,
    choose_language,
)

LANGUAGES = tuple(load_catalogs())


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", HTML),
        ("*/*", HTML),
        ("*", HTML),
        ("text/*", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", HTML),
        ("application/xhtml+xml", HTML),
        ("image/avif,image/webp", HTML),
        ("text/html;level=1", HTML),
        ("TEXT/HTML", HTML),
        ("text/html, application/json", HTML),
        ("application/json;q=0.1, */*;q=0.9", HTML),
        ("application/json;q=0", HTML),
        ("application/problem+xml", HTML),
        (";;;,q=", HTML),
        ("text/html;q=zzz", HTML),
        ("text/html;*=a", HTML),
        ("application/json", PROBLEM),
        ("application/json; charset=utf-8", PROBLEM),
        ("application/problem+json", PROBLEM),
        ("application/vnd.api+json", PROBLEM),
        ("application/*", PROBLEM),
        ("application/json, text/plain, */*", PROBLEM),
        ("application/json, text/javascript, */*; q=0.01", PROBLEM),
        ("text/html;q=0.5, application/json", PROBLEM),
        ("text/plain", TEXT),
        ("text/plain, */*;q=0.5", TEXT),
        ("text/plain;q=0.9, text/html;q=0.8", TEXT),
    ],
)
def test_format(accept: str, content_type: str) -> None:
    assert choose_format(accept) == content_type


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("", None),
        ("*", None),
        ("de", "de"),
        ("DE-at", "de"),
        ("de_CH", "de"),
        ("pt-BR", "pt"),
        ("zh", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-HK,zh;q=0.9", "zh-Hant"),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh-Hans-HK", "zh-Hans"),
        ("iw", "he"),
        ("fi", None),
        ("fi, sv;q=0.8, en;q=0.5", "sv"),
        ("de-AT, en;q=0.9", "de"),
        ("en;q=0.5, fr;q=0.7", "fr"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("x-klingon", None),
        ("-", None),
        (";q=,,;", None),
        ("de;*=a", None),
    ],
)
def test_language(accept_language: str, language: str | None) -> None:
    assert choose_language(accept_language, LANGUAGES) == language
