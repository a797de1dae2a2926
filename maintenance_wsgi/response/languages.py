"""The words of the answer, in the visitor's language.

`response/pages/messages.json` holds one object per language, for translators to read and extend. A
new language needs only its object there, and a line in `plural_category` if it has more than the
two usual plural forms.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Unit = Literal["minutes", "hours", "days"]


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """The messages of one language; `{n}` and `{address}` are placeholders in them.

    A catalog is compared and hashed by identity, so that it can be a key of a cache.

    Attributes:
        language: its tag (RFC 5646).
        direction: `ltr` or `rtl`.
        title: the heading of the page.
        unavailable: the phrase of status 503.
        detail: the explanation, if the operator gives no message.
        minutes: the time left, for each plural category that occurs.
        hours: the same in hours.
        days: the same in days.
        overdue: the sentence for a planned end that is past.
        retry: the link that loads the page again.
        address: the visitor's address.
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

    def format_time_left(self, minutes: int) -> str:
        """Return the sentence for a planned end in about that many minutes, rounded."""
        unit, number = _rounded(minutes)
        forms: Mapping[str, str] = getattr(self, unit)
        return forms[plural_category(self.language, number)].format(n=number)


def load_catalogs() -> dict[str, Catalog]:
    """Return the catalog of each language, by its tag."""
    data = (files("maintenance_wsgi.response") / "pages/messages.json").read_bytes()
    return {
        language: Catalog(language=language, **messages)
        for language, messages in json.loads(data).items()
    }


def _rounded(minutes: int) -> tuple[Unit, int]:
    if minutes <= 10:  # noqa: PLR2004 (people count up to ten exactly)
        return "minutes", max(minutes, 1)
    if minutes <= 115:  # noqa: PLR2004 (below two hours)
        return "minutes", -(-minutes // 5) * 5
    hours = round(minutes / 60)
    if hours <= 36:  # noqa: PLR2004 (a day and a half)
        return "hours", hours
    return "days", round(hours / 24)


def plural_category(language: str, n: int) -> str:
    """Return the plural category of a number (Unicode CLDR, "Language Plural Rules")."""
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
