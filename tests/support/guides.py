"""The guides of the examples, followed line by line."""

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.needs import need
from tests.support.processes import ROOT, held_port, run, running, unmeasured

EXAMPLES = ROOT / "examples"
GUIDES = sorted(EXAMPLES.glob("*/README.md"))
_TIME = re.compile(r"[0-9-]{10} [0-9:]{5} [A-Z]+|in [0-9]+ min")


def blocks(text: str, language: str) -> list[str]:
    """Return what stands in the fences of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@contextmanager
def copied(name: str, folder: Path, *replaced: tuple[str, str]) -> Iterator[tuple[Path, int]]:
    """Copy a directory of the examples, with places of our own; yield the copy and its port."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with held_port() as port:
        places = [
            ("/srv/shop", f"{folder}/srv"),
            ("127.0.0.1:8000", f"127.0.0.1:{port}"),
            ("https://shop.example/", f"http://127.0.0.1:{port}/"),
            *replaced,
        ]
        for path in copy.rglob("*.*"):
            text = path.read_text(encoding="utf-8")
            for old, new in places:
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")
        yield copy, port


def follow(guide: Path, port: int) -> None:
    """Do what the console blocks of a guide say, in its directory; each prints what is shown."""
    need("curl")
    with ExitStack() as stack:
        for line, shown in _steps(guide.read_text(encoding="utf-8")):
            if line.endswith(" &"):
                command = shlex.split(line.removesuffix(" &"))
                command[0] = need(command[0])
                log = guide.with_name("log")
                listener = ("127.0.0.1", port)
                stack.enter_context(
                    running(command, listener, log, cwd=guide.parent, env=unmeasured())
                )
            else:
                found = run(
                    *("/bin/bash", "-o", "pipefail", "-c", line),
                    cwd=guide.parent,
                    env=unmeasured(),
                )
                printed = _TIME.sub("...", found.stdout + found.stderr).strip()
                assert printed == _TIME.sub("...", shown), f"{line}\n{found.stdout}{found.stderr}"


def _steps(text: str) -> list[tuple[str, str]]:
    """Return each line of the console blocks, and what is shown below it."""
    lines = "".join(blocks(text, "console")).removeprefix("$ ").split("\n$ ")
    steps = (line.partition("\n") for line in lines)
    return [(line, shown.strip()) for line, _, shown in steps]
