"""A stack inside of a program, on packets that the program carries itself, in the program's own event loop."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import estab

PEM = Path(__file__).parent.parent / "messages" / "localhost.pem"
BULK = bytes(range(251)) * 4001


def joined(**options: int) -> tuple[estab.Stack, estab.Stack]:
    """Make two stacks whose links carry to each other."""
    left = estab.QueueDevice(**options)  # type: ignore[arg-type]
    right = estab.QueueDevice(left.deliver, **options)  # type: ignore[arg-type]
    left.on_packet = right.deliver
    return estab.Stack(left, "10.9.0.1/24", name="left"), estab.Stack(right, "10.9.0.2/24", name="right")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back until the end of the stream."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def run(program: Callable[[estab.Stack, estab.Stack], object]) -> None:
    """Run an async function over two joined stacks."""

    async def body() -> None:
        left, right = joined()
        async with left, right:
            await asyncio.wait_for(program(left, right), 30)  # type: ignore[arg-type]

    asyncio.run(body())


async def send_and_read_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Write all, end the stream, and read what comes back, at the same time."""

    async def write() -> None:
        writer.write(BULK)
        await writer.drain()
        writer.write_eof()

    _, back = await asyncio.gather(write(), reader.read())
    writer.close()
    await writer.wait_closed()
    return back


def test_a_megabyte_comes_back_byte_for_byte() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        async with await right.start_server(echo, port=7):
            reader, writer = await left.open_connection("10.9.0.2", 7)
            assert writer.get_extra_info("peername") == ("10.9.0.2", 7)
            assert await send_and_read_back(reader, writer) == BULK

    run(program)


def test_tls_runs_over_it() -> None:
    async def echo_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(BULK)))
        await writer.drain()
        writer.close()

    async def program(left: estab.Stack, right: estab.Stack) -> None:
        ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ours.load_cert_chain(PEM)
        theirs = ssl.create_default_context(cafile=str(PEM))
        async with await right.start_server(echo_tls, port=443, ssl=ours):
            reader, writer = await left.open_connection("10.9.0.2", 443, ssl=theirs, server_hostname="localhost")
            writer.write(BULK)
            assert await reader.read() == BULK
            writer.close()
            await writer.wait_closed()

    run(program)


def test_a_refused_connection_raises_as_the_systems_would() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        with pytest.raises(ConnectionRefusedError):
            await left.open_connection("10.9.0.2", 9)

    run(program)


def test_a_reset_reaches_the_reader() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with await right.start_server(abort, port=7):
            reader, writer = await left.open_connection("10.9.0.2", 7)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    run(program)


def test_a_slow_reader_slows_the_writer() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        release = asyncio.Event()

        async def wait_and_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(str(len(await reader.read())).encode())
            writer.close()

        async with await right.start_server(wait_and_read, port=7):
            reader, writer = await left.open_connection("10.9.0.2", 7)
            writer.write(BULK * 6)
            drained = asyncio.ensure_future(writer.drain())
            for _ in range(200):
                await asyncio.sleep(0)
            assert not drained.done()
            release.set()
            await drained
            writer.write_eof()
            assert await reader.read() == str(len(BULK * 6)).encode()
            writer.close()

    run(program)


def test_a_blocking_call_in_the_loop_that_runs_the_engine_is_refused() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        with left.socket() as blocking, pytest.raises(RuntimeError, match="would block the event loop"):
            blocking.connect(("10.9.0.2", 7))

    run(program)


def test_threads_use_a_stack_that_an_event_loop_runs() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        def client() -> bytes:
            with left.socket() as sock:
                sock.settimeout(20)
                sock.connect(("10.9.0.2", 7))
                sock.sendall(b"from a thread")
                return sock.recv(100)

        async with await right.start_server(echo, port=7):
            assert await asyncio.to_thread(client) == b"from a thread"

    run(program)


def test_packets_can_be_carried_by_hand() -> None:
    async def body() -> None:
        link = estab.QueueDevice()
        async with estab.Stack(link, "10.9.0.1/24") as stack:
            connecting = asyncio.ensure_future(stack.open_connection("10.9.0.2", 7))
            async for packet in link:
                assert packet[0] >> 4 == 4
                assert packet[16:20] == bytes([10, 9, 0, 2])
                break
            connecting.cancel()

    asyncio.run(asyncio.wait_for(body(), 20))


def test_what_is_delivered_to_a_full_queue_is_dropped_and_counted() -> None:
    link = estab.QueueDevice(frames_max=2)
    assert [link.deliver(b"E") for _ in range(4)] == [True, True, False, False]
    assert link.dropped_frames == 2


def test_a_program_that_takes_no_packets_makes_tcp_wait() -> None:
    link = estab.QueueDevice(frames_max=1)
    assert link.send(b"first")
    assert not link.send(b"second")
    woken: list[bool] = []
    link.open(lambda: woken.append(True))
    assert link.take() == b"first"
    assert woken == [True]
    assert link.send(b"second")


WITHOUT_LINUX = """
import sys
import select
for name in ("epoll", "poll", "kqueue"):
    if hasattr(select, name):
        delattr(select, name)
import os
for name in ("eventfd", "eventfd_read", "eventfd_write"):
    if hasattr(os, name):
        delattr(os, name)

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fcntl", "pyroute2", "termios", "resource", "pty", "tty"):
            raise ImportError(f"{name} is not there")

for name in ("fcntl", "termios", "resource"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())

import asyncio
import selectors

class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__(selectors.SelectSelector())

import estab

async def main():
    left = estab.QueueDevice()
    right = estab.QueueDevice(left.deliver)
    left.on_packet = right.deliver
    async with estab.Stack(left, "10.9.0.1/24") as a, estab.Stack(right, "10.9.0.2/24") as b:
        async def echo(reader, writer):
            writer.write(await reader.read(100))
            writer.close()
        async with await b.start_server(echo, port=7):
            reader, writer = await a.open_connection("10.9.0.2", 7)
            writer.write(b"anywhere")
            assert await reader.read(100) == b"anywhere"
            writer.close()

with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(asyncio.wait_for(main(), 20))
assert "fcntl" not in sys.modules and "pyroute2" not in sys.modules
print("carried")
"""


def test_without_anything_of_linux_a_stack_runs_in_process() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_LINUX], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.stdout, done.returncode) == ("carried\n", 0), done.stderr
