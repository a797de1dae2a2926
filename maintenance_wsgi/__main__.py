"""`python -m maintenance_wsgi`: the same command as `maintenance-wsgi`."""

import os
import sys
from contextlib import suppress

# The interpreter looks for modules in the working directory first. If that is a web application's
# directory, every user who may write there would run code as the operator.
with suppress(OSError):
    sys.path[:] = [path for path in sys.path if path not in {"", os.getcwd()}]

from maintenance_wsgi.cli import main

if __name__ == "__main__":
    main()
