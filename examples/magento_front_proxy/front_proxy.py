"""A reverse proxy in front of a Magento shop, controlled by the shop's own maintenance files.

    SHOP=http://127.0.0.1:8081 MAINTENANCE_DIR=/srv/shop/var gunicorn

in this directory starts it, with the settings in `gunicorn.conf.py`. Environment variables:

- `SHOP`: the shop's URL, `http://host:port` or `https://host:port`.
- `SHOP_TIMEOUT`: seconds to wait for a connection to the shop and for each piece of its answer; 60.
- `BIND`: the address that the proxy listens on, in gunicorn's notation; `127.0.0.1:8080`.
- `MAINTENANCE_DIR`, `MAINTENANCE_TRUSTED_PROXIES` and so on: the options of
  `MaintenanceMiddleware`. The trusted proxies are the proxies in front of this one, for example an
  nginx that terminates TLS.

What it forwards:

- `Host`, path and query as the client sent them. The address that connects is appended to
  `X-Forwarded-For`. `X-Forwarded-Proto` and `X-Forwarded-Host` come from a trusted proxy,
  otherwise from what this proxy sees itself. Other `X-Forwarded-*`, `Forwarded` and `X-Real-IP`
  pass only from a trusted proxy; `Proxy`, `X-Original-URL` and `X-Rewrite-URL` never.
- `Accept-Encoding` and compressed answers as they are. `Upgrade` is not forwarded.
- A body with a `Content-Length` while it arrives. A chunked body is first read to its end, up to
  64 MiB, otherwise the answer is 413: unfinished uploads take 2 GiB of `TMPDIR` at most.
- 502 if the shop is down or its answer is not valid, 504 if it is silent for `SHOP_TIMEOUT`
  seconds. If an answer breaks off, so does the client's connection, so that no client and no cache
  takes half an answer for a whole one. No redirect is followed, and no request is repeated.

Each request has its own connection to the shop, so that no answer can reach another client. It is
a connection of urllib3 without the pool, because the pool changes the spelling of a path.
"""

import http.client
import logging
import os
import re
import ssl
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import chain
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from urllib.parse import quote, unquote_to_bytes, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse
from urllib3.util import SKIP_HEADER
from werkzeug import exceptions
from werkzeug.datastructures import EnvironHeaders
from werkzeug.http import is_hop_by_hop_header
from werkzeug.wsgi import ClosingIterator, LimitedStream, get_content_length, get_host

from maintenance_wsgi import ConfigError, MaintenanceMiddleware
from maintenance_wsgi.config import options_from_environ
from maintenance_wsgi.request.client_ip import ClientIPResolver

# Any other character could become part of a link, of a cache key or of a new header line.
_HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?"
_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TEXT = r"[^\0-\x08\n-\x1f\x7f]*"
# The headers that say where an answer ends, and their valid values.
_FRAMING = {"content-length": "[0-9]{1,18}", "transfer-encoding": "(?i:chunked)"}
# Headers that say where a request comes from. A client can forge them.
_ORIGIN = re.compile("X-Forwarded-.*|Forwarded|X-Real-Ip")
_NOT_FORWARDED = {
    "Content-Length",  # the proxy sends the length that it has checked
    "Expect",  # gunicorn has answered with 100 Continue
    "Proxy",  # CGI programs take it for the variable HTTP_PROXY (httpoxy, CVE-2016-5385)
    "Proxy-Connection",  # old browsers send it in place of Connection
    "X-Original-Url",  # frameworks route by these two; the gate has decided by the path
    "X-Rewrite-Url",
}
_PIECE = 1 << 14  # bytes
_IN_MEMORY = 1 << 20  # bytes of a chunked body; a longer body is in a temporary file
_MAX_CHUNKED = 1 << 26  # bytes; unfinished uploads in all 32 threads must not fill the disk
_logger = logging.getLogger("front_proxy")
_resolver = ClientIPResolver(options_from_environ().get("trusted_proxies", ()))


class FrontProxy:
    """The WSGI application that forwards requests to the shop.

    Args:
        shop: the shop's URL, without a path.
        timeout: seconds to wait for a connection and for each piece of an answer.
    """

    def __init__(self, shop: str, timeout: int) -> None:
        url = urlsplit(shop)
        context = ssl.create_default_context()  # shared: it takes long to load the authorities
        kinds: dict[str, Callable[..., HTTPConnection]] = {
            "http": HTTPConnection,
            "https": partial(HTTPSConnection, ssl_context=context),
        }
        self._connect = partial(kinds[url.scheme], url.netloc, timeout=timeout)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return the shop's answer, or an error if the request or the answer is not valid."""
        connection = self._connect()
        try:
            response = _ask(connection, environ)
            pieces = response.stream(_PIECE, decode_content=False)
            first = next(pieces, b"")  # a later failure can only cut the client's connection
        except (exceptions.HTTPException, HTTPError, http.client.HTTPException, OSError) as error:
            connection.close()
            return _failure(error)(environ, start_response)
        start_response(_status(response), _end_to_end(response.headers.items()))
        return ClosingIterator(chain([first], pieces), [response.close, connection.close])


def _ask(connection: HTTPConnection, environ: WSGIEnvironment) -> HTTPResponse:
    method, target, headers = environ["REQUEST_METHOD"], _target(environ), _headers(environ)
    with SpooledTemporaryFile(_IN_MEMORY) as spool:
        body, length = _body(environ, spool)
        if length is not None:
            headers["Content-Length"] = str(length)
        connection.request(method, target, body if length else None, headers, preload_content=False)
    response = connection.getresponse()
    _check(response)
    return response


def _failure(error: Exception) -> exceptions.HTTPException:
    if isinstance(error, exceptions.HTTPException):
        return error  # the client's request is not valid
    _logger.warning("no valid answer from the shop: %.300r", error)
    slow = isinstance(error.__cause__ or error, TimeoutError)  # urllib3 wraps the socket's errors
    return exceptions.GatewayTimeout() if slow else exceptions.BadGateway()


def _check(response: HTTPResponse) -> None:
    """Refuse an answer that another program could read in a different way.

    Its status is final (a 103 would be taken for the answer), it holds no control characters, and
    it states its length only once (RFC 9112 section 6.3).
    """
    status, headers = _status(response), response.headers.items()
    bad = [
        name
        for name, value in headers
        if not re.fullmatch(_NAME, name)
        or not re.fullmatch(_FRAMING.get(name.lower(), _TEXT), value)
    ]
    framing = [name for name, _ in headers if name.lower() in _FRAMING]
    if bad or len(framing) > 1 or not re.fullmatch(f"[2-9][0-9]{{2}} {_TEXT}", status):
        raise http.client.HTTPException(f"invalid answer: {status!r}, {bad}, {framing}")


def _status(response: HTTPResponse) -> str:
    return f"{response.status} {response.reason}"


def _body(
    environ: WSGIEnvironment, spool: "SpooledTemporaryFile[bytes]"
) -> tuple[Iterable[bytes], int | None]:
    """Return the client's body and its length in bytes, or None if the client sends neither.

    A chunked body is read to its end, to learn its length: a shop that cannot read chunks would
    take them for the next request.
    """
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is None:
        length = get_content_length(environ)
        return LimitedStream(environ["wsgi.input"], length or 0), length
    if coding.lower() != "chunked":
        raise exceptions.NotImplemented
    copyfileobj(LimitedStream(environ["wsgi.input"], _MAX_CHUNKED, is_max=True), spool)
    length = spool.tell()
    spool.seek(0)
    return spool, length


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the headers for the shop: the client's, and where the request comes from."""
    sent = dict(EnvironHeaders(environ))
    host = sent.get("Host", get_host(environ))
    # urllib3 acts on this value, whichever header has it.
    if not re.fullmatch(_HOST, host) or SKIP_HEADER in sent.values():
        raise exceptions.BadRequest
    headers = {"Host": host, "User-Agent": SKIP_HEADER, "Accept-Encoding": SKIP_HEADER}
    headers |= {
        name: value
        for name, value in _end_to_end(sent.items())
        if name not in _NOT_FORWARDED and not _ORIGIN.fullmatch(name)
    }
    return headers | _origin(environ, sent, host) | {"Connection": "close"}


def _origin(environ: WSGIEnvironment, sent: dict[str, str], host: str) -> dict[str, str]:
    """Return the headers that say where the request comes from.

    `Connection: X-Forwarded-For` does not remove them (CVE-2022-31813).
    """
    # A listener for both families reports IPv4 in this form; the shop's list has plain IPv4.
    peer = environ["REMOTE_ADDR"].removeprefix("::ffff:")
    trusted = _resolver.resolve(environ).peer.trusted_by is not None
    origin = {"X-Forwarded-Host": host, "X-Forwarded-Proto": environ["wsgi.url_scheme"]}
    if trusted:
        origin |= {name: value for name, value in sent.items() if _ORIGIN.fullmatch(name)}
    # With no address to append, the last entry would be one that the client wrote.
    earlier = sent.get("X-Forwarded-For", "") if peer or trusted else ""
    return origin | {"X-Forwarded-For": ", ".join(filter(None, [earlier, peer]))}


def _end_to_end(headers: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that are not for one connection only (RFC 9110 section 7.6.1)."""
    options = ",".join(value for name, value in headers if name.lower() == "connection")
    nominated = {option.strip() for option in options.lower().split(",")}
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in nominated and not is_hop_by_hop_header(name)
    ]


def _target(environ: WSGIEnvironment) -> str:
    """Return the path as the client spelled it, with its %2F, and the query.

    The spelling counts only if it means the path that the gate has seen. Otherwise
    ("/healthz#/../admin") the gate would let one path through and the shop would serve another.
    """
    if environ["REQUEST_METHOD"] == "CONNECT":
        raise exceptions.NotImplemented  # it names a server to connect to, not a path
    seen = environ["PATH_INFO"].encode("latin-1")
    spelled = re.sub(r"^[A-Za-z]+://[^/?#]*|[?#].*", "", environ.get("RAW_URI", ""))
    path = spelled if unquote_to_bytes(spelled) == seen else quote(seen)
    query = environ["QUERY_STRING"]
    return (path or "/") + (f"?{query}" if query else "")


def _is_shop_url(url: str) -> bool:
    try:
        return bool(re.fullmatch(f"https?://{_HOST}/?", url)) and urlsplit(url).port != 0
    except ValueError:  # the port is above 65535, or the address in brackets is not valid
        return False


def _from_environ() -> FrontProxy:
    shop, timeout = os.environ.get("SHOP", ""), os.environ.get("SHOP_TIMEOUT", "60")
    if not _is_shop_url(shop):
        raise ConfigError(f"SHOP: {shop!r} is not a valid shop URL; write http://127.0.0.1:8081")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", timeout):
        raise ConfigError(f"SHOP_TIMEOUT: {timeout!r} is not a valid number of seconds; write 60")
    return FrontProxy(shop, int(timeout))


application = MaintenanceMiddleware.from_environ(_from_environ())
