"""What was written arrives, and what waits ends, when connections and stacks are closed."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable

import pytest

import estab
from tests.kit.two_stacks import LEFT, RIGHT, Gate, joined, run

BULK = bytes(range(251)) * 1200


class Sink:
    """Reads everything, and knows how the stream ended."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.over = asyncio.Event()
        self.end: object = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.got += data
            self.end = "end of stream"
        except OSError as error:
            self.end = error
        self.over.set()
        writer.close()


async def turns(count: int = 50) -> None:
    """Let everything happen that needs no time."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_was_written_and_closed_before_the_block_ended_arrives_with_the_end_of_the_stream() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        slow_there, slow_back = Gate(), Gate()
        left, right = joined(slow_there, slow_back)
        for gate in (slow_there, slow_back):
            deliver = gate.deliver
            gate.deliver = lambda packet, deliver=deliver: loop.call_later(0.01, deliver, packet)  # type: ignore[misc]
        sink = Sink()
        async with right:
            await right.start_server(sink.serve, port=7)
            async with left:
                _, writer = await left.open_connection(RIGHT, 7)
                writer.write(BULK)
                writer.close()
            await asyncio.wait_for(sink.over.wait(), 20)
        assert bytes(sink.got) == BULK
        assert sink.end == "end of stream"

    asyncio.run(body())


def test_wait_closed_returns_when_the_peer_has_acknowledged_all_and_not_before() -> None:
    there, back = Gate(), Gate()

    async def program(left: estab.Stack, right: estab.Stack) -> None:
        sink = Sink()
        await right.start_server(sink.serve, port=7)
        _, writer = await left.open_connection(RIGHT, 7)
        there.is_open = False
        writer.write(b"the last words")
        writer.close()
        closed = asyncio.ensure_future(writer.wait_closed())
        await turns()
        assert not closed.done()
        there.open()
        await closed
        await sink.over.wait()
        assert (bytes(sink.got), sink.end) == (b"the last words", "end of stream")

    run(program, there, back)


def test_wait_closed_raises_when_the_connection_ended_before_all_arrived() -> None:
    there, back = Gate(), Gate()

    async def program(left: estab.Stack, right: estab.Stack) -> None:
        accepted: list[asyncio.StreamWriter] = []

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(writer)

        await right.start_server(hold, port=7)
        _, writer = await left.open_connection(RIGHT, 7)
        while not accepted:
            await asyncio.sleep(0)
        there.is_open = False
        writer.write(b"never read")
        writer.close()
        await turns()
        accepted[0].transport.abort()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()
        there.held.clear()
        there.is_open = True

    run(program, there, back)


def test_abort_after_close_leaves_what_is_on_its_way_to_tcp() -> None:
    there = Gate()

    async def program(left: estab.Stack, right: estab.Stack) -> None:
        sink = Sink()
        await right.start_server(sink.serve, port=7)
        _, writer = await left.open_connection(RIGHT, 7)
        there.is_open = False
        writer.write(b"on its way")
        writer.close()
        writer.transport.abort()
        await writer.wait_closed()
        there.open()
        await sink.over.wait()
        assert (bytes(sink.got), sink.end) == (b"on its way", "end of stream")

    run(program, there)


def test_drain_waits_for_open_and_closed_connections_and_for_what_a_transport_keeps() -> None:
    there = Gate()

    async def program(left: estab.Stack, right: estab.Stack) -> None:
        sinks = Sink(), Sink()
        await right.start_server(sinks[0].serve, port=7)
        await right.start_server(sinks[1].serve, port=8)
        _, first = await left.open_connection(RIGHT, 7)
        _, second = await left.open_connection(RIGHT, 8)
        there.is_open = False
        first.write(b"closed")
        first.close()
        second.write(BULK * 8)
        assert second.transport.get_write_buffer_size() > 0
        drained = asyncio.ensure_future(left.drain())
        await turns()
        assert not drained.done()
        there.open()
        await drained
        assert second.transport.get_write_buffer_size() == 0
        assert second.get_extra_info("socket").unacked == 0
        assert [row.state for row in left.sockets() if row.detail == "orphan"] == []
        second.close()

    run(program, there)


def test_drain_gives_up_after_its_timeout() -> None:
    there = Gate()

    async def program(left: estab.Stack, right: estab.Stack) -> None:
        await right.start_server(Sink().serve, port=7)
        _, writer = await left.open_connection(RIGHT, 7)
        there.is_open = False
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await left.drain(0.01)
        there.open()
        writer.close()

    run(program, there)


def test_closing_a_stack_ends_all_that_waits_in_the_loop_with_enetdown() -> None:
    async def body() -> None:
        left, right = joined()
        await right.start()
        hold = Sink()
        server = await left.start_server(hold.serve, port=9)
        await right.start_server(hold.serve, port=7)
        reader, writer = await left.open_connection(RIGHT, 7)
        _, pushing = await right.open_connection(LEFT, 9)
        bound = left.socket(type=socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind((LEFT, 53))
        lost = asyncio.get_running_loop().create_future()

        class Datagrams(asyncio.DatagramProtocol):
            def connection_lost(self, exc: Exception | None) -> None:
                lost.set_result(exc)

        await left.create_datagram_endpoint(Datagrams, local_addr=(LEFT, 54))

        async def ended() -> None:
            raise await lost

        waits: dict[str, Awaitable[object]] = {
            "read": reader.read(1), "connect": left.open_connection("10.9.0.77", 7),
            "serve": server.serve_forever(), "receive": left.sock_recvfrom(bound, 10), "datagrams": ended(),
        }
        running = {name: asyncio.ensure_future(wait) for name, wait in waits.items()}
        await turns()
        assert [name for name, wait in running.items() if wait.done()] == []
        left.close()
        found = await asyncio.wait_for(asyncio.gather(*running.values(), return_exceptions=True), 20)
        numbers = {name: getattr(error, "errno", error) for name, error in zip(running, found, strict=True)}
        assert numbers == dict.fromkeys(running, errno.ENETDOWN)
        writer.write(b"into the void")
        with pytest.raises(OSError, match="Network is down"):
            await writer.drain()
        assert writer.is_closing()
        pushing.close()
        right.close()

    asyncio.run(body())


def test_closing_a_stack_ends_a_drain_and_a_wait_for_acknowledgment() -> None:
    async def body() -> None:
        there = Gate()
        left, right = joined(there)
        async with right:
            await right.start_server(Sink().serve, port=7)
            _, writer = await left.open_connection(RIGHT, 7)
            there.is_open = False
            writer.write(b"held")
            drained = asyncio.ensure_future(left.drain())
            acked = writer.get_extra_info("socket").wait_acked()
            await turns()
            left.close()
            for waited in (drained, acked):
                with pytest.raises(OSError, match="Network is down"):
                    await waited

    asyncio.run(body())


def test_a_call_on_a_socket_of_a_closed_stack_says_that_the_network_is_down() -> None:
    left, right = joined()
    with right:
        sock = left.socket()
        datagrams = left.socket(type=socket.SOCK_DGRAM)
        with left:
            pass
        for sends in (lambda: sock.connect((RIGHT, 7)), lambda: datagrams.sendto(b"x", (RIGHT, 7))):
            with pytest.raises(OSError, match="Network is down"):
                sends()
        sock.close()
        datagrams.close()


def test_what_a_closed_stack_leaves_undelivered_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        there = Gate()
        left, right = joined(there)
        async with right:
            await right.start_server(Sink().serve, port=7)
            _, writer = await left.open_connection(RIGHT, 7)
            there.is_open = False
            writer.write(b"twelve bytes")
            await turns()
            left.close()

    with caplog.at_level(logging.WARNING, "estab.stack"):
        asyncio.run(body())
    assert "closed with 12 bytes unacknowledged on 1 connections" in caplog.text


def test_the_end_of_a_with_in_a_thread_waits_for_what_was_sent() -> None:
    there = Gate()
    left, right = joined(there)
    with right, right.socket() as listener:
        listener.bind((RIGHT, 7))
        listener.listen()
        with left:
            sock = left.socket()
            sock.connect((RIGHT, 7))
            there.is_open = False
            sock.sendall(b"closing")
            sock.close()
            # The segment is sent again after the retransmission timeout.
            there.held.clear()
            there.is_open = True
        taken, _ = listener.accept()
        assert taken.recv(100) == b"closing"
        assert taken.recv(100) == b""
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # nobody is there to hear the FIN
        taken.close()
