"""What gunicorn reads when it is started in this directory; see `front_proxy.py`."""

import os
import sys

from maintenance_wsgi import MaintenanceError

try:
    # Here already, so that a wrong setting is one line, not the end of worker after worker.
    import front_proxy  # noqa: F401 (the workers use it)
except (MaintenanceError, ValueError) as error:
    sys.exit(f"front_proxy: {error}")

wsgi_app = "front_proxy:application"
bind = os.environ.get("BIND", "127.0.0.1:8080")
worker_class = "gthread"
workers = 2
threads = 16
# A request that waits for the shop is finished before its worker ends.
timeout = graceful_timeout = int(os.environ.get("SHOP_TIMEOUT", "60")) + 10
# Gunicorn would believe what anybody on this machine says of TLS and of paths; the proxy has its
# own list of those to believe.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
control_socket_disable = True  # every gunicorn of a user would make the same one
