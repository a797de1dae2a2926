"""A reverse proxy in front of a Magento shop, which the shop's own two files put into maintenance.

    SHOP=http://127.0.0.1:8081 MAINTENANCE_DIR=/srv/shop/var gunicorn

in this directory starts it: `gunicorn.conf.py` says the rest. Variables configure it:

- `SHOP`: where the shop listens, `http://host:port` or `https://host:port`.
- `SHOP_TIMEOUT`: seconds to wait for the shop to connect, and for each piece of what it sends; 60.
- `BIND`: where the proxy listens itself, as gunicorn takes it; `127.0.0.1:8080`.
- `MAINTENANCE_DIR`, `MAINTENANCE_TRUSTED_PROXIES` and so on: options of `MaintenanceMiddleware`.
  The trusted proxies are those in front of this one, such as an nginx that ends TLS.

Werkzeug's `ProxyMiddleware` carries the requests. What is here is what it leaves open to strangers,
and to a shop that breaks off.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache, partial
from http import client
from inspect import getgeneratorlocals
from itertools import chain
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import Any, cast
from urllib.parse import quote, unquote_to_bytes, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug import exceptions
from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.wsgi import ClosingIterator, get_host, get_input_stream

from maintenance_wsgi import ConfigError, MaintenanceMiddleware

_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")
# What stands in a request line or a field may become a link, a cache's key, a line of its own.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")
_CONTROL = re.compile(r"[\0-\x08\n-\x1f\x7f]")
_FOR = "HTTP_X_FORWARDED_FOR"
_ORIGIN = re.compile(r"HTTP_(X_FORWARDED_.*|FORWARDED|X_REAL_IP)")  # says where it comes from
# Gunicorn has met the expectation; old browsers spell Connection like the last one.
_FOR_US_ALONE = {"HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "HTTP_PROXY_CONNECTION"}
_IN_MEMORY = 1 << 20
_LARGEST_CHUNKED = 1 << 30  # nobody may fill the disk
_logger = logging.getLogger("front_proxy")


class FrontProxy:
    """The WSGI application that passes requests on to the shop."""

    def __init__(self, shop: str, timeout: int) -> None:
        self._proxy = ProxyMiddleware(exceptions.NotFound(), {}, timeout=timeout)
        self._shop: dict[str, Any] = {"target": shop, "host": None, "remove_prefix": False}
        self._shop |= {"headers": {}, "ssl_context": None}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request with what the shop answers, or a 502 or 504 in its place."""
        started: list[Any] = []
        try:
            with SpooledTemporaryFile(_IN_MEMORY) as spool:
                request = _for_the_shop(environ) | _framed_body(environ, spool)
                ask = self._proxy.proxy_to(self._shop, _path(request), "")
                pieces = _whole(ask(request, partial(_start, started)))
                first = next(pieces, b"")  # while it can still become a 502
        except client.HTTPException as error:
            return _failure(error)(environ, start_response)
        except exceptions.HTTPException as error:
            return error(environ, start_response)
        start_response(*started)
        return ClosingIterator(chain([first], pieces), pieces.close)


def _start(
    started: list[Any], status: str, headers: list[tuple[str, str]], _: object = None, /
) -> Callable[[bytes], object]:
    # ProxyMiddleware makes a 502 of every OSError, while it is being handled.
    if isinstance(error := sys.exception(), OSError):
        raise _failure(error)
    # http.client takes a 103 for the answer itself, and leaves the line ends in a folded field.
    if status.startswith("1") or any(
        map(_CONTROL.search, [status, *(text for _, text in headers)])
    ):
        raise _failure(client.BadStatusLine(status))
    started += [status, headers]
    return started.append


def _failure(error: Exception) -> exceptions.HTTPException:
    _logger.warning("no answer from the shop: %.300r", error)
    slow = isinstance(error, TimeoutError)
    return exceptions.GatewayTimeout() if slow else exceptions.BadGateway()


def _whole(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Pass an answer on; raise where it breaks off, so that the server cuts the connection.

    ProxyMiddleware ends a broken answer like a whole one: caches would keep half a page, and the
    next answer on the connection be taken for the rest. `http.client` knows better.
    """
    generator = cast("Generator[bytes, None, None]", pieces)
    response: client.HTTPResponse = getgeneratorlocals(generator)["resp"]
    _check_framing(response.headers)
    yield from pieces
    if response.length or not response.isclosed():
        raise client.IncompleteRead(b"", response.length)


def _check_framing(headers: client.HTTPMessage) -> None:
    """Refuse an answer whose length somebody may read otherwise (RFC 9112 section 6.3)."""
    lengths = headers.get_all("Content-Length", [])
    codings = headers.get_all("Transfer-Encoding", [])
    known = all(re.fullmatch("[0-9]+", length) for length in lengths)
    chunked = all(coding.lower() == "chunked" for coding in codings)
    if len(lengths + codings) > 1 or not known or not chunked:
        raise client.HTTPException(f"ambiguous length: {lengths} {codings}")


def _framed_body(environ: WSGIEnvironment, spool: "SpooledTemporaryFile[bytes]") -> WSGIEnvironment:
    """Give a chunked body its length; passed on without one it would be the shop's next request."""
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is None:
        return {}
    if coding.lower() != "chunked":
        raise exceptions.NotImplemented
    copyfileobj(get_input_stream(environ, max_content_length=_LARGEST_CHUNKED), spool)
    length = spool.tell()
    spool.seek(0)
    return {"wsgi.input": spool, "CONTENT_LENGTH": str(length)}


def _for_the_shop(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return a request without what is not for the shop, and with where it comes from."""
    peer = environ["REMOTE_ADDR"]
    # A stranger may forge what is left of its own address, and no more.
    believed = ".*" if _is_trusted(peer) else _FOR if peer else ""
    dropped = _hop_by_hop(environ)
    request = {
        key: value
        for key, value in environ.items()
        if (re.fullmatch(believed, key) if _ORIGIN.fullmatch(key) else key not in dropped)
    }
    # A listener for both families reports IPv4 so; the shop's list has it plain.
    hops = [request.get(_FOR, ""), peer.removeprefix("::ffff:")]
    request[_FOR] = ", ".join(filter(None, hops))
    if not _HOST.fullmatch(request.setdefault("HTTP_HOST", get_host(environ))):
        raise exceptions.BadRequest
    request.setdefault("HTTP_X_FORWARDED_HOST", request["HTTP_HOST"])
    request.setdefault("HTTP_X_FORWARDED_PROTO", environ["wsgi.url_scheme"])
    # Werkzeug then minds the length, and that a body does not break off.
    request.pop("wsgi.input_terminated", None)
    return request


def _hop_by_hop(environ: WSGIEnvironment) -> set[str]:
    """Return the fields that the client means for us alone (RFC 9110 section 7.6.1)."""
    names = environ.get("HTTP_CONNECTION", "").split(",")
    return _FOR_US_ALONE | {f"HTTP_{name.strip().upper().replace('-', '_')}" for name in names}


@lru_cache(maxsize=4096)
def _is_trusted(peer: str) -> bool:
    """Ask the gate, so that there is one list of trusted proxies, and one reading of it."""
    return application.explain({"REMOTE_ADDR": peer}).reason == "no_header"


def _path(environ: WSGIEnvironment) -> str:
    """Return the path as the client spelled it, with its %2F, if it is what the gate has seen.

    Else ("/healthz#/../admin") the gate would let one path through and the shop serve another.
    """
    seen = f"{environ['SCRIPT_NAME']}{environ['PATH_INFO']}".encode("latin-1")
    target = re.sub(r"^[a-z]+://[^/?#]*", "", environ.get("RAW_URI", ""), flags=re.IGNORECASE)
    path = re.split("[?#]", target, maxsplit=1)[0]
    if environ["REQUEST_METHOD"] == "CONNECT":
        raise exceptions.NotImplemented  # it names no path, but whom to connect to
    return (path if unquote_to_bytes(path) == seen else quote(seen)) or "/"


def _from_environ() -> FrontProxy:
    shop, timeout = os.environ.get("SHOP", ""), os.environ.get("SHOP_TIMEOUT", "60")
    if not _URL.fullmatch(shop) or (urlsplit(shop).port or 80) < 1:
        raise ConfigError(f"SHOP: {shop!r} is no place of a shop; write http://127.0.0.1:8081")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", timeout):
        raise ConfigError(f"SHOP_TIMEOUT: {timeout!r} is no number of seconds; write 60")
    return FrontProxy(shop, int(timeout))


application = MaintenanceMiddleware.from_environ(_from_environ())
