"""The application that the tests start under real servers: it tells which process answered."""

import os
import sys
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from maintenance_wsgi import MaintenanceMiddleware


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/stream":
        return (b"%d\n" % number for number in range(1000))
    return [b"%d" % os.getpid()]


application = MaintenanceMiddleware(
    shop,
    os.environ["MAINTENANCE_DIR"],
    trusted_proxies=["127.0.0.1", "unix:"],
    exempt_paths=["/pid"],
)

if __name__ == "__main__":
    from waitress.server import create_server

    arguments: dict[str, Any] = dict([sys.argv[1].split("=")])
    server = create_server(application, clear_untrusted_proxy_headers=False, **arguments)
    sys.stderr.write(f"Listening at: {getattr(server, 'effective_port', '')}\n")
    sys.stderr.flush()
    server.run()
