"""An HTTP client, its pool, and a firewall that forgets idle connections.

The pooled connection looks well to both ends: neither was told anything. The next request goes into it and is lost, and
so is everything that TCP sends after it. What helps is to be quicker than the firewall: to throw idle connections away,
or to keep them from being idle. Run it; in virtual time it takes a moment::

    python examples/forgetful_firewall.py
"""

from __future__ import annotations

import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

import estab

KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 120)]
USER_TIMEOUT = [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)]
FOR_EVER = httpx.Limits(keepalive_expiry=None)
CLIENTS: dict[str, dict[str, Any]] = {
    "no timeout, a pool that keeps for ever": {"limits": FOR_EVER},
    "a read timeout of 5 s": {"limits": FOR_EVER, "read": 5.0},
    "TCP_USER_TIMEOUT of 10 s": {"limits": FOR_EVER, "socket_options": USER_TIMEOUT},
    "keepalive after 2 minutes": {"limits": FOR_EVER, "socket_options": KEEPALIVE},
    "a pool that keeps for 4 minutes": {"limits": httpx.Limits(keepalive_expiry=240)},
}


class Handler(BaseHTTPRequestHandler):
    """Says hello, and keeps the connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """Head and body in one write: else the body waits for the acknowledgment of the head (Nagle)."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def serve() -> None:
    """Serve for ever."""
    ThreadingHTTPServer(("", 80), Handler).serve_forever()


def second_request(limits: httpx.Limits, read: float | None = None, socket_options: Any = None) -> tuple[float, str]:
    """Ask twice, with ten minutes between. Returns how long the second time took, and what came of it."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        cable = net.link(client, server, delay="20ms")
        firewall = cable.firewall(idle="5min")
        server.run(serve)

        @client.run
        def work() -> tuple[float, str]:
            transport = httpx.HTTPTransport(limits=limits, socket_options=socket_options)
            with httpx.Client(transport=transport, timeout=httpx.Timeout(None, read=read)) as session:
                session.get("http://server/")
                time.sleep(600)
                started = time.monotonic()
                try:
                    result = session.get("http://server/").text
                except httpx.TransportError as error:
                    result = type(error).__name__
                return time.monotonic() - started, result

        net.run(until=4000)
        took_s, result = work.result()
        return took_s, f"{result}, {firewall.dropped_count} packets lost, {_connections(server)} connections"


def _connections(server: estab.Host) -> int:
    return server.counters()["TcpPassiveOpens"]


def main() -> None:
    """Print a line for each client."""
    for name, settings in CLIENTS.items():
        took_s, result = second_request(**settings)
        print(f"{name:40}{took_s:9.2f} s   {result}")


if __name__ == "__main__":
    main()
