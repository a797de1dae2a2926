"""The text of `.maintenance.ip`: read leniently, because people edit it; written strictly.

What is written is Magento's own form, so that a shop on the same directory reads it as well.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netaddr import IPNetwork

from maintenance_wsgi.errors import EntryError, string_tuple
from maintenance_wsgi.networks import format_network, parse_network

# What Magento's reader trims from both ends of the file.
_TRIMMED = " \t\n\r\0\x0b"
_LINE_END = re.compile(r"\r\n|\r|\n")
_SEPARATORS = re.compile(r"[, \t]+")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class BadEntry:
    """Text in the list that is no address or network, and the line it stands on."""

    line: int
    text: str


def format_invalid(bad: Sequence[BadEntry]) -> str:
    """Return the first bad entries with their lines, safe to print on one line."""
    shown = ", ".join(f"{entry.text[:64]!a} (line {entry.line})" for entry in bad[:_SHOWN])
    more = len(bad) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True, slots=True)
class ExemptionList:
    """What a list says.

    Attributes:
        networks: the good entries in their order, duplicates included.
        bad: the other entries; each is skipped, the good ones work.
        has_comments: whether the text holds comments, which a rewrite cannot keep.
    """

    networks: tuple[IPNetwork, ...] = ()
    bad: tuple[BadEntry, ...] = ()
    has_comments: bool = False


class Entry(NamedTuple):
    """A piece of the list: its line and its text, and the network where it is one."""

    line: int
    text: str
    network: IPNetwork | None


def read_entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries of a list, good and bad; any bytes are a list.

    Entries are separated by commas, spaces, tabs or line ends; `#` starts a comment that runs to
    the end of its line. The text is UTF-8, a byte order mark is dropped, and bytes that are no
    UTF-8 spoil the entry they stand in.
    """
    text = data.decode("utf-8-sig", "backslashreplace")
    body = text.lstrip(_TRIMMED)
    line = 1 + len(_LINE_END.findall(text[: len(text) - len(body)]))
    for number, content in enumerate(_LINE_END.split(body.rstrip(_TRIMMED)), line):
        for entry in filter(None, _SEPARATORS.split(content.partition("#")[0])):
            yield Entry(number, entry, parse_network(entry))


def valid_networks(data: bytes, bad: list[BadEntry]) -> Iterator[IPNetwork]:
    """Yield the networks of a list one by one; append the bad entries to `bad`."""
    for line, text, network in read_entries(data):
        if network is None:
            bad.append(BadEntry(line, text))
        else:
            yield network


def parse_exemptions(data: bytes) -> ExemptionList:
    """Return what the bytes of a list say."""
    bad: list[BadEntry] = []
    networks = tuple(valid_networks(data, bad))
    return ExemptionList(networks, tuple(bad), b"#" in data)


def parse_entries(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """Return the networks for a list to be written, one for each text.

    Raises:
        EntryError: texts are no addresses or networks; it names them all.
        ConfigTypeError: `texts` is no list of texts.
    """
    entries = string_tuple("exemptions", texts)
    networks = {text: parse_network(text) for text in entries}
    if bad := tuple(text for text, network in networks.items() if network is None):
        raise EntryError(bad)
    return tuple(network for network in networks.values() if network is not None)


def canonical_entries(networks: Iterable[IPNetwork]) -> tuple[str, ...]:
    """Return the canonical spelling of each network, duplicates dropped, order kept."""
    return tuple(dict.fromkeys(map(format_network, networks)))


def render_exemptions(networks: Iterable[IPNetwork]) -> bytes:
    """Return the list as Magento writes it: joined by commas, no spaces, no final newline."""
    return ",".join(canonical_entries(networks)).encode("ascii")
