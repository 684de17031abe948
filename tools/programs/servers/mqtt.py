"""A small MQTT 3.1.1 broker: connect, publish (QoS 0 and 1), subscribe without wildcards, ping, last will."""

from __future__ import annotations

import asyncio
from collections import defaultdict

__all__ = ["Broker"]

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 12, 14


class Broker:
    """Keeps who listens to which topic."""

    def __init__(self) -> None:
        self.listeners: dict[bytes, list[asyncio.StreamWriter]] = defaultdict(list)
        self.lost: list[float] = []
        """When a client was given up that had been silent for one and a half times its keepalive."""

    async def serve(self, port: int = 1883) -> None:
        """Take clients."""
        async with await asyncio.start_server(self._talk, "", port) as server:
            await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keepalive_s, will = 0.0, None
        try:
            while True:
                async with asyncio.timeout(keepalive_s * 1.5 or None):
                    kind, flags, body = await _read(reader)
                if kind == CONNECT:
                    keepalive_s, will = float(int.from_bytes(body[8:10], "big")), _will(body)
                    writer.write(b"\x20\x02\x00\x00")
                elif kind == PUBLISH:
                    end = 2 + int.from_bytes(body[:2], "big")
                    topic, rest = body[2:end], body[end:]
                    if flags & 6:
                        writer.write(b"\x40\x02" + rest[:2])
                        rest = rest[2:]
                    self.publish(topic, rest)
                elif kind == SUBSCRIBE:
                    self.listeners[body[4 : 4 + int.from_bytes(body[2:4], "big")]].append(writer)
                    writer.write(b"\x90\x03" + body[:2] + b"\x00")
                elif kind == PINGREQ:
                    writer.write(b"\xd0\x00")
                elif kind == DISCONNECT:
                    will = None
                    return
        except TimeoutError:
            self.lost.append(asyncio.get_running_loop().time())
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for writers in self.listeners.values():
                if writer in writers:
                    writers.remove(writer)
            if will is not None:
                self.publish(*will)
            writer.transport.abort()

    def publish(self, topic: bytes, text: bytes) -> None:
        """Pass a message on."""
        for writer in self.listeners[topic]:
            body = _text(topic) + text
            writer.write(b"\x30" + _length(len(body)) + body)


async def _read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    first = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        octet = (await reader.readexactly(1))[0]
        size |= (octet & 0x7F) << shift
        shift += 7
        if not octet & 0x80:
            return first >> 4, first & 15, await reader.readexactly(size)


def _will(body: bytes) -> tuple[bytes, bytes] | None:
    """Find the last will in a CONNECT: topic and text."""
    if not body[7] & 4:
        return None
    at = 10
    parts = []
    for _ in range(3):
        size = int.from_bytes(body[at : at + 2], "big")
        parts.append(body[at + 2 : at + 2 + size])
        at += 2 + size
    return parts[1], parts[2]


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _length(size: int) -> bytes:
    octets = bytearray()
    while True:
        size, low = divmod(size, 128)
        octets.append(low | (128 if size else 0))
        if not size:
            return bytes(octets)
