"""A load balancer forgets idle connections after 60 seconds, and the server keeps them for 75.

In between, a pooled connection is open at both ends and dead in the middle: the next request is lost, or rejected.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import estab


def _answer(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError):
        sock.settimeout(75)
        while request := sock.recv(100):
            sock.sendall(request)


def second_request(client_s: int, **balancer: Any) -> str:
    """Ask twice, 65 seconds apart, by a client that reuses a connection that was idle for less than ``client_s``."""
    with estab.Network(seed=1) as net:
        client, node, server = net.host("client"), net.host("balancer"), net.host("server")
        net.link(client, node, delay="5ms")
        net.link(node, server, delay="5ms")
        net.balancer(node, 80, [(server, 8080)], **balancer)

        @server.run
        def serve() -> None:
            with socket.create_server(("", 8080)) as listener:
                while True:
                    server.run(_answer, listener.accept()[0])

        @client.run
        def ask() -> str:
            sock = socket.create_connection(("balancer", 80), timeout=30)
            sock.sendall(b"first")
            sock.recv(100)
            time.sleep(65)
            if client_s < 65:
                sock.close()
                sock = socket.create_connection(("balancer", 80), timeout=30)
            with sock:
                sock.sendall(b"second")
                try:
                    return f"{sock.recv(100).decode()} answer, at {net.now:.2f} s"
                except OSError as error:
                    return f"{type(error).__name__} at {net.now:.2f} s"

        net.run()
        return ask.result()


if __name__ == "__main__":
    for words in {"idle": 60}, {"idle": 60, "unknown": "reject"}, {"idle": 350}:
        print(f"{words}, client 90 s: {second_request(90, **words)}")
    print(f"{{'idle': 60}}, client 50 s: {second_request(50, idle=60)}")
