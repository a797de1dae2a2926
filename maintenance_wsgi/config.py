"""The middleware's options as strings: from environment variables and from ini files.

Blanks or commas separate the entries of a list, and an empty value counts as not given. An unknown
name is an error: a mistyped `MAINTENANCE_TRUSTED_PROXY` must not be lost silently on the night it
is needed.
"""

import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from maintenance_wsgi.errors import ConfigError

_PREFIX = "MAINTENANCE_"
# Options of the command only, for a fleet: a container may hold them beside the application's.
_OF_THE_COMMAND = {"MAINTENANCE_FLEET", "MAINTENANCE_NODE", "MAINTENANCE_REDIS"}


def options_from_environ() -> dict[str, Any]:
    """Return the options that `MAINTENANCE_*` variables give, `dir` among them.

    Raises:
        ConfigError: a variable is unknown, or not a valid number; the message names it.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX) and name not in _OF_THE_COMMAND
    }
    return _parse(variables, lambda option: f"{_PREFIX}{option.upper()}")


def options_from_ini(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that a section of an ini file gives, `dir` among them.

    Raises:
        ConfigError: an option is unknown, or not a valid number; the message names it.
    """
    return _parse(values, str)


def _parse(values: Mapping[str, str], spell: Callable[[str], str]) -> dict[str, Any]:
    known = {spell(option): option for option in _PARSERS}
    for name in values:
        if name not in known:
            raise ConfigError(f"{name}: unknown option; {_remedy(name, spell)}")
    return {
        known[name]: _PARSERS[known[name]](name, value)
        for name, value in values.items()
        if value  # the command, too, treats an empty MAINTENANCE_DIR as not given
    }


def _remedy(name: str, spell: Callable[[str], str]) -> str:
    # Without the prefix, which makes all variables look alike.
    close = get_close_matches(name.removeprefix(_PREFIX).lower(), _PARSERS, n=1)
    if close:
        return f"did you mean {spell(close[0])}?"
    return f"use one of {', '.join(map(spell, _PARSERS))}"


def _string(_: str, value: str) -> str:
    return value


def _list(_: str, value: str) -> list[str]:
    return [entry for entry in re.split(r"[\s,]+", value) if entry]


def _seconds_or_none(name: str, value: str) -> int | None:
    value = value.strip()
    if value.lower() == "none":
        return None
    if not re.fullmatch(r"[0-9]{1,10}", value):
        raise ConfigError(f"{name}: {value!r} is not a number of seconds; use 300, or none")
    return int(value)


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "dir": _string,
    "trusted_proxies": _list,
    "client_ip_header": _string,
    "exempt_paths": _list,
    "retry_after": _seconds_or_none,
    "page": _string,
    "cors_origins": _list,
}
