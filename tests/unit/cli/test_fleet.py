"""The options of a fleet on the command line, without a Redis."""

import json
import os
from pathlib import Path

import pytest

from tests.support.commands import invoke


def test_status_of_a_directory_has_no_nodes(var: Path) -> None:
    result = invoke("--dir", str(var), "status", "--json")
    assert "nodes" not in json.loads(result.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["enable", "--wait=1"],
        ["disable", "--wait=1"],
        ["run", "--wait=1", "true"],
        ["allow-ips", "--wait=1", "203.0.113.7"],
        ["status", "--fleet=shop"],
        ["follow"],
        ["enable", "--redis=redis://127.0.0.1:1/0"],
        ["enable", "--redis=redis://127.0.0.1:1/0", "--wait=5"],
    ],
    ids=" ".join,
)
def test_wrong_usage_changes_nothing(arguments: list[str], var: Path) -> None:
    result = invoke("--dir", str(var), *arguments)
    assert result.exit_code == 2
    assert "--redis" in result.stderr
    assert os.listdir(var) == []


def test_empty_url_means_the_directory(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_REDIS", "redis://127.0.0.1:1/0")
    result = invoke("--dir", str(var), "enable", "--redis=")
    assert result.exit_code == 0
    assert os.listdir(var) == [".maintenance.flag"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["enable", "--redis=10.0.0.5"],
        ["enable", "--redis=redis://127.0.0.1:1/0", "--fleet=a b"],
        ["enable", "--redis=redis://127.0.0.1:1/0", "--wait=0"],
        ["enable", "--redis=redis://127.0.0.1:1/0", "--wait=5m"],
        ["enable", "--redis=redis://127.0.0.1:1/0", "--ip=nope"],
        ["follow", "--redis=redis://127.0.0.1:1/0", "--node=a b"],
    ],
    ids=" ".join,
)
def test_value_that_cannot_be_read_is_wrong_usage(
    arguments: list[str], var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_DIR", str(var))
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert os.listdir(var) == []
