"""`python -m maintenance_wsgi`: the same command as `maintenance-wsgi`."""

from maintenance_wsgi.cli import main

if __name__ == "__main__":
    main()
