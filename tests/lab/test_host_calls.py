"""Calls that are done at once do what calls that go all the way do, and leave to those what they can't do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest

from estab.events import CallStarted, Event, FrameReceived
from tests.kit.two_hosts import connected, two

TEXTS = [b"x" * (1 + number * 611 % 9000) for number in range(20)]


def blocking() -> int:
    """Write and read by a socket that blocks; one write is more than there is room for."""
    with socket.create_connection(("b", 80)) as sock:
        for text in TEXTS:
            sock.sendall(text)
            left = len(text)
            while left:
                left -= len(sock.recv(left))
        sent = sock.send(b"y" * 600_000)
        sock.shutdown(socket.SHUT_WR)
        return sent + sum(map(len, iter(lambda: sock.recv(100_000), b"")))


def with_timeout() -> int:
    """Write and read by a socket with a timeout."""
    with socket.create_connection(("b", 80), timeout=60) as sock:
        for text in TEXTS:
            sock.sendall(text)
            left = len(text)
            while left:
                left -= len(sock.recv(left))
        sock.settimeout(0.001)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                sent += sock.send(b"y" * 100_000)
        sock.settimeout(60)
        sock.shutdown(socket.SHUT_WR)
        return sent + sum(map(len, iter(lambda: sock.recv(100_000), b"")))


async def by_streams() -> int:
    """Write and read by asyncio, more than there is room for, too."""
    reader, writer = await asyncio.open_connection("b", 80)
    for text in TEXTS:
        writer.write(text)
        await reader.readexactly(len(text))
    writer.write(b"y" * 600_000)
    writer.write_eof()
    count = len(await reader.read())
    writer.close()
    return count


async def echo() -> None:
    """Send back what comes."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.read(10_000):
            writer.write(text)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "", 80) as server:
        await server.serve_forever()


@pytest.mark.parametrize("program", [blocking, with_timeout, by_streams])
def test_calls_that_are_done_at_once_send_the_same_frames_at_the_same_times(program: Callable[[], object]) -> None:
    runs: list[tuple[list[tuple[int, bytes]], object, int]] = []
    for is_told in (False, True):  # with an observer no call is done at once
        net, a, b = two()
        frames: list[tuple[int, bytes]] = []

        def note(fact: Event, frames: list[tuple[int, bytes]] = frames) -> None:
            if isinstance(fact, FrameReceived):
                frames.append((fact.at_ns, fact.data))

        b.observe(note)
        if is_told:
            a.observe(lambda fact: None)
        b.run(echo, daemon=True)
        asked = a.run(program, start="1ms")
        net.run()
        runs.append((frames, asked.result(), net.now_ns))
    assert len(runs[0][0]) > 100
    assert runs[0] == runs[1]


def test_a_call_that_is_done_at_once_is_told_as_soon_as_somebody_observes() -> None:
    net, a, b = two()
    told: list[str] = []

    def note(fact: Event) -> None:
        if isinstance(fact, CallStarted):
            told.append(f"{fact.name}({fact.arguments})")

    with connected(a, b) as (caller, accepted):
        caller.send(b"first")
        accepted.recv(100)
        with a.observe(note), b.observe(note):
            caller.send(b"second")
            caller.sendall(b"third")
            net.run("1s")
            accepted.recv(6)
            accepted.recv(100, socket.MSG_PEEK)
    assert told == ["send(b'second')", "sendall(b'third')", "recv(6)", f"recv(100, {socket.MSG_PEEK!r})"]


def test_what_can_t_be_done_at_once_raises_as_ever() -> None:
    net, a, b = two()
    with connected(a, b) as (caller, accepted):
        caller.setblocking(False)
        with pytest.raises(BlockingIOError, match="nothing has come"):
            caller.recv(10)
        with pytest.raises(ValueError, match="negative buffersize in recv"):
            caller.recv(-1)
        while caller.send(bytes(100_000)) == 100_000:
            pass
        with pytest.raises(BlockingIOError, match="send buffer"):
            caller.send(b"x")
        net.run("1s")
        accepted.close()
        net.run("2s")
        caller.setblocking(True)
        with pytest.raises(ConnectionResetError):
            caller.recv(10)
        with pytest.raises(BrokenPipeError):
            caller.send(b"x")
    with pytest.raises(OSError, match="bad file descriptor"):
        caller.send(b"x")
    with pytest.raises(OSError, match="bad file descriptor"):
        caller.recv(1)
