"""What an ``estab.Socket`` tells beyond the standard: history, queues, and acknowledgments to be awaited."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable
from typing import Any

import pytest

from estab import Host, Network, QueueDevice, Socket, Stack
from estab.events import BufferChanged, FdAllocated, SegmentSent, StateChanged, TcbCreated


def test_history_tells_what_each_call_changed(net: Network, a: Host, b: Host) -> None:
    a.keep_history()
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        caller.connect(("b", 80))
        caller.sendall(b"hello")
        with pytest.raises(BlockingIOError):
            caller.recv(1, socket.MSG_DONTWAIT)
        opened, connected, sent, received = caller.history()
        assert [call.name for call in caller.history()] == ["socket", "connect", "sendall", "recv"]
        assert [type(change) for change in opened.changes] == [FdAllocated, TcbCreated]
        assert ("CLOSED", "SYN-SENT") in [
            (change.old, change.new) for change in connected.changes if isinstance(change, StateChanged)]
        port = caller.getsockname()[1]
        assert connected.waited_for == [f"connect() on 10.0.0.1:{port}>10.0.0.2:80 (SYN-SENT)"]
        assert connected.returned_ns is not None
        assert connected.returned_ns - connected.started_ns == 20_000_000
        assert next(change.size_bytes for change in sent.changes if isinstance(change, BufferChanged)) == 5
        assert [change.length for change in sent.changes if isinstance(change, SegmentSent)] == [5]
        assert received.error.startswith("EAGAIN")
        assert "sendall(b'hello') -> None" in str(sent)
        assert "SegmentSent(" in str(sent)
        with pytest.raises(RuntimeError, match="nothing is kept on b; call its keep_history"):
            listener.history()
    assert caller.history()[-1].name == "close"


def test_history_is_bounded_and_other_observers_are_still_told(net: Network, a: Host) -> None:
    told: list[object] = []
    a.keep_history(3)
    net.observe(told.append)
    with a.socket() as sock:
        for value in range(9):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, value % 2)
        assert [call.name for call in sock.history()] == ["setsockopt"] * 3
        count = len(told)
        assert count > 9
        a.keep_history(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert len(told) > count
        assert len(sock.history()) == 3


def test_a_reset_host_keeps_no_history_of_its_old_life(net: Network, a: Host) -> None:
    a.keep_history()
    net.at(1, a.power_off)
    net.at(2, a.power_on)
    net.run(until=3)
    with a.socket() as sock:
        sock.bind(("", 80))
        assert [call.name for call in sock.history()] == ["socket", "bind"]


def test_acknowledgments_can_be_awaited(net: Network, a: Host, b: Host) -> None:
    @b.run
    def server() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as taken:
            while taken.recv(100_000):
                pass

    @a.run
    async def client() -> list[float]:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        assert isinstance(sock, Socket)
        with sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("b", 80))
            started = loop.time()
            await loop.sock_sendall(sock, b"x" * 5000)
            waiting = sock.wait_acked()
            assert isinstance(waiting, Awaitable)
            ticks = 0
            while not waiting.done():  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
                ticks += 1
            await waiting
            assert (ticks > 10, sock.unacked) == (True, 0)
            took = loop.time() - started
            await sock.wait_acked()  # type: ignore[misc]
            net.links[0].cut()
            await loop.sock_sendall(sock, b"y")
            with pytest.raises(TimeoutError):
                await sock.wait_acked(timeout=0.5)  # type: ignore[misc]
            return [took, loop.time() - started]

    net.run(until=3)
    first, second = client.result()
    assert first == pytest.approx(0.02, abs=0.003)
    assert second == pytest.approx(first + 0.5, abs=0.003)


def test_what_ends_the_connection_ends_the_wait(net: Network, a: Host, b: Host) -> None:
    @b.run
    def server() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            taken.recv(100)

    @a.run
    async def client() -> None:
        _, writer = await asyncio.open_connection("b", 80)
        sock: Any = writer.get_extra_info("socket")._sock
        net.links[0].cut()
        writer.write(b"x")
        waiting = sock.wait_acked()
        sock.descriptor.connection.abort()
        sock.runtime.flush()
        with pytest.raises(OSError, match=r"unacknowledged|reset|closed"):
            await waiting
        writer.close()

    net.run(until=5)
    client.result()


def test_acknowledgments_can_be_awaited_on_a_stack_in_real_time() -> None:
    with Stack(QueueDevice(), "10.9.0.1/24") as stack:
        listener, caller = stack.socket(), stack.socket()
        with listener, caller:
            listener.bind(("10.9.0.1", 0))
            listener.listen()
            caller.connect(listener.getsockname())
            with listener.accept()[0] as taken:

                async def send() -> None:
                    caller.sendall(b"x" * 1000)
                    waiting = caller.wait_acked(timeout=10)
                    assert waiting is not None
                    await waiting

                asyncio.run(send())
                assert caller.unacked == 0
                assert taken.recv(2000) == b"x" * 1000


def test_a_pair_looks_like_unix_sockets_where_the_system_makes_those(a: Host) -> None:
    reals = socket.socketpair()
    with a.installed():
        ours = socket.socketpair()
        inet = socket.socketpair(socket.AF_INET)
    with reals[0], reals[1], ours[0], ours[1], inet[0], inet[1]:
        for real, our in zip(reals, ours, strict=True):
            assert (our.family, our.type, our.getsockname(), our.getpeername()) == (
                real.family, real.type, real.getsockname(), real.getpeername())
        ours[0].sendall(b"hello")
        assert ours[1].recvfrom(9) == (b"hello", None)
        assert inet[0].getpeername() == inet[1].getsockname()


def test_a_sockets_number_can_be_read_written_and_closed(a: Host) -> None:
    with a.installed():
        first, second = socket.socketpair()
        assert os.write(first.fileno(), b"hello") == 5
        assert os.read(second.fileno(), 3) == b"hel"
        os.close(first.detach())
        assert (second.recv(9), second.recv(9)) == (b"lo", b"")
        reading, writing = os.pipe()
        os.write(writing, b"real")
        assert os.read(reading, 9) == b"real"
        os.close(reading)
        os.close(writing)
        second.close()
