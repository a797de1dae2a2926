"""The text of the answer in each format, from what is known of the maintenance window."""

import json
import re
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import NamedTuple

from maintenance_wsgi.response.languages import Catalog
from maintenance_wsgi.state.flag import Window

# Where the visitor's address goes; the last one in a page, below the operator's message.
ADDRESS_MARK = "\0"
_PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")


class TimeLeft(NamedTuple):
    """Where the window stands.

    Attributes:
        retry_after: seconds for `Retry-After`, or None.
        minutes: left until the planned end, 0 where it is past, None where none is planned.
    """

    retry_after: int | None
    minutes: int | None


def load_template() -> str:
    """Return the built-in page with its placeholders."""
    return (files("maintenance_wsgi") / "response/pages/page.html").read_text(encoding="utf-8")


def render_html(
    template: str,
    sentences: Catalog,
    details: Window,
    countdown: TimeLeft,
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


def render_problem(sentences: Catalog, details: Window, countdown: TimeLeft) -> str:
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


def render_text(sentences: Catalog, details: Window, countdown: TimeLeft) -> str:
    """Return the answer as plain text."""
    paragraphs = [sentences.title, details.message or sentences.detail]
    paragraphs.append("\n".join(filter(None, _planned(sentences, details, countdown))))
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _planned(sentences: Catalog, details: Window, countdown: TimeLeft) -> tuple[str, str]:
    """Return when to come back: a sentence that needs no time zone, and the time in UTC."""
    if countdown.minutes is None or details.until is None:
        return "", ""
    if countdown.minutes == 0:
        return sentences.overdue, ""
    is_today = details.until.date() == datetime.now(UTC).date()
    clock = f"{details.until:%H:%M} UTC" if is_today else f"{details.until:%Y-%m-%d %H:%M} UTC"
    return sentences.back_in(countdown.minutes), clock


def _planned_html(sentences: Catalog, details: Window, countdown: TimeLeft) -> str:
    sentence, clock = _planned(sentences, details, countdown)
    if clock and details.until:
        iso = details.until.isoformat(timespec="seconds")
        sentence += f'\n<time datetime="{iso}">{clock}</time>'
    return sentence and f"<p>{sentence}</p>\n"
