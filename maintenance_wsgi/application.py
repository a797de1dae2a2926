"""A WSGI application that is named by a string and imported when it is needed."""

from collections.abc import Iterable
from inspect import iscoroutinefunction, signature
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
        return (self._application or self.load())(environ, start_response)


def checked_application(application: object, name: str) -> WSGIApplication:
    """Return an application that a server can call; `name` shows it in the message otherwise."""
    if not callable(application):
        raise ConfigTypeError(
            f"application: {name} is not a WSGI callable; pass one, or its name as a string"
        )
    if iscoroutinefunction(application) or iscoroutinefunction(application.__call__):
        raise ConfigTypeError(f"application: {name} is an ASGI application; pass a WSGI one")
    try:
        # What a decorator wraps may take other arguments than the decorator.
        signature(application, follow_wrapped=False).bind({}, None)
    except TypeError:
        fault = f"does not take environ and start_response; if it is a factory, use '{name}()'"
        raise ConfigTypeError(f"application: {name} {fault}") from None
    except ValueError:  # it is not written in Python
        pass
    return application
