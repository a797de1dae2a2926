"""Put any WSGI application into maintenance mode by creating a file.

While `.maintenance.flag` exists in a directory, `MaintenanceMiddleware` answers each request with
a 503 page, except for the addresses in `.maintenance.ip` beside it. Each worker sees a change on
its next request. Both files are Magento's.

    from maintenance_wsgi import MaintenanceMiddleware

    application = MaintenanceMiddleware(
        application,  # any WSGI callable, or "shop.wsgi:application"
        "/srv/shop/var",  # directory of the two files
        trusted_proxies=["127.0.0.1"],  # proxies whose X-Forwarded-For is trusted
        exempt_paths=["/webhooks/"],  # let through for every client
    )

`MaintenanceMode` switches it in a program:

    from maintenance_wsgi import MaintenanceMode

    mode = MaintenanceMode("/srv/shop/var")
    with mode.window(message="We are moving house"):
        migrate()

Operators use the command `maintenance-wsgi`, also `python -m maintenance_wsgi`:
`maintenance-wsgi help` lists the commands, and `maintenance-wsgi help files` describes the files;
other topics are `environment`, `exit-codes` and `headers`. The README tells more, first of all how
to set it up behind a proxy: https://github.com/maintenance-wsgi/maintenance-wsgi#readme

Each error is a `MaintenanceError`, and also the builtin error that a caller expects: `ConfigError`
and `EntryError` are `ValueError`, `ConfigTypeError` is `TypeError`, `StateError` is `OSError`.
Constructors and the methods of `MaintenanceMode` raise them; requests never do.
"""

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

__all__ = [  # noqa: RUF022 (as a reader of the reference needs them)
    "MaintenanceMiddleware",
    "MaintenanceMode",
    "Status",
    "wrap",
    "MaintenanceError",
    "ConfigError",
    "ConfigTypeError",
    "EntryError",
    "StateError",
]
_MODULES = dict.fromkeys(__all__, "errors")
_MODULES |= dict.fromkeys(("MaintenanceMiddleware", "wrap"), "middleware")
_MODULES |= dict.fromkeys(("MaintenanceMode", "Status"), "state.mode")


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562): the command needs few of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Name what can be imported, for `pydoc` and for shells that complete names."""
    return [*globals(), *__all__]
