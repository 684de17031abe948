"""A small AMQP 0-9-1 broker: queues, the default exchange and bindings by routing key, confirms, acknowledgments."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections import deque
from typing import Any

__all__ = ["serve_amqp"]


def _short(text: str) -> bytes:
    octets = text.encode()
    return bytes([len(octets)]) + octets


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "big")

    def short(self) -> str:
        size = self.number(1)
        self.at += size
        return self.data[self.at - size : self.at].decode()


class _Queue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: deque[tuple[str, str, bytes, bytes]] = deque()
        self.consumers: deque[tuple[_Client, int, str]] = deque()

    def put(self, message: tuple[str, str, bytes, bytes]) -> None:
        self.messages.append(message)
        self.hand_out()

    def hand_out(self) -> None:
        while self.messages and self.consumers:
            client, channel, tag = self.consumers[0]
            self.consumers.rotate(-1)
            client.deliver(self, channel, tag, self.messages.popleft())


class _Broker:
    def __init__(self) -> None:
        self.queues: dict[str, _Queue] = {}
        self.bindings: dict[tuple[str, str], list[str]] = {}
        self.fanouts: set[str] = set()
        self.numbers = itertools.count(1)

    def queue(self, name: str) -> _Queue:
        return self.queues.setdefault(name, _Queue(name))

    def publish(self, exchange: str, key: str, properties: bytes, body: bytes) -> None:
        if not exchange:
            names = [key] if key in self.queues else []
        else:
            names = self.bindings.get((exchange, "" if exchange in self.fanouts else key), [])
        for name in names:
            self.queue(name).put((exchange, key, properties, body))


class _Client:
    def __init__(self, broker: _Broker, writer: asyncio.StreamWriter) -> None:
        self.broker, self.writer = broker, writer
        self.tags = itertools.count(1)
        self.published: dict[int, int] = {}
        self.unacknowledged: dict[tuple[int, int], tuple[_Queue, tuple[str, str, bytes, bytes]]] = {}
        self.content: dict[int, list[Any]] = {}

    def frame(self, kind: int, channel: int, payload: bytes) -> None:
        self.writer.write(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")

    def method(self, channel: int, cls: int, number: int, arguments: bytes = b"") -> None:
        self.frame(1, channel, struct.pack(">HH", cls, number) + arguments)

    def send_content(self, channel: int, properties: bytes, body: bytes) -> None:
        self.frame(2, channel, struct.pack(">HHQ", 60, 0, len(body)) + properties)
        if body:
            self.frame(3, channel, body)

    def deliver(self, queue: _Queue, channel: int, tag: str, message: tuple[str, str, bytes, bytes]) -> None:
        exchange, key, properties, body = message
        number = next(self.tags)
        self.unacknowledged[channel, number] = queue, message
        self.method(channel, 60, 60, _short(tag) + struct.pack(">QB", number, 0) + _short(exchange) + _short(key))
        self.send_content(channel, properties, body)

    def gone(self) -> None:
        for queue in self.broker.queues.values():
            queue.consumers = deque(item for item in queue.consumers if item[0] is not self)
        for queue, message in self.unacknowledged.values():
            queue.put(message)

    def on_method(self, channel: int, cls: int, number: int, reader: _Reader) -> bool:
        broker, ok = self.broker, number + 1
        match cls, number:
            case 10, 11:
                self.method(0, 10, 30, struct.pack(">HIH", 2047, 131072, 60))
            case 10, 31:
                pass
            case 10, 40:
                self.method(0, 10, 41, b"\0")
            case 10, 50:
                self.method(0, 10, 51)
                return False
            case 20, 10:
                self.method(channel, 20, 11, b"\0\0\0\0")
            case (20, 40) | (40, 10) | (40, 20) | (60, 10) | (85, 10):
                if cls == 85:
                    self.published[channel] = 0
                if (cls, number) == (40, 10):
                    reader.number(2)
                    name = reader.short()
                    if reader.short() == "fanout":
                        broker.fanouts.add(name)
                self.method(channel, cls, ok)
            case 50, 10:
                reader.number(2)
                name = reader.short() or f"amq.gen-{next(broker.numbers)}"
                queue = broker.queue(name)
                self.method(channel, 50, 11, _short(name) + struct.pack(
                    ">II", len(queue.messages), len(queue.consumers)))
            case 50, 20:
                reader.number(2)
                name, exchange, key = reader.short(), reader.short(), reader.short()
                where = exchange, "" if exchange in broker.fanouts else key
                if name not in broker.bindings.setdefault(where, []):
                    broker.bindings[where].append(name)
                self.method(channel, 50, 21)
            case (50, 30) | (50, 40):
                self.method(channel, cls, ok, struct.pack(">I", 0))
            case 60, 20:
                reader.number(2)
                name = reader.short()
                tag = reader.short() or f"ctag-{next(broker.numbers)}"
                self.method(channel, 60, 21, _short(tag))
                broker.queue(name).consumers.append((self, channel, tag))
                broker.queue(name).hand_out()
            case 60, 30:
                tag = reader.short()
                for queue in broker.queues.values():
                    queue.consumers = deque(item for item in queue.consumers if item[0] is not self or item[2] != tag)
                self.method(channel, 60, 31, _short(tag))
            case 60, 40:
                reader.number(2)
                self.content[channel] = [reader.short(), reader.short(), b"", 0, b""]
            case 60, 70:
                reader.number(2)
                queue = broker.queue(reader.short())
                if queue.messages:
                    exchange, key, properties, body = message = queue.messages.popleft()
                    tag_number = next(self.tags)
                    self.unacknowledged[channel, tag_number] = queue, message
                    self.method(channel, 60, 71, struct.pack(">QB", tag_number, 0) + _short(exchange) + _short(key)
                                + struct.pack(">I", len(queue.messages)))
                    self.send_content(channel, properties, body)
                else:
                    self.method(channel, 60, 72, b"\0")
            case 60, 80:
                self.unacknowledged.pop((channel, reader.number(8)), None)
            case (60, 110) | (20, 41) | (10, 51):
                if cls == 60:
                    self.method(channel, 60, 111)
            case _:
                raise ValueError(f"method {cls}.{number} is not known here")
        return True

    def on_content(self, channel: int, kind: int, payload: bytes) -> None:
        content = self.content[channel]
        if kind == 2:
            content[3] = int.from_bytes(payload[4:12], "big")
            content[2] = payload[12:]
        else:
            content[4] += payload
        if len(content[4]) >= content[3]:
            exchange, key, properties, _, body = self.content.pop(channel)
            self.broker.publish(exchange, key, properties, body)
            if channel in self.published:
                self.published[channel] += 1
                self.method(channel, 60, 80, struct.pack(">QB", self.published[channel], 0))


async def serve_amqp() -> None:
    """Serve on port 5672."""
    broker = _Broker()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(broker, writer)
        try:
            await reader.readexactly(8)
            able = b"".join(_short(name) + b"t\1" for name in (
                "publisher_confirms", "basic.nack", "consumer_cancel_notify", "exchange_exchange_bindings"))
            features = _short("capabilities") + b"F" + struct.pack(">I", len(able)) + able
            client.method(0, 10, 10, b"\0\x09" + struct.pack(">I", len(features)) + features
                          + struct.pack(">I", 5) + b"PLAIN" + struct.pack(">I", 5) + b"en_US")
            while True:
                kind, channel, size = struct.unpack(">BHI", await reader.readexactly(7))
                payload = (await reader.readexactly(size + 1))[:-1]
                if kind == 1:
                    cls, number = struct.unpack(">HH", payload[:4])
                    if not client.on_method(channel, cls, number, _Reader(payload[4:])):
                        return
                elif kind == 8:
                    client.frame(8, 0, b"")
                else:
                    client.on_content(channel, kind, payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            client.gone()
            writer.close()

    async with await asyncio.start_server(talk, "0.0.0.0", 5672) as server:
        await server.serve_forever()
