"""TLS to each kind of Redis; the password is sent to no server of another name."""

import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import StateError
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.support.commands import invoke_fleet, succeed
from tests.support.needs import need
from tests.support.processes import held_port, running
from tests.support.redis import redis_server
from tests.support.tls import make_certificate

pytestmark = pytest.mark.servers

SECRET = "hunter2"  # noqa: S105 (nobody's)


@contextmanager
def listener(certificate: Path, key: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Accept TLS with a certificate; yield the port, and what clients send."""
    received: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve() -> None:
        while True:
            try:
                accepted, _ = server.accept()
            except OSError:
                return
            accepted.settimeout(10)
            with (
                accepted,
                suppress(OSError),
                context.wrap_socket(accepted, server_side=True) as connection,
            ):
                received.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], received
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(30)


@contextmanager
def sentinel(folder: Path, master: int, *more: str) -> Iterator[tuple[int, Path]]:
    """Run a Sentinel that names a port as the master; yield its own port and certificate."""
    folder.mkdir()
    certificate, key = make_certificate(folder, "IP:127.0.0.1")
    with held_port() as port:
        lines = [
            "port 0",
            "bind 127.0.0.1",
            f"tls-port {port}",
            f"tls-cert-file {certificate}",
            f"tls-key-file {key}",
            "tls-auth-clients no",
            f"sentinel monitor shop 127.0.0.1 {master} 1",
            "sentinel down-after-milliseconds shop 600000",
            *more,
        ]
        (folder / "sentinel.conf").write_text("\n".join(lines))
        command = [need("redis-server"), str(folder / "sentinel.conf"), "--sentinel"]
        with running(command, ("127.0.0.1", port), folder / "sentinel.log"):
            yield port, certificate


@pytest.mark.parametrize("arguments", [["enable"], ["follow", "--once", "--dir=."]], ids=" ".join)
@pytest.mark.parametrize("kind", ["server", "cluster", "sentinel", "master of a sentinel"])
def test_password_is_not_sent_to_a_server_of_another_name(
    kind: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    certificate, key = make_certificate(tmp_path, "DNS:evil.example")
    trusted = certificate.read_text()
    with ExitStack() as stack:
        port, received = stack.enter_context(listener(certificate, key))
        url = {
            "server": f"rediss://u:{SECRET}@127.0.0.1:{port}/0?",
            "cluster": f"rediss+cluster://u:{SECRET}@127.0.0.1:{port}/?",
            "sentinel": f"rediss+sentinel://127.0.0.1:{port}/shop?sentinel_password={SECRET}&",
        }.get(kind)
        if url is None:
            own_port, own = stack.enter_context(sentinel(tmp_path / "sentinel", port))
            url = f"rediss+sentinel://u:{SECRET}@127.0.0.1:{own_port}/shop?"
            trusted += own.read_text()
        (tmp_path / "trusted").write_text(trusted)
        result = invoke_fleet(f"{url}ssl_ca_certs={tmp_path}/trusted", *arguments)
    assert result.exit_code == 1, result.output
    assert "does not answer" in result.stderr
    assert SECRET not in result.output
    assert b"".join(received) == b""


def test_cluster_and_sentinels_work_over_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "IP:127.0.0.1")
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    tls += ["--tls-auth-clients", "no", "--tls-cluster", "yes", "--cluster-enabled", "yes"]
    with ExitStack() as stack:
        tls_port = stack.enter_context(held_port())
        options = map(str, ["--tls-port", tls_port, *tls])
        redis_port = stack.enter_context(redis_server(tmp_path, *options))
        with redis.Redis(port=redis_port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                pass
        more = ["tls-replication yes", f"tls-ca-cert-file {certificate}"]
        port, own = stack.enter_context(sentinel(tmp_path / "sentinel", tls_port, *more))
        (tmp_path / "trusted").write_text(certificate.read_text() + own.read_text())
        for url in (f"+cluster://127.0.0.1:{tls_port}/", f"+sentinel://127.0.0.1:{port}/shop"):
            way = f"rediss{url}?ssl_ca_certs={tmp_path}/trusted"
            succeed(way, "enable", f"--message={url}")
            assert f"Message: {url}\n" in succeed(way, "status")


# redis-py 5.0 leaves the socket to the garbage collector if TLS cannot be set up; it runs in here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["", "+cluster"])
def test_wrong_url_is_told(kind: str, tmp_path: Path) -> None:
    """TLS at a plain port and the reverse, and a file that is not there; then the right one."""
    certificate, key = make_certificate(tmp_path, "IP:127.0.0.1")
    options = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    with ExitStack() as stack:
        tls_port = stack.enter_context(held_port())
        options = ["--tls-port", tls_port, *options, "--cluster-enabled", "yes" if kind else "no"]
        port = stack.enter_context(redis_server(tmp_path, *map(str, options)))
        wrong = {
            f"redis{kind}://127.0.0.1:{tls_port}/": "use rediss:// if that port has TLS",
            f"rediss{kind}://127.0.0.1:{port}/?socket_timeout=0.2&socket_connect_timeout=0.2": (
                "use redis:// if that port has no TLS"
            ),
            f"rediss{kind}://127.0.0.1:{tls_port}/?ssl_ca_certs=/nowhere/ca.pem": (
                "/nowhere/ca.pem cannot be read: correct ssl_ca_certs"
            ),
            f"rediss{kind}://127.0.0.1:{tls_port}/?ssl_certfile={tmp_path}/no&ssl_keyfile={key}": (
                f"{tmp_path}/no cannot be read: correct ssl_certfile"
            ),
        }
        for url, said in wrong.items():
            result = invoke_fleet(url, "status")
            assert result.exit_code == 1
            assert " does not answer: " in result.stderr
            assert result.stderr.endswith(f"; {said}\n"), result.stderr
        del result  # its traceback holds the last socket
        gc.collect()


def test_server_that_has_answered_before_is_not_suspected(redis_url: str, redis_port: int) -> None:
    def lose_the_connection() -> None:
        with redis.Redis(port=redis_port) as client, store.subscribe() as wait:
            client.client_kill_filter(_type="pubsub")
            wait(10)

    store = RedisStore(RedisConnection(redis_url), create=True)
    store.update(lambda state: state)
    with pytest.raises(StateError, match="does not answer: Connection closed by server") as caught:
        lose_the_connection()
    store.close()
    assert "TLS" not in str(caught.value)
