"""What the page says, in the visitor's language.

The sentences lie in `response/pages/messages.json`, one object for each language, which a
translator can read and extend: a new language needs nothing else than its object there, and a line
in `plural_category` where it has more than the two usual forms.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Unit = Literal["minutes", "hours", "days"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The sentences of one language; `{n}` and `{address}` stand for what is filled in.

    Attributes:
        language: its tag (RFC 5646).
        direction: `ltr` or `rtl`.
        title: heading of the page.
        unavailable: the phrase of status 503.
        detail: what is happening, where the operator says nothing.
        minutes, hours, days: when to come back, for each plural category that occurs.
        overdue: the planned end is past.
        retry: the link that loads the page again.
        address: the visitor's own address.
    """

    language: str
    direction: str
    title: str
    unavailable: str
    detail: str
    minutes: Mapping[str, str]
    hours: Mapping[str, str]
    days: Mapping[str, str]
    overdue: str
    retry: str
    address: str

    def back_in(self, minutes: int) -> str:
        """Say when to come back: in so many minutes, rounded as people round."""
        unit, number = _rounded(minutes)
        forms: Mapping[str, str] = getattr(self, unit)
        return forms[plural_category(self.language, number)].format(n=number)


def load_catalogs() -> dict[str, Catalog]:
    """Return the sentences of each language, by its tag."""
    text = (files("maintenance_wsgi") / "response/pages/messages.json").read_text(encoding="utf-8")
    return {
        language: Catalog(language=language, **sentences)
        for language, sentences in json.loads(text).items()
    }


def _rounded(minutes: int) -> tuple[Unit, int]:
    if minutes <= 10:  # noqa: PLR2004 (where people begin to round)
        return "minutes", max(minutes, 1)
    if minutes <= 115:  # noqa: PLR2004 (below two hours)
        return "minutes", -(-minutes // 5) * 5
    hours = round(minutes / 60)
    if hours <= 36:  # noqa: PLR2004 (a day and a half)
        return "hours", hours
    return "days", round(hours / 24)


def plural_category(language: str, n: int) -> str:
    """Return the plural category of a number, as Unicode's CLDR defines it for the language."""
    if language in {"ja", "ko", "zh-Hans", "zh-Hant"}:
        return "other"
    if language in {"cs", "pl", "uk"}:
        return _slavic_category(language, n)
    if n == 1:
        return "one"
    if language in {"ar", "he"} and n == 2:  # noqa: PLR2004 (the dual)
        return "two"
    if language == "ar":
        return _arabic_category(n % 100)
    return "other"


def _slavic_category(language: str, n: int) -> str:
    last_digit, last_two = n % 10, n % 100
    if n == 1 or (language == "uk" and last_digit == 1 and last_two != 11):  # noqa: PLR2004 (CLDR)
        return "one"
    if language == "cs":
        return "few" if n in {2, 3, 4} else "other"
    return "few" if last_digit in {2, 3, 4} and last_two not in {12, 13, 14} else "many"


def _arabic_category(last_two: int) -> str:
    if 3 <= last_two <= 10:  # noqa: PLR2004 (CLDR)
        return "few"
    return "many" if last_two >= 11 else "other"  # noqa: PLR2004 (CLDR)
