"""Sites that the tests serve in threads: behind a gate, or with answers of any bytes."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET6
from socketserver import BaseRequestHandler, ThreadingTCPServer
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

from maintenance_wsgi import MaintenanceMiddleware
from tests.support.wsgi import shop

# Takes the first bytes of a request; returns the answer, in pieces that may take their time.
Answering = Callable[[bytes], Iterator[bytes]]


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 (the base's own name)
        pass


class _IPv6Server(WSGIServer):
    address_family = AF_INET6


@contextmanager
def gated(
    var: Path, host: str = "127.0.0.1", port: int = 0, application: WSGIApplication = shop
) -> Iterator[int]:
    """Serve the shop behind a gate; yield the port."""
    middleware = MaintenanceMiddleware(application, var)
    kind = _IPv6Server if ":" in host else WSGIServer
    with make_server(host, port, middleware, kind, _QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(30)


@contextmanager
def answering(answer: Answering, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve answers of any bytes at 127.0.0.1, over TLS with a context; yield the port."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.settimeout(20)
                if context:
                    self.request = context.wrap_socket(self.request, server_side=True)
                request = self.request.recv(65536)
                for piece in answer(request):
                    self.request.sendall(piece)
            except OSError:
                pass  # the client has hung up, or does not trust the certificate
            finally:
                self.request.close()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(30)
