"""The `Forwarded` field, read as RFC 7239 is written: quoted strings, quoted pairs, parameters.

Whatever is written otherwise spells no address. A reader that makes the best of it lets a client
swallow what the proxy appends, or name a second `for`.
"""

import re
from collections.abc import Iterator

from maintenance_wsgi.networks import Address, parse_forwarded_address

# A piece of a header, and the address it spells, if any.
Hop = tuple[str, Address | None]

OWS = " \t"  # RFC 9110 section 5.6.3; str.strip() alone takes no-break spaces and more
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_DELIMITER = re.compile(rf'{_QUOTED}|[,"]', re.DOTALL)
_PAIR = re.compile(
    rf'(?P<name>{TOKEN.pattern})=(?P<value>{_QUOTED}|[^\s",;]*)[ \t]*(?:;[ \t;]*|\Z)',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_OBFUSCATED_PORT = re.compile(r":_[0-9A-Za-z._-]+\Z")  # RFC 7239 section 6.2


def forwarded_hops(value: str) -> Iterator[Hop]:
    """Yield the hops of a `Forwarded` value from the right; what cannot be read has no address."""
    for element in reversed(_forwarded_elements(value)):
        text = element.strip(OWS)
        yield text, _forwarded_node(text)


def _forwarded_elements(value: str) -> list[str]:
    """Split at the commas outside quoted strings (RFC 7239 section 4)."""
    elements = []
    start = 0
    for delimiter in _DELIMITER.finditer(value):
        if delimiter[0] == '"':
            # Never closed: where the proxy's own element begins is anybody's guess.
            return ['"']
        if delimiter[0] == ",":
            elements.append(value[start : delimiter.start()])
            start = delimiter.end()
    return [*elements, value[start:]]


def _forwarded_node(element: str) -> Address | None:
    element = element.lstrip(" \t;")
    pairs: dict[str, str] = {}
    position = 0
    while position < len(element):
        pair = _PAIR.match(element, position)
        if pair is None or (name := pair["name"].lower()) in pairs:
            return None
        pairs[name] = pair["value"]
        position = pair.end()
    return _read_forwarded_for(pairs.get("for", ""))


def _read_forwarded_for(value: str) -> Address | None:
    if value.startswith('"'):
        node = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    elif TOKEN.fullmatch(value):
        node = value
    else:
        return None
    node = _OBFUSCATED_PORT.sub("", node)
    if node.count(":") > 1 and not node.startswith("["):
        return None  # RFC 7239 section 6: an IPv6 address is enclosed in square brackets
    return parse_forwarded_address(node)
