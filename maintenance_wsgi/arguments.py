"""Checks of what callers pass: lists of strings, paths, seconds."""

import os
from collections.abc import Iterable
from pathlib import Path

from maintenance_wsgi.errors import ConfigError, ConfigTypeError
from maintenance_wsgi.grammar import printable

# RFC 9111 section 1.2.2: a recipient need not represent a larger number of seconds.
MAX_SECONDS = 2**31


def absolute_path(name: str, path: str | os.PathLike[str]) -> str:
    """Return `path` made absolute; its links stay unresolved.

    Args:
        name: the argument's name, for the message.
        path: a file or a directory, which need not exist.

    Raises:
        ConfigError: the path is empty or holds a NUL.
        ConfigTypeError: the path is not a string or an `os.PathLike` of one.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigTypeError(f"{name}: {path!r} is not a path; pass a string, for example 'var'")
    value = os.fspath(path)
    if not isinstance(value, str):
        raise ConfigTypeError(f"{name}: {value!r} is not a string; decode it with os.fsdecode")
    if not value or not _is_encodable(value):
        raise ConfigError(f"{name}: {value!r} is not a valid path; use for example 'var'")
    return str(Path(value).absolute())


def _is_encodable(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def string_tuple(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return `values` as a tuple; refuse a single string that was meant as a list.

    Args:
        name: the argument's name, for the message.
        values: any iterable of strings.

    Raises:
        ConfigTypeError: `values` is a single string, is not iterable, or holds another type.
    """
    if isinstance(values, str | bytes):
        raise ConfigTypeError(f"{name}: {values!r} is not a list of strings; pass [{values!r}]")
    if not isinstance(values, Iterable):
        raise ConfigTypeError(f"{name}: {values!r} is not a list of strings; pass a list")
    strings = tuple(values)
    for value in strings:
        if not isinstance(value, str):
            raise ConfigTypeError(
                f"{name}: {printable(repr(value))} is not a string; pass a list of strings"
            )
    return strings


def validate_seconds(name: str, seconds: int) -> int:
    """Return `seconds` if a `Retry-After` header can hold it.

    Args:
        name: the argument's name, for the message.
        seconds: 0 to 2147483648.

    Raises:
        ConfigError: the number is out of range.
        ConfigTypeError: the value is not an `int`.
    """
    if type(seconds) is not int:
        raise ConfigTypeError(f"{name}: {seconds!r} is not a number of seconds; pass an int")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"{name}: {seconds} is out of range; use 0 to {MAX_SECONDS} seconds")
    return seconds
