"""A Kubernetes ConfigMap; as a program, one that is swapped again and again."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

_FLAG, _LIST = ".maintenance.flag", ".maintenance.ip"


class ConfigMap:
    """A directory as the kubelet fills it.

    The files are links through `..data`, which links to a directory with the time in its name. A
    new version is a new directory, and a rename of that one link. Only then links are made for
    keys that are new, and removed for those that are gone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0

    def apply(self, *, between: Callable[[], object] = lambda: None, **files: str) -> None:
        self._number += 1
        data, new = self._directory / "..data", self._directory / "..data_tmp"
        before = data.resolve() if data.exists() else None
        version = self._directory / f"..2026_11_24_10_00_00.{self._number}"
        version.mkdir()
        for key, text in files.items():
            (version / _name(key)).write_text(text)
        new.symlink_to(version.name)
        new.rename(data)
        between()
        for key in files:
            link = self._directory / _name(key)
            if not link.is_symlink():
                link.symlink_to(f"..data/{link.name}")
        for name in {_FLAG, _LIST} - set(map(_name, files)):
            (self._directory / name).unlink(missing_ok=True)
        for old in before.iterdir() if before else ():
            old.unlink()
        if before:
            before.rmdir()


def _name(key: str) -> str:
    return f".maintenance.{key}"


def main(directory: Path, seconds: float) -> None:
    """Swap for some seconds; print how often."""
    config_map, count, until = ConfigMap(directory), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        count += 1
        config_map.apply(ip="203.0.113.7", flag=f'{{"message": "{count}"}}')
    sys.stdout.write(str(count))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
