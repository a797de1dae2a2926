"""The middleware's options as texts: from environment variables and from ini files.

Blanks or commas separate the entries of a list, an empty text is an option that is not given, and
a name that nobody knows is an error: a mistyped `MAINTENANCE_TRUSTED_PROXY` must not be lost
silently on the night it is needed.
"""

import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from maintenance_wsgi.errors import ConfigError

_PREFIX = "MAINTENANCE_"
# Options of the command alone, for a fleet: a container may hold them beside the application's.
_OF_THE_COMMAND = {"MAINTENANCE_NAME", "MAINTENANCE_NODE", "MAINTENANCE_REDIS"}


def options_from_environ() -> dict[str, Any]:
    """Return the options that `MAINTENANCE_*` variables give, `dir` among them.

    Raises:
        ConfigError: a variable is unknown, or a number is none; it is named.
    """
    variables = {
        name: text
        for name, text in os.environ.items()
        if name.startswith(_PREFIX) and name not in _OF_THE_COMMAND
    }
    return _read(variables, lambda option: f"{_PREFIX}{option.upper()}")


def options_from_ini(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that a section of an ini file gives, `dir` among them.

    Raises:
        ConfigError: an option is unknown, or a number is none; it is named.
    """
    return _read(texts, str)


def _read(texts: Mapping[str, str], spell: Callable[[str], str]) -> dict[str, Any]:
    known = {spell(option): option for option in _READERS}
    for name in texts:
        if name not in known:
            raise ConfigError(f"{name}: there is no such option; {_remedy(name, spell)}")
    return {
        known[name]: _READERS[known[name]](name, text)
        for name, text in texts.items()
        if text  # the command, too, takes an empty MAINTENANCE_DIR for one that is not given
    }


def _remedy(name: str, spell: Callable[[str], str]) -> str:
    # Without the prefix, which makes all variables look alike.
    close = get_close_matches(name.removeprefix(_PREFIX).lower(), _READERS, n=1)
    if close:
        return f"did you mean {spell(close[0])}?"
    return f"there are {', '.join(map(spell, _READERS))}"


def _text(_: str, text: str) -> str:
    return text


def _list(_: str, text: str) -> list[str]:
    return [entry for entry in re.split(r"[\s,]+", text) if entry]


def _seconds_or_none(name: str, text: str) -> int | None:
    text = text.strip()
    if text.lower() == "none":
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ConfigError(f"{name}: {text!r} is no number of seconds; write 300, or none")
    return int(text)


_READERS: dict[str, Callable[[str, str], Any]] = {
    "dir": _text,
    "trusted_proxies": _list,
    "client_ip_header": _text,
    "exempt_paths": _list,
    "retry_after": _seconds_or_none,
    "page": _text,
    "cors_origins": _list,
}
