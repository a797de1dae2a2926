"""Exemption lists of any length, and what it costs to take one in.

    python -m tests.bench.lists maintenance_wsgi|netaddr DIRECTORY

takes in the list of that directory in a process of its own, and prints seconds and bytes.
"""

import json
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from time import perf_counter
from typing import Literal

from netaddr import IPSet

from maintenance_wsgi.networks import Address
from maintenance_wsgi.state.reader import StateReader
from tests.bench.per_request import FLAG, LIST
from tests.bench.timing import Series, print_table, shuffled_turns
from tests.support.processes import ROOT, run

Version = Literal[4, 6]
ALL_SIZES: tuple[tuple[int, Version], ...] = (
    (10_000, 4),
    (100_000, 4),
    (1_000_000, 4),
    (100_000, 6),
)
# The addresses in use on the Internet, nearly: entries are scattered over them, evenly and with
# room between, so that they do not merge.
_SPACE = {4: (1 << 24, 223 << 24), 6: (0x20 << 120, 0x30 << 120)}
_TELLING = 100_000  # a shorter list drowns in what a process grows by for the time of the intake
_EACH_NETWORK = 10  # every tenth entry is a network


def entries(size: int, version: Version) -> list[str]:
    """Return a list in no order: addresses, and some networks (/28, or /64 of IPv6)."""
    address = IPv4Address if version == 4 else IPv6Address
    length = 28 if version == 4 else 64
    found = [
        f"{address(first)}/{length}" if index % _EACH_NETWORK == 9 else str(address(first))
        for index, first in enumerate(_firsts(size, version))
    ]
    random.Random(size).shuffle(found)
    return found


def _firsts(size: int, version: Version) -> Iterator[int]:
    start, end = _SPACE[version]
    step = (end - start) // size >> 4 << 4
    if version == 6:
        step = step >> 64 << 64
    return iter(range(start, start + size * step, step))


def make_directories(base: str, texts: list[str]) -> None:
    """Write the list into a directory for each state: off, on, on until a time within a day."""
    until = datetime.now(UTC) + timedelta(hours=20)
    flags = {"off": None, "on": "", "until": json.dumps({"until": until.isoformat()})}
    for state, flag in flags.items():
        os.makedirs(f"{base}/{state}")
        with open(f"{base}/{state}/{LIST}", "w", encoding="ascii") as file:
            file.write(",".join(texts))
        if flag is not None:
            with open(f"{base}/{state}/{FLAG}", "w", encoding="ascii") as file:
                file.write(flag)


def intake_table(base: str) -> None:
    """Print what a list costs to take in, by its length."""
    rows: list[list[object]] = []
    for size, version in ALL_SIZES:
        rounds = 3 if size <= _TELLING else 1
        found: dict[str, list[tuple[float, float]]] = {"maintenance_wsgi": [], "netaddr": []}
        for library in shuffled_turns(found, rounds):
            found[library].append(_intake(library, f"{base}/long-{size}-{version}/on"))
        rows.append([f"{size:,} IPv{version}"])
        for pairs in found.values():
            seconds, grown = zip(*pairs, strict=True)
            each = Series(grown).times(1 / size)
            rows[-1] += [Series(seconds), each if size >= _TELLING else ""]
    print("Seconds from the bytes on disk to the list in force, and bytes that the process then")
    print("holds for each entry. Aims: 100,000 within 1 s, 1,000,000 within 10 s; 60 bytes.\n")
    print_table(["Entries", "s", "bytes", "`netaddr.IPSet`: s", "bytes"], rows)


def _intake(library: str, directory: str) -> tuple[float, float]:
    """Return the seconds that a changed list takes, and the bytes that its process grows by."""
    command = [sys.executable, "-m", "tests.bench.lists", library, directory]
    seconds, grown = json.loads(run(*command, cwd=ROOT).stdout)
    return seconds, grown


def _main(library: str, directory: str) -> None:
    reader = StateReader(directory)
    before = _resident()
    began = perf_counter()
    kept = _ip_set(reader.list_path) if library == "netaddr" else reader.exempts(Address(4, 1))
    seconds = perf_counter() - began
    print(json.dumps([seconds, _resident() - before]))
    del kept


def _ip_set(path: str) -> IPSet:
    with open(path, encoding="ascii") as file:
        return IPSet(file.read().split(","))


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    _main(*sys.argv[1:])
