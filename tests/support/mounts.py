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


def naming(folder: Path, name: str, *addresses: str) -> list[str]:
    """Return the start of a command that finds these addresses, and no others, for a name."""
    need_root()
    need("mount")
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for address in addresses))
    alone = ["unshare", "--mount", "sh", "-c"]
    if run(*alone, 'mount --bind "$1" /etc/hosts', "sh", hosts, code=None).returncode:
        leave_out("mounts", "run pytest with CAP_SYS_ADMIN, which containers do not have")
    return [*alone, 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
