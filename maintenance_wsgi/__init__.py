"""Put any WSGI application into maintenance mode by creating a file, as Magento does."""

from importlib import import_module

# Not imported from typing: `python -m` would look for it in the working directory first.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from maintenance_wsgi.errors import ConfigError as ConfigError
    from maintenance_wsgi.errors import ConfigTypeError as ConfigTypeError
    from maintenance_wsgi.errors import EntryError as EntryError
    from maintenance_wsgi.errors import MaintenanceError as MaintenanceError
    from maintenance_wsgi.errors import StateError as StateError
    from maintenance_wsgi.middleware import MaintenanceMiddleware as MaintenanceMiddleware
    from maintenance_wsgi.middleware import wrap as wrap
    from maintenance_wsgi.state.mode import MaintenanceMode as MaintenanceMode
    from maintenance_wsgi.state.mode import Status as Status

_ERRORS = ("ConfigError", "ConfigTypeError", "EntryError", "MaintenanceError", "StateError")
_MODULES = dict.fromkeys(_ERRORS, "errors")
_MODULES |= dict.fromkeys(("MaintenanceMiddleware", "wrap"), "middleware")
_MODULES |= dict.fromkeys(("MaintenanceMode", "Status"), "state.mode")


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562): the command needs few of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
