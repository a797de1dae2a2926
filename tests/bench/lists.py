"""Exemption lists of any length, and what it costs to take one in.

    python tests/bench/lists.py maintenance_wsgi|netaddr DIRECTORY

takes in the list of that directory in a process of its own, and prints seconds and bytes.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import repeat
from time import perf_counter
from typing import Literal, TypeVar

from netaddr import IPAddress, IPSet

from maintenance_wsgi import MaintenanceMode
from maintenance_wsgi.networks import Address, NetworkSet
from tests.bench.alternatives import FLAG, LIST
from tests.bench.timing import Run, Series, print_table, shuffled_turns, side_by_side

T = TypeVar("T")

Version = Literal[4, 6]
ALL_SIZES: tuple[tuple[int, Version], ...] = (
    (1, 4),
    (100, 4),
    (10_000, 4),
    (100_000, 4),
    (1_000_000, 4),
    (100_000, 6),
)
_SIDE_BY_SIDE = 100_000  # how long a list of netaddr's is looked up in, for the sake of memory
# The addresses in use on the Internet, nearly: entries are scattered over them, evenly and with
# room between, so that they do not merge.
_SPACE = {4: (1 << 24, 223 << 24), 6: (0x20 << 120, 0x30 << 120)}
SETTLING_SECONDS = 2.1  # of a younger file the bytes are compared at each request, see files.py
_CLIENTS = 200
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


def clients(size: int, version: Version, number: int) -> list[Address]:
    """Return clients in no order, every second of them on the list of that size."""
    firsts = list(_firsts(size, version))
    half = (firsts[1] - firsts[0]) // 2 if size > 1 else 1 << 20
    chosen = random.Random(size).choices(firsts, k=number)
    return [Address(version, first + half * (index % 2)) for index, first in enumerate(chosen)]


def _firsts(size: int, version: Version) -> Iterator[int]:
    start, end = _SPACE[version]
    step = (end - start) // size >> 4 << 4
    if version == 6:
        step = step >> 64 << 64
    return iter(range(start, start + size * step, step))


def make_directories(base: str, texts: list[str]) -> None:
    """Write the list into a directory where maintenance is off, and one where it is on."""
    for state in "off", "on":
        os.makedirs(f"{base}/{state}")
        with open(f"{base}/{state}/{LIST}", "w", encoding="ascii") as file:
            file.write(",".join(texts))
    with open(f"{base}/on/{FLAG}", "wb"):
        pass


def list_table(base: str) -> None:
    """Print what a list costs to look up in and to take in, by its length."""
    runs: dict[tuple[str, int, int], Run] = {}
    for size, version in ALL_SIZES:
        sample = clients(size, version, _CLIENTS)
        mode = MaintenanceMode(f"{base}/long-{size}-{version}/on")
        runs["mode", size, version] = _lookups(mode.exempts, sample)
        mode.exempts(sample[0])
        networks = mode._exempt.last() or NetworkSet()  # noqa: SLF001 (the very set in force)
        runs["set", size, version] = _lookups(networks.__contains__, sample)
        if size <= _SIDE_BY_SIDE:
            ip_set = _ip_set(mode.list_path)
            spelled = [IPAddress(address.value, version) for address in sample]
            runs["netaddr", size, version] = _lookups(ip_set.__contains__, spelled)
    found = side_by_side(runs, rounds=7)
    times = {name: series.times(1 / _CLIENTS) for name, series in found.items()}
    rows = [
        [
            f"{size:,} IPv{version}",
            times["mode", size, version],
            times["mode", size, version] / times["mode", 1, 4],
            times["set", size, version],
            times["set", size, version] / times["set", 1, 4],
            times.get(("netaddr", size, version), ""),
        ]
        for size, version in ALL_SIZES
    ]
    print("Nanoseconds to look up a client (every second is on the list). Aim: 1,000,000 over 1 at")
    print("most 1.2.\n")
    one = "in those of 1"
    print_table(["Entries", "`exempts`", one, "`NetworkSet`", one, "`netaddr.IPSet`"], rows)
    _intake_table(base)


def _intake_table(base: str) -> None:
    rows: list[list[object]] = []
    for size, version in ALL_SIZES[2:]:
        rounds = 3 if size <= _SIDE_BY_SIDE else 1
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


def _lookups(holds: Callable[[T], bool], addresses: list[T]) -> Run:
    """Return what looks up all the addresses, again and again."""

    def run(number: int) -> None:
        for _ in repeat(None, number):
            for address in addresses:
                holds(address)

    return run


def _intake(library: str, directory: str) -> tuple[float, float]:
    """Return the seconds that a changed list takes, and the bytes that its process grows by."""
    result = subprocess.run(
        [sys.executable, __file__, library, directory], capture_output=True, check=True, timeout=120
    )
    seconds, grown = json.loads(result.stdout)
    return seconds, grown


def _main(library: str, directory: str) -> None:
    mode = MaintenanceMode(directory)
    before = _resident()
    began = perf_counter()
    kept = _ip_set(mode.list_path) if library == "netaddr" else mode.exempts(Address(4, 1))
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
