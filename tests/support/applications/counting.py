"""A process that counts: begins some requests in a directory, and ends with its input."""

import os
import sys

from maintenance_wsgi.state.in_flight import open_book

book = open_book(sys.argv[1])
book.join()
for _ in range(int(sys.argv[2])):
    book.begin()
sys.stdout.write(f"{os.getpid()}\n")
sys.stdout.flush()
sys.stdin.read()
