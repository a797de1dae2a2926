"""The body of the 503: the built-in answers and the operator's own page, each from a template.

A placeholder `{{ name }}` is filled in, escaped. A section `{{# name }}...{{/ name }}` is left out
if its value is empty. Everything else is sent as it is. An operator's page is an HTML file, or a
directory with one file per language, and its placeholders are:

- `message`: what the operator says, as text.
- `back_in`: the time left, "in about 40 minutes" in the visitor's language.
- `until_local`: the planned end, "18:00 (UTC+1)", after the date if that is not today.
- `until`: the planned end (RFC 3339). If it is past, all three of these are empty.
- `retry_after`: seconds.
- `client_ip`: the visitor's address, if it is public.
- `language`: the tag of the page's language if its name has one, otherwise of the visitor's.
"""

import json
import os
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from html import escape
from importlib.resources import files

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.response.languages import Catalog
from maintenance_wsgi.response.negotiation import HTML, PROBLEM, TEXT, choose_language
from maintenance_wsgi.state.cached_file import CachedFile
from maintenance_wsgi.state.files import NOT_FOUND
from maintenance_wsgi.state.flag import Window

PAGE_LIMIT = 1024 * 1024  # bytes
_TRANSLATED_PAGE = re.compile(r"page\.([0-9A-Za-z_-]+)\.html")
CUSTOM_PLACEHOLDERS: tuple[str, ...] = (
    *("message", "back_in", "until_local", "until", "retry_after", "client_ip", "language"),
)
# What people wrote: escaping makes it safe in HTML text and in quoted attributes only.
FREE_TEXTS = ("message", "back_in", "until_local")
_WORDS = ("direction", "title", "unavailable", "planned", "retry", "address", "script")
_PARAGRAPH_END = re.compile(r"\n\s*\n")
# A link ends before the sentence's punctuation, and where a script begins that has no blanks.
_IN_LINK = r"[^\s<>\"()«»\u2000-\u206f\u0e00-\u0e7f\u2e80-\ua4cf\uac00-\ud7ff\uf900-\uffef]"
_LINK = re.compile(rf"(https://(?:{_IN_LINK}|\({_IN_LINK}*\))+(?<![.,;:!?'*\]]))")

Values = Mapping[str, str]
# A text, or the name of a placeholder; and the names of the sections that it stands in.
_Piece = tuple[bytes | str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that only lacks what differs from client to client.

    Attributes:
        headers: the response headers that describe it.
        parts: its body.
        lacks: the place among the parts, and the name, of each value that it lacks.
    """

    headers: Sequence[tuple[str, str]]
    parts: Sequence[bytes]
    lacks: Sequence[tuple[int, str]]

    def fill(self, values: Values) -> bytes:
        """Return the body; the values need no escaping."""
        parts = [*self.parts]
        for place, name in self.lacks:
            parts[place] = values[name].encode()
        return b"".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A page with placeholders and sections; a template is compared and hashed by identity.

    Attributes:
        pieces: the page, see `pieces_of`.
        escaped: returns values as the page holds them.
        described: returns the response headers for a page and its values.
    """

    pieces: Sequence[_Piece]
    escaped: Callable[[Values], Values]
    described: Callable[[bytes, Values], list[tuple[str, str]]]

    def bind(self, values: Values, later: Collection[str]) -> Answer:
        """Return the page with these values in place; `later` names those that a client adds."""
        escaped = self.escaped(values)
        parts = [bytearray()]
        lacks: list[tuple[int, str]] = []
        for part, sections in self.pieces:
            if not all(name in later or escaped.get(name) for name in sections):
                continue
            if isinstance(part, bytes):
                parts[-1] += part
            elif part not in later:
                parts[-1] += escaped.get(part, "").encode()
            else:
                lacks.append((len(parts), part))
                parts += [bytearray(), bytearray()]
        headers = self.described(b"".join(parts), values)
        return Answer(headers, [bytes(part) for part in parts], lacks)


def lone_tags(page: bytes) -> list[str]:
    """Return the tags of a custom page that begin or end no section, and are sent as they are."""
    tags = _tags(page, CUSTOM_PLACEHOLDERS)
    paired = _paired(tags)
    return [tag[0].decode() for tag in tags if tag[1] and tag not in paired]


def pieces_of(page: bytes, names: Iterable[str]) -> Iterator[_Piece]:
    """Yield the pieces of a page that may hold these placeholders; any bytes are a page."""
    tags = _tags(page, names)
    paired = _paired(tags)
    within: list[tuple[str, ...]] = [()]
    end = 0
    for tag in tags:
        yield page[end : tag.start()], within[-1]
        end, name = tag.end(), tag[2].decode()
        if not tag[1]:
            yield name, within[-1]
        elif tag not in paired:
            yield tag[0], within[-1]
        elif tag[1] == b"/":
            within.pop()
        else:
            within.append(within[-1] if name in within[-1] else (*within[-1], name))
    yield page[end:], ()


def _tags(page: bytes, names: Iterable[str]) -> list[re.Match[bytes]]:
    return list(re.finditer(rf"\{{\{{([#/]?) *({'|'.join(names)}) *\}}\}}".encode(), page))


def _paired(tags: Iterable[re.Match[bytes]]) -> set[re.Match[bytes]]:
    """Return the tags that begin or end a section; sections do not overlap."""
    paired = set()
    begun: dict[bytes, list[re.Match[bytes]]] = defaultdict(list)
    for tag in tags:
        if tag[1] == b"#":
            begun[tag[2]].append(tag)
        elif tag[1] == b"/" and begun[tag[2]]:
            first = begun[tag[2]].pop()
            paired |= {first, tag}
            for others in begun.values():
                while others and others[-1].start() > first.start():
                    others.pop()
    return paired


def load_templates() -> dict[str, Template]:
    """Return the built-in template of each content type."""
    folder = files("maintenance_wsgi.response") / "pages"
    sources = {
        HTML: ("page.html", _page_values),
        TEXT: ("page.txt", _text_values),
        PROBLEM: ("problem.json", _problem_values),
    }
    names = (*CUSTOM_PLACEHOLDERS, *_WORDS)
    return {
        kind: Template(
            tuple(pieces_of((folder / name).read_bytes(), names)), escaped, partial(_built_in, kind)
        )
        for kind, (name, escaped) in sources.items()
    }


def _built_in(kind: str, page: bytes, values: Values) -> list[tuple[str, str]]:
    headers = [("Content-Type", kind), ("Content-Language", values["language"])]
    return [*headers, ("Content-Security-Policy", _policy_of(page))] if kind == HTML else headers


def values_of(window: Window, minutes: int | None, catalog: Catalog, language: str) -> Values:
    """Return what an answer says to all visitors who speak alike, as plain text.

    Args:
        window: what the flag says.
        minutes: until the planned end; 0 if it is past, None if no end is planned.
        catalog: the words of the visitor's language.
        language: the tag of the operator's message to show; an empty string for the general one.
    """
    back_in = catalog.format_time_left(minutes) if minutes else ""
    overdue = catalog.overdue if minutes == 0 else ""
    message = (window.messages or {}).get(language) or window.message
    return {
        "message": message or (catalog.read_only if window.read_only else ""),
        "message_language": language,
        "detail": catalog.detail,
        "back_in": back_in,
        "planned": catalog.planned.format(back_in=back_in) if back_in else overdue,
        "until": window.until.isoformat(timespec="seconds") if window.until else "",
        "until_local": catalog.format_time(window.until) if window.until and minutes else "",
        "language": catalog.language,
        "direction": catalog.direction,
        "title": catalog.title,
        "unavailable": catalog.unavailable,
        "retry": catalog.retry,
        "address": catalog.address.removesuffix("{address}"),
        # A form that was refused must stay where it is, so that it is not lost.
        "script": "" if window.read_only else "on",
    }


def _text_values(values: Values) -> Values:
    return {**values, "message": values["message"] or values["detail"]}


def _problem_values(values: Values) -> Values:
    texts = _text_values(values).items()
    return {name: text and json.dumps(text, ensure_ascii=False) for name, text in texts}


def _page_values(values: Values) -> Values:
    language, message = values["message_language"], _text_values(values)["message"]
    is_foreign = language and language.lower() != values["language"].lower()
    lang = f' lang="{escape(language)}"' if is_foreign else ""
    texts = _PARAGRAPH_END.split(message.strip())
    paragraphs = [f'<p class="message" dir="auto"{lang}>{_linked(text)}</p>' for text in texts]
    return {**_escaped(values), "message": "\n".join(paragraphs)}


def _linked(text: str) -> str:
    """Return HTML of a text, whose web addresses are links and nothing else is."""
    parts = [escape(part) for part in _LINK.split(text)]
    parts[1::2] = [
        f'<a dir="ltr" href="{link}" rel="noopener nofollow">{link}</a>' for link in parts[1::2]
    ]
    return "".join(parts)


def _custom_values(values: Values) -> Values:
    until = values["until_local"] and values["until"]
    return _escaped({**values, "until": until})


def _escaped(values: Values) -> dict[str, str]:
    return {name: escape(text) for name, text in values.items()}


def _policy_of(page: bytes) -> str:
    """Return a policy that allows a page its own style, script and icon, and nothing else (CSP 3).

    The script may ask for what lies on the page's own origin.
    """
    style, script = (_hash_of(element, page) for element in (b"style", b"script"))
    may_run = f" script-src {script}; connect-src 'self';" if script else ""
    return (
        f"default-src 'none'; style-src {style};{may_run} img-src data:; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    )


def _hash_of(element: bytes, page: bytes) -> str:
    found = re.search(rb"<%b(?: [^>]*)?>(.*?)</%b>" % (element, element), page, re.DOTALL)
    return f"'sha256-{b64encode(sha256(found[1]).digest()).decode()}'" if found else ""


class CustomPage:
    """The operator's own page; its files are read again when they change.

    Args:
        path: an HTML file, or a directory with `page.html` and `page.<language>.html`.

    Raises:
        ConfigError: the page does not exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = absolute_path("page", path)
        if not os.path.exists(self._path):
            raise ConfigError(f"page: {self._path!r} cannot be found; create it, or correct it")
        self._files: dict[str, CachedFile[Template]] = {}

    def select(self, accept_language: str) -> Template | None:
        """Return the page for an `Accept-Language` value; None if none can be read, logged once."""
        try:
            names = os.listdir(self._path)
        except OSError:
            return self._read(self._path)
        offered = translated_pages(names)
        if language := choose_language(accept_language, tuple(offered)):
            page = self._read(os.path.join(self._path, offered[language]), language)
            if page:
                return page
        return self._read(os.path.join(self._path, "page.html"))

    def _read(self, path: str, language: str | None = None) -> Template | None:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = CachedFile(
                path,
                lambda contents: custom_template(contents.data, language),
                limit=PAGE_LIMIT,
                fallback="the built-in page is served",
            )
        try:
            return file.read()
        except NOT_FOUND as error:
            file.warn_once(error)
            return None


def translated_pages(names: Iterable[str]) -> dict[str, str]:
    """Return the files of a directory that hold translations, by tag; `pt_BR` counts as `pt-BR`."""
    return {
        match[1].replace("_", "-"): name
        for name in sorted(names, reverse=True)
        if (match := _TRANSLATED_PAGE.fullmatch(name))
    }


def custom_template(page: bytes, language: str | None = None) -> Template:
    """Return the template of an operator's page, whose language has this tag if it is known."""
    own = {"language": language} if language else {}
    try:
        page.decode()
    except UnicodeDecodeError:
        headers = [("Content-Type", "text/html")]  # the page itself must name its charset
    else:
        headers = [("Content-Type", HTML)]
    headers += [("Content-Language", tag) for tag in own.values()]
    return Template(
        tuple(pieces_of(page, CUSTOM_PLACEHOLDERS)),
        lambda values: _custom_values({**values, **own}),
        lambda *_: headers,
    )
