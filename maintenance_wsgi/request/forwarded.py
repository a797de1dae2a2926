"""The `Forwarded` header, read as RFC 7239 specifies it: quoted strings, quoted pairs, parameters.

Anything else yields no address. A lenient parser would let a client swallow the element that the
proxy appends, or name a second `for`.
"""

import re
from collections.abc import Iterator

from maintenance_wsgi.grammar import OWS, TOKEN
from maintenance_wsgi.networks import Address, parse_forwarded_address

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_DELIMITER = re.compile(rf'{_QUOTED}|[,"]', re.DOTALL)
_PAIR = re.compile(
    rf'(?P<name>{TOKEN.pattern})=(?P<value>{_QUOTED}|[^\s",;]*)[ \t]*(?:;[ \t;]*|\Z)', re.DOTALL
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_OBFUSCATED_PORT = re.compile(r":_[0-9A-Za-z._-]+\Z")  # RFC 7239 section 6.2


def forwarded_entries(value: str) -> Iterator[tuple[str, Address | None]]:
    """Yield each element of a `Forwarded` header, from the right, and the address in its `for`."""
    for element in reversed(_elements(value)):
        entry = element.strip(OWS)
        yield entry, _address_of(entry)


def _elements(value: str) -> list[str]:
    """Split at the commas outside quoted strings (RFC 7239 section 4)."""
    elements = []
    start = 0
    for delimiter in _DELIMITER.finditer(value):
        if delimiter[0] == '"':
            # A quote that is never closed: where the proxy's own element begins is unknown.
            return ['"']
        if delimiter[0] == ",":
            elements.append(value[start : delimiter.start()])
            start = delimiter.end()
    return [*elements, value[start:]]


def _address_of(element: str) -> Address | None:
    element = element.lstrip(" \t;")
    pairs: dict[str, str] = {}
    position = 0
    while position < len(element):
        pair = _PAIR.match(element, position)
        if pair is None or (name := pair["name"].lower()) in pairs:
            return None
        pairs[name] = pair["value"]
        position = pair.end()
    return _parse_for(pairs.get("for", ""))


def _parse_for(value: str) -> Address | None:
    quoted = value.startswith('"')
    if not quoted and not TOKEN.fullmatch(value):
        return None
    node = value[1:-1] if quoted else value
    if "\\" in node:  # hardly ever, and to search by a pattern takes a microsecond
        node = _QUOTED_PAIR.sub(r"\1", node)
    node = _OBFUSCATED_PORT.sub("", node)
    if node.count(":") > 1 and not node.startswith("["):
        return None  # RFC 7239 section 6: square brackets enclose an IPv6 address
    return parse_forwarded_address(node)
