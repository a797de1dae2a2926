import json
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from string import Formatter

import pytest
from babel.dates import format_date

import maintenance_wsgi
from maintenance_wsgi.response.languages import Catalog, load_catalogs, plural_category

FILE = Path(maintenance_wsgi.__file__).with_name("response") / "pages/messages.json"
LANGUAGES = load_catalogs()
# What is shown: minutes up to two hours, hours up to a day and a half, then days.
SHOWN = {
    "minutes": [*range(1, 11), *range(15, 116, 5)],
    "hours": range(2, 37),
    "days": range(2, 400),
}
FILLED = {
    "planned": {"back_in"},
    "minutes": {"n"},
    "hours": {"n"},
    "days": {"n"},
    "date": {"day", "month", "year", "time"},
    "address": {"address"},
}
# The locale of a language whose dates differ from country to country.
LOCALES = {"en": "en_GB", "pt": "pt_PT"}


def test_languages_are_those_promised() -> None:
    promised = "en de fr es it pt nl pl sv cs tr uk ja zh-Hans zh-Hant ko ar he"
    assert set(LANGUAGES) == set(promised.split())
    assert {name for name, found in LANGUAGES.items() if found.direction == "rtl"} == {"ar", "he"}


def test_file_is_written_as_a_translator_finds_it() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_missing_or_superfluous(language: str) -> None:
    sentences = json.loads(FILE.read_text(encoding="utf-8"))[language]
    assert set(sentences) == {field.name for field in fields(Catalog)} - {"language"}
    for unit, numbers in SHOWN.items():
        needed = {plural_category(language, number) for number in numbers}
        assert set(sentences[unit]) == needed, unit


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_filled_with_what_there_is(language: str) -> None:
    sentences = json.loads(FILE.read_text(encoding="utf-8"))[language]
    for name, value in sentences.items():
        for text in texts_of(value):
            assert text == text.strip()
            assert "<" not in text
            names = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
            assert names <= FILLED.get(name, set()), text
    assert sentences["address"].endswith("{address}")
    assert "{back_in}" in sentences["planned"]


def texts_of(value: object) -> list[str]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize(
    ("language", "categories"),
    [
        ("en", {1: "one", 2: "other"}),
        ("ja", {1: "other"}),
        ("he", {2: "two", 3: "other"}),
        ("ar", {1: "one", 2: "two", 3: "few", 10: "few", 11: "many", 100: "other", 103: "few"}),
        ("cs", {1: "one", 4: "few", 22: "other"}),
        ("pl", {1: "one", 21: "many", 22: "few", 12: "many"}),
        ("uk", {21: "one", 11: "many", 23: "few", 5: "many"}),
    ],
)
def test_plural_category_is_the_one_of_the_cldr(language: str, categories: dict[int, str]) -> None:
    assert {n: plural_category(language, n) for n in categories} == categories


@pytest.mark.parametrize(
    ("language", "minutes", "words"),
    [
        ("en", 1, "about a minute"),
        ("en", 9, "about 9 minutes"),
        ("en", 38, "about 40 minutes"),
        ("en", 60, "about 60 minutes"),
        ("en", 116, "about 2 hours"),
        ("en", 36 * 60, "about 36 hours"),
        ("en", 48 * 60, "about 2 days"),
        ("de", 1, "etwa einer Minute"),
        ("pl", 3, "za około 3 minuty"),
        ("uk", 21 * 60, "через 21 годину"),
        ("ar", 2, "دقيقتين"),
        ("zh-Hant", 40, "40 分鐘"),
    ],
)
def test_time_is_told_as_people_tell_it(language: str, minutes: int, words: str) -> None:
    assert words in LANGUAGES[language].format_time_left(minutes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_time_can_be_told(language: str) -> None:
    for minutes in [*range(1, 5000), 10**6, 10**9]:
        assert LANGUAGES[language].format_time_left(minutes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_date_is_written_as_the_cldr_has_it(language: str) -> None:
    locale = LOCALES.get(language, language.replace("-", "_"))
    for month in range(1, 13):
        for day in (1, 23):
            time = datetime(2101, month, day, 8, 5, tzinfo=UTC)
            date, end = format_date(time, "long", locale), " (UTC)"
            told = LANGUAGES[language].format_time(time)
            assert told.startswith(date)
            assert re.fullmatch("[,\u060c]? 08:05", told.removeprefix(date).removesuffix(end))


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (0, "18:00 (UTC)"),
        (1, "18:00 (UTC+1)"),
        (5.5, "18:00 (UTC+5:30)"),
        (-3.5, "18:00 (UTC\N{MINUS SIGN}3:30)"),
        (-11, "18:00 (UTC\N{MINUS SIGN}11)"),
        (14, "18:00 (UTC+14)"),
    ],
)
def test_time_of_today_is_told_with_its_offset(hours: float, told: str) -> None:
    now = datetime.now(timezone(timedelta(hours=hours)))
    time = now.replace(hour=18, minute=0)
    for language in LANGUAGES.values():
        assert language.format_time(time) == told
    tomorrow = LANGUAGES["en"].format_time(time + timedelta(days=1))
    assert tomorrow.endswith(f"{(time + timedelta(days=1)).year}, {told}")
