"""One of three readers stops reading, and the other two get nothing any more: the broadcast waits for the slowest.

TCP does its duty: the reader's window closes, the sender's buffer fills, ``sendall`` blocks. No error will come, since
the reader's stack answers every probe of the window. The cure is a limit on how long a ``send`` may take.
"""

from __future__ import annotations

import socket
import time

import estab

READERS = ("quick", "other", "stuck")


def broadcast(limit_s: float | None) -> dict[str, int]:
    """Send 20 kB to each reader twice a second for a minute. Returns how many kB each has read."""
    with estab.Network(seed=1) as net:
        server = net.host("server")
        read = dict.fromkeys(READERS, 0)

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                ends = [listener.accept()[0] for _ in READERS]
            while net.now < 60:
                for end in list(ends):
                    end.settimeout(limit_s)
                    try:
                        end.sendall(b"x" * 20_000)
                    except TimeoutError:
                        ends.remove(end)
                        end.close()
                time.sleep(0.5)
            for end in ends:
                end.close()

        def listen(name: str) -> None:
            with socket.create_connection(("server", 80)) as sock:
                while text := sock.recv(100_000):
                    read[name] += len(text)
                    if name == "stuck" and net.now > 10:
                        time.sleep(3600)

        for name in READERS:
            net.link(net.host(name), server, delay="5ms")
            net.hosts[name].run(listen, name)
        net.run(until=70)
        return {name: count // 1000 for name, count in read.items()}


def main() -> None:
    """Print what the readers got."""
    print(f"sendall without a limit   {broadcast(None)}")
    print(f"a limit of 2 s            {broadcast(2)}")


if __name__ == "__main__":
    main()
