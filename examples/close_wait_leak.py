"""Every tenth request is malformed, and the branch for those forgets to close: CLOSE-WAIT grows, and never shrinks.

The clients are gone long ago, the server's TCP has acknowledged their FINs, and waits for its program: no timer and no
setting ends that state. It is a line of the program that is wrong, here the ``continue``.
"""

from __future__ import annotations

import socket
import time

import estab


def leaked(is_closing: bool) -> list[int]:
    """Send 100 requests an hour for three hours. Returns the server's sockets in CLOSE-WAIT after each hour."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="5ms")
        kept: list[socket.socket] = []

        @server.run(daemon=True)
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                while True:
                    sock, _ = listener.accept()
                    if sock.recv(100) == b"malformed":
                        kept.append(sock)  # a log, a table of sessions, a reference in a traceback ...
                        if is_closing:
                            sock.close()
                        continue
                    sock.sendall(b"fine")
                    sock.close()

        @client.run
        def ask() -> None:
            for number in range(300):
                with socket.create_connection(("server", 80), timeout=5) as sock:
                    sock.sendall(b"malformed" if number % 10 == 0 else b"request")
                time.sleep(36)

        counts = []
        for hour in (1, 2, 3):
            net.run(until=hour * 3600)
            counts.append(sum(row.state == "CLOSE-WAIT" for row in server.sockets()))
        for sock in kept:
            sock.close()
        return counts


def main() -> None:
    """Print the counts."""
    print("in CLOSE-WAIT after 1, 2 and 3 hours")
    print(f"the branch forgets to close   {leaked(is_closing=False)}")
    print(f"the branch closes             {leaked(is_closing=True)}")


if __name__ == "__main__":
    main()
