"""The middleware as a filter of Paste Deploy, for applications that an ini file puts together.

[filter:maintenance]
use = egg:maintenance-wsgi
dir = %(here)s/var
trusted_proxies = 127.0.0.1
"""

from collections.abc import Mapping
from wsgiref.types import WSGIApplication

from maintenance_wsgi.config import options_from_ini
from maintenance_wsgi.middleware import MaintenanceMiddleware


def filter_app_factory(
    application: WSGIApplication, _: Mapping[str, str], /, **texts: str
) -> MaintenanceMiddleware:
    """Return the application behind the gate.

    The options are the constructor's, and `dir`, the directory of the two files (by default
    `var`); see `maintenance_wsgi.options` for how they are written. `[DEFAULT]` is not looked at.

    Raises:
        ConfigError: an option is unknown or refused; it is named.
        StateError: the directory cannot be searched by this user.
    """
    options = options_from_ini(texts)
    return MaintenanceMiddleware(application, options.pop("dir", "var"), **options)
