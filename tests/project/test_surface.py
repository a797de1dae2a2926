"""What is public stays, until it is recorded otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.project.surface import COMMAND_TO_RECORD, differences, present
from tests.support.data import load


def test_surface_is_as_recorded(tmp_path: Path) -> None:
    recorded = load("surface.json")
    assert list(differences(recorded, json.loads(json.dumps(present(tmp_path))))) == []


RECORDED = {"codes": {"enable": 0}, "files": ["flag", "ip"]}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (RECORDED, []),
        ({"files": ["ip", "flag"], "codes": {"enable": 0}}, []),
        ({"codes": {"enable": 0}}, ["files: is gone"]),
        ({**RECORDED, "codes": {"enable": 1}}, ["codes > enable: was 0, and is 1"]),
        ({**RECORDED, "codes": {"enable": False}}, ["codes > enable: was 0, and is False"]),
        ({**RECORDED, "files": ["flag"]}, ["files > ip: is gone"]),
        ({**RECORDED, "files": {}}, ["files: was ['flag', 'ip'], and is {}"]),
        ({**RECORDED, "codes": {}, "files": []}, ["codes > enable", "files > flag", "files > ip"]),
    ],
)
def test_what_is_gone_or_differs_is_public(now: dict[str, Any], told: list[str]) -> None:
    found = list(differences(RECORDED, now))
    assert [line[: len(start)] for line, start in zip(found, told, strict=True)] == told
    assert all("is public; see Compatibility in the README" in line for line in found)


def test_what_is_new_is_to_be_recorded() -> None:
    found = list(differences(RECORDED, {**RECORDED, "files": ["flag", "ip", "mark"], "extras": []}))
    assert found == [
        f"files > mark: is new; record it with {COMMAND_TO_RECORD}",
        f"extras: is new; record it with {COMMAND_TO_RECORD}",
    ]
