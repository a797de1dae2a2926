"""The words of the answer, in the visitor's language.

`response/pages/messages.json` holds one object per language, for translators to read and extend. A
new language needs only its object there, and a line in `plural_category` if it has more than the
two usual plural forms.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """The messages of one language; words in braces are placeholders in them.

    A catalog is compared and hashed by identity, so that it can be a key of a cache.
    """

    language: str  # its tag (RFC 5646)
    direction: str  # `ltr` or `rtl`
    title: str  # the heading of the page
    unavailable: str  # the phrase of status 503
    detail: str  # the explanation, if the operator gives no message
    read_only: str  # likewise in read-only mode, for a request that may write
    planned: str  # the sentence for a planned end, in which `{back_in}` is the time left
    minutes: Mapping[str, str]  # the time left, for each plural category that occurs
    hours: Mapping[str, str]
    days: Mapping[str, str]
    date: str  # a time on another day (Unicode CLDR, the long format)
    months: Sequence[str]  # their names as `date` needs them; empty if it needs their numbers
    overdue: str  # the sentence for a planned end that is past
    retry: str  # the link that loads the page again
    address: str  # the visitor's address, which ends it

    def format_time_left(self, minutes: int) -> str:
        """Return "in about 40 minutes" in this language; the number is rounded."""
        forms, number = self._rounded(minutes)
        return forms[plural_category(self.language, number)].format(n=number)

    def format_time(self, time: datetime) -> str:
        """Return "18:00 (UTC+1)", with the date before it if that is not today there."""
        clock = f"{time:%H:%M} ({_offset(time)})"
        if time.date() == datetime.now(time.tzinfo).date():
            return clock
        month = self.months[time.month - 1] if self.months else time.month
        return self.date.format(day=time.day, month=month, year=time.year, time=clock)

    def _rounded(self, minutes: int) -> tuple[Mapping[str, str], int]:
        if minutes <= 10:  # noqa: PLR2004 (people count up to ten exactly)
            return self.minutes, max(minutes, 1)
        if minutes <= 115:  # noqa: PLR2004 (below two hours)
            return self.minutes, -(-minutes // 5) * 5
        hours = round(minutes / 60)
        if hours <= 36:  # noqa: PLR2004 (a day and a half)
            return self.hours, hours
        return self.days, round(hours / 24)


def _offset(time: datetime) -> str:
    """Return the time's offset as people write it: `UTC`, `UTC+1` or `UTC+5:30`."""
    minutes = (time.utcoffset() or timedelta()) // timedelta(minutes=1)
    hours, rest = divmod(abs(minutes), 60)
    sign = "+" if minutes > 0 else "\N{MINUS SIGN}"
    return f"UTC{sign}{hours}{f':{rest:02}' if rest else ''}" if minutes else "UTC"


def load_catalogs() -> dict[str, Catalog]:
    """Return the catalog of each language, by its tag."""
    data = (files("maintenance_wsgi.response") / "pages/messages.json").read_bytes()
    return {language: Catalog(language, **words) for language, words in json.loads(data).items()}


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
