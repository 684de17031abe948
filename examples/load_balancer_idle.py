"""A load balancer forgets idle connections after 60 seconds, and the server keeps them for 75.

In between, a pooled connection is open at both ends and dead in the middle: the next request goes nowhere.
"""

from __future__ import annotations

import contextlib
import socket
import time

import estab


def _answer(sock: socket.socket) -> None:
    with sock, contextlib.suppress(TimeoutError):
        sock.settimeout(75)
        while request := sock.recv(100):
            sock.sendall(request)


def second_request(balancer_s: int, client_s: int) -> str:
    """Ask twice, 65 seconds apart, by a client that reuses a connection that was idle for less than ``client_s``."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="10ms").firewall(idle=balancer_s)

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                while True:
                    server.run(_answer, listener.accept()[0])

        @client.run
        def ask() -> str:
            sock = socket.create_connection(("server", 80), timeout=30)
            sock.sendall(b"first")
            assert sock.recv(100) == b"first"
            time.sleep(65)
            started = time.monotonic()
            if client_s < 65:
                sock.close()
                sock = socket.create_connection(("server", 80), timeout=30)
            with sock, contextlib.suppress(TimeoutError):
                sock.sendall(b"second")
                return f"{sock.recv(100).decode()} answer after {time.monotonic() - started:.2f} s"
            return f"no answer in {time.monotonic() - started:.0f} s"

        net.run()
        return ask.result()


def main() -> None:
    """Print a line for each pair of time-outs."""
    for balancer_s, client_s in ((60, 90), (60, 50), (350, 90)):
        print(f"balancer {balancer_s:3} s, client {client_s:2} s: {second_request(balancer_s, client_s)}")


if __name__ == "__main__":
    main()
