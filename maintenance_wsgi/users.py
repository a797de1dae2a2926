"""Who runs this process, and what another user may do with a file."""

import os
import pwd
import socket


def current_user() -> str:
    """Return the name of the user this process acts as, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def operator() -> str:
    """Return who is at work here, as `user@host`: the user behind `sudo`, where there is one."""
    return f"{os.environ.get('SUDO_USER') or current_user()}@{socket.gethostname()}"
