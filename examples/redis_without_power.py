"""A Redis client whose server loses its power: nobody says goodbye, so who notices, and when?

Without a timeout of its own the client waits for TCP. TCP sends again what nobody acknowledges, and gives up after a
quarter of an hour (``tcp_retries2``); who only listens has sent nothing, and waits for ever. Keepalive asks after
those, but stays silent while something sent is unacknowledged; ``TCP_USER_TIMEOUT`` bounds both, ``socket_timeout`` the
client's own patience. Run it; in virtual time it takes a moment::

    python examples/redis_without_power.py
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import redis

import estab

BARE: dict[str, Any] = {"socket_timeout": None, "socket_keepalive": False}
KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
SETTINGS: dict[str, dict[str, Any]] = {
    "no timeout at all": BARE,
    "socket_timeout=5": {**BARE, "socket_timeout": 5},
    "keepalive 30 s, 3 times 10 s": {**BARE, "socket_keepalive": True, "socket_keepalive_options": KEEPALIVE},
    "the same, and TCP_USER_TIMEOUT=20 s": {
        **BARE, "socket_keepalive": True,
        "socket_keepalive_options": {**KEEPALIVE, socket.TCP_USER_TIMEOUT: 20_000}},
}
POWER_LOSS_S = 10.0
A_DAY_S = 86_400.0


async def serve() -> None:
    """Be as much of Redis as the clients need: say OK to everything, and let BLPOP wait."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = [(await reader.readline(), await reader.readline())[1].strip() for _ in range(int(head[1:]))]
            if words[0] == b"HELLO":
                writer.write(b"%1\r\n+proto\r\n:3\r\n")
            elif words[0] != b"BLPOP":
                writer.write(b"+OK\r\n")

    async with await asyncio.start_server(on_client, "", 6379) as server:
        await server.serve_forever()


def notice(settings: dict[str, Any], is_listening: bool) -> float:
    """Lose the server, and say after how many seconds the client knows; less than 0 for never, or not in a day."""
    with estab.Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="20ms")
        server.run(serve)
        net.at(POWER_LOSS_S, server.power_off)

        @client.run
        def work() -> float:
            database = redis.Redis(host="server", retry=None, **settings)
            database.ping()
            since = POWER_LOSS_S
            time.sleep(POWER_LOSS_S - 1 if is_listening else 2 * POWER_LOSS_S)
            try:
                if is_listening:
                    database.blpop(["jobs"], timeout=0)
                else:
                    since = time.monotonic()
                    database.get("key")
            except (redis.ConnectionError, redis.TimeoutError):
                return time.monotonic() - since
            return -1

        net.run(until=A_DAY_S)
        return work.result() if work.done() else -1


def main() -> None:
    """Print a line for each setting."""
    print(f"{'after the power loss':36}{'a request fails after':>22}{'a listener, after':>22}")
    for name, settings in SETTINGS.items():
        times = [notice(settings, is_listening) for is_listening in (False, True)]
        print(f"{name:36}" + "".join(f"{'never' if took_s < 0 else f'{took_s:.2f} s':>22}" for took_s in times))


if __name__ == "__main__":
    main()
