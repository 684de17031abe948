"""A web server of the standard library."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answer", "Server", "serve_http", "serve_json"]

Answer = Callable[[str, str, Any, bytes], Any]
"""From method, path, headers and body: bytes, or what becomes JSON, or (status, headers, either)."""


class Server(ThreadingHTTPServer):
    """A thread for each caller, all of which end with the server."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def serve(answer: Answer, port: int) -> None:
    """Answer all requests, and keep connections."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            given = answer(self.command, self.path, self.headers, body)
            status, headers, given = given if isinstance(given, tuple) else (200, {}, given)
            content = given if isinstance(given, bytes) else json.dumps(given).encode()
            self.send_response(status)
            if "content-type" not in {name.lower() for name in headers}:
                self.send_header("Content-Type", "text/plain" if isinstance(given, bytes) else "application/json")
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with Server(("", port), Handler) as server:
        server.serve_forever()


def serve_http() -> None:
    """Greet each path, on port 80."""
    serve(lambda method, path, headers, body: b"hello " + path.encode(), 80)


def serve_json(answer: Answer, port: int) -> Callable[[], None]:
    """Make a server function of an answer."""
    return lambda: serve(answer, port)
