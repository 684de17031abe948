"""asyncio on a host: CPython's own event loop, transports and streams, in virtual time."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from typing import Any

import pytest

from estab import Host, Network, Socket
from estab.sockets.polling.event_loop import EventLoop


async def serve_lines(ready: asyncio.Event | None = None) -> None:
    async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(on_caller, "", 9000)
    if ready is not None:
        ready.set()
    async with server:
        await server.serve_forever()


def test_streams_work_as_they_are(net: Network, a: Host, b: Host) -> None:
    b.run(serve_lines)

    @a.run
    async def ask() -> list[bytes]:
        reader, writer = await asyncio.open_connection("b", 9000)
        sock = writer.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert writer.get_extra_info("peername") == ("10.0.0.2", 9000)
        answers = []
        for number in range(3):
            writer.write(b"line %d\n" % number)
            answers.append(await reader.readline())
            await asyncio.sleep(10)
        writer.close()
        await writer.wait_closed()
        return answers

    net.run()
    assert ask.result() == [b"LINE 0\n", b"LINE 1\n", b"LINE 2\n"]
    assert 30 < net.now < 31


def test_a_hundred_callers_at_once(net: Network, a: Host, b: Host) -> None:
    b.run(serve_lines)

    async def one(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("b", 9000)
        writer.write(b"%d\n" % number)
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    @a.run
    async def ask() -> list[bytes]:
        return await asyncio.gather(*(one(number) for number in range(100)))

    net.run()
    assert ask.result() == [b"%d\n" % number for number in range(100)]
    assert net.now < 1


def test_a_large_transfer_obeys_flow_control(net: Network, a: Host, b: Host) -> None:
    @b.run
    async def serve() -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            count = 0
            while part := await reader.read(10_000):
                count += len(part)
                await asyncio.sleep(0.001)
            writer.close()
            done.set_result(count)

        async with await asyncio.start_server(on_caller, "", 9000):
            return await done

    @a.run
    async def send() -> None:
        _, writer = await asyncio.open_connection("b", 9000)
        for _ in range(20):
            writer.write(bytes(50_000))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    net.run()
    assert serve.result() == 1_000_000


def test_datagrams_and_low_level_calls(net: Network, a: Host, b: Host) -> None:
    @b.run(daemon=True)
    async def serve() -> None:
        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
                self.transport.sendto(data[::-1], address)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, ("0.0.0.0", 53))
        try:
            await asyncio.Event().wait()
        finally:
            transport.close()

    @a.run
    async def ask() -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("b", 53))
            await loop.sock_sendall(sock, b"abc")
            return await loop.sock_recv(sock, 100)

    net.run()
    assert ask.result() == b"cba"


def test_a_timeout_of_an_hour_takes_no_time(net: Network, a: Host, b: Host) -> None:
    @b.run
    def silent() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(1)

    @a.run
    async def ask() -> float:
        reader, writer = await asyncio.open_connection("b", 80)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await reader.read()
        writer.close()
        await writer.wait_closed()
        return asyncio.get_running_loop().time()

    net.run()
    assert ask.result() == pytest.approx(3600.02)


def test_a_refused_connection_raises(net: Network, a: Host) -> None:
    @a.run
    async def ask() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("10.0.0.2", 1)
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("nowhere", 1)

    net.run()
    ask.result()


def test_asyncio_run_in_a_blocking_program_uses_the_hosts_loop(net: Network, a: Host) -> None:
    async def nap() -> tuple[type, float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(7)
        return type(loop), loop.time()

    @a.run
    def program() -> tuple[type, float]:
        for loop in (asyncio.new_event_loop(), asyncio.get_event_loop_policy().new_event_loop()):
            assert isinstance(loop, EventLoop)
            loop.close()
        return asyncio.run(nap())

    net.run()
    assert program.result() == (EventLoop, 7.0)


def test_a_loop_over_the_standard_selector_works_too(net: Network, a: Host, b: Host) -> None:
    b.run(serve_lines)

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("10.0.0.2", 9000)
        writer.write(b"x\n")
        answer = await reader.readline()
        writer.close()
        return answer

    @a.run
    def program() -> bytes:
        loop = asyncio.SelectorEventLoop()
        try:
            return loop.run_until_complete(ask())
        finally:
            loop.close()

    net.run()
    assert program.result() == b"X\n"


def test_a_program_can_wake_the_loop_of_another(net: Network, a: Host) -> None:
    @a.run
    async def wait() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        wakers.append(lambda: loop.call_soon_threadsafe(future.set_result, "woken"))
        return await future, loop.time()

    wakers: list[object] = []
    a.run(lambda: wakers[0](), start=5)  # type: ignore[operator]
    net.run()
    assert wait.result() == ("woken", 5.0)


def test_what_a_host_has_not_fails_with_a_sentence(net: Network, a: Host) -> None:
    numbers = os.pipe()
    machine = os.fdopen(numbers[0], "rb", 0)

    @a.run
    async def program() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError, match="a subprocess would use"):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(NotImplementedError, match="is of the operating system, and host a can't wait for it"):
            await loop.connect_read_pipe(asyncio.Protocol, machine)

    net.run()
    program.result()
    machine.close()
    os.close(numbers[1])


def test_the_main_threads_loop_is_the_operating_systems(a: Host) -> None:
    with a.installed():
        loop = asyncio.new_event_loop()
        assert isinstance(loop, EventLoop)
        loop.close()

    async def outside() -> type:
        return type(asyncio.get_running_loop())

    assert asyncio.run(outside()) is asyncio.SelectorEventLoop
    assert threading.current_thread() is threading.main_thread()


def test_sockets_handed_to_asyncio_are_the_hosts(net: Network, a: Host, b: Host) -> None:
    b.run(serve_lines)

    @a.run
    async def ask() -> bytes:
        sock = socket.create_connection(("b", 9000))
        assert isinstance(sock, Socket)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(b"y\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    net.run()
    assert ask.result() == b"Y\n"


def test_a_loop_that_a_program_makes_by_its_class_is_the_hosts(net: Network, a: Host) -> None:
    original = asyncio.SelectorEventLoop

    @a.run
    def work() -> tuple[bool, float]:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            loop = runner.get_loop()
            runner.run(asyncio.sleep(0.0001))
            return isinstance(loop, EventLoop) and isinstance(loop, original), loop.time()

    net.run()
    assert work.result() == (True, 0.0001)
    loop = asyncio.SelectorEventLoop()
    loop.close()
    assert type(loop) is asyncio.SelectorEventLoop
