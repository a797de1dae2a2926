"""The library of faults, which is built once."""

from pathlib import Path

import pytest

from tests.support import faults as library


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that makes calls fail, for a program to run under."""
    return library.build(tmp_path_factory.mktemp("faults"))
