"""A process that counts: as a user begins some requests in a directory; ends with its input."""

import os
import sys

from maintenance_wsgi.state.in_flight import open_book

# After the import: only root may be able to read Python itself.
user = int(sys.argv[3])
if os.getuid() != user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
book = open_book(sys.argv[1])
book.join()
for _ in range(int(sys.argv[2])):
    book.begin()
sys.stdout.write(f"{os.getpid()}\n")
sys.stdout.flush()
sys.stdin.read()
