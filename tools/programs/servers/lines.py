"""Small servers of protocols made of lines: memcached, NATS, STOMP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["serve_memcached", "serve_nats", "serve_stomp"]

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(talk: Talk, port: int) -> None:
    """Serve callers until each is gone."""
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(guarded, "0.0.0.0", port) as server:
        await server.serve_forever()


async def serve_memcached() -> None:
    """Set, get and version, as text, on port 11211."""
    kept: dict[bytes, tuple[bytes, bytes]] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = line.split()
            if words[0] == b"set":
                kept[words[1]] = words[2], (await reader.readexactly(int(words[4]) + 2))[:-2]
                if words[-1] != b"noreply":
                    writer.write(b"STORED\r\n")
            elif words[0] in (b"get", b"gets"):
                for key in words[1:]:
                    if key in kept:
                        flags, value = kept[key]
                        writer.write(b"VALUE %s %s %d\r\n%s\r\n" % (key, flags, len(value), value))
                writer.write(b"END\r\n")
            elif words[0] == b"version":
                writer.write(b"VERSION 1.6.0\r\n")
            elif words[0] == b"quit":
                return
            else:
                writer.write(b"ERROR\r\n")
            await writer.drain()

    await serve(talk, 11211)


async def serve_nats() -> None:
    """Publish, subscribe and ping, on port 4222."""
    subscribers: list[tuple[asyncio.StreamWriter, bytes, bytes]] = []

    def matches(pattern: bytes, subject: bytes) -> bool:
        return pattern == subject or (pattern.endswith(b"*") and subject.startswith(pattern[:-1]))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"S","version":"2.10.0","proto":1,"host":"0.0.0.0","port":4222,'
                     b'"max_payload":1048576,"headers":true}\r\n')
        try:
            while line := await reader.readline():
                words = line.split()
                verb = words[0].upper()
                if verb == b"PING":
                    writer.write(b"PONG\r\n")
                elif verb == b"SUB":
                    subscribers.append((writer, words[1], words[-1]))
                elif verb == b"UNSUB":
                    subscribers[:] = [item for item in subscribers if item[0] is not writer or item[2] != words[1]]
                elif verb in (b"PUB", b"HPUB"):
                    payload = await reader.readexactly(int(words[-1]) + 2)
                    reply = words[2] if len(words) > (3 if verb == b"PUB" else 4) else b""
                    sizes = words[-1:] if verb == b"PUB" else words[-2:]
                    for other, pattern, number in subscribers:
                        if matches(pattern, words[1]):
                            head = [b"MSG" if verb == b"PUB" else b"HMSG", words[1], number, reply, *sizes]
                            other.write(b" ".join(word for word in head if word) + b"\r\n" + payload)
                await writer.drain()
        finally:
            subscribers[:] = [item for item in subscribers if item[0] is not writer]

    await serve(talk, 4222)


async def serve_stomp() -> None:
    """Send and subscribe, on port 61613."""
    subscribers: list[tuple[asyncio.StreamWriter, str, str]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while True:
            frame = (await reader.readuntil(b"\0"))[:-1].decode().lstrip("\r\n")
            head, _, body = frame.partition("\n\n")
            verb, *lines = head.splitlines()
            headers = dict(line.split(":", 1) for line in lines)
            if verb in ("CONNECT", "STOMP"):
                writer.write(b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0")
            elif verb == "SUBSCRIBE":
                subscribers.append((writer, headers["destination"], headers["id"]))
            elif verb == "SEND":
                for other, destination, which in subscribers:
                    if destination == headers["destination"]:
                        number += 1
                        other.write(f"MESSAGE\nsubscription:{which}\nmessage-id:{number}\ndestination:{destination}"
                                    f"\n\n{body}\0".encode())
            if "receipt" in headers:
                writer.write(f"RECEIPT\nreceipt-id:{headers['receipt']}\n\n\0".encode())
            if verb == "DISCONNECT":
                return
            await writer.drain()

    await serve(talk, 61613)
