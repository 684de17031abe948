"""``connect`` takes 1, 3 or 7 seconds and never anything between: the accept queue of a busy server is full.

A full queue refuses nobody: it drops the SYN, and the client repeats it after 1, 3, 7, 15 ... seconds. So a server that
is too slow to accept looks like a slow network.
"""

from __future__ import annotations

import socket
import time

import estab


def connect_s(busy_s: float, backlog: int) -> float:
    """Connect to a server that accepts nobody until ``busy_s``, and that three others called before."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="5ms")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80), backlog=backlog) as listener:
                time.sleep(busy_s)
                while True:
                    listener.accept()[0].close()

        def call() -> float:
            started = time.monotonic()
            with socket.create_connection(("server", 80)):
                return time.monotonic() - started

        for _ in range(3):
            client.run(call, start="0.1s")
        late = client.run(call, start="0.2s")
        net.run()
        return late.result()


def main() -> None:
    """Print a line for each backlog and each time that the server is busy."""
    for backlog in (2, 100):
        for busy_s in (0.5, 2.0, 5.0):
            print(f"backlog {backlog:3}, busy until {busy_s} s: connect takes {connect_s(busy_s, backlog):.2f} s")


if __name__ == "__main__":
    main()
