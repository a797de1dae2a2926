"""Switches and edits in every way there is, and writes down when the files said what.

A line of the record is `[begun, done, states]`: in that time (of the clock that all processes of
a machine share) the files went through these states, in this order. A state is `[on, members,
retry_after]`, where members are those clients that the list holds.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from maintenance_wsgi import MaintenanceMode
from tests.support.processes import COMMAND, run

EXEMPT, CHANGING, STRANGER = "203.0.113.7", "203.0.113.8", "198.51.100.1"
# As long as the other, and no client: lists with and without the changing one are of one size.
NOBODY = "203.0.113.9"
OTHERS = [f"10.0.{number}.0/24" for number in range(150)]
PAUSE = 0.002  # seconds at most between two changes
SETTLED = 2.1  # seconds, after which a gate trusts the times of a file
State = tuple[bool, tuple[str, ...], int]


class Editor:
    def __init__(self, var: Path, record: TextIO, seed: int) -> None:
        self.mode, self.var = MaintenanceMode(var), var
        self.flag, self.list = var / ".maintenance.flag", var / ".maintenance.ip"
        self.record, self.random = record, random.Random(seed)  # noqa: S311 (chance, no secret)
        self.state: State = (False, (), 300)

    @contextmanager
    def change(self, *states: State) -> Iterator[None]:
        """Write down what the block does: it ends in the last of these states."""
        begun = time.monotonic()
        yield
        self.record.write(json.dumps([begun, time.monotonic(), [self.state, *states]]) + "\n")
        self.state = states[-1]

    def entries(self) -> tuple[list[str], tuple[str, ...]]:
        """Choose a list: its entries, and which of the clients it holds."""
        changing = self.random.random() < 0.5
        entries = [EXEMPT, CHANGING if changing else NOBODY, *OTHERS]
        return entries, (EXEMPT, CHANGING) if changing else (EXEMPT,)

    # By the library and by the command.

    def enable(self) -> None:
        seconds = self.random.randrange(1000, 9999)
        _, members, _ = self.state
        with self.change((True, members, seconds)):
            self.mode.enable(retry_after=seconds)

    def disable(self) -> None:
        with self.change((False, self.state[1], 300)):
            self.mode.disable()

    def enable_with_list(self) -> None:
        on, _, seconds = self.state
        entries, members = self.entries()
        # The list is put in place before the flag.
        new = 7777
        with self.change((on, members, seconds), (True, members, new)):
            self.mode.enable(exemptions=entries, retry_after=new)

    def disable_with_list(self) -> None:
        on, _, seconds = self.state
        entries, members = self.entries()
        with self.change((on, members, seconds), (False, members, 300)):
            self.mode.disable(exemptions=entries)

    def set_list(self) -> None:
        entries, members = self.entries()
        with self.change(self.with_members(members)):
            self.mode.set_exemptions(entries)

    def add_to_list(self) -> None:
        with self.change(self.with_members((EXEMPT, CHANGING))):
            self.mode.add_exemptions([EXEMPT, CHANGING])

    def remove_list(self) -> None:
        with self.change(self.with_members(())):
            self.mode.set_exemptions([])

    def command(self) -> None:
        entries, members = self.entries()
        with self.change(self.with_members(members)):
            run(COMMAND, f"--dir={self.var}", "allow-ips", "-q", *entries)

    # By hand.

    def touch(self) -> None:
        on, members, seconds = self.state
        with self.change((True, members, seconds if on else 300)):
            self.flag.touch()

    def remove_flag(self) -> None:
        with self.change((False, self.state[1], 300)):
            self.flag.unlink(missing_ok=True)

    def write_flag(self) -> None:
        on, members, seconds = self.state
        new = self.random.randrange(1000, 9999)
        empty: list[State] = [(True, members, 300)]
        with self.change(*([(True, members, seconds)] if on else []), *empty, (True, members, new)):
            self.flag.write_text(f'{{"retry_after": {new}}}')

    def write_list(self) -> None:
        entries, members = self.entries()
        with self.change(self.with_members(()), self.with_members(members)):
            self.list.write_text("\n".join(entries))

    def write_list_by_half(self) -> None:
        entries, members = self.entries()
        half = [self.with_members(()), self.with_members((EXEMPT,))]
        with self.change(*half, self.with_members(members)), self.list.open("w") as file:
            file.write(f"{EXEMPT},")
            file.flush()
            file.write(",".join(entries[1:]))

    def write_list_with_old_times(self) -> None:
        """Write as many bytes into the same file, and set its times back: only ctime tells."""
        if EXEMPT not in self.state[1]:
            self.set_list()
        text = self.list.read_text()
        changing = CHANGING not in text.replace(",", "\n").split()
        old, new = (NOBODY, CHANGING) if changing else (CHANGING, NOBODY)
        members = tuple(name for name in self.state[1] if name != CHANGING)
        status = self.list.stat()
        with (
            self.change(self.with_members(members + ((CHANGING,) if changing else ()))),
            self.list.open("r+") as file,
        ):
            file.write(text.replace(old, new))
            file.flush()
            os.utime(self.list, ns=(status.st_atime_ns, status.st_mtime_ns))

    def rename_over_list(self) -> None:
        entries, members = self.entries()
        other = self.var / "other"
        other.write_text(",".join(entries))
        os.utime(other, (1e9, 1e9))
        with self.change(self.with_members(members)):
            other.replace(self.list)

    def switch_link(self) -> None:
        entries, members = self.entries()
        target = self.var / f"release-{self.random.randrange(2)}"
        if self.list.is_symlink() and self.list.readlink() == target:
            return
        target.write_text(" ".join(entries))
        link = self.var / "link"
        link.symlink_to(target)
        with self.change(self.with_members(members)):
            link.replace(self.list)

    def with_members(self, members: tuple[str, ...]) -> State:
        return self.state[0], members, self.state[2]


QUICK: list[Callable[[Editor], None]] = [
    *[Editor.enable, Editor.disable, Editor.enable_with_list, Editor.disable_with_list],
    *[Editor.set_list, Editor.add_to_list, Editor.remove_list],
    *[Editor.touch, Editor.remove_flag, Editor.write_flag],
    *[Editor.write_list, Editor.write_list_by_half, Editor.write_list_with_old_times],
    *[Editor.rename_over_list, Editor.switch_link],
]
AFTER_A_REST = [Editor.write_list_with_old_times, Editor.rename_over_list, Editor.write_flag]


def main(var: Path, record: Path, seconds: float, seed: int) -> None:
    deadline = time.monotonic() + seconds
    with record.open("w") as file:
        editor = Editor(var, file, seed)
        editor.disable_with_list()
        while time.monotonic() < deadline:
            for action in editor.random.choices(QUICK, k=600):
                if time.monotonic() < deadline:
                    action(editor)
                    time.sleep(editor.random.random() * PAUSE)
            editor.command()
            time.sleep(SETTLED)
            for action in AFTER_A_REST:
                action(editor)
                time.sleep(10 * PAUSE)
        editor.disable()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
