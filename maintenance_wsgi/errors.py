"""The errors of this package: one base, each also the builtin a caller would expect."""

import os
from collections.abc import Iterable
from pathlib import Path


class MaintenanceError(Exception):
    """Base of every error that this package defines."""


class ConfigError(MaintenanceError, ValueError):
    """A constructor or a method was given a value it cannot work with."""


class ConfigTypeError(MaintenanceError, TypeError):
    """A constructor or a method was given a value of the wrong type."""


class EntryError(MaintenanceError, ValueError):
    """Texts meant for the exemption list are no addresses or networks.

    Attributes:
        texts: the refused texts, in the order given.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts
        shown = ", ".join(ascii(text[:64]) for text in texts[:10])
        more = f" and {len(texts) - 10} more" if len(texts) > 10 else ""  # noqa: PLR2004 (a message stays readable)
        super().__init__(
            f"not an IP address or network: {shown}{more};"
            " write 203.0.113.7, 10.0.0.0/8, 2001:db8::7 or 2001:db8::/32"
        )


class StateError(MaintenanceError, OSError):
    """The directory or one of its two files cannot be read or written."""


def absolute_path(name: str, path: str | os.PathLike[str]) -> str:
    """Return `path` made absolute, its links unresolved.

    Raises:
        ConfigError: it is empty or holds a NUL.
        ConfigTypeError: it is no text and no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigTypeError(f"{name} takes the name of a file or directory, not {path!r}")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise ConfigTypeError(f"{name} takes a text, not the bytes {text!r}")
    if not text or not _is_encodable(text):
        raise ConfigError(f"{name}: {text!r} is no name of a file or directory; write 'var'")
    return str(Path(text).absolute())


def _is_encodable(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def string_tuple(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return `values` as a tuple, refusing the single text that was meant as a list.

    Raises:
        ConfigTypeError: `values` is one text, no iterable, or holds something else than text.
    """
    if isinstance(values, str | bytes):
        raise ConfigTypeError(f"{name} takes a list of texts; write [{values!r}]")
    if not isinstance(values, Iterable):
        raise ConfigTypeError(f"{name} takes a list of texts, not {values!r}")
    texts = tuple(values)
    for text in texts:
        if not isinstance(text, str):
            raise ConfigTypeError(f"{name} takes a list of texts; {text!r} is none")
    return texts
