"""Directories that are closed, removed and made again, or switched by a link, under a gate."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.types import WSGIApplication

import pytest

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.diagnosis.explanation import explain
from maintenance_wsgi.gate import Gate, Outcome
from maintenance_wsgi.request.bypass import new_link
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.state.reader import StateReader
from tests.support.commands import invoke
from tests.support.needs import need_root
from tests.support.processes import meanwhile
from tests.support.wsgi import call, code_for, make_environ, shop

EXEMPT, OTHER, STRANGER = "203.0.113.7", "203.0.113.8", "198.51.100.1"
USER = 54321


@contextmanager
def acting_as(user: int) -> Iterator[None]:
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def served(open_folder: Path) -> Path:
    """Make a directory that another user than root can reach."""
    need_root()
    var = open_folder / "var"
    var.mkdir()
    os.chown(var, USER, USER)
    return var


def write_state(var: Path, *exempt: str, on: bool) -> None:
    var.mkdir(exist_ok=True)
    flag = var / ".maintenance.flag"
    flag.touch() if on else flag.unlink(missing_ok=True)
    (var / ".maintenance.ip").write_text(",".join(exempt))
    os.utime(var / ".maintenance.ip", (1e9, 1e9))  # as deploy tools copy it


def codes(gate: WSGIApplication) -> dict[str, int]:
    return {client: code_for(gate, client) for client in (EXEMPT, OTHER, STRANGER)}


def expected_codes(*exempt: str, on: bool) -> dict[str, int]:
    clients = (EXEMPT, OTHER, STRANGER)
    return {client: 200 if not on or client in exempt else 503 for client in clients}


def first_unsearchable_parent(var: Path) -> Path:
    var.chmod(0o600)
    return var


def unreachable(var: Path) -> Path:
    var.parent.chmod(0o600)
    return var.parent


def with_closed_list(var: Path) -> Path:
    (var / ".maintenance.ip").write_text(OTHER)
    (var / ".maintenance.ip").chmod(0)
    return var / ".maintenance.ip"


def with_closed_flag(var: Path) -> Path:
    if (var / ".maintenance.flag").exists():
        (var / ".maintenance.flag").chmod(0)
    return var


def unreadable(var: Path) -> Path:
    var.chmod(0o311)
    return var


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize(
    "fault",
    [first_unsearchable_parent, unreachable, unreadable, with_closed_list, with_closed_flag],
)
def test_accident_of_rights_neither_opens_nor_closes(
    fault: Callable[[Path], Path],
    on: bool,  # noqa: FBT001 (parametrized)
    served: Path,
) -> None:
    write_state(served, EXEMPT, on=on)
    gate = MaintenanceMiddleware(shop, served)
    explained_gate = Gate(StateReader(served), ClientIPResolver(()), ExemptPaths(()))
    assert codes(gate) == expected_codes(EXEMPT, on=on)
    closed = fault(served)
    with acting_as(USER):
        assert codes(gate) == expected_codes(EXEMPT, on=on)
        explanation = explain(make_environ(EXEMPT), explained_gate)
        assert (explanation.outcome is Outcome.OFF) is not on
    closed.chmod(0o755)
    write_state(served, OTHER, on=not on)
    with acting_as(USER):
        assert codes(gate) == expected_codes(OTHER, on=not on)


def test_directory_that_is_away_keeps_the_last_known_state_and_warns_once(
    var: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_state(var, EXEMPT, on=True)
    gate = MaintenanceMiddleware(shop, var)
    for _ in range(2):
        assert codes(gate) == expected_codes(EXEMPT, on=True)
        shutil.rmtree(var)
        caplog.clear()
        for _ in range(3):
            assert codes(gate) == expected_codes(EXEMPT, on=True)
        (record,) = caplog.records
        missing = f"{var} is missing, or cannot be searched"
        assert record.getMessage() == f"{missing}; the last known state stays in force"
        write_state(var, EXEMPT, on=True)
    write_state(var, on=False)
    assert codes(gate) == expected_codes(on=False)


def away(var: Path) -> None:
    var.rename(var.with_name("away"))


def closed(var: Path) -> None:
    var.chmod(0)


def closed_flag(var: Path) -> None:
    (var / ".maintenance.flag").chmod(0)


@pytest.mark.parametrize(
    ("fault", "is_changed", "codes_then"),
    [
        (away, False, [200, 200, 503]),
        (closed, False, [200, 200, 503]),
        (closed_flag, False, [503, 503, 503]),
        (away, True, [503, 503, 503]),
        (closed, True, [503, 503, 503]),
    ],
)
def test_details_stand_as_long_as_they_are_those_of_the_last_known_flag(
    fault: Callable[[Path], None],
    is_changed: bool,  # noqa: FBT001 (parametrized)
    codes_then: list[int],
    served: Path,
) -> None:
    write_state(served, EXEMPT, on=True)
    link, mode = new_link("https://shop.example/"), MaintenanceMode(served)
    mode.enable(bypass=link.digest, read_only=True)
    gate = MaintenanceMiddleware(shop, served)
    secret = {"HTTP_X_MAINTENANCE_BYPASS": link.url.rpartition("=")[2]}

    def ask() -> list[int]:
        """Ask by a link, for a page that may be read, and to write."""
        asked = [secret, {"REQUEST_METHOD": "GET"}, {}]
        environs = [make_environ(STRANGER, **({"REQUEST_METHOD": "POST"} | m)) for m in asked]
        return [call(gate, environ).code for environ in environs]

    assert ask() == [200, 200, 503]
    if is_changed:
        mode.enable(bypass="", read_only=False)
        assert code_for(gate, EXEMPT) == 200  # looks at the new flag, and does not read it
    fault(served)
    with acting_as(USER):
        assert ask() == codes_then


@pytest.mark.parametrize("target", ["/", "//", ".", "./", "./.", "..", "away/.."])
@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
def test_link_that_leads_to_a_directory_fails_no_request_and_no_command(
    name: str, target: str, var: Path
) -> None:
    (var / "away").mkdir()
    (var / ".maintenance.flag").touch()
    (var / name).unlink(missing_ok=True)
    os.symlink(target, var / name)  # as it is: a Path would be normalised
    assert code_for(MaintenanceMiddleware(shop, var), STRANGER) == 503
    for command in ("status", "explain 203.0.113.7", "check --user www-data", "disable"):
        result = invoke(*command.split()[:1], "--dir", str(var), *command.split()[1:])
        assert isinstance(result.exception, SystemExit | None), result.exception
    assert not MaintenanceMode(var).is_enabled()


def test_directory_that_was_never_seen_on_is_off(var: Path) -> None:
    gate = MaintenanceMiddleware(shop, var)
    var.rmdir()
    assert codes(gate) == expected_codes(on=False)


def test_directory_made_again_knows_nothing_of_before(var: Path) -> None:
    write_state(var, EXEMPT, on=True)
    gate = MaintenanceMiddleware(shop, var)
    assert codes(gate) == expected_codes(EXEMPT, on=True)
    shutil.rmtree(var)
    write_state(var, OTHER, on=True)
    assert codes(gate) == expected_codes(OTHER, on=True)
    shutil.rmtree(var)
    var.mkdir()
    (var / ".maintenance.flag").touch()
    assert codes(gate) == expected_codes(on=True)


def test_switch_to_the_next_release_is_seen_at_once(tmp_path: Path) -> None:
    """Both releases are closed to strangers: nobody slips through between them."""
    current, link = tmp_path / "current", tmp_path / "link"
    for name, exempt in (("1", EXEMPT), ("2", OTHER)):
        (tmp_path / name).mkdir()
        write_state(tmp_path / name / "var", exempt, on=True)
    current.symlink_to("1")
    gate = MaintenanceMiddleware(shop, current / "var")
    strangers: set[int] = set()
    with meanwhile(lambda: strangers.add(code_for(gate, STRANGER))):
        for number in range(200):
            exempt = OTHER if number % 2 else EXEMPT
            link.symlink_to("2" if number % 2 else "1")
            link.replace(current)
            assert codes(gate) == expected_codes(exempt, on=True)
    assert strangers == {503}


def test_release_without_the_flag_is_open(tmp_path: Path) -> None:
    current = tmp_path / "current"
    for name, on in (("1", True), ("2", False)):
        (tmp_path / name).mkdir()
        write_state(tmp_path / name / "var", EXEMPT, on=on)
    current.symlink_to("1")
    gate = MaintenanceMiddleware(shop, current / "var")
    assert codes(gate) == expected_codes(EXEMPT, on=True)
    current.unlink()
    assert codes(gate) == expected_codes(EXEMPT, on=True)
    current.symlink_to("2")
    assert codes(gate) == expected_codes(on=False)


def test_name_of_a_directory_is_safe_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "maintenance_wsgi")
    hostile = tmp_path / "a\x1b[2J\nWARNING b\u202e\u200b\udcff"
    gate = MaintenanceMiddleware(shop, hostile / "var")
    write_state(hostile, on=False)
    hostile.joinpath("var").mkdir()
    write_state(hostile / "var", "nonsense", on=True)
    assert code_for(gate, STRANGER) == 503
    (hostile / "var").rename(hostile / "away")
    assert code_for(gate, STRANGER) == 503
    said = "\n".join(caplog.messages).split("\n")
    assert len(said) == 5, said
    for message in said:
        assert r"a\x1b[2J\nWARNING b\u202e\u200b\udcff" in message
        assert message.isprintable()
