"""A server is away for 20 seconds. Then it is back, works without a pause, and serves nobody: the retries keep it busy.

It can do seven requests a second, and 25 clients ask every five seconds. Clients that give up after a second and try
again at once leave dead requests in its queue, and it works on those. Clients that back off let it catch up.
"""

from __future__ import annotations

import random
import socket
import time

import estab


def served(is_patient: bool) -> list[int]:
    """Cut the link from 20 s to 40 s. Returns how many answers arrived in each 20 seconds of three minutes."""
    with estab.Network(seed=1) as net:
        clients, server = net.host("clients"), net.host("server")
        cable = net.link(clients, server, delay="10ms")
        answers = [0] * 9

        @server.run(daemon=True)
        def serve() -> None:
            with socket.create_server(("", 80), backlog=1000) as listener:
                while True:
                    with listener.accept()[0] as sock:
                        time.sleep(0.14)
                        sock.sendall(b"done")

        def ask(number: int) -> None:
            time.sleep(number / 5)
            wait_s = 0.0
            while net.now < 179:
                try:
                    with socket.create_connection(("server", 80), timeout=1) as sock:
                        if sock.recv(10):
                            answers[int(net.now / 20)] += 1
                    wait_s = 0.0
                    time.sleep(5)
                except OSError:
                    wait_s = min(30, 2 * wait_s or 1)
                    time.sleep(wait_s * random.random() if is_patient else 0)

        for number in range(25):
            clients.run(ask, number)
        net.at(20, cable.cut)
        net.at(40, cable.heal)
        net.run(until=180)
        return answers


def main() -> None:
    """Print answers for each 20 seconds; in the second of them the link is cut."""
    print(f"retry at once           {served(is_patient=False)}")
    print(f"exponential, random     {served(is_patient=True)}")


if __name__ == "__main__":
    main()
