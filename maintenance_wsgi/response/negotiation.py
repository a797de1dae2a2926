"""Which format and which language a client prefers; any header value gets an answer."""

from functools import lru_cache

from werkzeug.datastructures import Accept, LanguageAccept, MIMEAccept
from werkzeug.http import parse_accept_header

HTML = "text/html; charset=utf-8"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"

# On a tie the later entry wins.
_FORMATS = (TEXT, PROBLEM, HTML)
_MEDIA_RANGES = {
    **dict.fromkeys(["text/html", "application/xhtml+xml", "text/*", "*/*"], HTML),
    **dict.fromkeys(["application/json", "application/*"], PROBLEM),
    "text/plain": TEXT,
}
# Tags that would lose their script when they are shortened, and the old code for Hebrew.
_ALIASES = {
    **dict.fromkeys(["zh", "zh-cn", "zh-sg", "zh-my"], "zh-hans"),
    **dict.fromkeys(["zh-tw", "zh-hk", "zh-mo"], "zh-hant"),
    "iw": "he",
}
_MAX_HEADER = 1000  # characters of a header that are read
_CACHE_SIZE = 1024
_Languages = tuple[str, ...] | frozenset[str]


def choose_format(accept: str) -> str:
    """Return the content type for an `Accept` value; HTML if it accepts all formats, or none."""
    return _choose_format(accept[:_MAX_HEADER])


@lru_cache(_CACHE_SIZE)
def _choose_format(accept: str) -> str:
    # The highest quality wins, then a type that is named over a wildcard, then the later format.
    ranks: list[tuple[float, bool, int]] = []
    for value, quality in _preferences(accept, MIMEAccept):
        media_range = value.partition(";")[0].strip().lower()
        found = PROBLEM if media_range.endswith("+json") else _MEDIA_RANGES.get(media_range)
        if found and quality > 0:
            ranks.append((quality, "*" not in media_range, _FORMATS.index(found)))
    return _FORMATS[max(ranks)[-1]] if ranks else HTML


def choose_language(accept_language: str, offered: _Languages) -> str | None:
    """Return the offered language that a visitor prefers, or None.

    Each range of `Accept-Language` is looked up on its own, the best first, and shortened from its
    end until it matches (RFC 4647 section 3.4).
    """
    return _choose_language(accept_language[:_MAX_HEADER], offered)


@lru_cache(_CACHE_SIZE)
def _choose_language(accept_language: str, offered: _Languages) -> str | None:
    by_tag = {language.lower(): language for language in offered}
    for language, quality in _preferences(accept_language, LanguageAccept):
        tag = language.lower().replace("_", "-") if quality > 0 else ""
        while tag:
            if found := by_tag.get(tag) or by_tag.get(_ALIASES.get(tag, "")):
                return found
            tag = tag.rpartition("-")[0]
    return None


def _preferences(value: str, kind: type[Accept]) -> Accept:
    try:
        return parse_accept_header(value, kind)
    except IndexError:  # pragma: no cover (werkzeug before 3.1.9 fails on a parameter named "*")
        return Accept()
