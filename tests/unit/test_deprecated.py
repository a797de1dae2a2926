"""Names of 1.0 that still work, and say so."""

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode, Status
from tests.support.commands import invoke


def test_enabled_is_window(mode: MaintenanceMode) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    with pytest.warns(DeprecationWarning, match="use MaintenanceMode.window") as warned:
        block = mode.enabled(message="Moving house", until=until)
    assert not mode.is_enabled()
    with block as switched_on:
        assert switched_on
        assert mode.status().window.message == "Moving house"
    assert not mode.is_enabled()
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize("name", ["message", "until", "retry_after", "by", "since"])
def test_attributes_of_the_window_are_found_in_the_status(mode: MaintenanceMode, name: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    mode.enable(message="Moving house", until=until, retry_after=60)
    found = mode.status()
    with pytest.warns(DeprecationWarning, match=f"use Status.window.{name}") as warned:
        assert getattr(found, name) == getattr(found.window, name) is not None
    assert [warning.filename for warning in warned] == [__file__]


def test_exempt_is_exemptions(mode: MaintenanceMode) -> None:
    mode.set_exemptions(["203.0.113.7"])
    with pytest.warns(DeprecationWarning, match=r"Status.exempt: .* use Status.exemptions"):
        assert getattr(mode.status(), "exempt") == ("203.0.113.7",)  # noqa: B009 (a checker refuses it)


def test_status_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="'Status' object has no attribute 'exempted'"):
        getattr(Status(enabled=True), "exempted")  # noqa: B009 (likewise)
    assert copy.copy(Status(enabled=True)) == Status(enabled=True)


NAME_IS_OLD = "--name and MAINTENANCE_NAME are deprecated; use --fleet and MAINTENANCE_FLEET\n"


@pytest.mark.parametrize(
    ("options", "variables", "fleet"),
    [
        ("--name=old/", {}, "old/"),
        ("", {"MAINTENANCE_NAME": "old/"}, "old/"),
        ("--name=old/ --fleet=new/", {}, "new/"),
        ("--name=old/", {"MAINTENANCE_FLEET": "new/"}, "new/"),
    ],
)
def test_name_of_a_fleet(
    options: str, variables: dict[str, str], fleet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are not valid, so that no Redis is asked."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = invoke("status", "--redis=redis://127.0.0.1:1/0", *options.split())
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Warning: {NAME_IS_OLD}")
    assert f"'{fleet}' is not a valid name" in result.stderr


def test_name_needs_a_fleet(var: Path) -> None:
    result = invoke("--dir", str(var), "status", "--name=shop")
    assert (result.exit_code, "--fleet needs --redis" in result.stderr) == (2, True)
