"""Mounts that end with a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import leave_out, need, need_root
from tests.support.processes import run


@contextmanager
def mounted(directory: Path, *options: str | Path) -> Iterator[None]:
    need_root()
    if run(need("mount"), *options, directory, code=None).returncode:
        leave_out("mounts", "run pytest with CAP_SYS_ADMIN, which containers do not have")
    try:
        yield
    finally:
        run("umount", directory)
