"""A small broker of Kafka's protocol: one node, one partition for each topic, in memory; to produce, to fetch, no groups.

It offers old versions of five requests (``_VERSIONS``), which clients settle on by themselves.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

__all__ = ["serve_kafka"]

_PRODUCE, _FETCH, _LIST_OFFSETS, _METADATA, _API_VERSIONS = 0, 1, 2, 3, 18
_VERSIONS = {_PRODUCE: (3, 3), _FETCH: (4, 4), _LIST_OFFSETS: (1, 1), _METADATA: (1, 1), _API_VERSIONS: (0, 0)}
_UNSUPPORTED_VERSION = 35
_EARLIEST = -2
_LAST_OFFSET_DELTA_AT = 23


class _Reader:
    """Takes values off a request."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        found = struct.unpack_from(f">{form}", self.data, self.at)
        self.at += struct.calcsize(f">{form}")
        return found[0] if len(found) == 1 else found

    def text(self) -> str:
        size = max(0, self.take("h"))
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def octets(self) -> bytes:
        size = max(0, self.take("i"))
        self.at += size
        return self.data[self.at - size : self.at]

    def each(self) -> range:
        return range(max(0, self.take("i")))


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def _array(items: list[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


class _Log:
    """One partition: batches of records with the offset of the first of each."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bytes]] = []
        self.end = 0
        self.grown = asyncio.Event()

    def append(self, batch: bytes) -> int:
        first = self.end
        self.batches.append((first, struct.pack(">q", first) + batch[8:]))
        self.end += struct.unpack_from(">i", batch, _LAST_OFFSET_DELTA_AT)[0] + 1
        self.grown.set()
        self.grown = asyncio.Event()
        return first

    def since(self, offset: int) -> bytes:
        starts = [*(first for first, _ in self.batches[1:]), self.end]
        return b"".join(batch for (_, batch), end in zip(self.batches, starts, strict=False) if end > offset)


class _Broker:
    """All logs, and the answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.logs: dict[str, _Log] = {}

    def log(self, topic: str) -> _Log:
        return self.logs.setdefault(topic, _Log())

    def api_versions(self, error: int) -> bytes:
        return struct.pack(">h", error) + _array([struct.pack(">hhh", key, *span) for key, span in _VERSIONS.items()])

    def metadata(self, asked: _Reader) -> bytes:
        names = [asked.text() for _ in asked.each()] or list(self.logs)
        for name in names:
            self.log(name)
        partition = struct.pack(">hii", 0, 0, 1) + _array([struct.pack(">i", 1)]) * 2
        topics = [struct.pack(">h", 0) + _text(name) + b"\0" + _array([partition]) for name in names]
        node = struct.pack(">i", 1) + _text(self.name) + struct.pack(">i", 9092) + struct.pack(">h", -1)
        return _array([node]) + struct.pack(">i", 1) + _array(topics)

    def produce(self, asked: _Reader) -> bytes:
        asked.text()
        asked.take("hi")
        answers = []
        for _ in asked.each():
            topic, kept = asked.text(), []
            for _ in asked.each():
                number = asked.take("i")
                kept.append(struct.pack(">ihqq", number, 0, self.log(topic).append(asked.octets()), -1))
            answers.append(_text(topic) + _array(kept))
        return _array(answers) + struct.pack(">i", 0)

    def list_offsets(self, asked: _Reader) -> bytes:
        asked.take("i")
        answers = []
        for _ in asked.each():
            topic, found = asked.text(), []
            for _ in asked.each():
                number, when = asked.take("iq")
                found.append(struct.pack(">ihqq", number, 0, -1, 0 if when == _EARLIEST else self.log(topic).end))
            answers.append(_text(topic) + _array(found))
        return _array(answers)

    async def fetch(self, asked: _Reader) -> bytes:
        _, patience_ms, _, _, _ = asked.take("iiiib")
        wanted = []
        for _ in asked.each():
            topic = asked.text()
            for _ in asked.each():
                number, offset, _ = asked.take("iqi")
                wanted.append((topic, number, offset))
        if wanted and all(self.log(topic).end <= offset for topic, _, offset in wanted):
            try:
                await asyncio.wait_for(self.log(wanted[0][0]).grown.wait(), patience_ms / 1000)
            except TimeoutError:
                pass
        answers = []
        for topic, number, offset in wanted:
            log = self.log(topic)
            records = log.since(offset)
            answers.append(_text(topic) + _array([
                struct.pack(">ihqqii", number, 0, log.end, log.end, -1, len(records)) + records]))
        return struct.pack(">i", 0) + _array(answers)

    async def answer(self, key: int, version: int, asked: _Reader) -> bytes:
        if key == _API_VERSIONS:
            return self.api_versions(0 if version == 0 else _UNSUPPORTED_VERSION)
        if key == _FETCH:
            return await self.fetch(asked)
        return {_PRODUCE: self.produce, _LIST_OFFSETS: self.list_offsets, _METADATA: self.metadata}[key](asked)


async def serve_kafka() -> None:
    """Serve on port 9092, as the host ``server``."""
    broker = _Broker("server")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = struct.unpack(">i", await reader.readexactly(4))[0]
                asked = _Reader(await reader.readexactly(size))
                key, version, number = asked.take("hhi")
                asked.text()
                body = struct.pack(">i", number) + await broker.answer(key, version, asked)
                writer.write(struct.pack(">i", len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "0.0.0.0", 9092) as server:
        await server.serve_forever()
