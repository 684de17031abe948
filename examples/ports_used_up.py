"""A new connection for each request, closed by the client: soon ``connect`` fails with EADDRNOTAVAIL.

The end that closes first keeps the port in TIME-WAIT for 60 seconds. Linux has 28,232 ports for each destination, so
470 connections a second are the limit; this host has 100 ports, to be short.
"""

from __future__ import annotations

import socket

import estab


def connections(reuse: int, closer: str) -> str:
    """Open and close 300 connections at once. Returns how many succeeded, and what is left of them."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client", ip_local_port_range=(50000, 50099)), net.host("server")
        net.link(client, server, delay="10ms")
        client.sysctl["net.ipv4.tcp_tw_reuse"] = reuse

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                while True:
                    with listener.accept()[0] as sock:
                        if closer == "client":
                            sock.recv(1)

        @client.run
        def call() -> str:
            for count in range(300):
                try:
                    with socket.create_connection((server.address, 80)) as sock:
                        if closer == "server":
                            sock.recv(1)
                except OSError as error:
                    return f"{count}, then {error.strerror}"
            return "300"

        net.run()
        states = [row.state for row in client.sockets()]
        return f"{call.result()}; {states.count('TIME-WAIT')} in TIME-WAIT at the client"


def main() -> None:
    """Print a line for each of three ways."""
    print(f"the client closes first       {connections(0, 'client')}")
    print(f"the same, tcp_tw_reuse=1      {connections(1, 'client')}")
    print(f"the server closes first       {connections(0, 'server')}")


if __name__ == "__main__":
    main()
