"""What the package has logged."""

import pytest


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what is wrong, without the changes of the state, which are no faults."""
    return [record.getMessage() for record in caplog.records if record.name == "maintenance_wsgi"]
