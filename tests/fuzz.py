"""The long run: atheris looks for inputs that reach new code, and for one that breaks a rule.

    python -m pip install atheris
    python tests/fuzz.py forwarded /tmp/corpus -max_total_time=900

The first argument is a target of `invariants.py`; the others are libFuzzer's, of which the
directory keeps what was found. It begins with the cases of `data/hostile.json`. A finding is
written to a file `crash-...` and shown; its text belongs into `hostile.json`, which the suite runs.
"""

import logging
import os
import sys

import atheris

# Atheris follows what is imported here, so that it comes first.
with atheris.instrument_imports(include=["maintenance_wsgi", "werkzeug", "netaddr"]):
    import invariants


def main() -> None:
    """Fuzz one target until it breaks or the time is over."""
    if len(sys.argv) < 3 or sys.argv[1] not in invariants.TARGETS:
        sys.exit(f"usage: fuzz.py {'|'.join(invariants.TARGETS)} DIRECTORY [libFuzzer's options]")
    target, directory = sys.argv[1:3]
    os.makedirs(directory, exist_ok=True)
    for number, data in enumerate(invariants.hostile(target)):
        with open(os.path.join(directory, f"hostile-{number}"), "wb") as file:
            file.write(data)
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], invariants.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
