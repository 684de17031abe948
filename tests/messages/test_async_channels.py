"""AsyncioChannel, and AnyioChannel under asyncio and trio: the same claims for all three."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.from_thread
import pytest
from anyio.abc import SocketAttribute, SocketStream

from estab.messages import (
    AnyioChannel,
    AsyncioChannel,
    Codec,
    Delimited,
    EndOfStreamError,
    FrameError,
    Heartbeat,
    LengthPrefixed,
    PeerLostError,
)

AsyncChannel = AsyncioChannel | AnyioChannel
Test = Callable[["Kind"], Awaitable[None]]


class Kind:
    """One of the three: how it connects, sleeps and runs tasks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend = "trio" if "trio" in name else "asyncio"

    async def channel(self, sock: socket.socket, codec: Codec, **options: Any) -> AsyncChannel:
        sock.setblocking(False)
        if self.name == "asyncio":
            return AsyncioChannel(*await asyncio.open_connection(sock=sock), codec, **options)
        return AnyioChannel(await SocketStream.from_socket(sock), codec, **options)

    @asynccontextmanager
    async def pair(
        self, codec: Callable[[], Codec], **options: Any
    ) -> AsyncIterator[tuple[AsyncChannel, AsyncChannel]]:
        near, far = tcp_pair()
        async with await self.channel(near, codec(), **options) as a, await self.channel(far, codec(), **options) as b:
            yield a, b

    @asynccontextmanager
    async def beside_socket(self, codec: Codec, **options: Any) -> AsyncIterator[tuple[AsyncChannel, socket.socket]]:
        near, far = tcp_pair()
        with far:
            async with await self.channel(near, codec, **options) as channel:
                yield channel, far


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.settimeout(5)
    return near, far


@pytest.fixture(params=["asyncio", "anyio on asyncio", "anyio on trio"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


def run(kind: Kind, test: Test) -> None:
    async def limited() -> None:
        with anyio.fail_after(20):
            await test(kind)

    anyio.run(limited, backend=kind.backend)


def line() -> Delimited:
    return Delimited(b"\n")


def test_messages_go_both_ways_and_iteration_ends_with_the_peer(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.pair(LengthPrefixed) as (near, far):
            for message in (b"one", b"", b"x" * 70_000):
                await near.send(message)
            await far.send(b"back")
            await near.send_eof()
            assert [message async for message in far] == [b"one", b"", b"x" * 70_000]
            assert await near.receive() == b"back"
            with pytest.raises(EndOfStreamError, match=r"127\.0\.0\.1:\d+ has ended its stream"):
                await far.receive()

    run(kind, test)


def test_faults_come_behind_good_messages_and_an_end_inside_a_frame_is_one(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(Delimited(b"\n", max_frame=5)) as (channel, far):
            far.sendall(b"good\ntoo long\n")
            assert await channel.receive() == b"good"
            with pytest.raises(FrameError, match="over the limit at byte 10"):
                await channel.receive()
        async with kind.beside_socket(line()) as (channel, far):
            far.sendall(b"good\nhalf")
            far.close()
            assert await channel.receive() == b"good"
            with pytest.raises(FrameError, match="stream ended inside a frame at byte 9"):
                await channel.receive()

    run(kind, test)


def test_a_receive_that_timed_out_or_was_cancelled_has_lost_nothing(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line()) as (channel, far):
            far.sendall(b"h")
            with pytest.raises(TimeoutError, match="no message in time"):
                await channel.receive("2ms")
            far.sendall(b"a")
            with anyio.move_on_after(0.002):
                await channel.receive()
            far.sendall(b"lf\n")
            assert await channel.receive("5s") == b"half"

    run(kind, test)


def test_send_waits_while_the_peer_does_not_read(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.pair(LengthPrefixed) as (near, far):
            message = bytes(1 << 20)
            count = 64  # more than the largest buffers that Linux gives both ends: 4 and 32 MiB
            sent = 0

            async def send_all() -> None:
                nonlocal sent
                for _ in range(count):
                    await near.send(message)
                    sent += 1

            async with anyio.create_task_group() as group:
                group.start_soon(send_all)
                await anyio.sleep(0.02)
                assert sent < count
                for _ in range(count):
                    assert await far.receive() == message
            assert sent == count

    run(kind, test)


def test_frames_of_two_senders_do_not_mix(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.pair(line) as (near, far), anyio.create_task_group() as group:
            words = [bytes([letter]) * 200_000 for letter in b"abcd"]
            far._exchange.codec = Delimited(b"\n", max_frame=300_000)
            near._exchange.codec = Delimited(b"\n", max_frame=300_000)
            for word in words * 5:
                group.start_soon(near.send, word)
            assert sorted([await far.receive("5s") for _ in range(20)]) == sorted(words * 5)

    run(kind, test)


def test_a_peer_that_takes_nothing_is_lost_and_close_resets(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(LengthPrefixed(), send_timeout="15ms") as (channel, far):
            with pytest.raises(PeerLostError, match="took no byte for") as caught:
                await channel.send(bytes(16 << 20))
            assert caught.value.errno == errno.ETIMEDOUT
            assert caught.value.facts.state == "ESTABLISHED"
            assert caught.value.facts.outq_bytes
            with pytest.raises(PeerLostError):
                await channel.send(b"more")
            await channel.close()
            taken = b"."
            with pytest.raises(ConnectionResetError):  # noqa: PT012 - it comes behind what was delivered
                while taken:
                    taken = far.recv(1 << 20)

    run(kind, test)


def test_two_tasks_may_not_receive_at_once(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line()) as (channel, far), anyio.create_task_group() as group:
            group.start_soon(channel.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="another task is receiving"):
                await channel.receive()
            far.sendall(b"done\n")

    run(kind, test)


# --- heartbeats


def test_a_silent_peer_is_pinged_and_then_lost(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line(), heartbeat=Heartbeat("5ms", "20ms")) as (channel, far):
            with pytest.raises(PeerLostError, match=r"no byte for .*a ping unanswered for .*in ESTABLISHED") as caught:
                await channel.receive()
            assert far.recv(100) == b"PING\n"
            assert caught.value.silent_ns >= 20_000_000
            with pytest.raises(PeerLostError):
                await channel.send(b"too late")

    run(kind, test)


def test_a_peer_that_reads_answers_and_lives(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.pair(line, heartbeat=Heartbeat("2ms", "5s")) as (near, far):
            async with anyio.create_task_group() as group:
                group.start_soon(far.receive)
                with pytest.raises(TimeoutError):
                    await near.receive("40ms")
                await near.send(b"still here")
            assert near.is_heartbeat_on

    run(kind, test)


def test_bytes_that_came_while_the_program_was_away_are_read_before_it_judges(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line(), heartbeat=Heartbeat("2ms", "10ms")) as (channel, far):
            with pytest.raises(TimeoutError):
                await channel.receive("4ms")
            assert far.recv(100) == b"PING\n"
            far.sendall(b"PONG\nhere\n")
            import time

            time.sleep(0.015)  # the program is busy, and its loop with it
            assert await channel.receive() == b"here"

    run(kind, test)


def test_the_heartbeats_words_are_not_the_programs(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line(), heartbeat=Heartbeat("1s", "2s")) as (channel, far):
            with pytest.raises(ValueError, match="is one of the heartbeat's"):
                await channel.send(b"PING")
            far.sendall(b"PONG\nPING\nhello\n")
            assert await channel.receive() == b"hello"
            assert far.recv(100) == b"PONG\n"

    run(kind, test)


def test_either_side_turns_the_heartbeat_off(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.pair(line, heartbeat=Heartbeat("20s", "60s")) as (near, far):
            await near.heartbeat_off()
            await near.send(b"now quiet")
            assert await far.receive() == b"now quiet"
            assert (near.is_heartbeat_on, far.is_heartbeat_on) == (False, False)
        near_sock, far_sock = tcp_pair()
        async with (
            await kind.channel(near_sock, line(), heartbeat=Heartbeat("2ms", "5s")) as near,
            await kind.channel(far_sock, line(), heartbeat=Heartbeat.declined()) as far,
            anyio.create_task_group() as group,
        ):
            group.start_soon(far.receive)
            while near.is_heartbeat_on:
                with pytest.raises(TimeoutError):
                    await near.receive("3ms")
            await near.send(b"end")

    run(kind, test)


def test_a_half_closed_connection_has_no_heartbeat(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line(), heartbeat=Heartbeat("2ms", "10ms")) as (channel, far):
            await channel.send_eof()
            assert far.recv(100) == b"PING OFF\n"
            assert far.recv(100) == b""
            far.sendall(b"PING\n")  # one that crossed our end on its way
            with pytest.raises(TimeoutError):
                await channel.receive("20ms")
            far.sendall(b"answer\n")
            assert await channel.receive() == b"answer"

    run(kind, test)


def test_two_peers_that_are_both_held_up_in_send_still_answer_pings(kind: Kind) -> None:
    """Each side has filled the connection and answers a ping: neither may wait for the other to read first."""

    async def test(kind: Kind) -> None:
        async with kind.pair(lambda: LengthPrefixed(max_frame=32 << 20), heartbeat=Heartbeat("60s", "90s")) as channels:
            big = bytes(16 << 20)
            for channel in channels:
                channel._exchange.stall_ns = 5_000_000_000

            async def receive(channel: AsyncChannel) -> None:
                assert await channel.receive() == big

            async with anyio.create_task_group() as group:
                for channel in channels:
                    channel._exchange.pulse.on_message(b"PING")  # type: ignore[union-attr]
                    group.start_soon(channel.send, big)
                    group.start_soon(receive, channel)

    run(kind, test)


def test_a_peer_that_pings_and_never_reads_does_not_fill_memory(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        near, far = tcp_pair()
        for sock in (near, far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far.setblocking(False)
        with far:
            async with await kind.channel(near, line(), heartbeat=Heartbeat("60s", "90s")) as channel:
                for _ in range(30):
                    with pytest.raises(BlockingIOError):  # noqa: PT012
                        while True:
                            far.send(b"PING\n" * 1000)
                    with anyio.move_on_after(0.002):
                        await channel.receive()
                if isinstance(channel, AsyncioChannel):
                    assert channel.writer.transport.get_write_buffer_size() < 66_000
                assert channel._failure is None
                await channel.abort()

    run(kind, test)


# --- close and release


def test_close_at_end_leaves_nothing_in_close_wait(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line(), close_at_end=True) as (channel, far):
            far.sendall(b"last\n")
            far.shutdown(socket.SHUT_WR)
            assert await channel.receive() == b"last"
            with pytest.raises(EndOfStreamError):
                await channel.receive()
            assert far.recv(1) == b"", "our FIN came though the program has not called close"

    run(kind, test)


def test_what_was_deferred_runs_behind_the_close_last_come_first(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        order: list[tuple[str, bytes]] = []
        async with kind.beside_socket(line()) as (channel, far):

            async def slow(name: str) -> None:
                await anyio.sleep(0)
                order.append((name, far.recv(1)))

            channel.defer(slow, "first")
            channel.defer(order.append, ("second", b""))
        assert order == [("second", b""), ("first", b"")]

    run(kind, test)


def test_clean_up_that_fails_does_not_stop_the_rest(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        done: list[str] = []
        async with kind.beside_socket(line()) as (channel, _):
            channel.defer(done.append, "first")
            channel.defer(lambda: 1 // 0)
            channel.defer(done.append, "third")
            with pytest.raises(ZeroDivisionError):
                await channel.close()
            await channel.close()
        assert done == ["third", "first"]

    run(kind, test)


def test_stop_receiving_ends_a_receive_that_waits(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line()) as (channel, far), anyio.create_task_group() as group:
            far.sendall(b"half")

            async def receive() -> None:
                with pytest.raises(EndOfStreamError):
                    await channel.receive()

            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            channel.stop_receiving()

    run(kind, test)


def test_stop_receiving_in_the_moment_of_a_time_out_is_no_error() -> None:
    async def test() -> None:
        near, far = tcp_pair()
        with far:
            async with AsyncioChannel(*await asyncio.open_connection(sock=near), line()) as channel:
                receiving = asyncio.create_task(channel.receive("1ms"))
                await asyncio.sleep(0)
                assert channel._reading is not None
                while not channel._reading.expired():
                    await asyncio.sleep(0)
                channel.stop_receiving()
                with pytest.raises(EndOfStreamError):
                    await receiving

    asyncio.run(test())


def test_a_reset_by_the_peer_reaches_the_program(kind: Kind) -> None:
    async def test(kind: Kind) -> None:
        async with kind.beside_socket(line()) as (channel, far):
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            with pytest.raises((ConnectionResetError, anyio.BrokenResourceError)):
                await channel.receive("5s")

    run(kind, test)


def test_an_etimedout_of_the_connection_is_not_taken_for_our_own_time_out() -> None:
    """``TimeoutError`` is both; asyncio's reader raises the connection's for ever, and a loop on it never ends."""

    async def test() -> None:
        near, far = tcp_pair()
        with far:
            reader, writer = await asyncio.open_connection(sock=near)
            async with AsyncioChannel(reader, writer, line()) as channel:
                reader.set_exception(OSError(errno.ETIMEDOUT, "timed out"))
                for _ in range(2):
                    with pytest.raises(PeerLostError, match=r"TCP gave the connection up \(timed out\)"):
                        await asyncio.wait_for(channel.receive("1h"), 5)

    asyncio.run(test())


def test_the_peer_of_an_ipv6_stream_is_written_with_brackets() -> None:
    from estab.messages.exchange import peer_name

    assert peer_name(("fe80::1", 80, 0, 2)) == "[fe80::1]:80"
    assert peer_name(("10.0.0.2", 80)) == "10.0.0.2:80"
    assert peer_name("/run/a.sock") == "/run/a.sock"
    assert peer_name(None) == peer_name("") == "the peer"


def test_anyio_tells_the_socket_behind_a_stream() -> None:
    async def test() -> None:
        near, far = tcp_pair()
        with far:
            near.setblocking(False)
            stream = await SocketStream.from_socket(near)
            async with AnyioChannel(stream, line()) as channel:
                assert stream.extra(SocketAttribute.raw_socket) is not None
                assert channel.facts().state == "ESTABLISHED"

    anyio.run(test)
