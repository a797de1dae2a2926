"""`.maintenance.ip`: read leniently about spelling, strictly about doubt; written as Magento does.

An address that an operator commented out, in any tool's way, or only mentioned in a note must not
be exempt. So the rest of a piece is not believed after its first unreadable word.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from string import punctuation
from typing import NamedTuple

from netaddr import IPNetwork

from maintenance_wsgi.arguments import string_tuple
from maintenance_wsgi.errors import EntryError, StateError
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.networks import format_network, intended_networks, parse_network

LIST_NAME = ".maintenance.ip"
LIST_LIMIT = 64 * 1024 * 1024  # bytes

Networks = tuple[IPNetwork, ...]

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# What Magento's reader trims from both ends of the file.
_TRIMMED = " \t\n\r\0\x0b"
_LINE_END = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|$)")
_BLANK, _SEPARATORS = " \t\r\n", ", \t"
_WORD = re.compile(r"[ \t]*([^ \t]+)")
# A line that begins so is a comment in some tool: "*", "-", "//", "[", quotes. ":" begins "::1".
_COMMENT_LINE = re.compile(rf"[ \t]*[{re.escape(punctuation.translate(dict.fromkeys(b',:')))}]")
_COMMENT = re.compile(r"#|(?:(?<=[ \t,])|^)(?://|;)")
_BLANKS = re.compile(r"[ \t]+")
_SHOWN = 10


class Entry(NamedTuple):
    """A word of the list; `network` is None if it is not valid, `piece` is what is around it."""

    line: int
    text: str
    network: IPNetwork | None
    piece: str = ""

    @property
    def meant(self) -> str:
        """The valid spelling that was meant, or an empty string if that is not clear."""
        return intended_networks(self.piece) or intended_networks(self.text)

    def __str__(self) -> str:
        """Return the word, safe to print, with its line and the spelling that was meant."""
        return f"{quoted(self.text)} (line {self.line}{self.meant and f', use {self.meant}'})"


@dataclass(slots=True)
class InvalidEntries:
    """The first ten invalid entries of a list, and their number; `str()` fits on one line."""

    first: list[Entry] = field(default_factory=list)
    count: int = 0

    def add(self, entry: Entry) -> None:
        """Count an entry."""
        self.count += 1
        if self.count <= _SHOWN:
            self.first.append(entry)

    def __str__(self) -> str:
        return ", ".join(map(str, self.first)) + _more(self.count)


@dataclass(frozen=True, slots=True)
class ExemptionList:
    """What a list says: its valid entries in their order, and the words that are not valid."""

    networks: Networks
    invalid: InvalidEntries


def quoted(text: str) -> str:
    """Return a string from the list for a message: a look-alike of a digit shows as an escape."""
    return f"'{printable(text, 64).encode('ascii', 'backslashreplace').decode('ascii')}'"


def read_entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries of a list, valid or not; any bytes are a list.

    A line has pieces, separated by commas, and a piece has words, separated by blanks. `#`, and a
    word that begins with `//` or `;`, start a comment to the end of the line. A line that begins
    with ASCII punctuation other than `,` and `:` is a comment. The list is UTF-8, or UTF-16 with
    its byte order mark; a byte that cannot be decoded makes its word invalid.
    """
    for number, line in _lines(data):
        for piece in _without_comment(line).split(","):
            for word in filter(None, _BLANKS.split(piece)):
                network = parse_network(word)
                if network is None or not has_clients(network):
                    yield Entry(number, word, None, piece)
                    break
                yield Entry(number, word, network)


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    content = _decoded(data, "backslashreplace")
    body = content.lstrip(_TRIMMED)
    first = 1 + len(_LINE_END.findall(content[: len(content) - len(body)]))
    return enumerate(_LINE_END.split(body.rstrip(_TRIMMED)), first)


def _decoded(data: bytes, errors: str) -> str:
    is_utf_16 = data.startswith(UTF_16_MARKS)
    return data.decode(*(("utf-16", "backslashreplace") if is_utf_16 else ("utf-8-sig", errors)))


def _without_comment(line: str) -> str:
    if _COMMENT_LINE.match(line):
        return ""
    comment = _COMMENT.search(line)
    return line[: comment.start()] if comment else line


def has_clients(network: IPNetwork) -> bool:
    """Tell whether a client can have an address of the network.

    None can in 0.0.0.0/8, 224.0.0.0/4, 255.0.0.0/8 (RFC 6890, RFC 5771), ff00::/8 and `::`
    (RFC 4291): such an entry is a mistake, a netmask for example.
    """
    value, length = network.value or 0, network.prefixlen
    if network.version == 4:  # noqa: PLR2004 (IPv4)
        is_multicast = value >> 28 == 0xE and length >= 4  # noqa: PLR2004 (224.0.0.0/4)
        return not is_multicast and not (value >> 24 in {0, 255} and length >= 8)  # noqa: PLR2004 (bits)
    return not (value >> 120 == 0xFF and length >= 8) and (value > 0 or length < 128)  # noqa: PLR2004 (bits)


def valid_networks(data: bytes, invalid: InvalidEntries) -> Iterator[IPNetwork]:
    """Yield the networks of a list one by one; add the invalid entries to `invalid`."""
    for entry in read_entries(data):
        if entry.network is None:
            invalid.add(entry)
        else:
            yield entry.network


def parse_exemptions(data: bytes) -> ExemptionList:
    """Return what the bytes of a list say."""
    invalid = InvalidEntries()
    return ExemptionList(tuple(valid_networks(data, invalid)), invalid)


def parse_entries(entries: Iterable[str]) -> Networks:
    """Return the networks of a list that is to be written, one for each string.

    Raises:
        EntryError: strings are not valid addresses or networks; the message names them.
    """
    strings = string_tuple("exemptions", entries)
    networks = {entry: parse_network(entry.strip()) for entry in strings}
    invalid = [entry for entry, found in networks.items() if not found or not has_clients(found)]
    if invalid:
        raise EntryError(_invalid_message(invalid), tuple(invalid))
    return tuple(network for network in networks.values() if network is not None)


def _invalid_message(entries: Sequence[str]) -> str:
    shown = first_ten([*map(quoted, entries)])
    meant = next(filter(None, map(intended_networks, entries[:_SHOWN])), "")
    wrong = "is not a valid address or network" if len(entries) == 1 else "are not valid"
    remedy = meant or "203.0.113.7, 10.0.0.0/8, 2001:db8::7 or 2001:db8::/32"
    return f"exemptions: {shown} {wrong}; use {remedy}"


def first_ten(items: Sequence[str]) -> str:
    """Return the first ten items, joined by commas, and how many more there are."""
    return ", ".join(items[:_SHOWN]) + _more(len(items))


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""


def canonical_entries(networks: Iterable[IPNetwork]) -> tuple[str, ...]:
    """Return the canonical spelling of each network, without duplicates, in their order."""
    return tuple(dict.fromkeys(map(format_network, networks)))


def render_exemptions(networks: Iterable[IPNetwork]) -> bytes:
    """Return the list as Magento writes it: joined by commas, no spaces, no final newline."""
    return ",".join(canonical_entries(networks)).encode("ascii")


def append_to(data: bytes, networks: Networks) -> bytes:
    """Return a list with the networks appended that it does not hold; what stands there stays."""
    listed = set(parse_exemptions(data).networks)
    new = canonical_entries(network for network in networks if network not in listed)
    if not new:
        return data
    content = _decoded(data, "surrogateescape")
    body = content.rstrip(_TRIMMED)
    tail = content[len(body) :]
    first, *others = (line for _, line in _lines(data))
    if others or _without_comment(first) != first:
        line_end = _LINE_END.search(content)
        body = (line_end[0] if line_end else "\n").join([body, *new])
    else:  # Magento's form
        body = ",".join(filter(None, [body.rstrip(_SEPARATORS), *new]))
    return (body + tail).encode("utf-8", "surrogateescape")


def cut_from(data: bytes, networks: Networks) -> bytes:
    """Return a list without these networks, which it must hold; all else stays.

    Raises:
        StateError: a network is not an entry of the list.
    """
    listed = parse_exemptions(data).networks
    if missing := [network for network in networks if network not in listed]:
        shown = first_ten(canonical_entries(missing))
        raise StateError(f"exemptions: {shown} not found in the list; use entries that are in it")
    lines = _LINE.findall(_decoded(data, "surrogateescape"))
    cut = [(line, _cut_line(line, networks) + end) for line, end in lines]
    # A line that held nothing else is removed with its end.
    left = "".join(rest for line, rest in cut if rest.strip(_BLANK) or not line.strip(_BLANK))
    left_data = left.encode("utf-8", "surrogateescape") if left.strip(_TRIMMED) else b""
    # What an entry kept out of force, as a comment or a NUL can be, must not come into force.
    kept = tuple(network for network in listed if network not in networks)
    return left_data if parse_exemptions(left_data).networks == kept else render_exemptions(kept)


def _cut_line(line: str, networks: Networks) -> str:
    body = _without_comment(line)
    # Each comma stays between the pieces that stay: it ends what an invalid word hides.
    pieces = [(piece, _cut_piece(piece, networks)) for piece in body.split(",")]
    left = ",".join(rest for piece, rest in pieces if rest == piece or rest.strip(_BLANK))
    if left == body:
        return line
    kept = [left.strip(_BLANK).rstrip(_SEPARATORS), line[len(body) :]]
    return " ".join(filter(None, kept))


def _cut_piece(piece: str, networks: Networks) -> str:
    return _WORD.sub(lambda word: "" if parse_network(word[1]) in networks else word[0], piece)


def dropped(before: bytes, after: bytes) -> list[str]:
    """Return the entries, words and comments of a list, printable, that another does not hold."""
    kept = set(_items(after))
    return [item for item in dict.fromkeys(_items(before)) if item not in kept]


def _items(data: bytes) -> Iterator[str]:
    for entry in read_entries(data):
        yield format_network(entry.network) if entry.network else quoted(entry.text)
    comments = (line[len(_without_comment(line)) :].strip() for _, line in _lines(data))
    yield from map(quoted, filter(None, comments))
