"""A server loses its power, and a client that only listens learns of it after 2 hours and 11 minutes, or never.

Linux's keepalive is off unless the program turns it on. Then it begins after two hours of silence, and nine probes
75 seconds apart stay without an answer. Three socket options make a minute of it.
"""

from __future__ import annotations

import socket
import time

import estab

QUICK = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}


def notice(is_on: bool, options: dict[int, int]) -> str:
    """Say when a client that waits in ``recv`` learns that its server is gone."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="20ms")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                sock.recv(1)

        @client.run
        def listen() -> str:
            with socket.create_connection(("server", 80)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, is_on)
                for option, value in options.items():
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
                try:
                    sock.recv(1)
                except OSError as error:
                    return f"after {time.monotonic():.0f} s: {error.strerror or error}"
            return "the end of the stream"

        net.at("1s", server.power_off)
        net.run(until=86_400)
        return listen.result() if listen.done() else "not in a day"


def main() -> None:
    """Print a line for each setting."""
    print(f"no keepalive        {notice(False, {})}")
    print(f"SO_KEEPALIVE        {notice(True, {})}")
    print(f"30 s, 3 times 10 s  {notice(True, QUICK)}")


if __name__ == "__main__":
    main()
