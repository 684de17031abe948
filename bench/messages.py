"""Messages a second and bytes a second, beside asyncio's StreamReader and anyio's buffered stream, in one run.

    python bench/messages.py       with PYTHONPATH=src, or an installed estab; needs anyio, as the tests do

The same stream of messages, cut into the same chunks of 64 KiB whatever a message's edge, is handed to each from
memory: what is measured is the processor's time for finding the messages and giving them out one by one, not the
kernel's. Each figure is the best of three rounds, taken in turns. ``feed`` is the codec alone; the channels are whole,
with their time-outs and faults. A ratio says how many times as many messages a second the channel gives out as the
reader that stands before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import process_time

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from estab.messages import (
    COBS,
    AnyioChannel,
    AsyncioChannel,
    Codec,
    Delimited,
    LengthPrefixed,
    Netstring,
    VarintPrefixed,
)
from estab.messages import codec as base

CHUNK = 65536
SIZES = (16, 64, 1024, 16384, 262144)
ROUNDS = 3

Chunks = list[bytes]
Way = Callable[[Chunks, int], float]
"""Reads a number of messages out of chunks; returns the seconds that took."""


class Source(asyncio.Transport):
    """A transport that feeds a reader from memory, and stops while the reader asks it to."""

    def __init__(self, reader: asyncio.StreamReader, chunks: Chunks) -> None:
        super().__init__()
        self.reader, self.chunks, self.is_paused = reader, chunks, False
        reader.set_transport(self)

    def pause_reading(self) -> None:
        """Stop feeding: the reader holds enough."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """Go on."""
        self.is_paused = False

    def is_closing(self) -> bool:
        """Never: it ends with the benchmark."""
        return False

    def close(self) -> None:
        """Do nothing."""

    async def feed(self) -> None:
        """Hand over all chunks, a step of the loop between them."""
        for chunk in self.chunks:
            self.reader.feed_data(chunk)
            await asyncio.sleep(0)
            while self.is_paused:
                await asyncio.sleep(0)


class MemoryStream(ByteStream):
    """An anyio stream that gives chunks from memory, a step of the loop between them."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = iter(chunks)

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        """Give the next chunk."""
        await anyio.lowlevel.checkpoint()
        for chunk in self.chunks:
            return chunk
        raise anyio.EndOfStreamError

    async def send(self, item: bytes) -> None:
        """Refuse: this stream is for reading."""
        raise anyio.ClosedResourceError

    async def send_eof(self) -> None:
        """Refuse: this stream is for reading."""
        raise anyio.ClosedResourceError

    async def aclose(self) -> None:
        """Do nothing."""


def by_feed(make: Callable[[], Codec], chunks: Chunks, count: int) -> float:
    codec, found, begun = make(), 0, process_time()
    for chunk in chunks:
        for _ in codec.feed(chunk):
            found += 1
    assert found == count
    return process_time() - begun


def by_asyncio(read: Callable[[asyncio.StreamReader], Awaitable[bytes]], chunks: Chunks, count: int) -> float:
    async def run() -> float:
        reader = asyncio.StreamReader(limit=1 << 20)
        task, begun = asyncio.create_task(Source(reader, chunks).feed()), process_time()
        for _ in range(count):
            await read(reader)
        taken = process_time() - begun
        await task
        return taken

    return asyncio.run(run())


def by_asyncio_channel(make: Callable[[], Codec], chunks: Chunks, count: int) -> float:
    async def run() -> float:
        reader = asyncio.StreamReader(limit=1 << 20)
        source = Source(reader, chunks)
        protocol = asyncio.StreamReaderProtocol(reader)
        writer = asyncio.StreamWriter(source, protocol, reader, asyncio.get_running_loop())
        channel = AsyncioChannel(reader, writer, make())
        task, begun = asyncio.create_task(source.feed()), process_time()
        for _ in range(count):
            await channel.receive()
        taken = process_time() - begun
        await task
        return taken

    return asyncio.run(run())


def by_anyio(read: Callable[[BufferedByteReceiveStream], Awaitable[bytes]], chunks: Chunks, count: int) -> float:
    async def run() -> float:
        stream, begun = BufferedByteReceiveStream(MemoryStream(chunks)), process_time()
        for _ in range(count):
            await read(stream)
        return process_time() - begun

    return anyio.run(run)


def by_anyio_channel(make: Callable[[], Codec], chunks: Chunks, count: int) -> float:
    async def run() -> float:
        channel, begun = AnyioChannel(MemoryStream(chunks), make()), process_time()
        for _ in range(count):
            await channel.receive()
        return process_time() - begun

    return anyio.run(run)


async def exactly(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


async def until(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\r\n"))[:-2]


async def receive_exactly(stream: BufferedByteReceiveStream) -> bytes:
    return await stream.receive_exactly(int.from_bytes(await stream.receive_exactly(4), "big"))


async def receive_until(stream: BufferedByteReceiveStream) -> bytes:
    return await stream.receive_until(b"\r\n", 1 << 20)


def cut(make: Callable[[], Codec], size: int, count: int) -> Chunks:
    whole = make().encode(b"m" * size) * count
    return [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]


def in_turns(ways: dict[str, Way], chunks: Chunks, count: int) -> dict[str, float]:
    """Messages a second of each, the best round, taken in turns so that a busy moment of the machine meets all."""
    best = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            best[name] = max(best[name], count / way(chunks, count))
    return best


def count_for(size: int) -> int:
    return min(100_000, max(128, (32 << 20) // size))


def beside() -> None:
    """Print a table for each of the two framings that the readers have a call for."""
    length: Callable[[], Codec] = partial(LengthPrefixed, 4)
    line: Callable[[], Codec] = partial(Delimited, b"\r\n", max_frame=1 << 20)
    tables = (
        ("length of 4 bytes (readexactly, receive_exactly)", length, exactly, receive_exactly),
        (r"\r\n (readuntil, receive_until)", line, until, receive_until),
    )
    for title, make, asyncio_read, anyio_read in tables:
        ways: dict[str, Way] = {
            "feed": partial(by_feed, make),
            "asyncio": partial(by_asyncio, asyncio_read),
            "AsyncioChannel": partial(by_asyncio_channel, make),
            "anyio": partial(by_anyio, anyio_read),
            "AnyioChannel": partial(by_anyio_channel, make),
        }
        print(f"\n{title}: thousands of messages a second (MB/s)")
        print(f"{'bytes':>7}" + "".join(f"{name:>19}" for name in ways) + "   ratio: asyncio   anyio")
        for size in SIZES:
            rates = in_turns(ways, cut(make, size, count_for(size)), count_for(size))
            cells = "".join(f"{rate / 1e3:>9.1f} ({rate * size / 1e6:>7.1f})" for rate in rates.values())
            ratios = rates["AsyncioChannel"] / rates["asyncio"], rates["AnyioChannel"] / rates["anyio"]
            print(f"{size:>7}{cells}{ratios[0]:>17.2f}x{ratios[1]:>7.2f}x")


def codecs() -> None:
    """Print what each codec alone makes of messages of 64 bytes, in large chunks and in crumbs."""
    makers: dict[str, Callable[[], Codec]] = {
        "LengthPrefixed(4)": LengthPrefixed, "VarintPrefixed": VarintPrefixed, "Netstring": Netstring,
        r"Delimited(\r\n)": Delimited, "COBS": COBS,
    }
    print("\ncodecs alone, messages of 64 bytes: thousands of messages a second")
    print(f"{'':<20}{'encode':>12}{'feed':>12}{'1 byte at a time':>20}")
    for name, make in makers.items():
        message, count = b"m" * 64, 100_000
        rates: dict[str, float] = {}
        for _ in range(ROUNDS):
            codec, begun = make(), process_time()
            for _ in range(count):
                codec.encode(message)
            encode = count / (process_time() - begun)
            feed = count / by_feed(make, cut(make, 64, count), count)
            crumbs = [bytes([octet]) for octet in codec.encode(message) * 500]
            drip = 500 / by_feed(make, crumbs, 500)
            for what, rate in (("encode", encode), ("feed", feed), ("drip", drip)):
                rates[what] = max(rates.get(what, 0.0), rate)
        print(f"{name:<20}{rates['encode'] / 1e3:>12.0f}{rates['feed'] / 1e3:>12.0f}{rates['drip'] / 1e3:>20.1f}")


if __name__ == "__main__":
    print("the codecs are", "interpreted" if base.__file__.endswith(".py") else "compiled")
    beside()
    codecs()
