"""The middleware's options, and their strings in environment variables and ini files.

Blanks or commas separate the entries of a list, and an empty value counts as not given. An unknown
name is an error: a mistyped `MAINTENANCE_TRUSTED_PROXY` must not be lost silently on the night it
is needed. So every function here raises ConfigError, which names what is not valid.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from itertools import islice
from typing import Any, NamedTuple

from maintenance_wsgi.errors import ConfigError

_PREFIX = "MAINTENANCE_"
_logger = logging.getLogger("maintenance_wsgi")
# Options of the command only, for a fleet: a container may hold them beside the application's.
_OF_THE_COMMAND = {f"MAINTENANCE_{name}" for name in ("FLEET", "NAME", "NODE", "REDIS")}


class Options(NamedTuple):
    """What the admin command needs to know of a middleware's configuration."""

    directory: str
    trusted_proxies: Sequence[str] = ()
    client_ip_header: str = "X-Forwarded-For"
    exempt_paths: Sequence[str] = ()
    page: str | None = None
    write_paths: Sequence[str] = ()
    health_paths: Sequence[str] = ()
    retry_after: int | None = 300

    def arguments(self) -> list[str]:
        """Return the arguments of `explain` and `check` that say the same."""
        proxies = [f"--trusted-proxy={proxy}" for proxy in self.trusted_proxies]
        paths = [f"--exempt-path={path}" for path in self.exempt_paths]
        page = [f"--page={self.page}"] if self.page else []
        paths += [f"--health-path={path}" for path in self.health_paths]
        paths += [f"--write-path={path}" for path in self.write_paths]
        return [*proxies, f"--client-ip-header={self.client_ip_header}", *paths, *page]


def options_of(application: object) -> Options | None:
    """Return the options of the middleware that is somewhere around an application, or None."""
    found = [application]
    for wrapper in islice(found, 100):  # the list grows meanwhile
        if isinstance(options := getattr(wrapper, "options", None), Options):
            return options
        names = ("wsgi_app", "_application", "application", "app")
        found += [getattr(wrapper, name) for name in names if hasattr(wrapper, name)]
    return None


def options_from_environ() -> dict[str, Any]:
    """Return the options that `MAINTENANCE_*` variables give, `dir` among them."""
    known = {f"{_PREFIX}{option.upper()}": option for option in _PARSERS}
    names = {name for name in os.environ if name.startswith(_PREFIX)} - _OF_THE_COMMAND
    if mistyped := sorted(name for name in names - known.keys() if _nearest(name)):
        right = f"{_PREFIX}{_nearest(mistyped[0]).upper()}"
        raise ConfigError(f"{mistyped[0]}: unknown option; did you mean {right}?")
    if foreign := ", ".join(sorted(names - known.keys())):
        _logger.warning("%s: ignored, as no option has this name", foreign)
    return _parse({known[name]: (name, os.environ[name]) for name in names & known.keys()})


def options_from_ini(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that a section of an ini file gives, `dir` among them."""
    for name in values.keys() - _PARSERS.keys():
        near = _nearest(name)
        remedy = f"did you mean {near}?" if near else f"use one of {', '.join(_PARSERS)}"
        raise ConfigError(f"{name}: unknown option; {remedy}")
    return _parse({name: (name, value) for name, value in values.items()})


def _parse(values: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the values of options, each of which comes with the name that a message shows."""
    # The command, too, treats an empty MAINTENANCE_DIR as not given.
    given = {option: (name, value.strip()) for option, (name, value) in values.items()}
    return {option: _PARSERS[option](*given[option]) for option in given if given[option][1]}


def _nearest(name: str) -> str:
    """Return the option that differs from a name by a letter or two, or an empty string."""
    name = name.removeprefix(_PREFIX).lower()
    # One wrong letter of three leaves two thirds.
    cutoff = 0.66 if len(name) <= 3 else 0.75  # noqa: PLR2004 (as said)
    near = next(iter(get_close_matches(name, _PARSERS, n=1, cutoff=cutoff)), "")
    # The singular is one mistake, though three letters differ.
    steps = SequenceMatcher(None, name.replace("proxy", "proxies"), near).get_opcodes()
    wrong = sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in steps if tag != "equal")
    return near if wrong <= 2 else ""  # noqa: PLR2004 (as the docstring says)


def _string(_: str, value: str) -> str:
    return value


def _list(_: str, value: str) -> list[str]:
    return [entry for entry in re.split(r"[\s,]+", value) if entry]


def _seconds_or_none(name: str, value: str) -> int | None:
    if value.lower() == "none":
        return None
    if not re.fullmatch(r"[0-9]{1,10}", value):
        raise ConfigError(f"{name}: {value!r} is not a number of seconds; use 300, or none")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if (found := {"1": True, "true": True, "0": False, "false": False}.get(value.lower())) is None:
        raise ConfigError(f"{name}: {value!r} is not a yes or no; use 1 or 0")
    return found


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "dir": _string,
    "trusted_proxies": _list,
    "client_ip_header": _string,
    "exempt_paths": _list,
    "health_paths": _list,
    "write_paths": _list,
    "retry_after": _seconds_or_none,
    "page": _string,
    "cors_origins": _list,
    "drain": _boolean,
}
