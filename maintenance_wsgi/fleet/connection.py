"""A Redis that a URL names: its errors become this package's own, and no secret is ever shown."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote, urlsplit

from redis import Redis, RedisCluster, exceptions
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import ConnectionPool, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from maintenance_wsgi.errors import ConfigError, StateError
from maintenance_wsgi.grammar import printable

# Only one "@": otherwise a part of an unencoded password would count as a host, and be shown.
_URL = re.compile(
    r"(?P<scheme>rediss?|unix)(\+(?P<kind>sentinel|cluster))?://"
    r"(?P<user>[^@/?#]*@)?(?P<hosts>[^@/?#]*)(?P<path>/[^@?#]*)?(?P<query>\?[^@#]*)?"
)
# No retries: a change that Redis made but could not confirm would then look like a conflict.
_DEFAULTS: dict[str, Any] = {
    "protocol": 2,  # the only one of Redis 5
    "retry": Retry(NoBackoff(), 0),
    "socket_connect_timeout": 5,
    "socket_timeout": 5,
}
_FILES = {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"}
# Set, not inherited: redis-py before 6 does not check the name in a certificate.
_TLS: dict[str, Any] = {"ssl_check_hostname": True, "ssl_cert_reqs": "required"}
_REJECTED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_UNREACHABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.RedisClusterException,
    OSError,
    UnicodeError,  # of a host name
)
_RAISED = (exceptions.RedisError, *_UNREACHABLE)
# By what a message holds; the URL's scheme stands before it until that server has answered once.
_REMEDIES = {
    "no permissions|executing the script can't": "grant the rights of the ACL in"
    " examples/fleet/README.md",
    "cluster support disabled|cluster mode is not enabled": "leave out +cluster in the URL",
    "non deterministic|wrong number of args": "use Redis 5 or newer",
    "unknown command": "use Redis 5 or newer, with that command enabled",
    "^rediss:.*(timeout|wrong.version|record layer)": "use redis:// if that port has no TLS",
    "^redis:.*(reset by peer|closed by server)": "use rediss:// if that port has TLS",
    "no master.*authenticationerror": "correct the Sentinels' password, ?sentinel_password=...",
    "no master": "start the master and its Sentinels, or correct its name, the path of the URL",
}
_MESSAGE_LIMIT = 300  # characters


class RedisUnreachableError(StateError):
    """Redis does not answer."""


class RedisConnection:
    """A Redis, a Redis Cluster, or the master that Sentinels name; the first command connects.

    Args:
        url: a URL of redis-py (`redis://`, `rediss://`, `unix://`). Or one of the first two with
            `+cluster` or `+sentinel` and several hosts, for Sentinels with the master's name as
            the path: `redis+sentinel://:PASSWORD@host1:26379,host2:26379/mymaster/0`. The options
            in its query are redis-py's; `sentinel_` before one is for the connections to Sentinels.

    Raises:
        ConfigError: the URL is not valid; it is not shown.
    """

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url) if url.isprintable() else None
        if not match or (match["scheme"] == "unix" and match["kind"]):
            raise _refused("its form is not known")
        self._kind = match["kind"]
        hosts = match["hosts"].split(",")
        if len(hosts) > 1 and not self._kind:
            raise _refused("several hosts need redis+cluster:// or redis+sentinel://")
        self._service, _, database = str(match["path"] or "")[1:].partition("/")
        path = f"/{database}" if self._kind == "sentinel" else match["path"] or ""
        first = f"{match['user'] or ''}{hosts[0]}{path}{match['query'] or ''}"
        self._url = f"{match['scheme']}://{first}"
        # The hosts or the socket, for messages; what tells the state from another one; and the URL
        # without user, password and other options.
        self.address: str = match["hosts"] or match["path"] or "localhost"
        self.place: str = self.address + f"/{self._service}" * (self._kind == "sentinel")
        self.redacted_url: str = url.partition(":")[0] + f"://{match['hosts']}{match['path'] or ''}"
        self._answered = False
        self._known: list[tuple[str, int]] = []
        self._sentinels: list[str] = []
        self._read_options(hosts)

    def _read_options(self, hosts: list[str]) -> None:
        try:
            found: dict[str, Any] = parse_url(self._url)
            parts = [urlsplit(f"//{host}") for host in hosts]
            port = 26379 if self._kind == "sentinel" else 6379
            self._hosts = [(part.hostname or "localhost", part.port or port) for part in parts]
        except ValueError:
            raise _refused("the port or database is not a number") from None
        if any(name.removeprefix("sentinel_") in _TLS for name in found):
            raise _refused("certificates are always verified; leave out ssl_cert_reqs and the like")
        if "decode_responses" in found:
            raise _refused("the state is bytes; leave out decode_responses")
        if database := found.get("db"):
            self.place += f"?db={database}"
            if "db=" in self._url:
                self.redacted_url += f"?db={database}"
        self._fixed = _DEFAULTS | (_TLS if self._url.startswith("rediss:") else {})
        self._options = self._fixed | {
            name: value for name, value in found.items() if not name.startswith("sentinel_")
        }
        self._sentinel_options = self._fixed | {
            name.removeprefix("sentinel_"): value
            for name, value in found.items()
            if name.startswith(("sentinel_", "ssl_"))
        }
        passwords = [str(value) for name, value in found.items() if name.endswith("password")]
        # Redis may show a line end as a blank, and only the beginning of a long argument.
        secrets = {*passwords, *map(quote, passwords)}
        self._secrets = {re.sub(r"\s", "", secret)[:16] for secret in secrets}
        try:
            ConnectionPool(**self._options).make_connection()
        except (TypeError, ValueError, exceptions.RedisError):
            raise _refused("redis-py does not accept one of its options") from None

    @cached_property
    def _redis(self) -> Any:  # noqa: ANN401 (three kinds, and redis-py's types fit none)
        if self._kind == "cluster":
            # RedisCluster of redis-py 5.0 drops ssl_check_hostname; its pool takes it.
            pool = partial(ConnectionPool, **self._fixed)
            first = [ClusterNode(*host) for host in {*self._hosts, *self._known}]
            client = RedisCluster.from_url(
                self._url, startup_nodes=first, **self._fixed, connection_pool_class=pool
            )
            # When the nodes of the URL are dead, the others that were there lead to the cluster.
            self._known = [(node.host, node.port) for node in client.get_nodes()]
            return client
        if self._kind != "sentinel":
            return Redis.from_pool(ConnectionPool(**self._options))
        options = self._options | {"ssl": self._url.startswith("rediss:")}
        options.pop("connection_class", None)
        sentinel_options = self._sentinel_options | {"ssl": options["ssl"]}
        sentinels = Sentinel(self._hosts, sentinel_kwargs=sentinel_options)
        self._sentinels = [f"{sentinel} - " for sentinel in sentinels.sentinels]
        return sentinels.master_for(self._service, **options)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Yield redis-py's client; what it raises becomes RedisUnreachableError or StateError."""
        try:
            yield self._redis
        except StateError:
            raise
        except _RAISED as error:
            cause = _cause(error)
            is_reached = isinstance(cause, _REJECTED) or not isinstance(cause, _UNREACHABLE)
            kind = StateError if is_reached else RedisUnreachableError
            raise kind(f"Redis at {self.address} {self._reason(cause)}") from None
        self._answered = True

    def close(self) -> None:
        """Close the connections, which may be dead already; the next command opens new ones."""
        client = self.__dict__.pop("_redis", None)
        if client is not None:
            client.close()

    def _reason(self, error: Exception) -> str:
        text = str(error)
        for sentinel in self._sentinels:  # named with all its options
            text = text.replace(sentinel, "")
        # A mask, or what kind of message it is, would tell a password that is a word of it.
        if any(secret in re.sub(r"\s", "", text) for secret in self._secrets):
            return "refuses (its message is not shown because it contains the password)"
        message = printable(text, _MESSAGE_LIMIT).rstrip(".")
        if isinstance(error, exceptions.AskError) or text.startswith("MOVED "):
            return "is a node of a Redis Cluster; use redis+cluster:// or rediss+cluster://"
        if isinstance(error, _REJECTED):
            return f"rejected this user or password: {message}; correct them in the URL"
        kind = "does not answer" if isinstance(error, _UNREACHABLE) else "refuses"
        return f"{kind}: {message}{self._remedy(text)}"

    def _remedy(self, text: str) -> str:
        for name in _FILES & self._options.keys():
            if not os.access(path := self._options[name], os.R_OK):
                return f"; {printable(path, _MESSAGE_LIMIT)} cannot be read: correct {name}"
        found = text if self._answered else f"{self._url.partition('/')[0]} {text}"
        fits = (_REMEDIES[words] for words in _REMEDIES if re.search(f"(?is){words}", found))
        return next((f"; {remedy}" for remedy in fits), "")


def _cause(error: Exception) -> Exception:
    """Return what a node of a cluster answered: redis-py reports it as a node out of reach."""
    inner = error.__cause__ or error.__context__
    is_wrapper = isinstance(error, exceptions.RedisClusterException)
    return _cause(inner) if is_wrapper and isinstance(inner, _RAISED) else error


def _refused(why: str) -> ConfigError:
    return ConfigError(
        f"--redis: invalid Redis URL ({why}; not shown because it may contain a password);"
        " use redis://USER:PASSWORD@HOST:6379/0, rediss://... for TLS, or unix:///PATH,"
        " and write @ : / ? # in a password as %40 %3A %2F %3F %23"
    )
