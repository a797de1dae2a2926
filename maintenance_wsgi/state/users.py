"""Who runs this process."""

import os
import pwd
import socket

from maintenance_wsgi.grammar import printable


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of a user without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def current_user() -> str:
    """Return the name of the user that this process acts as, or the user's number."""
    return user_name(os.geteuid())


def operator_name() -> str:
    """Return the operator as `user@host`: under `sudo`, the user who called it."""
    user = os.environ.get("SUDO_USER") or current_user()
    return f"{printable(user)}@{printable(socket.gethostname())}"
