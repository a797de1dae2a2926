"""Which format and which language a client prefers; no header value is too odd for an answer."""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter

from werkzeug.datastructures import Accept
from werkzeug.wrappers import Request

HTML = "text/html; charset=utf-8"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"

# The later is preferred where a client likes several as well.
_ORDER = (TEXT, PROBLEM, HTML)
_MEDIA_RANGES = {
    "text/html": HTML,
    "application/xhtml+xml": HTML,
    "text/*": HTML,
    "*/*": HTML,
    "application/json": PROBLEM,
    "application/*": PROBLEM,
    "text/plain": TEXT,
}
# Tags that shortening would not lead to the right script, and the old code of Hebrew.
_ALIASES = {
    "zh": "zh-hans",
    "zh-cn": "zh-hans",
    "zh-sg": "zh-hans",
    "zh-my": "zh-hans",
    "zh-tw": "zh-hant",
    "zh-hk": "zh-hant",
    "zh-mo": "zh-hant",
    "iw": "he",
}
# What a client sends beyond so many characters is not looked at; the caches hold so many values.
_MAX_HEADER = 1000
_CACHED = 1024


def choose_format(accept: str) -> str:
    """Return the content type for an `Accept` value: HTML in doubt, and where it accepts all."""
    return _choose_format(accept[:_MAX_HEADER])


@lru_cache(_CACHED)
def _choose_format(accept: str) -> str:
    best, rank = HTML, (0.0, False, 0)
    request = Request({"HTTP_ACCEPT": accept})
    for value, quality in _preferences(lambda: request.accept_mimetypes):
        media_range = value.partition(";")[0].strip().lower()
        found = PROBLEM if media_range.endswith("+json") else _MEDIA_RANGES.get(media_range)
        if found and quality > 0:
            found_rank = (quality, "*" not in media_range, _ORDER.index(found))
            best, rank = max((best, rank), (found, found_rank), key=itemgetter(1))
    return best


def choose_language(accept_language: str, offered: tuple[str, ...]) -> str | None:
    """Return the offered language that a visitor prefers, or None.

    Each range of `Accept-Language` is looked up by itself, best first, and shortened from its end
    until it fits (RFC 4647 section 3.4).
    """
    return _choose_language(accept_language[:_MAX_HEADER], offered)


@lru_cache(_CACHED)
def _choose_language(accept_language: str, offered: tuple[str, ...]) -> str | None:
    by_tag = {language.lower(): language for language in offered}
    request = Request({"HTTP_ACCEPT_LANGUAGE": accept_language})
    for language, quality in _preferences(lambda: request.accept_languages):
        tag = language.lower().replace("_", "-") if quality > 0 else ""
        while tag:
            found = by_tag.get(tag) or by_tag.get(_ALIASES.get(tag, ""))
            if found:
                return found
            tag = tag.rpartition("-")[0]
    return None


def _preferences(read: Callable[[], Accept]) -> Accept:
    preferences = Accept()
    with suppress(IndexError):  # a parameter named "*" is too much for werkzeug before 3.1.9
        preferences = read()
    return preferences
