"""What is refused before any Redis is asked, and what is loaded without one."""

import os
import sys
from pathlib import Path

import pytest

from maintenance_wsgi import ConfigError, ConfigTypeError, MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.nodes import validate_name
from maintenance_wsgi.fleet.store import RedisStore
from tests.support.commands import invoke_fleet
from tests.support.processes import environ, held_port, run
from tests.support.wsgi import shop

# It stands in URLs that are wrong in many ways, and must never be seen.
SECRET = "hunter2%21"  # noqa: S105 (nobody's)


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{SECRET}@127.0.0.1/",
        f"redis//u:{SECRET}@127.0.0.1/",
        f"redis://u:{SECRET}?@127.0.0.1/",
        f"redis://u:{SECRET}/@127.0.0.1/",
        f"redis://u:{SECRET}#@127.0.0.1/",
        f"redis://u:{SECRET}@x@127.0.0.1/",
        f"redis://127.0.0.1:{SECRET}/",
        f"redis+sentinel://127.0.0.1:{SECRET},127.0.0.2/shop",
        f"redis+sentinel://127.0.0.2,127.0.0.1:{SECRET}/shop",
        f"redis://127.0.0.1/?{SECRET}=1",
        f"redis://127.0.0.1/?password={SECRET}@",
        f"redis://127.0.0.1/?socket_timeout={SECRET}",
        f"unix+cluster://u:{SECRET}@/tmp/redis",
        f"redis://u:{SECRET}@127.0.0.1:1,127.0.0.2:1",
        f"redis+cluster://u:{SECRET}@127.0.0.1:1,127.0.0.2:b/",
        f"redis+nothing://u:{SECRET}@127.0.0.1",
        f"redis://u:{SECRET}@127.0.0.1/?decode_responses=true",
        SECRET,
    ],
)
def test_wrong_url_is_refused_and_not_shown(url: str) -> None:
    result = invoke_fleet(url, "enable")
    assert result.exit_code == 2, result.output
    assert "invalid Redis URL" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("url", "place", "redacted"),
    [
        ("redis://u:p@h/?client_name=a", "h", "redis://h/"),
        ("redis://h:1/0", "h:1", "redis://h:1/0"),
        ("redis://h/1", "h?db=1", "redis://h/1"),
        ("rediss://h/1?db=2", "h?db=2", "rediss://h/1?db=2"),
        ("unix://u:p@/run/redis?db=1", "/run/redis?db=1", "unix:///run/redis?db=1"),
        ("redis+cluster://a,b", "a,b", "redis+cluster://a,b"),
        ("redis+sentinel://:p@a,b/m", "a,b/m", "redis+sentinel://a,b/m"),
        ("redis+sentinel://a/m/3", "a/m?db=3", "redis+sentinel://a/m/3"),
    ],
)
def test_place_tells_one_state_from_another(url: str, place: str, redacted: str) -> None:
    """A directory has one owner, and a command to paste acts on the same state."""
    connection = RedisConnection(url)
    assert (connection.place, connection.redacted_url) == (place, redacted)


def test_several_hosts_are_told_their_kind_of_url() -> None:
    result = invoke_fleet(f"redis://u:{SECRET}@127.0.0.1:1,127.0.0.2:1", "enable")
    assert "(several hosts need redis+cluster:// or redis+sentinel://; not shown" in result.stderr


@pytest.mark.parametrize("kind", ["rediss", "rediss+cluster", "rediss+sentinel"])
@pytest.mark.parametrize(
    "option",
    [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=optional",
        "ssl_check_hostname=false",
        "ssl_check_hostname=0",
        "sentinel_ssl_cert_reqs=none",
        "sentinel_ssl_check_hostname=false",
        "ssl_cert_reqs=required&ssl_check_hostname=no",
        "ssl_cert_reqs=required",
    ],
)
def test_option_that_leaves_tls_unverified_is_refused(kind: str, option: str) -> None:
    result = invoke_fleet(f"{kind}://u:{SECRET}@127.0.0.1:1/shop?{option}", "enable")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "certificates are always verified; leave out ssl_cert_reqs" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("name", ["", "a b", "{a}", "x" * 300, "-a", "a\n"])
def test_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--node: .* is not a valid name"):
        validate_name("--node", name)
    result = invoke_fleet("redis://127.0.0.1:1", "status", f"--fleet={name}")
    assert result.exit_code == 2
    assert "is not a valid name" in result.stderr


def test_redis_that_is_not_there() -> None:
    with held_port() as port:
        result = invoke_fleet(f"redis://u:{SECRET}@127.0.0.1:{port}/0", "enable")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert "hunter2" not in result.output


def test_nothing_of_it_is_loaded_without_redis(var: Path) -> None:
    program = """
import sys
from maintenance_wsgi.cli import main
for command in (["enable", "--ip=203.0.113.7"], ["status"], ["run", "true"], ["disable"]):
    main(["--dir", sys.argv[1], *command], standalone_mode=False)
assert not [name for name in sys.modules if name.partition(".")[0] == "redis"]
"""
    run_program(program, var)


def test_without_redis_py_the_extra_is_named(var: Path) -> None:
    program = """
import sys
sys.modules["redis"] = None
from maintenance_wsgi.cli import main
main(["--dir", sys.argv[1], "follow", "--redis", "redis://u:hunter2@127.0.0.1"])
"""
    result = run_program(program, var, code=1)
    assert "pip install 'maintenance-wsgi[redis]'" in result
    assert "hunter2" not in result
    assert os.listdir(var) == []


def test_broken_redis_py_is_not_hidden(var: Path) -> None:
    program = """
import sys
sys.modules["redis.sentinel"] = None
from maintenance_wsgi.cli import main
main(["--dir", sys.argv[1], "follow", "--redis", "redis://127.0.0.1"])
"""
    assert "redis.sentinel" in run_program(program, var, code=1)


def run_program(program: str, var: Path, code: int = 0) -> str:
    return run(sys.executable, "-c", program, var, env=environ(), code=code).stderr


def test_requests_are_not_decided_by_a_fleet() -> None:
    mode = MaintenanceMode(RedisStore(RedisConnection("redis://127.0.0.1:1")))
    with pytest.raises(ConfigTypeError, match="is not a directory; use the one that `follow`"):
        MaintenanceMiddleware(shop, mode)
