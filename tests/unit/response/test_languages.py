import json
from dataclasses import fields
from pathlib import Path
from string import Formatter

import pytest

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
FILLED = {"minutes": {"n"}, "hours": {"n"}, "days": {"n"}, "address": {"address"}}


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
        for text in value.values() if isinstance(value, dict) else [value]:
            assert text == text.strip()
            assert "<" not in text
            names = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
            assert names <= FILLED.get(name, set()), text
    assert "{address}" in sentences["address"]


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
