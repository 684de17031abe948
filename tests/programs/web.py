"""A server of the standard library that programs of the tests ask."""

from __future__ import annotations

import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Handler", "serve"]


class Handler(BaseHTTPRequestHandler):
    """Answers with the path and keeps the connection. ``/wait/5``: after five seconds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/wait/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        self._answer(f"hello {self.path}".encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"]))[::-1])

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A thread for each caller, all of which end with the server."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def serve(port: int = 80, context: ssl.SSLContext | None = None) -> None:
    """Serve for ever, with TLS where there is a context."""
    with Server(("", port), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()
