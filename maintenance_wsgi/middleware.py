"""The WSGI middleware: looks at the flag on each request, and lets through or answers 503.

Behind a proxy, list it in `trusted_proxies`. With the list empty the address that connects is the
client's, so that an exempt proxy lets everybody in who comes through it. With too wide a list
(whole networks in which your visitors are too) anybody in it can name any address.

    application = MaintenanceMiddleware(application, "var", trusted_proxies=["127.0.0.1"])
"""

import os
from collections.abc import Iterable
from functools import partial
from pkgutil import resolve_name
from typing import Self
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from maintenance_wsgi.config import options_from_environ
from maintenance_wsgi.diagnosis.explanation import Explanation, explain
from maintenance_wsgi.diagnosis.trust_warnings import TrustWarnings
from maintenance_wsgi.errors import ConfigError, ConfigTypeError
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.response.exempt import start_exempt_client, start_exempt_path
from maintenance_wsgi.response.unavailable import UnavailableResponse
from maintenance_wsgi.state.flag import validate_seconds
from maintenance_wsgi.state.mode import MaintenanceMode


class MaintenanceMiddleware:
    """Puts a WSGI application into maintenance mode while a flag file exists.

    Args:
        application: a WSGI callable, or `"package.module:attribute"`. The latter is imported now
            while maintenance is off, else when the first request is let through, so that the
            maintenance page stands while the code cannot be imported.
        mode: directory of the two files, or a MaintenanceMode.
        trusted_proxies: addresses and networks whose `client_ip_header` is believed, and
            `"unix:"` for connections through a Unix socket.
        client_ip_header: the one header to read there.
        exempt_paths: paths that are let through for everybody. One that ends in `/` covers all
            below it, any other exactly itself.
        retry_after: seconds for the `Retry-After` of the 503, or None for no such header; what
            the flag file says goes first.
        page: an HTML file, or a directory with `page.html` and `page.<language>.html`, in place
            of the built-in page; see `maintenance_wsgi.own_page`.
        cors_origins: origins (`https://shop.example`, or `*`) whose scripts may read the 503.

    Raises:
        ConfigError, ConfigTypeError: an argument is refused; the message names it.
        StateError: the directory cannot be searched by this user.
    """

    def __init__(  # noqa: PLR0913 (the options of the product; all but two by keyword)
        self,
        application: WSGIApplication | str,
        mode: MaintenanceMode | str | os.PathLike[str],
        *,
        trusted_proxies: Iterable[str] = (),
        client_ip_header: str = "X-Forwarded-For",
        exempt_paths: Iterable[str] = (),
        retry_after: int | None = 300,
        page: str | os.PathLike[str] | None = None,
        cors_origins: Iterable[str] = (),
    ) -> None:
        if retry_after is not None:
            validate_seconds("retry_after", retry_after)
        self._resolver = ClientIPResolver(trusted_proxies, client_ip_header)
        self._exempt_paths = ExemptPaths(exempt_paths)
        self._page = UnavailableResponse(retry_after, page, cors_origins)
        self._mode = mode if isinstance(mode, MaintenanceMode) else MaintenanceMode(mode)
        self._application = self._load(application)
        self._warn_of_trust = TrustWarnings(self._resolver)

    @classmethod
    def from_environ(cls, application: WSGIApplication | str) -> Self:
        """Return the middleware as environment variables configure it.

        `MAINTENANCE_DIR` is the directory of the two files (by default `var`, as for the command);
        `MAINTENANCE_TRUSTED_PROXIES` and so on are the constructor's options. Blanks or commas
        separate the entries of a list, an empty text counts as not given, and
        `MAINTENANCE_RETRY_AFTER` may be `none`.

        Raises:
            ConfigError, ConfigTypeError: a variable is unknown, or its value is refused; the
                message names the variable or the option.
            StateError: the directory cannot be searched by this user.
        """
        options = options_from_environ()
        return cls(application, options.pop("dir", "var"), **options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request: by the application, or with the 503."""
        flag = self._mode.flag()
        if flag is None:
            return self._application(environ, start_response)
        if self._exempt_paths.match(environ):
            return self._application(environ, partial(start_exempt_path, start_response))
        address, reason = self._resolver.resolve(environ)
        if address is not None and self._mode.exempts(address):
            environ["maintenance_wsgi.exempt"] = True
            return self._application(environ, partial(start_exempt_client, start_response))
        details = self._mode.details(flag)
        if details is None:
            return self._application(environ, start_response)
        self._warn_of_trust(environ, reason)
        return self._page(environ, start_response, details, address)

    def explain(self, environ: WSGIEnvironment) -> Explanation:
        """Return how a request is decided, step by step, by this very configuration.

        It names the trusted proxies and the exempt entry: show it to nobody but exempt or
        logged-in people.
        """
        return explain(environ, self._mode, self._resolver, self._exempt_paths)

    def _load(self, application: WSGIApplication | str) -> WSGIApplication:
        if isinstance(application, str):
            named = _NamedApplication(application)
            return named if self._mode.is_enabled() else named.load()
        return _checked_application(application, repr(application))


def wrap(name: str) -> MaintenanceMiddleware:
    """Return a named application behind the gate, configured by the environment.

    For servers that take an expression, so that no code changes:
    `gunicorn 'maintenance_wsgi:wrap("shop.wsgi:application")'`. It is
    `MaintenanceMiddleware.from_environ(name)`, which says what is read and what is raised.
    """
    return MaintenanceMiddleware.from_environ(name)


class _NamedApplication:
    """An application that is imported when it is first called."""

    def __init__(self, name: str) -> None:
        module, colon, attribute = name.partition(":")
        parts = [*module.split("."), *attribute.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            raise ConfigError(
                f"application: {name!r} is not of the form 'package.module:attribute'"
            )
        self._name = name
        self._application: WSGIApplication | None = None

    def load(self) -> WSGIApplication:
        self._application = _checked_application(resolve_name(self._name), repr(self._name))
        return self._application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        application = self._application or self.load()
        return application(environ, start_response)


def _checked_application(application: object, name: str) -> WSGIApplication:
    if not callable(application):
        raise ConfigTypeError(f"application: {name} is no WSGI callable")
    return application
