"""`python -m maintenance_wsgi`: the same command as `maintenance-wsgi`."""

import os
import sys

# The interpreter looks for modules in the working directory first. If that is a web application's
# directory, every user who may write there would run code as the operator. Until it is removed,
# nothing is imported that the interpreter has not loaded by itself.
try:  # noqa: SIM105 (contextlib itself would be imported from there)
    sys.path[:] = [path for path in sys.path if path not in {"", os.getcwd()}]
except OSError:  # pragma: no cover (the working directory is gone; coverage does not start there)
    pass

from maintenance_wsgi.cli import main

if __name__ == "__main__":
    main()
