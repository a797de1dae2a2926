"""A million clients that come once, as in a window of a large site."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.request.bypass import new_link
from tests.support.processes import ROOT, run, unmeasured

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

GROWTH = 1024 * 1024  # bytes; one address of each client would be 80 MB


def test_memory_is_flat_whatever_a_million_clients_send(var: Path, mode: MaintenanceMode) -> None:
    mode.enable(
        until=datetime.now(UTC) + timedelta(days=1),
        bypass=new_link("https://shop.example/").digest,
        exemptions=["203.0.113.7"],
    )
    program = str(ROOT / "tests/chaos/programs/crowd.py")
    printed = run(sys.executable, program, str(var), env=unmeasured(), seconds=580).stdout
    early, late, unbounded = json.loads(printed)
    print(f"{early} bytes, then {late}")  # noqa: T201 (for who reads a failure)
    assert late - early < GROWTH
    assert unbounded == []
