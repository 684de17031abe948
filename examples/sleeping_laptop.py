"""A laptop sleeps for seven minutes, while its server pings, gets no answer and gives up. Then it wakes up.

For the laptop no time has passed: its monotonic clock and its timers stood still. It believes in a connection that its
server has closed and forgotten. A client that only listens believes in it for ever. One that says something is told
the truth by a reset. One that compares the calendar with the monotonic clock knows before it has said anything.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import estab


def serve() -> None:
    """Ping each 20 seconds, until nothing is acknowledged for 20 more."""
    with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
        with suppress(OSError):
            while True:
                sock.sendall(b"ping")
                time.sleep(20)


def story(each_s: float | None, says: bytes) -> str:
    """Say when a client that does something ``each_s`` seconds learns that its connection is gone."""
    with estab.Network(seed=1) as net:
        laptop, server = net.host("laptop"), net.host("server")
        net.link(laptop, server, delay="10ms")
        server.run(serve, daemon=True)

        @laptop.run
        def client() -> str:
            began = time.time() - time.monotonic()
            with socket.create_connection(("server", 80)) as sock:
                sock.settimeout(each_s)
                while abs(time.time() - time.monotonic() - began) < 1 or says:
                    try:
                        sock.recv(100)
                    except TimeoutError:
                        sock.sendall(says)
                    except OSError as error:
                        return f"{error.strerror}, {net.now - 450:.1f} s after it woke up"
            return f"the clocks disagree, {net.now - 450:.1f} s after it woke up"

        net.at("30s", laptop.suspend)
        net.at("450s", laptop.resume)
        net.run(until=86_400)
        return client.result() if client.done() else "believes in it a day later"


if __name__ == "__main__":
    print(f"listens:         {story(None, b'')}")
    print(f"speaks:          {story(15, b'pong')}")
    print(f"compares clocks: {story(1, b'')}")
