"""A server answers "413 Too Large" without reading the upload, and closes. The client gets a reset, and no answer.

``close`` with unread data sends RST instead of FIN (RFC 2525 section 2.17), and a reset discards what the client has
received and not read. The cure is the lingering close of web servers: end the answer, read on, then close.
"""

from __future__ import annotations

import socket
import time

import estab


def upload(is_lingering: bool) -> str:
    """Send 200 kB to a server that refuses them. Returns what the client gets."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="20ms", rate="100Mbit")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                sock.recv(1000)
                sock.sendall(b"413 Too Large")
                if is_lingering:
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass

        @client.run
        def send() -> str:
            with socket.create_connection(("server", 80)) as sock:
                try:
                    sock.sendall(b"x" * 200_000)
                    time.sleep(0.1)
                    sock.shutdown(socket.SHUT_WR)
                    return sock.recv(100).decode()
                except ConnectionError as error:
                    return type(error).__name__

        net.run()
        return send.result()


def main() -> None:
    """Print both."""
    print(f"close at once:    {upload(is_lingering=False)}")
    print(f"lingering close:  {upload(is_lingering=True)}")


if __name__ == "__main__":
    main()
