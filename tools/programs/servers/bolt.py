"""A small server of Neo4j's protocol, Bolt 5.0: it has no graph, and answers ``RETURN $name`` with the parameter."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

__all__ = ["serve_bolt"]

_SUCCESS, _RECORD, _FAILURE = 0x70, 0x71, 0x7F
_HELLO, _GOODBYE, _RUN, _PULL = 0x01, 0x02, 0x10, 0x3F


class _Unpacker:
    """Reads PackStream."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def value(self) -> Any:
        mark = self.take(1)[0]
        if mark < 0x80 or mark >= 0xF0:
            return mark if mark < 0x80 else mark - 256
        if mark in _PLAIN:
            return _PLAIN[mark]
        if mark in _NUMBERS:
            return struct.unpack(_NUMBERS[mark], self.take(struct.calcsize(_NUMBERS[mark])))[0]
        if mark < 0xC0:
            kind, count = mark & 0xF0, mark & 0x0F
        else:
            kind, size = _SIZED[mark]
            count = int.from_bytes(self.take(size), "big")
        if kind == 0x80:
            return self.take(count).decode()
        if kind == 0x90:
            return [self.value() for _ in range(count)]
        if kind == 0xA0:
            return {self.value(): self.value() for _ in range(count)}
        return (self.take(1)[0], *(self.value() for _ in range(count)))


_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xC1: ">d", 0xC8: ">b", 0xC9: ">h", 0xCA: ">i", 0xCB: ">q"}
_SIZED = {0xD0: (0x80, 1), 0xD1: (0x80, 2), 0xD4: (0x90, 1), 0xD5: (0x90, 2), 0xD8: (0xA0, 1), 0xD9: (0xA0, 2)}


def _pack(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack(">Bq", 0xCB, value)
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BH", 0xD1, len(data)) + data
    if isinstance(value, list):
        return struct.pack(">BH", 0xD5, len(value)) + b"".join(map(_pack, value))
    return struct.pack(">BH", 0xD9, len(value)) + b"".join(_pack(key) + _pack(item) for key, item in value.items())


def _message(tag: int, value: Any) -> bytes:
    data = bytes((0xB1, tag)) + _pack(value)
    return struct.pack(">H", len(data)) + data + b"\0\0"


async def _next(reader: asyncio.StreamReader) -> tuple[Any, ...]:
    """Read one message from its chunks; empty ones before it keep the connection alive."""
    data = b""
    while True:
        size = struct.unpack(">H", await reader.readexactly(2))[0]
        data += await reader.readexactly(size)
        if size == 0 and data:
            return _Unpacker(data).value()  # type: ignore[no-any-return]


async def serve_bolt() -> None:
    """Serve on port 7687."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wanted: Any = None
        try:
            await reader.readexactly(20)
            writer.write(b"\0\0\0\5")
            while True:
                tag, *fields = await _next(reader)
                if tag == _GOODBYE:
                    return
                answer: dict[str, Any] = {}
                if tag == _HELLO:
                    answer = {"server": "Neo4j/5.0.0", "connection_id": "bolt-1"}
                elif tag == _RUN:
                    words = fields[0].split()
                    if words[0] != "RETURN" or not words[1].startswith("$"):
                        writer.write(_message(_FAILURE, {"code": "Neo.ClientError.Statement.SyntaxError",
                                                         "message": "only RETURN $name"}))
                        continue
                    wanted = fields[1][words[1][1:]]
                    answer = {"fields": [words[1][1:]], "t_first": 0}
                elif tag == _PULL:
                    writer.write(_message(_RECORD, [wanted]))
                    answer = {"type": "r", "t_last": 0, "db": "neo4j"}
                writer.write(_message(_SUCCESS, answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "0.0.0.0", 7687) as server:
        await server.serve_forever()
