"""`.maintenance.ip`: read leniently, because people edit it; written strictly.

What is written has Magento's own form, so that a shop on the same directory reads it too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netaddr import IPNetwork

from maintenance_wsgi.arguments import string_tuple
from maintenance_wsgi.errors import EntryError
from maintenance_wsgi.grammar import printable
from maintenance_wsgi.networks import format_network, parse_network

LIST_NAME = ".maintenance.ip"
LIST_LIMIT = 64 * 1024 * 1024  # bytes

Networks = tuple[IPNetwork, ...]

# What Magento's reader trims from both ends of the file.
_TRIMMED = " \t\n\r\0\x0b"
_LINE_END = re.compile(r"\r\n|\r|\n")
_SEPARATORS = re.compile(r"[, \t]+")
_SHOWN = 10


class Entry(NamedTuple):
    """A piece of the list.

    Attributes:
        line: number of its line, from 1.
        text: what stands there.
        network: the network that it spells, or None if it is not valid.
    """

    line: int
    text: str
    network: IPNetwork | None


@dataclass(frozen=True, slots=True)
class ExemptionList:
    """What a list says.

    Attributes:
        networks: the valid entries in their order, duplicates included.
        invalid: the other entries; each is skipped, the valid ones work.
        has_comments: whether the list holds comments, which a rewrite cannot keep.
    """

    networks: Networks = ()
    invalid: tuple[Entry, ...] = ()
    has_comments: bool = False


def printable_entry(text: str) -> str:
    """Return a string from the list for a message: a look-alike of a digit shows as an escape."""
    return printable(text, 64).encode("ascii", "backslashreplace").decode("ascii")


def format_invalid(entries: Sequence[Entry]) -> str:
    """Return the first invalid entries with their lines, safe to print on one line."""
    shown = ", ".join(
        f"'{printable_entry(entry.text)}' (line {entry.line})" for entry in entries[:_SHOWN]
    )
    more = len(entries) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def read_entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries of a list, valid or not; any bytes are a list.

    Commas, spaces, tabs and line ends separate entries; `#` starts a comment that runs to the end
    of its line. The list is UTF-8, a byte order mark is dropped, and invalid UTF-8 makes its entry
    invalid.
    """
    content = data.decode("utf-8-sig", "backslashreplace")
    body = content.lstrip(_TRIMMED)
    first = 1 + len(_LINE_END.findall(content[: len(content) - len(body)]))
    for number, line in enumerate(_LINE_END.split(body.rstrip(_TRIMMED)), first):
        for entry in filter(None, _SEPARATORS.split(line.partition("#")[0])):
            yield Entry(number, entry, parse_network(entry))


def valid_networks(data: bytes, invalid: list[Entry]) -> Iterator[IPNetwork]:
    """Yield the networks of a list one by one; append the invalid entries to `invalid`."""
    for entry in read_entries(data):
        if entry.network is None:
            invalid.append(entry)
        else:
            yield entry.network


def parse_exemptions(data: bytes) -> ExemptionList:
    """Return what the bytes of a list say."""
    invalid: list[Entry] = []
    networks = tuple(valid_networks(data, invalid))
    return ExemptionList(networks, tuple(invalid), b"#" in data)


def parse_entries(entries: Iterable[str]) -> Networks:
    """Return the networks of a list that is to be written, one for each string.

    Raises:
        EntryError: strings are not valid addresses or networks; the message names them.
        ConfigTypeError: `entries` is not a list of strings.
    """
    networks = {entry: parse_network(entry) for entry in string_tuple("exemptions", entries)}
    if invalid := tuple(entry for entry, network in networks.items() if network is None):
        raise EntryError(_invalid_message(invalid), invalid)
    return tuple(network for network in networks.values() if network is not None)


def _invalid_message(entries: Sequence[str]) -> str:
    shown = ", ".join(f"'{printable_entry(entry)}'" for entry in entries[:_SHOWN])
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    are = (
        "is not a valid IP address or network"
        if len(entries) == 1
        else "are not valid IP addresses or networks"
    )
    return (
        f"exemptions: {shown}{more} {are}; use 203.0.113.7, 10.0.0.0/8, 2001:db8::7"
        " or 2001:db8::/32"
    )


def canonical_entries(networks: Iterable[IPNetwork]) -> tuple[str, ...]:
    """Return the canonical spelling of each network, without duplicates, in their order."""
    return tuple(dict.fromkeys(map(format_network, networks)))


def render_exemptions(networks: Iterable[IPNetwork]) -> bytes:
    """Return the list as Magento writes it: joined by commas, no spaces, no final newline."""
    return ",".join(canonical_entries(networks)).encode("ascii")
