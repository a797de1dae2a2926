"""Who runs this process."""

import os
import pwd
import socket

from maintenance_wsgi.grammar import printable


def current_user() -> str:
    """Return the name of the user that this process acts as, or the user's number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def operator_name() -> str:
    """Return the operator as `user@host`: under `sudo`, the user who called it."""
    user = os.environ.get("SUDO_USER") or current_user()
    return f"{printable(user)}@{printable(socket.gethostname())}"
