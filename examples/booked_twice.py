"""One order, booked twice: the answer was lost, and the client did what clients do, it asked again.

The server had booked the order, only its answer did not get through. A client can't tell that from a lost request. So
requests that are sent again need a number that the server remembers.
"""

from __future__ import annotations

import socket

import estab


def book(has_number: bool) -> list[str]:
    """Order once, with the link cut for the answer. Returns what the server has booked."""
    booked: list[str] = []
    with estab.Network(seed=1) as net:
        shop, server = net.host("shop"), net.host("server")
        cable = net.link(shop, server, delay="20ms")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                while True:
                    with listener.accept()[0] as sock:
                        order = sock.recv(100).decode()
                        number = order.partition(" ")[0]
                        if not (has_number and any(one.startswith(number) for one in booked)):
                            booked.append(order)
                        sock.sendall(b"booked")

        @shop.run
        def send() -> int:
            for attempt in range(1, 5):
                try:
                    with socket.create_connection(("server", 80), timeout=2) as sock:
                        sock.sendall(b"order-17 a kettle")
                        assert sock.recv(100) == b"booked"
                        return attempt
                except OSError:
                    continue
            raise ConnectionError("no answer in four attempts")

        net.at("70ms", cable.cut)
        net.at("2.5s", cable.heal)
        net.run()
        print(f"booked at attempt {send.result()}: {booked}")
        return booked


def main() -> None:
    """Print both."""
    book(has_number=False)
    book(has_number=True)


if __name__ == "__main__":
    main()
