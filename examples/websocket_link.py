"""A link of one's own: IP packets in the messages of a WebSocket.

A program that can open a web page, and nothing else, so has a network: the packets of its stack go through the proxy
and the TLS that the page goes through. Run it, and it fetches a page from one stack over another::

    python examples/websocket_link.py
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve

import estab
from estab.devices.device import Device

QUEUE_MAX = 1024


class WebSocketLink(Device):
    """Carries packets over a WebSocket that somebody else opened, in the loop in which this is made.

    ``send`` may be called from any thread; what the WebSocket can't take yet waits, up to ``QUEUE_MAX`` packets.
    """

    name = "ws0"
    mtu = 1400

    def __init__(self, websocket: Connection) -> None:
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[bytes] = deque()
        self._leaving: asyncio.Queue[bytes] = asyncio.Queue()
        self._was_full = False
        self._wake: Callable[[], None] = lambda: None

    def open(self, wake: Callable[[], None]) -> None:
        """Take what wakes the stack."""
        self._wake = wake

    def receive(self) -> bytes | None:
        """Give the next packet that came."""
        return self._arrived.popleft() if self._arrived else None

    def send(self, frame: bytes) -> bool:
        """Take a packet, or have the stack come again later."""
        if self._leaving.qsize() >= QUEUE_MAX:
            self._was_full = True
            return False
        self._loop.call_soon_threadsafe(self._leaving.put_nowait, frame)
        return True

    async def carry(self) -> None:
        """Carry packets both ways until the WebSocket ends."""
        leaving = asyncio.ensure_future(self._carry_out())
        try:
            await self._carry_in()
        finally:
            leaving.cancel()

    async def _carry_in(self) -> None:
        async for message in self._websocket:
            if isinstance(message, bytes) and len(self._arrived) < QUEUE_MAX:  # else lost, as on any network
                self._arrived.append(message)
                self._wake()

    async def _carry_out(self) -> None:
        while True:
            await self._websocket.send(await self._leaving.get())
            if self._was_full and self._leaving.qsize() < QUEUE_MAX // 2:
                self._was_full = False
                self._wake()


async def main() -> str:
    """Join two stacks by a WebSocket over the system's loopback, and fetch a page through it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nover a WebSocket")
        writer.close()

    async def on_websocket(websocket: ServerConnection) -> None:
        link = WebSocketLink(websocket)
        async with estab.Stack(link, "10.9.0.1/24") as stack, await stack.start_server(answer, port=80):
            await link.carry()

    async with serve(on_websocket, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as websocket:
            link = WebSocketLink(websocket)
            carrying = asyncio.ensure_future(link.carry())
            async with estab.Stack(link, "10.9.0.2/24") as stack:
                reader, writer = await stack.open_connection("10.9.0.1", 80)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                page = await reader.read()
                writer.close()
            carrying.cancel()
    return page.partition(b"\r\n\r\n")[2].decode()


if __name__ == "__main__":
    print(asyncio.run(main()))
