"""Checks of what callers pass: lists of strings, paths, seconds.

`name` is the argument's name, for the message. A value that is not valid raises ConfigError, a
value of the wrong type ConfigTypeError.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from maintenance_wsgi.errors import ConfigError, ConfigTypeError
from maintenance_wsgi.grammar import printable

# RFC 9111 section 1.2.2: a recipient need not represent a larger number of seconds.
MAX_SECONDS = 2**31


def absolute_path(name: str, path: str | os.PathLike[str]) -> str:
    """Return `path`, which need not exist, made absolute; its links stay unresolved."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigTypeError(f"{name}: {path!r} is not a path; pass a string, for example 'var'")
    value = os.fspath(path)
    if not isinstance(value, str):
        raise ConfigTypeError(f"{name}: {value!r} is not a string; decode it with os.fsdecode")
    if not value or not _is_encodable(value):
        raise ConfigError(f"{name}: {value!r} is not a valid path; use for example 'var'")
    try:
        return str(Path("" if os.path.isabs(value) else _working_directory(), value))
    except FileNotFoundError:
        raise ConfigError(
            f"{name}: {value!r} is relative, and the working directory is gone; change to another"
        ) from None


def _working_directory() -> str:
    """Return the shell's name of the working directory, so that a link in it can be switched."""
    with suppress(OSError, KeyError):
        if os.path.isabs(os.environ["PWD"]) and os.path.samefile(os.environ["PWD"], "."):
            return os.environ["PWD"]
    return os.getcwd()


def _is_encodable(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def string_tuple(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return `values` as a tuple; refuse a single string that was meant as a list."""
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
    """Return `seconds` if a `Retry-After` header can hold it."""
    if type(seconds) is not int:
        raise ConfigTypeError(f"{name}: {seconds!r} is not a number of seconds; pass an int")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"{name}: {seconds} is out of range; use 0 to {MAX_SECONDS} seconds")
    return seconds
