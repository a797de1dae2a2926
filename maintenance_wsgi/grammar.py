"""The small grammar that several modules share: HTTP tokens, names in an environ, safe output."""

import logging
import re
from collections.abc import Mapping
from typing import Any

LINE_LIMIT = 8192  # characters of a line on a terminal
OWS = " \t"  # RFC 9110 section 5.6.3; a bare str.strip() also removes no-break spaces
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
# Letters and marks that are drawn as nothing (Unicode, Default_Ignorable_Code_Point).
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def environ_key(header: str) -> str:
    """Return the name that a request header has in a WSGI environ (RFC 3875 section 4.1.18)."""
    return f"HTTP_{header.upper().replace('-', '_')}"


def header(environ: Mapping[str, Any], key: str) -> str:
    """Return a request header's value without blanks around it; "" if it is missing."""
    value = environ.get(key)  # of any type
    return value.strip(OWS) if isinstance(value, str) else ""


def request_path(environ: Mapping[str, Any]) -> str:
    """Return the path that the wrapped application routes by, as latin-1 (PEP 3333).

    `SCRIPT_NAME` is left out: servers and `ProxyFix` let clients set it.
    """
    path = environ.get("PATH_INFO")
    return path if isinstance(path, str) else ""


def readable_path(path: str) -> str:
    """Return a path of PEP 3333, which holds its bytes as latin-1, decoded as UTF-8."""
    return path.encode("latin-1", "replace").decode("utf-8", "backslashreplace")


def printable(value: object, limit: int = 80) -> str:
    r"""Return foreign text as one line that is safe on a terminal, in a log and in a page.

    A line end or an escape sequence could forge a line of ours, a character without a width or one
    that changes the direction of text could hide a difference: each is written as an escape
    (`\x1b`).

    Args:
        value: a string, or `bytes`; another type is shown by its name.
        limit: characters to keep.
    """
    if isinstance(value, bytes):
        value = value[: limit + 1].decode("ascii", "backslashreplace")
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    shown = "".join(map(_visible, value[:limit]))
    return shown if len(value) <= limit >= len(shown) else f"{shown[:limit]}..."


def _visible(character: str) -> str:
    if character.isprintable() and not _IGNORABLE.match(character):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _escape_arguments(record: logging.LogRecord) -> bool:
    args = record.args or ()
    record.args = tuple(a if isinstance(a, int) else printable(str(a), LINE_LIMIT) for a in args)
    return True


# Every line of this package's log passes here: a path or an error may repeat foreign text.
for _name in ("maintenance_wsgi", "maintenance_wsgi.changes"):
    logging.getLogger(_name).addFilter(_escape_arguments)
