"""The admin command, with Magento's names and wording beside its own.

It imports neither the application nor the middleware, so that it works while the code cannot be
imported; only within Flask and Django it loads the application. Results go to standard output,
problems to standard error. Exit status: 0 done, 1 refused or failed, 2 wrong usage, which includes
every value that cannot be read. Nothing is changed unless every value is valid.
"""

from maintenance_wsgi.cli.app import main

__all__ = ["main"]
