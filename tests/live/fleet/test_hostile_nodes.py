"""What a node wrote is a stranger's input, and so is what a server on the way says."""

import json
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import chown
from socket import create_server
from tempfile import TemporaryDirectory

import pytest
import redis

from maintenance_wsgi import MaintenanceMode, StateError
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.store import RedisStore
from tests.live.fleet.followers import heartbeat
from tests.support.commands import invoke_fleet, succeed
from tests.support.needs import need_root
from tests.support.tls import make_certificate

pytestmark = pytest.mark.servers

NODES = "maintenance-wsgi:{default}:nodes"
RECORDS = {
    "deep": b"1 " + b"[" * 200_000,
    "huge": b'1 {"instance": "a", "revision": "b", "fault": "' + b"x" * 5_000_000 + b'"}',
    "number": b"1 " + b"9" * 5000,
    "future": b'9999999999 {"instance": "a", "revision": "b", "fault": ""}',
    "no-time": b'{"instance": "a", "revision": "b", "fault": ""}',
    "list": b"1 []",
    "bytes": b"1 \xff\xfe\0",
    "empty": b"",
    "types": b'1 {"instance": {}, "revision": [1], "fault": {"a": "\\u001b[31m\\n"}}',
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=list(RECORDS))
def test_broken_record_keeps_no_command_from_working(
    record: bytes, redis_url: str, redis_port: int, fleet: RedisStore
) -> None:
    succeed(redis_url, "disable")
    heartbeat(fleet, "web1")
    with redis.Redis(port=redis_port) as client:
        client.hset(NODES, "evil", record)
    (evil,) = (node for node in fleet.nodes().nodes if node.name == "evil")
    assert (evil.health, evil.acknowledged) == ("offline", False)
    assert evil.seen <= fleet.nodes().now
    printed = succeed(redis_url, "status") + succeed(redis_url, "status", "--json")
    assert len(printed) < 10_000
    assert all(line.isprintable() for line in printed.split("\n"))
    result = invoke_fleet(redis_url, "disable", "--wait=2")
    assert (result.exit_code, result.stdout.count("web1")) == (0, 1), result.output
    succeed(redis_url, "enable", "--message=a")  # and what cannot be dated is removed
    assert [node.name for node in fleet.nodes().nodes] == ["web1"]


@pytest.mark.parametrize("password", ["n", "disabled", "invalid", "user"])
def test_password_is_not_told_by_a_mask(password: str, redis_port: int) -> None:
    result = invoke_fleet(f"redis://nobody:{password}@127.0.0.1:{redis_port}/0", "status")
    assert result.exit_code == 1
    assert "***" not in result.output
    assert "not shown because it contains the password" in result.output


@contextmanager
def listening(certificate: Path, key: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Listen with TLS, and note what clients say after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    said: list[bytes] = []
    with create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                connection.settimeout(5)
                with connection, context.wrap_socket(connection, server_side=True) as secure:
                    said.append(secure.recv(1000))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], said
        thread.join(30)


@pytest.mark.parametrize("kind", ["", "+cluster", "+sentinel"])
def test_password_is_not_sent_to_a_server_of_another_name(kind: str, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "DNS:evil.example")
    with listening(certificate, key) as (port, said):
        path = "/shop/0" if kind == "+sentinel" else "/0"
        options = f"ssl_ca_certs={certificate}&sentinel_password=hunter2"
        url = f"rediss{kind}://:hunter2@127.0.0.1:{port}{path}?{options}"
        if kind != "+sentinel":
            url = url.replace("&sentinel_password=hunter2", "")
        with pytest.raises(StateError, match="does not answer"):
            MaintenanceMode(RedisStore(RedisConnection(url))).status()
    assert b"hunter2" not in b"".join(said)


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
@pytest.mark.parametrize("prefix", ["", "sentinel_"])
def test_certificate_cannot_be_left_unverified(option: str, prefix: str) -> None:
    result = invoke_fleet(f"rediss://127.0.0.1:1/0?{prefix}{option}", "status")
    assert result.exit_code == 2
    assert "certificates are always verified" in result.stderr


@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
@pytest.mark.parametrize("adopt", [[], ["--adopt"]], ids=["overwrites", "adopts"])
def test_follower_of_root_neither_shows_nor_publishes_a_file_of_root(
    adopt: list[str], name: str, redis_url: str, redis_port: int
) -> None:
    need_root()
    succeed(redis_url, "enable", "--ip=203.0.113.7")
    with TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        var, secret = Path(base, "var"), Path(base, "secret")
        var.mkdir()
        secret.write_text("root:SECRETHASH")
        secret.chmod(0o600)
        chown(var, "www-data")
        (var / name).symlink_to(secret)
        os.chown(var / name, 33, 33, follow_symlinks=False)
        results = [
            invoke_fleet(redis_url, "follow", "--once", "--dir", str(var), *adopt) for _ in range(2)
        ]
        assert secret.read_text() == "root:SECRETHASH"
    assert "SECRETHASH" not in "".join(result.output for result in results)
    with redis.Redis(port=redis_port) as client:
        stored = client.hgetall("maintenance-wsgi:{default}:state")
    assert "SECRETHASH" not in json.dumps({str(key): str(stored[key]) for key in stored})
