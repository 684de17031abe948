"""A small server of Redis's protocol (RESP2 and RESP3): strings, a blocking list, publish and subscribe."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import Any

__all__ = ["Server"]


class Server:
    """Keeps strings and lists in memory. ``serve`` runs for ever."""

    def __init__(self) -> None:
        self.strings: dict[bytes, bytes] = {}
        self.lists: dict[bytes, deque[bytes]] = defaultdict(deque)
        self.waiting: dict[bytes, deque[asyncio.Future[None]]] = defaultdict(deque)
        self.subscribers: dict[bytes, list[asyncio.StreamWriter]] = defaultdict(list)
        self.commands: list[bytes] = []
        """What was asked, in order."""

    async def serve(self, port: int = 6379) -> None:
        """Take callers."""
        async with await asyncio.start_server(self._talk, "", port) as server:
            await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version = 2
        try:
            while command := await _read(reader):
                name, *args = command
                name = name.upper()
                self.commands.append(name)
                if name == b"HELLO":
                    version = int(args[0]) if args else version
                    answer: Any = {b"server": b"redis", b"version": b"7.4.0", b"proto": version, b"id": 1,
                                   b"mode": b"standalone", b"role": b"master", b"modules": []}
                else:
                    answer = await self._do(name, args, writer)
                if answer is not NOTHING:
                    writer.write(_write(answer, version))
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller is gone, or the program ends
        finally:
            writer.close()

    async def _do(self, name: bytes, args: list[bytes], writer: asyncio.StreamWriter) -> Any:
        if name == b"PING":
            return "PONG"
        if name in (b"CLIENT", b"SELECT", b"AUTH"):
            return "OK"
        if name == b"SET":
            self.strings[args[0]] = args[1]
            return "OK"
        if name == b"GET":
            return self.strings.get(args[0])
        if name == b"INCRBY":
            value = int(self.strings.get(args[0], b"0")) + int(args[1])
            self.strings[args[0]] = b"%d" % value
            return value
        if name == b"RPUSH":
            self.lists[args[0]].extend(args[1:])
            while self.waiting[args[0]]:
                future = self.waiting[args[0]].popleft()
                if not future.done():
                    future.set_result(None)
            return len(self.lists[args[0]])
        if name == b"BLPOP":
            return await self._pop(args[0], float(args[1]))
        if name == b"SUBSCRIBE":
            self.subscribers[args[0]].append(writer)
            writer.write(b">3\r\n" + b"".join(map(_bulk, (b"subscribe", args[0]))) + b":1\r\n")
            return NOTHING
        if name == b"PUBLISH":
            for other in self.subscribers[args[0]]:
                other.write(b">3\r\n" + b"".join(map(_bulk, (b"message", args[0], args[1]))))
            return len(self.subscribers[args[0]])
        return ValueError(f"ERR unknown command '{name.decode()}'")

    async def _pop(self, key: bytes, timeout: float) -> list[bytes] | None:
        if not self.lists[key]:
            future = asyncio.get_running_loop().create_future()
            self.waiting[key].append(future)
            try:
                await asyncio.wait_for(future, timeout or None)
            except TimeoutError:
                return None
        return [key, self.lists[key].popleft()]


NOTHING = object()


async def _read(reader: asyncio.StreamReader) -> list[bytes]:
    line = await reader.readline()
    words = []
    for _ in range(int(line[1:] or 0)):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def _write(answer: Any, version: int) -> bytes:
    if answer is None:
        return b"_\r\n" if version == 3 else b"$-1\r\n"
    if isinstance(answer, str):
        return b"+" + answer.encode() + b"\r\n"
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    if isinstance(answer, bytes):
        return _bulk(answer)
    if isinstance(answer, Exception):
        return b"-" + str(answer).encode() + b"\r\n"
    if isinstance(answer, dict):
        items = [part for pair in answer.items() for part in pair]
        head = b"%%%d\r\n" % len(answer) if version == 3 else b"*%d\r\n" % len(items)
        return head + b"".join(_write(item, version) for item in items)
    return b"*%d\r\n" % len(answer) + b"".join(_write(item, version) for item in answer)
