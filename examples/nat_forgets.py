"""A phone behind a NAT waits for a push. The NAT forgets the connection after five idle minutes, and no push comes.

The server writes into nothing and learns so from TCP a quarter of an hour later. The phone sends nothing, so it never
learns. Only the end inside can keep the entry alive, or find out that it is gone: by a heartbeat.
"""

from __future__ import annotations

import socket

import estab


def push(heartbeat_s: float | None) -> tuple[str, str]:
    """Push after an hour. Returns what the phone and what the server can say in the end."""
    with estab.Network(seed=1) as net:
        phone, gateway, server = net.host("phone"), net.host("gateway"), net.host("server")
        home, uplink = net.link(phone, gateway, delay="1ms"), net.link(gateway, server, delay="49ms")
        net.nat(home, uplink, idle="5min")

        @server.run
        def serve() -> str:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                sock.settimeout(1)
                while net.now < 3600:
                    try:
                        sock.recv(100)
                    except TimeoutError:
                        continue
                sock.settimeout(None)
                sock.sendall(b"push")
                try:
                    sock.recv(100)
                except OSError as error:
                    return f"{error.strerror or error} at {net.now:.0f} s".partition(":")[0]
                return "delivered"

        @phone.run
        def wait() -> str:
            with socket.create_connection(("server", 80)) as sock:
                sock.settimeout(heartbeat_s)
                while True:
                    try:
                        return f"{sock.recv(100).decode()} at {net.now:.2f} s"
                    except TimeoutError:
                        sock.sendall(b"?")

        net.run(until=36_000)
        return wait.result() if wait.done() else "still waits after 10 hours", serve.result()


def main() -> None:
    """Print both."""
    for name, heartbeat_s in (("no heartbeat", None), ("every 4 minutes", 240)):
        print(f"{name:16} phone: {push(heartbeat_s)[0]}; server: {push(heartbeat_s)[1]}")


if __name__ == "__main__":
    main()
