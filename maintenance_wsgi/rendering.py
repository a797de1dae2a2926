"""The text of the answer in each format, from what is known of the maintenance window."""

import json
import re
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import NamedTuple

from maintenance_wsgi.details import Details
from maintenance_wsgi.languages import Sentences

# Where the visitor's address goes; the last one in a page, below the operator's message.
ADDRESS_MARK = "\0"
_PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")


class Countdown(NamedTuple):
    """Where the window stands.

    Attributes:
        retry_after: seconds for `Retry-After`, or None.
        minutes: left until the planned end, 0 where it is past, None where none is planned.
    """

    retry_after: int | None
    minutes: int | None


def load_template() -> str:
    """Return the built-in page with its placeholders."""
    return (files("maintenance_wsgi") / "pages/page.html").read_text(encoding="utf-8")


def render_html(
    template: str,
    sentences: Sentences,
    details: Details,
    countdown: Countdown,
    *,
    with_address: bool,
) -> str:
    """Return the page, with a mark where the visitor's address goes."""
    address = sentences.address.format(address=f'<span dir="ltr">{ADDRESS_MARK}</span>')
    values = {
        "language": sentences.language,
        "direction": sentences.direction,
        "title": sentences.title,
        "detail": escape(details.message or sentences.detail),
        "planned": _planned_html(sentences, details, countdown),
        "retry": sentences.retry,
        "footer": f"<footer><p>{address}</p></footer>\n" if with_address else "",
    }
    return _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], template)


def render_problem(sentences: Sentences, details: Details, countdown: Countdown) -> str:
    """Return the problem document (RFC 9457); its title is the status phrase (section 4.2.1)."""
    members = {
        "type": "about:blank",
        "title": sentences.unavailable,
        "status": 503,
        "detail": details.message or sentences.detail,
        "retry_after": countdown.retry_after,
        "until": details.until and details.until.isoformat(),
    }
    known = {name: value for name, value in members.items() if value is not None}
    return json.dumps(known, ensure_ascii=False)


def render_text(sentences: Sentences, details: Details, countdown: Countdown) -> str:
    """Return the answer as plain text."""
    paragraphs = [sentences.title, details.message or sentences.detail]
    planned = _planned(sentences, countdown)
    if planned and countdown.minutes and details.until:
        planned = f"{planned} ({_clock(details.until)})"
    return "\n\n".join(filter(None, [*paragraphs, planned])) + "\n"


def _planned(sentences: Sentences, countdown: Countdown) -> str:
    if countdown.minutes is None:
        return ""
    return sentences.back_in(countdown.minutes) if countdown.minutes else sentences.overdue


def _planned_html(sentences: Sentences, details: Details, countdown: Countdown) -> str:
    planned = _planned(sentences, countdown)
    if planned and countdown.minutes and details.until:
        iso = details.until.isoformat(timespec="seconds")
        planned += f' <time dir="ltr" datetime="{iso}">({_clock(details.until)})</time>'
    return planned and f'<p class="planned">{planned}</p>\n'


def _clock(until: datetime) -> str:
    today = until.date() == datetime.now(UTC).date()
    return f"{until:%H:%M} UTC" if today else f"{until:%Y-%m-%d %H:%M} UTC"
