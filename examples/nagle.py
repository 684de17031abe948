"""Head and body in two small writes: each request takes 40 ms longer, on a network of 1 ms.

Nagle holds the second piece until the first is acknowledged, and the receiver delays that acknowledgment because it has
nothing to say yet. One write, or ``TCP_NODELAY``, or ``MSG_MORE`` on the first piece: any of them ends it.
"""

from __future__ import annotations

import socket
import time

import estab


def mean_ms(head_flags: int = 0, is_nodelay: bool = False, is_joined: bool = False) -> float:
    """Ask fifty times on one connection. Returns the mean of the last twenty, in ms."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="0.5ms")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                while sock.recv(10, socket.MSG_WAITALL):
                    sock.sendall(b"answer")

        @client.run
        def ask() -> float:
            with socket.create_connection(("server", 80)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, is_nodelay)
                for number in range(50):
                    if number == 30:
                        started = time.monotonic()
                    if is_joined:
                        sock.sendall(b"head " + b"body ")
                    else:
                        sock.send(b"head ", head_flags)
                        sock.send(b"body ")
                    sock.recv(100)
                return (time.monotonic() - started) * 1000 / 20

        net.run()
        return ask.result()


def main() -> None:
    """Print a line for each way to write."""
    print(f"two writes              {mean_ms():5.1f} ms")
    print(f"one write               {mean_ms(is_joined=True):5.1f} ms")
    print(f"TCP_NODELAY             {mean_ms(is_nodelay=True):5.1f} ms")
    print(f"MSG_MORE on the first   {mean_ms(head_flags=socket.MSG_MORE):5.1f} ms")


if __name__ == "__main__":
    main()
