"""The bypass link, and the cookie and the header that stand for it.

The link holds a secret S, which machines send in a header. The cookie holds C = HMAC-SHA256(S), and
the flag holds SHA-256(C): a reader of the flag learns neither.
"""

import hmac
import os
import re
import string
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from wsgiref.types import WSGIEnvironment

from maintenance_wsgi.errors import ConfigError
from maintenance_wsgi.grammar import header, printable, request_path

_NAME = "maintenance-bypass"
_PARAMETER = f"{_NAME}="
_HEADER = "HTTP_X_MAINTENANCE_BYPASS"
_COOKIE = re.compile(rf"(?:^|;)[ \t]*(?:__Host-)?{_NAME}=([^;]*)")
_URL = re.compile(
    r"((?i:https?)://(?![^/?#]*\.\.)[^/?#@\\:.][^/?#@\\]*)(/[^?#]*)?(?:\?([^#]*))?(#.*)?"
)
_CONTEXT = b"maintenance-wsgi bypass"
# Begins the secret of an http:// link: behind a proxy that ends TLS, no request shows its scheme.
_HTTP = "http."
# A secret or a cookie. HMAC pads its key: with a zero at its end it would be the same key.
_VALUE = re.compile("[A-Za-z0-9_.-]{1,64}")
_MAX_COOKIES = 4  # other sites of the same domain can set some, too
_SAFE_IN_PATH = "/!$&'()*+,;=:@~"  # RFC 3986 section 3.3


class Link(NamedTuple):
    """A bypass link."""

    url: str
    digest: str  # what the flag holds of it


def new_link(url: str) -> Link:
    """Return a link to a page of the site, with a new secret of 192 bits.

    Raises:
        ConfigError: `url` is not an `http` or `https` URL with a host.
    """
    found = _URL.fullmatch(url) if url.isprintable() and " " not in url else None
    if found is None or not _has_valid_port(found[1]):
        shown = printable(url.rpartition("@")[2])  # without a password
        remedy = "use https://shop.example/, without a user"
        raise ConfigError(f"bypass: '{shown}' is not a valid URL; {remedy}")
    site, path, query, fragment = (part or "" for part in found.groups())
    secret = urlsafe_b64encode(os.urandom(24)).decode()
    if site.lower().startswith("http:"):
        secret = _HTTP + secret
    pieces = "&".join(filter(None, [_without_parameter(query), _PARAMETER + secret]))
    digest = sha256(_cookie_of(secret).encode()).hexdigest()
    return Link(f"{site}{path or '/'}?{pieces}{fragment}", digest)


def _has_valid_port(site: str) -> bool:
    with suppress(ValueError):
        return urlsplit(site).port != 0
    return False


def passes_by(environ: Mapping[str, Any], digest: str) -> str | None:
    """Return by what a request passes, `link`, `header` or `cookie`; None if it does not."""
    if not is_sent(environ):
        return None
    if opens_link(environ) and _is_right(_cookie_of(_secret_of_link(environ)), digest):
        return "link"
    if (secret := header(environ, _HEADER)) and _is_right(_cookie_of(secret), digest):
        return "header"
    sent = header(environ, "HTTP_COOKIE")
    found = islice(_COOKIE.finditer(sent), _MAX_COOKIES)
    return "cookie" if any(_is_right(cookie[1], digest) for cookie in found) else None


def opens_link(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request has the parameter of a link, right or wrong, and may be redirected."""
    reads = environ.get("REQUEST_METHOD") in ("GET", "HEAD")
    return reads and _PARAMETER in header(environ, "QUERY_STRING")


def is_sent(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request has a link's parameter, a header or a cookie, right or wrong."""
    # Each request is asked this, and few say yes: one text is searched faster than two.
    texts = f"{environ.get('HTTP_COOKIE')}{environ.get('QUERY_STRING')}"
    return _NAME in texts or _HEADER in environ


def _secret_of_link(environ: Mapping[str, Any]) -> str:
    pieces = header(environ, "QUERY_STRING").split("&")
    values = [piece for piece in pieces if piece.startswith(_PARAMETER)]
    return values[0].removeprefix(_PARAMETER) if len(values) == 1 else ""


def _cookie_of(secret: str) -> str:
    """Return the cookie for a secret; an empty string for what cannot be a secret."""
    if not _VALUE.fullmatch(secret):
        return ""
    code = hmac.digest(secret.encode(), _CONTEXT, "sha256")
    return urlsafe_b64encode(code).decode().rstrip("=")


def _is_right(cookie: str, digest: str) -> bool:
    if not _VALUE.fullmatch(cookie):
        return False
    return hmac.compare_digest(sha256(cookie.encode()).hexdigest(), digest)


def location(environ: Mapping[str, Any]) -> str:
    """Return the path and the query of a request without the parameter, for a redirect."""
    path = header(environ, "SCRIPT_NAME") + request_path(environ)
    query = _without_parameter(header(environ, "QUERY_STRING"))
    # Browsers read "//evil.example" and "/\evil.example" as another host. A client can choose both
    # parts: the path, and by X-Forwarded-Prefix what ProxyFix takes for SCRIPT_NAME.
    target = "/" + quote(path.encode("latin-1", "replace"), _SAFE_IN_PATH).lstrip("/")
    # The query stays as it is; but a line end in it would begin another header.
    kept = quote(query.encode("latin-1", "replace"), string.punctuation)
    return f"{target}?{kept}" if kept else target


def set_cookie(environ: Mapping[str, Any]) -> str:
    """Return the value of `Set-Cookie` for a request by the link; it ends with the browser."""
    secret = _secret_of_link(environ)
    prefix, secure = ("", "") if secret.startswith(_HTTP) else ("__Host-", " Secure;")
    cookie = f"{prefix}{_NAME}={_cookie_of(secret)}"
    return f"{cookie}; Path=/;{secure} HttpOnly; SameSite=Lax"


def hide(environ: WSGIEnvironment) -> None:
    """Take what stands for the secret out of an environ: the application must not see it."""
    environ.pop(_HEADER, None)
    if _NAME in (cookies := header(environ, "HTTP_COOKIE")):
        environ["HTTP_COOKIE"] = _COOKIE.sub("", cookies).lstrip("; \t")
        if not environ["HTTP_COOKIE"]:
            del environ["HTTP_COOKIE"]
    if _PARAMETER in (query := header(environ, "QUERY_STRING")):
        environ["QUERY_STRING"] = _without_parameter(query)
        for key in ("RAW_URI", "REQUEST_URI"):  # of gunicorn and werkzeug, of uWSGI and mod_wsgi
            if uri := header(environ, key):
                path, _, query = uri.partition("?")
                left = _without_parameter(query)
                environ[key] = f"{path}?{left}" if left else path
    if isinstance(scope := environ.get("asgi.scope"), dict):  # of a2wsgi: the request as it came
        environ["asgi.scope"] = scope | _fields_without_secret(environ, scope)


def _fields_without_secret(environ: WSGIEnvironment, scope: Mapping[str, Any]) -> dict[str, object]:
    """Return the fields of a scope (ASGI) with no more than what the environ still holds."""
    cookies, query = (
        header(environ, key).encode("latin-1", "replace") for key in ("HTTP_COOKIE", "QUERY_STRING")
    )
    kept = [(b"cookie", cookies)] if cookies else []
    for name, value in scope.get("headers", ()):
        if name.upper().replace(b"-", b"_") not in {b"COOKIE", b"X_MAINTENANCE_BYPASS"}:
            kept.append((name, value))
    return {"headers": kept, "query_string": query}


def _without_parameter(query: str) -> str:
    return "&".join(piece for piece in query.split("&") if not piece.startswith(_PARAMETER))
