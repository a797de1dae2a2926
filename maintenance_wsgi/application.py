"""A WSGI application that is named by a string and imported when it is needed."""

from collections.abc import Callable, Iterable
from inspect import Parameter, iscoroutinefunction, signature
from pkgutil import resolve_name
from threading import Lock
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from maintenance_wsgi.errors import ConfigError, ConfigTypeError


class NamedApplication:
    """A WSGI application, `"module:attribute"` or `"module:factory()"`, imported when needed."""

    def __init__(self, name: str) -> None:
        module, colon, attribute = name.removesuffix("()").partition(":")
        parts = [*module.split("."), *attribute.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            raise ConfigError(
                f"application: {name!r} is not a valid name; use 'package.module:attribute'"
            )
        self._name = name
        self._application: WSGIApplication | None = None
        self._lock = Lock()  # a factory is called once

    def load(self) -> WSGIApplication:
        """Import the application now."""
        with self._lock:
            if self._application is None:
                found = resolve_name(self._name.removesuffix("()"))
                found = found() if self._name.endswith("()") else found
                self._application = checked_application(found, self._name)
            return self._application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, after the import if it is the first one."""
        try:
            application = self._application or self.load()
        except SystemExit as error:  # it would end the server, and the page with it
            fault = f"raises {error!r} when it is imported; correct it"
            raise ImportError(f"application: {self._name} {fault}") from error
        return application(environ, start_response)


def checked_application(application: object, name: str) -> WSGIApplication:
    """Return an application that a server can call; `name` shows it in the message otherwise."""
    if not callable(application):
        raise ConfigTypeError(
            f"application: {name} is not a WSGI callable; pass one, or its name as a string"
        )
    if iscoroutinefunction(application) or iscoroutinefunction(application.__call__):
        raise ConfigTypeError(f"application: {name} is an ASGI application; pass a WSGI one")
    if not _takes_request(application):
        remedy = f"if it is a factory, use '{name}()'; in Django, wrap the application in wsgi.py"
        raise ConfigTypeError(
            f"application: {name} does not take environ and start_response; {remedy}"
        )
    return application


def _takes_request(application: Callable[..., object]) -> bool:
    """Tell whether a callable takes an environ and a start_response; a factory does not."""
    try:
        # What a decorator wraps may take other arguments than the decorator.
        found = signature(application, follow_wrapped=False)
        found.bind({}, None)
    except TypeError:
        return False
    except ValueError:  # it is not written in Python
        return True
    # Only the options of a factory have defaults.
    return next(iter(found.parameters.values())).default is Parameter.empty
