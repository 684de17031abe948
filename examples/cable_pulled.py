"""A cable is pulled and plugged in again. The connection survives, and waits for its next retransmission.

Nothing in TCP notices the cable. What was sent is repeated after 0.24, 0.48, 0.96 ... seconds, so after a long cut the
next repetition may be far away: the program waits on although the cable is back.
"""

from __future__ import annotations

import socket
import time

import estab


def ask(cut_for_s: float) -> float:
    """Pull the cable just before a request, for so many seconds. Returns how long the answer took."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        cable = net.link(client, server, delay="20ms")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                while request := sock.recv(100):
                    sock.sendall(request.upper())

        @client.run
        def call() -> float:
            with socket.create_connection(("server", 80)) as sock:
                time.sleep(1 - time.monotonic())
                started = time.monotonic()
                sock.sendall(b"hello")
                assert sock.recv(100) == b"HELLO"
                return time.monotonic() - started

        net.at("0.9s", cable.cut)
        net.at(1 + cut_for_s, cable.heal)
        net.run()
        return call.result()


def main() -> None:
    """Print a line for each length of the cut."""
    for cut_for_s in (0.1, 1, 10, 60, 300):
        took_s = ask(cut_for_s)
        print(f"cut for {cut_for_s:5} s: answer after {took_s:6.2f} s, {took_s - cut_for_s:5.2f} s too late")


if __name__ == "__main__":
    main()
