"""A server's process stands still for a minute: a debugger, a full disk, SIGSTOP. Its kernel goes on.

The kernel acknowledges what comes and answers keepalive probes, so TCP has no reason to complain, whatever options are
set. Only a question that the process itself has to answer, with a time-out, finds out.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import estab

KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3))


def echo() -> None:
    """Answer everything."""
    with socket.create_server(("", 80)) as listener:
        while True:
            with listener.accept()[0] as sock, suppress(OSError):
                while text := sock.recv(100):
                    sock.sendall(text)


def story(asks_at_s: float, timeout_s: float | None) -> str:
    """Say what a client with keepalive and a user time-out learns, and when."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="10ms")
        serving = server.run(echo, daemon=True)

        @client.run
        def work() -> str:
            with socket.create_connection(("server", 80), timeout_s) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in (*KEEPALIVE, (socket.TCP_USER_TIMEOUT, 8000)):
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
                time.sleep(asks_at_s)
                sock.sendall(b"are you there?")
                started = time.monotonic()
                try:
                    sock.recv(100)
                except TimeoutError as error:
                    return f"{error} after {time.monotonic() - started:.2f} s"
                return f"answered after {time.monotonic() - started:.2f} s"

        net.at("10s", serving.pause)
        net.at("70s", serving.resume)
        net.run()
        return work.result()


if __name__ == "__main__":
    print(f"keepalive, user time-out:   {story(20, None)}")
    print(f"the same, asks afterwards:  {story(80, None)}")
    print(f"a time-out of its own:      {story(20, 3)}")
