"""Each guide is followed on this machine: what its console blocks show is what is printed."""

from pathlib import Path

import pytest

from tests.support.guides import copied, follow
from tests.support.needs import need

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("name", ["django", "flask", "monitoring", "proxies"])
def test_guide_prints_what_it_shows(name: str, open_folder: Path) -> None:
    if name == "monitoring":
        need("promtool")
    with copied(name, open_folder) as (folder, port):
        follow(folder / "README.md", port)
