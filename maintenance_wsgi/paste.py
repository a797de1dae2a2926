"""The middleware as a Paste Deploy filter, for applications that an ini file assembles.

[filter:maintenance]
use = egg:maintenance-wsgi
dir = %(here)s/var
trusted_proxies = 127.0.0.1
"""

from collections.abc import Mapping
from wsgiref.types import WSGIApplication

from maintenance_wsgi.config import options_from_ini
from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.middleware import MaintenanceMiddleware


def filter_app_factory(
    application: WSGIApplication, _: Mapping[str, str], /, **values: str
) -> MaintenanceMiddleware:
    """Return the application behind the gate.

    Args:
        application: the filtered application.
        values: the constructor's options, and `dir`, the directory of the two files; see
            `maintenance_wsgi.config` for their spelling. `[DEFAULT]` is not read.

    Raises:
        ConfigError: an option is unknown or not valid; the message names it.
        StateError: this user cannot search the directory.
    """
    options = options_from_ini(values)
    if "dir" not in options:
        raise ConfigError("dir: is not set; set it to the absolute path, %(here)s/var")
    return MaintenanceMiddleware(application, options.pop("dir"), **options)
