"""What each change writes into the two files."""

import os
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintenance_wsgi import (
    ConfigError,
    ConfigTypeError,
    EntryError,
    MaintenanceMode,
)

LATER = datetime.now(UTC) + timedelta(minutes=40)


def test_enabled_details_round_trip(mode: MaintenanceMode) -> None:
    mode.enable(message="Umzug", until=LATER, retry_after=120)
    found = mode.status()
    assert found.enabled
    assert (found.message, found.until, found.retry_after) == ("Umzug", LATER, 120)
    assert found.since is not None
    assert found.by is not None
    assert found.by.startswith(pwd.getpwuid(os.geteuid()).pw_name)


def test_enable_names_the_sudo_user(mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    mode.enable()
    assert str(mode.status().by).startswith("alice@")


def test_enable_without_options_keeps_what_is_there(mode: MaintenanceMode, flag: Path) -> None:
    flag.write_bytes(b"back at 5")
    mode.enable()
    assert flag.read_bytes() == b"back at 5"


def test_enable_changes_only_what_is_given(mode: MaintenanceMode, flag: Path) -> None:
    flag.write_text('{"message": "a", "retry_after": 5, "ticket": 7}')
    mode.enable(message="b", until=LATER)
    found = mode.status()
    assert (found.message, found.until, found.retry_after) == ("b", LATER, 5)
    assert '"ticket": 7' in flag.read_text()


def test_enable_says_what_text_it_replaces(
    mode: MaintenanceMode, flag: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag.write_bytes(b"back at 5")
    mode.enable(message="b")
    assert "back at 5" in caplog.text


def test_enable_refuses_what_a_request_could_not_read(mode: MaintenanceMode, flag: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        mode.enable(exemptions=["1.2.3.4"], message="x" * 70_000)
    assert not flag.exists()
    assert mode.exemptions == ()


@pytest.mark.parametrize("action", ["enable", "disable"])
def test_bad_exemption_changes_nothing(mode: MaintenanceMode, flag: Path, action: str) -> None:
    before = action == "disable"
    if before:
        flag.touch()
    with pytest.raises(EntryError):
        getattr(mode, action)(exemptions=["203.0.113.7", "nope"])
    assert mode.is_enabled() is before
    assert mode.exemptions == ()


def test_exemptions_are_written_as_magento_reads_them(mode: MaintenanceMode, ip_list: Path) -> None:
    mode.set_exemptions(["10.1.2.3/8", "2001:DB8::1"])
    mode.add_exemptions(["10.0.0.0/8", "203.0.113.7"])
    assert ip_list.read_bytes() == b"10.0.0.0/8,2001:db8::1,203.0.113.7"
    assert mode.exemptions == ("10.0.0.0/8", "2001:db8::1", "203.0.113.7")
    mode.set_exemptions([])
    assert not ip_list.exists()


def test_exemptions_must_be_a_list(mode: MaintenanceMode) -> None:
    with pytest.raises(ConfigTypeError, match="exemptions"):
        mode.set_exemptions("203.0.113.7")


def test_add_copes_with_a_list_edited_by_hand(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("# office\n203.0.113.7, 10.0.0.1,\nnope\n")
    mode.add_exemptions(["203.0.113.8"])
    assert ip_list.read_bytes() == b"203.0.113.7,10.0.0.1,203.0.113.8"
    assert "'nope' (line 3)" in caplog.text
    assert "comments" in caplog.text


def test_add_to_a_clean_list_has_nothing_to_say(
    mode: MaintenanceMode, ip_list: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ip_list.write_text("203.0.113.7,10.0.0.1")
    mode.add_exemptions(["203.0.113.8"])
    assert not caplog.records


def test_details_added_to_a_touched_flag_are_signed(mode: MaintenanceMode, flag: Path) -> None:
    flag.touch()
    mode.enable(message="a")
    found = mode.status()
    assert found.since is not None
    assert found.by is not None


def test_user_without_a_name_signs_with_a_number(
    mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    monkeypatch.delenv("SUDO_USER", raising=False)
    mode.enable()
    assert str(mode.status().by).startswith("uid 54321@")
