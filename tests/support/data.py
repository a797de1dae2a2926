"""The tables of cases, which stand in JSON."""

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def load_cases(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = load(name)
    return cases
