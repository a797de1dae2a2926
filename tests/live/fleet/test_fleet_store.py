"""The mode of a fleet, and the store that keeps its state in a real Redis."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from maintenance_wsgi import MaintenanceError, MaintenanceMode, StateError
from maintenance_wsgi.fleet.connection import RedisConnection
from maintenance_wsgi.fleet.follower import Follower
from maintenance_wsgi.fleet.nodes import NodeIdentity
from maintenance_wsgi.fleet.store import RedisStore
from maintenance_wsgi.state.exemptions import LIST_LIMIT
from maintenance_wsgi.state.store import FileStore, Snapshot
from tests.live.fleet.followers import node_of, timeless

pytestmark = pytest.mark.servers

STATE, NODES = "maintenance-wsgi:{default}:state", "maintenance-wsgi:{default}:nodes"
ON = Snapshot(b"{}", b"203.0.113.7")


@pytest.fixture
def other(redis_url: str) -> MaintenanceMode:
    """Return the mode of another operator, who cannot create the fleet's state."""
    return MaintenanceMode(RedisStore(RedisConnection(redis_url)))


# The mode of a fleet


def test_mode_answers_about_the_fleet_at_once(fleet: RedisStore, redis_url: str) -> None:
    """Each of these is the first question of a mode that was just made."""
    fleet.write(None, ON)

    def mode() -> MaintenanceMode:
        return MaintenanceMode(RedisStore(RedisConnection(redis_url)))

    assert mode().is_enabled()
    assert mode().exemptions == ("203.0.113.7",)
    assert mode().status().enabled
    assert mode().status().exemptions == ("203.0.113.7",)


def test_mode_sees_each_change_of_another_operator(
    operator: MaintenanceMode, other: MaintenanceMode
) -> None:
    assert not other.is_enabled()
    operator.enable(exemptions=["203.0.113.7"], message="moving")
    assert other.is_enabled()
    assert other.status().window.message == "moving"
    operator.set_exemptions(["203.0.113.8"])
    assert other.exemptions == ("203.0.113.8",)
    operator.disable()
    assert not other.is_enabled()


QUESTIONS: dict[str, Callable[[MaintenanceMode], object]] = {
    "is_enabled": MaintenanceMode.is_enabled,
    "status": MaintenanceMode.status,
    "exemptions": lambda mode: mode.exemptions,
}
CHANGES: dict[str, Callable[[MaintenanceMode], object]] = {
    "enable": MaintenanceMode.enable,
    "disable": MaintenanceMode.disable,
    "set_exemptions": lambda mode: mode.set_exemptions(["203.0.113.7"]),
    "add_exemptions": lambda mode: mode.add_exemptions(["203.0.113.7"]),
    "window": lambda mode: mode.window().__enter__(),
}


@pytest.mark.parametrize("method", [*QUESTIONS, *CHANGES])
def test_fleet_without_a_state_is_unknown_to_each_method(
    method: str, fleet: RedisStore, other: MaintenanceMode
) -> None:
    with pytest.raises(StateError, match="unknown whether maintenance is on"):
        (QUESTIONS | CHANGES)[method](other)
    assert fleet.read_revision() is None


@pytest.mark.parametrize("method", QUESTIONS)
def test_question_never_creates_a_state(method: str, fleet: RedisStore) -> None:
    with pytest.raises(StateError, match="unknown whether maintenance is on"):
        QUESTIONS[method](MaintenanceMode(fleet))
    assert fleet.read_revision() is None


# A file and the fleet behave alike

FLAGS = [None, b"", b"garbage", b"\xff\0", b'{"message": 7}', b'{"holders": "x"}', b"[" * 9999]
LISTS = [b"", b"# \xff\r\n203.0.113.9 x, y"]


@pytest.mark.parametrize("exemptions", LISTS)
@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: str(flag)[:20])
@pytest.mark.parametrize("method", [*QUESTIONS, *CHANGES, "message"])
def test_garbage_means_the_same_in_a_fleet_and_in_a_directory(
    method: str,
    flag: bytes | None,
    exemptions: bytes,
    fleet: RedisStore,
    var: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = FileStore(var)
    target.update(lambda _: Snapshot(flag, exemptions))
    fleet.write(None, Snapshot(flag, exemptions))
    action = (QUESTIONS | CHANGES | {"message": lambda mode: mode.enable(message="a")})[method]
    answers = []
    for store in (fleet, target):
        caplog.clear()
        with ExitStack() as stack:
            mode = MaintenanceMode(store)
            answer = stack.enter_context(mode.window()) if method == "window" else action(mode)
        if isinstance(answer, tuple):
            answer = [timeless(one) if isinstance(one, Snapshot) else one for one in answer]
        said = [message.replace(str(store), "here") for message in caplog.messages]
        answers.append((answer, said, timeless(store.read())))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda mode: mode.enable(message="x" * 70_000),
        lambda mode: mode.enable(until=datetime(2000, 1, 1, tzinfo=UTC)),
        lambda mode: mode.set_exemptions(["nonsense"]),
    ],
    ids=["too long", "in the past", "not an address"],
)
def test_refusal_is_the_same_in_a_fleet_and_in_a_directory(
    change: Callable[[MaintenanceMode], None],
    operator: MaintenanceMode,
    fleet: RedisStore,
    mode: MaintenanceMode,
) -> None:
    before = fleet.read_revision()
    refused = []
    for one in (operator, mode):
        with pytest.raises(MaintenanceError) as raised:
            change(one)
        refused.append((type(raised.value), str(raised.value)))
    assert refused[0] == refused[1]
    assert fleet.read_revision() == before


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        (["flag"], Snapshot(b"", b"203.0.113.7")),
        (["on"], Snapshot(b"{}", b"203.0.113.7")),
        (["flag", "on"], Snapshot(b"", b"203.0.113.7")),
        (["list"], Snapshot(b"{}", b"")),
    ],
    ids=str,
)
def test_lost_field_never_switches_off(
    lost: list[str], found: Snapshot, fleet: RedisStore, redis_port: int
) -> None:
    fleet.write(None, ON)
    with redis.Redis(port=redis_port) as client:
        client.hdel(STATE, *lost)
    assert fleet.read() == found
    assert MaintenanceMode(fleet).is_enabled()


# Changes


def test_change_is_called_again_if_another_process_was_faster(
    fleet: RedisStore, other: MaintenanceMode
) -> None:
    fleet.write(None, ON)
    seen: list[Snapshot] = []

    def change(found: Snapshot) -> Snapshot:
        if len(seen) < 3:
            other.add_exemptions([f"198.51.100.{len(seen)}"])
        seen.append(found)
        return found._replace(flag=None)

    before, after = fleet.update(change)
    assert [len(bytes_of(found).split(b",")) for found in seen] == [1, 2, 3, 4]
    assert before == seen[-1]
    assert after == fleet.read() == before._replace(flag=None)


def bytes_of(found: Snapshot) -> bytes:
    assert isinstance(found.exemptions, bytes)
    return found.exemptions


@pytest.mark.parametrize("flag", [None, b"{}"])
def test_no_change_is_no_new_version(
    flag: bytes | None, fleet: RedisStore, redis_port: int
) -> None:
    written = fleet.write(None, Snapshot(flag, b"203.0.113.7"))
    with redis.Redis(port=redis_port) as client, client.pubsub() as channel:
        channel.subscribe("maintenance-wsgi:{default}:changes")
        channel.get_message(timeout=5)
        assert fleet.update(lambda found: found) == (written.snapshot, written.snapshot)
        assert channel.get_message(timeout=0.2) is None
    assert fleet.read_revision() == written


@pytest.mark.parametrize("field", ["flag", "exemptions"])
def test_change_to_something_unreadable_is_refused(field: str, fleet: RedisStore) -> None:
    written = fleet.write(None, ON)
    with pytest.raises(StateError, match="unreadable"):
        fleet.update(lambda found: found._replace(**{field: StateError("unreadable")}))
    assert fleet.read_revision() == written


@contextmanager
def relay(target: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """Stand between a client and a port, as a firewall does; yield the relay's own port.

    And a function after which the connections of that moment carry nothing more, without a word.
    """
    open_sockets: list[socket.socket] = []
    silenced: list[threading.Event] = [threading.Event()]

    def pump(source: socket.socket, sink: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not silent.is_set():
                    sink.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                ends = listener.accept()[0], socket.create_connection(("127.0.0.1", target))
                open_sockets.extend(ends)
                for source, sink in (ends, ends[::-1]):
                    arguments = (source, sink, silenced[-1])
                    threading.Thread(target=pump, args=arguments, daemon=True).start()

    def silence() -> None:
        silenced[-1].set()
        silenced.append(threading.Event())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1], silence
        finally:
            for end in (listener, *open_sockets):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


@pytest.mark.usefixtures("operator")
def test_window_ends_over_another_connection_if_the_first_has_died(redis_port: int) -> None:
    """A firewall forgets a connection that is idle while a long migration runs."""
    with relay(redis_port) as (port, silence):
        url = f"redis://127.0.0.1:{port}/0?socket_timeout=1"
        mode = MaintenanceMode(RedisStore(RedisConnection(url)))
        with mode.window(exemptions=["203.0.113.7"]):
            silence()
        assert not mode.is_enabled()
        assert mode.exemptions == ()


def test_window_tells_that_the_state_was_lost(
    operator: MaintenanceMode, other: MaintenanceMode, redis_port: int
) -> None:
    assert not operator.is_enabled()
    window = other.window()
    window.__enter__()
    with redis.Redis(port=redis_port) as client:
        client.flushall()
    with pytest.raises(StateError, match="unknown whether maintenance is on"):
        window.__exit__(None, None, None)


def test_revision_is_what_was_read_or_written_last(
    fleet: RedisStore, operator: MaintenanceMode, other: MaintenanceMode
) -> None:
    assert fleet.revision is not None
    assert (fleet.revision.version, fleet.revision.snapshot.flag) == (1, None)
    other.enable()
    assert fleet.revision.version == 1
    assert operator.is_enabled()
    assert fleet.revision.version == 2
    operator.disable()
    assert fleet.revision.version == 3


# Nodes


def test_wait_is_for_the_change_and_not_for_what_was_read_since(
    fleet: RedisStore, operator: MaintenanceMode, other: MaintenanceMode
) -> None:
    """Otherwise `enable --wait` could succeed for the `disable` of another operator."""
    operator.enable()
    other.disable()
    assert not operator.is_enabled()
    fleet.heartbeat(NodeIdentity("web1", "a"), fleet.nodes().revision, "")
    with pytest.raises(StateError, match="another process has changed the state again"):
        next(fleet.acknowledgements(1))


def test_what_a_node_reports_is_safe_to_print(fleet: RedisStore, redis_port: int) -> None:
    fleet.write(None, ON)
    fleet.heartbeat(NodeIdentity("web1", "a"), "", "a\x1b[2J\nfault \u202e" + "x" * 5000)
    with redis.Redis(port=redis_port) as client:
        client.hset(NODES, b"\x1b[2J\nweb\xff", b"1 {}")
    foreign, node = fleet.nodes().nodes
    assert foreign.name == r"\x1b[2J\nweb\xff"
    assert node.fault.startswith(r"a\x1b[2J\nfault \u202exxx")
    assert len(node.fault) < 1100


@pytest.mark.parametrize("name", [b"web2", b"\x1b\xff", b"w" * 253, b""])
def test_node_of_any_name_is_removed_after_a_week(
    name: bytes, fleet: RedisStore, redis_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.write(None, ON)
    fleet.heartbeat(NodeIdentity("web1", "a"), "", "")
    with redis.Redis(port=redis_port) as client:
        client.hset(NODES, name, b"1 {}")
    MaintenanceMode(fleet).disable()
    assert [node.name for node in fleet.nodes().nodes] == ["web1"]
    (message,) = caplog.messages
    assert "not seen for a week and removed" in message
    assert message.isprintable()


# The follower


def test_file_in_the_log_is_safe_to_print(
    fleet: RedisStore, var: Path, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.write(None, Snapshot(None, b""))
    follower = Follower(fleet, FileStore(var), "web1")
    follower.sync()
    flag.write_bytes(b"\x1b[2J\nWarning: \xff")
    follower.sync()
    assert caplog.messages == [
        rf"{var}: overwritten by the fleet: flag '\x1b[2J\nWarning: \xff', list ''"
    ]
    assert not flag.exists()


@pytest.mark.usefixtures("operator")
def test_unreadable_file_is_not_published(
    fleet: RedisStore, var: Path, flag: Path, ip_list: Path
) -> None:
    follower = Follower(fleet, FileStore(var), "web1", adopt=True)
    follower.sync()
    written = fleet.read_revision()
    flag.touch()
    ip_list.touch()
    os.truncate(ip_list, LIST_LIMIT + 1)
    follower.sync()
    assert fleet.read_revision() == written
    node = node_of(fleet, "web1")
    assert node is not None
    assert (node.health, node.acknowledged) == ("current", True)
    assert not flag.exists()


@pytest.mark.parametrize(
    ("replace", "fault"),
    [
        (Path.exists, "does not exist"),
        (lambda var: var.symlink_to(var), "cannot be accessed"),
        (Path.touch, "is not a directory"),
    ],
    ids=["gone", "a link to itself", "a file"],
)
def test_directory_that_is_lost_is_a_fault_until_it_is_back(
    replace: Callable[[Path], object], fault: str, fleet: RedisStore, var: Path
) -> None:
    fleet.write(None, ON)
    follower = Follower(fleet, FileStore(var), "web1")
    follower.sync()
    held = var.rename(var.with_name("held"))
    replace(var)
    follower.sync()
    node = node_of(fleet, "web1")
    assert node is not None
    assert (node.health, node.acknowledged) == ("faulty", False)
    assert fault in node.fault
    with pytest.raises(StateError, match=fault):
        follower.sync_once()
    var.unlink(missing_ok=True)
    held.rename(var)
    assert follower.sync_once() == 1
    assert fleet.nodes().nodes == []
