"""The settings that gunicorn reads if it is started in this directory; see `front_proxy.py`."""

import os
import sys

from maintenance_wsgi import MaintenanceError

try:
    # The master imports it too, so that a wrong setting is one line and not a series of workers
    # that fail.
    import front_proxy  # noqa: F401 (the workers use it)
except MaintenanceError as error:
    sys.exit(f"front_proxy: {error}")

wsgi_app = "front_proxy:application"
bind = os.environ.get("BIND", "127.0.0.1:8080")
worker_class = "gthread"
workers = 2
threads = 16
# On SIGTERM, a request that waits for the shop gets its answer before its worker ends.
timeout = graceful_timeout = int(os.environ.get("SHOP_TIMEOUT", "60")) + 10
# By default, gunicorn believes any process on this machine about TLS and about paths. The proxy
# has its own list of trusted proxies.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
control_socket_disable = True  # two gunicorns of one user would have the same socket
