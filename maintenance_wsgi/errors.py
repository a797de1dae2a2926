"""The errors of this package: one base class; each error is also the builtin a caller expects."""


class MaintenanceError(Exception):
    """Base class of every error that this package defines."""


class ConfigError(MaintenanceError, ValueError):
    """A constructor or a method was given a value that is not valid."""


class ConfigTypeError(MaintenanceError, TypeError):
    """A constructor or a method was given a value of the wrong type."""


class EntryError(MaintenanceError, ValueError):
    """Strings meant for the exemption list are not valid addresses or networks.

    Args:
        message: names the refused strings, and the spelling that is meant.
        texts: the refused strings, in the order given.

    Attributes:
        texts: the refused strings, in the order given.
    """

    def __init__(self, message: str, texts: tuple[str, ...] = ()) -> None:
        super().__init__(message, texts)
        self.texts = texts

    def __str__(self) -> str:
        return str(self.args[0])


class StateError(MaintenanceError, OSError):
    """The directory, one of its two files or a fleet's Redis cannot be read or written."""
