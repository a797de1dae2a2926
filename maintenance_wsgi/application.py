"""A WSGI application that is named by a string and imported when it is needed."""

from collections.abc import Iterable
from pkgutil import resolve_name
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from maintenance_wsgi.errors import ConfigError, ConfigTypeError


class NamedApplication:
    """A WSGI application that is imported when it is first called.

    Args:
        name: `"package.module:attribute"`.

    Raises:
        ConfigError: the name has another form.
    """

    def __init__(self, name: str) -> None:
        module, colon, attribute = name.partition(":")
        parts = [*module.split("."), *attribute.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            raise ConfigError(
                f"application: {name!r} is not a valid name; use 'package.module:attribute'"
            )
        self._name = name
        self._application: WSGIApplication | None = None

    def load(self) -> WSGIApplication:
        """Import the application now.

        Raises:
            ConfigTypeError: the attribute is not callable.
        """
        self._application = checked_application(resolve_name(self._name), repr(self._name))
        return self._application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, after the import if it is the first one."""
        application = self._application or self.load()
        return application(environ, start_response)


def checked_application(application: object, name: str) -> WSGIApplication:
    """Return the application if it can be called.

    Args:
        application: what was given or imported.
        name: how to show it in a message.

    Raises:
        ConfigTypeError: the object is not callable.
    """
    if not callable(application):
        raise ConfigTypeError(
            f"application: {name} is not a WSGI callable; pass one, or its name as a string"
        )
    return application
