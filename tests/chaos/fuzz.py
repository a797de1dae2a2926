"""The long run: atheris looks for inputs that reach new code, and for one that breaks a rule.

    python -m pip install atheris
    python -m tests.chaos.fuzz forwarded /tmp/corpus -max_total_time=900

The first argument is a target of `tests/support/oracles.py`; the others are libFuzzer's, of which
the directory keeps what was found. It begins with the cases of `tests/data/hostile.json`. A finding
is written to a file `crash-...` and shown; its text belongs into `hostile.json`, which the suite
runs.
"""

import logging
import os
import sys

import atheris

# Atheris follows what is imported here, so that it comes first.
with atheris.instrument_imports(include=["maintenance_wsgi", "werkzeug", "netaddr"]):
    from tests.support import oracles


def main() -> None:
    """Fuzz one target until it breaks or the time is over."""
    if len(sys.argv) < 3 or sys.argv[1] not in oracles.TARGETS:
        sys.exit(f"usage: fuzz.py {'|'.join(oracles.TARGETS)} DIRECTORY [libFuzzer's options]")
    target, directory = sys.argv[1:3]
    os.makedirs(directory, exist_ok=True)
    for number, data in enumerate(oracles.hostile(target)):
        with open(os.path.join(directory, f"hostile-{number}"), "wb") as file:
            file.write(data)
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], oracles.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
