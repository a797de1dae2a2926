"""The WSGI middleware: looks at the flag on each request, and lets through or answers 503.

List your proxy in `trusted_proxies`. If the list is empty, the address that connects is the
client, so exempting your proxy exempts every client behind it. If the list is too wide, and holds
networks that your visitors are in, any of these visitors can claim any address.

    application = MaintenanceMiddleware(application, "var", trusted_proxies=["127.0.0.1"])
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Self
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from maintenance_wsgi.application import NamedApplication, checked_application
from maintenance_wsgi.arguments import absolute_path, string_tuple, validate_seconds
from maintenance_wsgi.config import Options, options_from_environ
from maintenance_wsgi.diagnosis.explanation import Explanation, explain
from maintenance_wsgi.diagnosis.hints import ProxyWarnings
from maintenance_wsgi.errors import ConfigError, ConfigTypeError
from maintenance_wsgi.gate import Gate, Outcome
from maintenance_wsgi.request import bypass
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.response.counted import CountedApplication
from maintenance_wsgi.response.exempt import EXEMPT, READ_ONLY, start_exempt_client, start_for_all
from maintenance_wsgi.response.short import answer_health, answer_link
from maintenance_wsgi.response.unavailable import UnavailableResponse
from maintenance_wsgi.state.in_flight import open_book
from maintenance_wsgi.state.mode import MaintenanceMode
from maintenance_wsgi.state.reader import StateReader
from maintenance_wsgi.state.store import FileStore

_logger = logging.getLogger("maintenance_wsgi")
_BLOCKED, _BYPASS_LINK, _HEALTH = Outcome.BLOCKED, Outcome.BYPASS_LINK, Outcome.HEALTH
_OFF = Outcome.OFF
# By what a request passes: how the answer of the application starts, and what tells it.
_FOR_ONE_CLIENT = (start_exempt_client, "maintenance_wsgi.exempt")
_READING = (partial(start_for_all, READ_ONLY), "maintenance_wsgi.read_only")
_LET_THROUGH: dict[Outcome, tuple[Callable[..., Any], str]] = {
    Outcome.EXEMPT_PATH: (partial(start_for_all, EXEMPT), ""),
    Outcome.EXEMPT_CLIENT: _FOR_ONE_CLIENT,
    Outcome.BYPASS_HEADER: _FOR_ONE_CLIENT,
    Outcome.BYPASS_COOKIE: _FOR_ONE_CLIENT,
    Outcome.WRITE_PATH: _READING,
    Outcome.READ_ONLY: _READING,
}


class MaintenanceMiddleware:
    """Puts a WSGI application into maintenance mode while a flag file exists.

    Args:
        application: a WSGI callable, `"package.module:attribute"` or `"package.module:factory()"`.
            A name is imported now if maintenance is off. Otherwise it is imported when the first
            request is let through, so that the page works even if the code cannot be imported.
        directory: the directory of the two files, or the MaintenanceMode of one.
        trusted_proxies: addresses and networks whose `client_ip_header` is believed, and
            `"unix:"` for connections through a Unix socket.
        client_ip_header: the one header that is read.
        exempt_paths: paths that are let through for every client. An entry that ends in `/` covers
            every path below it; any other covers exactly itself.
        health_paths: paths on which the gate itself answers `GET` and `HEAD` with 200.
        write_paths: paths that are let through in read-only mode whatever the method.
        retry_after: seconds for the `Retry-After` of the 503, or None for no such header; a value
            in the flag file takes precedence.
        page: an HTML file, or a directory with `page.html` and `page.<language>.html`, in place
            of the built-in page; `pydoc maintenance_wsgi.response.templates` lists its
            placeholders.
        cors_origins: origins (`https://shop.example`, or `*`) whose scripts may read the 503.
        drain: count the requests in flight, so that `enable --drain` can wait until the earlier
            ones have ended. An answer that is neither a list nor a tuple ends with its `close()`.

    Attributes:
        options: the arguments that the admin command needs.

    Raises:
        ConfigError: an argument is not valid; the message names it.
        ConfigTypeError: an argument has the wrong type; the message names it.
        StateError: this user cannot search the directory, or with `drain` not make a file there.
    """

    def __init__(  # noqa: PLR0913 (the options of the product; all but two by keyword)
        self,
        application: WSGIApplication | str,
        directory: str | os.PathLike[str] | MaintenanceMode,
        *,
        trusted_proxies: Iterable[str] = (),
        client_ip_header: str = "X-Forwarded-For",
        exempt_paths: Iterable[str] = (),
        health_paths: Iterable[str] = (),
        write_paths: Iterable[str] = (),
        retry_after: int | None = 300,
        page: str | os.PathLike[str] | None = None,
        cors_origins: Iterable[str] = (),
        drain: bool = False,
    ) -> None:
        if retry_after is not None:
            validate_seconds("retry_after", retry_after)
        if not isinstance(drain, bool):
            raise ConfigTypeError(f"drain: {drain!r} is not a bool; pass True or False")
        proxies = string_tuple("trusted_proxies", trusted_proxies)
        paths = string_tuple("exempt_paths", exempt_paths)
        healthy = string_tuple("health_paths", health_paths)
        writable = string_tuple("write_paths", write_paths)
        page = None if page is None else absolute_path("page", page)
        resolver = ClientIPResolver(proxies, client_ip_header)
        self._unavailable = UnavailableResponse(retry_after, page, cors_origins)
        self._reader = _reader_of(directory)
        checked = ExemptPaths(writable, "write_paths"), ExemptPaths(healthy, "health_paths")
        self._gate = Gate(self._reader, resolver, ExemptPaths(paths), *checked)
        where = self._reader.directory
        self.options: Options = Options(
            where, proxies, client_ip_header, paths, page, writable, healthy, retry_after
        )
        self._warn = ProxyWarnings(resolver, self.options)
        self._application = self._load(application)
        self._look, self._let_in = self._reader.flag, self._application
        if drain:
            self._look, self._let_in = self._reader.flag_if_last_on, self._counted()
        if _logger.disabled:
            fault = "it is disabled; set disable_existing_loggers to False in Django's LOGGING"
            warnings.warn(f"logger 'maintenance_wsgi': {fault}", stacklevel=2)
        _logger.info("%s: the directory of maintenance mode", where)

    if not TYPE_CHECKING:  # pragma: no branch (a type checker finds the mistake by itself)

        @wraps(__init__)
        def __new__(cls, *given: object, **options: object) -> Self:
            """Refuse in words what Django calls with one argument: an entry of `MIDDLEWARE`."""
            if len(given) == 1 and not options:
                remedy = "in Django, wrap the application in wsgi.py, not MIDDLEWARE"
                raise ConfigTypeError(f"directory: is missing; {remedy}")
            return super().__new__(cls)

    @classmethod
    def from_environ(cls, application: WSGIApplication | str) -> Self:
        """Return the middleware around an application, as environment variables configure it.

        `MAINTENANCE_DIR` is the directory of the two files, and has no default: the server's
        working directory may be another than the operator's. `MAINTENANCE_TRUSTED_PROXIES` and so
        on are the constructor's options. Blanks or commas separate the entries of a list, an empty
        value counts as not given, and `MAINTENANCE_RETRY_AFTER` may be `none`. The command
        `maintenance-wsgi help environment` lists the variables.

        Args:
            application: as the constructor takes it.

        Raises:
            ConfigError: `MAINTENANCE_DIR` is not set, a variable is nearly an option's name, or a
                value is not valid; the message names it.
            StateError: this user cannot search the directory, or with `MAINTENANCE_DRAIN` not make
                a file there.
        """
        options = options_from_environ()
        if "dir" not in options:
            raise ConfigError("MAINTENANCE_DIR: is not set; set it to the absolute path")
        return cls(application, options.pop("dir"), **options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request: by the application, or with the 503. Never raises by itself.

        Args:
            environ: the request (PEP 3333).
            start_response: the server's function, which starts the answer.

        Returns:
            The body of the answer.
        """
        flag = self._look()
        if flag is None:
            return self._let_in(environ, start_response)
        decision = self._gate.decide(environ, flag)
        outcome = decision.outcome
        if outcome is _BLOCKED and (resolution := decision.resolution) and decision.window:
            self._warn(environ, resolution)
            client = resolution.public_client
            return self._unavailable(environ, start_response, decision.window, client)
        if outcome is _HEALTH:
            return answer_health(environ, start_response)
        if outcome is _BYPASS_LINK:
            return answer_link(environ, start_response)
        if outcome is _OFF:  # since the flag was looked at
            return self._let_in(environ, start_response)
        if decision.hides:
            bypass.hide(environ)
        start, key = _LET_THROUGH[outcome]
        if key:
            environ[key] = True
        return self._application(environ, partial(start, start_response))

    def explain(self, environ: WSGIEnvironment) -> Explanation:
        """Return how a request is decided, step by step, by this very configuration.

        The result names the trusted proxies and the exempt entry: only show it to exempt or
        logged-in users.

        Args:
            environ: the request (PEP 3333); no answer is made.

        Returns:
            An account: `str()` gives lines of text, and `as_dict()` what `explain --json` prints.
        """
        return explain(environ, self._gate)

    def _counted(self) -> WSGIApplication:
        book = open_book(self._reader.directory)
        book.join()
        is_exempt = self._gate.exempt_paths.match if self.options.exempt_paths else None
        return CountedApplication(self._application, book, self._reader.flag, self, is_exempt)

    def _load(self, application: WSGIApplication | str) -> WSGIApplication:
        if isinstance(application, str):
            named = NamedApplication(application)
            return named if self._reader.flag() else named.load()
        name = getattr(application, "__qualname__", repr(application))
        return checked_application(application, name)


def wrap(name: str) -> MaintenanceMiddleware:
    """Return a named application behind the gate, configured by the environment.

    For servers that take an expression, so that no code changes:
    `gunicorn 'maintenance_wsgi:wrap("shop.wsgi:application")'`. It is
    `MaintenanceMiddleware.from_environ(name)`, which documents the variables and the errors.

    Args:
        name: `"package.module:attribute"` or `"package.module:factory()"`.
    """
    return MaintenanceMiddleware.from_environ(name)


def _reader_of(where: str | os.PathLike[str] | MaintenanceMode) -> StateReader:
    if not isinstance(where, MaintenanceMode):
        return StateReader(where)
    if not isinstance(where.store, FileStore):
        raise ConfigTypeError(
            f"directory: {where.store} is not a directory; use the one that `follow` writes"
        )
    return where.store.reader
