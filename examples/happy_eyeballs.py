"""IPv6 is configured and dead: its packets vanish. A client that tries addresses one by one waits for minutes.

Names have addresses of both families, IPv6 mostly first. RFC 8305 begins the next attempt a quarter of a second after
the last, and takes the first that succeeds: asyncio's ``happy_eyeballs_delay``, aiohttp by ``aiohappyeyeballs``.
"""

from __future__ import annotations

import socket
import time

from aiohappyeyeballs import start_connection

import estab


async def connect(delay_s: float | None) -> str:
    """Connect to both addresses of the server, IPv6 first."""
    found = socket.getaddrinfo("server", 80, type=socket.SOCK_STREAM)
    started = time.monotonic()
    sock = await start_connection(
        sorted(found, key=lambda one: one[0] != socket.AF_INET6), happy_eyeballs_delay=delay_s)
    with sock:
        return f"{sock.family.name[3:]:5} after {time.monotonic() - started:6.2f} s"


def run(delay_s: float | None, is_ipv6_alive: bool) -> str:
    """Say by which family a client connects, and after how long."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        cable = net.link(client, server, delay="20ms")
        if not is_ipv6_alive:
            cable.rule(lambda sender, frame: frame[0] >> 4 == 6)

        @server.run(daemon=True)
        def serve() -> None:
            with socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
                while True:
                    listener.accept()[0].close()

        program = client.run(connect, delay_s)
        net.run()
        return program.result()


def main() -> None:
    """Print a line for each way to connect."""
    print(f"IPv6 alive                   {run(0.25, is_ipv6_alive=True)}")
    print(f"IPv6 dead, one by one        {run(None, is_ipv6_alive=False)}")
    print(f"IPv6 dead, after 0.25 s      {run(0.25, is_ipv6_alive=False)}")


if __name__ == "__main__":
    main()
