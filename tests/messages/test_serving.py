"""serve and serve_asyncio: accept, handle, release; limits, time-outs, a graceful stop."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from estab.messages import (
    AsyncioChannel,
    Channel,
    Delimited,
    Reaper,
    Server,
    serve,
    serve_asyncio,
)

ANY = ("127.0.0.1", 0)


def line() -> Delimited:
    return Delimited(b"\n")


def client(server: Server) -> socket.socket:
    sock = socket.create_connection(server.address)
    sock.settimeout(5)
    return sock


def until(claim: Callable[[], bool]) -> None:
    """Wait until something becomes true in another thread."""
    due = time.monotonic() + 5
    while not claim():
        assert time.monotonic() < due
        time.sleep(0.001)


def echo(channel: Channel) -> None:
    for message in channel:
        channel.send(message)


def test_a_handler_is_called_for_each_connection_and_its_end_closes() -> None:
    with serve(echo, ANY, line) as server:
        with client(server) as one, client(server) as two:
            for sock in (one, two):
                sock.sendall(b"hello\n")
            assert [sock.recv(100) for sock in (one, two)] == [b"hello\n"] * 2
            assert server.connections == 2
        until(lambda: server.connections == 0)
        assert (server.accepted, server.finished, server.failed) == (2, 2, 0)


def test_a_slow_program_does_not_leave_the_socket_open_behind_the_peers_end() -> None:
    """The cause of thousands of CLOSE_WAIT: here the FIN goes out at once, whatever the handler still does."""
    go = threading.Event()

    def slow(channel: Channel) -> None:
        for _ in channel:
            pass
        go.wait(5)

    with serve(slow, ANY, line) as server, client(server) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        assert server.connections == 1
        go.set()


def test_what_a_handler_defers_runs_behind_the_close_and_holds_no_place() -> None:
    go = threading.Event()

    def handler(channel: Channel) -> None:
        channel.defer(go.wait, 5)
        echo(channel)

    with serve(handler, ANY, line, connections_max=1) as server:
        for _ in range(3):
            with client(server) as sock:
                sock.sendall(b"hello\n")
                assert sock.recv(100) == b"hello\n"
        until(lambda: server.finished == 3)
        go.set()
        stopped = server.stop()
        assert stopped.clean_up is not None
        assert stopped.clean_up.done == 3


def test_connections_over_the_limit_wait_their_turn() -> None:
    with serve(echo, ANY, line, connections_max=2) as server:
        socks = [client(server) for _ in range(3)]
        for sock in socks:
            sock.sendall(b"hello\n")
        assert [sock.recv(100) for sock in socks[:2]] == [b"hello\n"] * 2
        socks[2].settimeout(0.01)
        with pytest.raises(TimeoutError):
            socks[2].recv(1)
        assert server.accepted == 2
        socks[0].close()
        socks[2].settimeout(5)
        assert socks[2].recv(100) == b"hello\n"
        for sock in socks:
            sock.close()


def test_a_peer_that_sends_nothing_is_let_go() -> None:
    with serve(echo, ANY, line, receive_timeout="5ms") as server, client(server) as sock:
        assert sock.recv(1) == b""
        until(lambda: server.finished == 1)


def test_a_peer_that_takes_nothing_is_let_go() -> None:
    def flood(channel: Channel) -> None:
        while True:
            channel.send(b"x" * 60_000)

    with serve(flood, ANY, line, send_timeout="10ms") as server, client(server):
        until(lambda: server.finished == 1)


def test_what_the_peer_does_wrong_is_no_error_of_ours() -> None:
    errors: list[Exception] = []
    short = partial(Delimited, b"\n", max_frame=5)
    with serve(echo, ANY, short, on_error=lambda error, _: errors.append(error)) as server:
        with client(server) as sock:
            sock.sendall(b"much too long")
            assert sock.recv(1) == b""
        with client(server) as sock:
            sock.sendall(b"half")
        until(lambda: server.finished == 2)
    assert errors == []


def test_a_handler_that_fails_is_told_and_ends_only_its_connection() -> None:
    errors: list[tuple[Exception, Any]] = []

    def handler(channel: Channel) -> None:
        if channel.receive() == b"bad":
            raise ConnectionError("the database is gone")  # not the peer's doing, though it looks like it

    with serve(handler, ANY, line, on_error=lambda error, channel: errors.append((error, channel))) as server:
        with client(server) as sock:
            sock.sendall(b"bad\n")
            assert sock.recv(1) == b""
        with client(server) as sock:
            sock.sendall(b"good\n")
            assert sock.recv(1) == b""
        until(lambda: (server.finished, server.failed) == (1, 1))
    assert str(errors[0][0]) == "the database is gone"
    assert errors[0][1].peer.startswith("127.0.0.1:")


def test_a_codec_that_cannot_be_made_is_told() -> None:
    errors: list[Exception] = []

    def codec() -> Delimited:
        raise ValueError("no codec")

    with serve(echo, ANY, codec, on_error=lambda error, _: errors.append(error)) as server, client(server) as sock:
        assert sock.recv(1) == b""
        until(lambda: server.failed == 1)
    assert str(errors[0]) == "no codec"


def test_stop_lets_handlers_finish_what_they_have() -> None:
    begun, go = threading.Event(), threading.Event()

    def handler(channel: Channel) -> None:
        for message in channel:
            begun.set()
            go.wait(5)
            channel.send(b"done " + message)

    server = serve(handler, ANY, line)
    with client(server) as sock:
        sock.sendall(b"work\n")
        assert begun.wait(5)
        stopper = threading.Thread(target=server.stop, daemon=True)
        stopper.start()
        until(lambda: server.listener.fileno() == -1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.address)
        go.set()
        assert sock.recv(100) == b"done work\n"
        assert sock.recv(100) == b""
        stopper.join(5)
    assert (server.finished, server.connections) == (1, 0)


def test_stop_cuts_what_is_left_after_the_grace() -> None:
    go = threading.Event()
    server = serve(lambda channel: go.wait(5), ANY, line)
    with client(server) as sock:
        until(lambda: server.connections == 1)
        threading.Timer(0.01, go.set).start()
        stopped = server.stop("2ms")
        assert stopped.aborted == 1
        assert sock.recv(1) == b""


def test_stop_ends_handlers_that_only_wait() -> None:
    server = serve(echo, ANY, line)
    with client(server), client(server):
        until(lambda: server.connections == 2)
        assert server.stop().aborted == 0
    assert server.finished == 2


class FailingListener(socket.socket):
    """Has no descriptors left, once."""

    fails = 1

    def accept(self) -> tuple[socket.socket, Any]:
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_a_lack_of_descriptors_does_not_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estab.messages.serving.ACCEPT_PAUSE_SECONDS", 0.001)
    listener = FailingListener()
    listener.bind(ANY)
    listener.listen()
    with serve(echo, listener, line) as server, client(server) as sock:
        sock.sendall(b"hello\n")
        assert sock.recv(100) == b"hello\n"
        assert server.accept_errors == 1


def test_a_reaper_of_the_callers_is_used_and_left_alone() -> None:
    done = threading.Event()
    with Reaper() as reaper:
        with serve(lambda channel: channel.defer(done.set), ANY, line, reaper=reaper) as server, client(server):
            assert done.wait(5)
        assert server.finished == 1
        reaper.submit(lambda: None)
        assert reaper.by_caller == 0


def test_more_descriptors_than_select_can_hold() -> None:
    """``select.select`` fails from descriptor 1024 on; a server must not."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip(f"needs 1200 descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    fillers = [socket.socket() for _ in range(1040)]
    try:
        with serve(echo, ANY, line) as server, client(server) as sock:
            assert server.listener.fileno() > 1023
            sock.sendall(b"hello\n")
            assert sock.recv(100) == b"hello\n"
    finally:
        for filler in fillers:
            filler.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- asyncio


async def echo_async(channel: AsyncioChannel) -> None:
    async for message in channel:
        await channel.send(message)


async def until_async(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.001)


def test_asyncio_a_handler_is_called_for_each_connection_and_places_are_limited() -> None:
    async def test() -> None:
        async with await serve_asyncio(echo_async, ANY, line, connections_max=2) as server:
            ends = [await asyncio.open_connection(*server.address) for _ in range(3)]
            for _, writer in ends:
                writer.write(b"hello\n")
            for reader, _ in ends[:2]:
                assert await reader.readline() == b"hello\n"
            await asyncio.sleep(0.005)
            assert (server.accepted, server.connections) == (2, 2)
            ends[0][1].close()
            assert await asyncio.wait_for(ends[2][0].readline(), 5) == b"hello\n"
            for _, writer in ends:
                writer.close()
            await until_async(lambda: server.finished == 3)

    asyncio.run(test())


def test_asyncio_deferred_work_holds_no_place_and_is_drained() -> None:
    async def test() -> None:
        go, done = asyncio.Event(), []

        async def clean() -> None:
            await go.wait()
            done.append(1)

        async def handler(channel: AsyncioChannel) -> None:
            channel.defer(clean)
            await echo_async(channel)

        server = await serve_asyncio(handler, ANY, line, connections_max=1)
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"hello\n")
            assert await asyncio.wait_for(reader.readline(), 5) == b"hello\n"
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        await until_async(lambda: server.finished == 3)
        asyncio.get_running_loop().call_later(0.005, go.set)
        stopped = await server.stop("5s")
        assert len(done) == 3
        assert stopped.clean_up is not None
        assert (stopped.clean_up.done, stopped.aborted) == (3, 0)

    asyncio.run(test())


def test_asyncio_stop_ends_who_waits_and_cuts_who_stays() -> None:
    async def test() -> None:
        async def stubborn(channel: AsyncioChannel) -> None:
            await asyncio.Event().wait()

        for handler, finished, aborted in ((echo_async, 2, 0), (stubborn, 0, 2)):
            server = await serve_asyncio(handler, ANY, line)
            ends = [await asyncio.open_connection(*server.address) for _ in range(2)]
            while server.connections < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.002)
            stopped = await server.stop("50ms")
            assert (stopped.finished, stopped.aborted) == (finished, aborted)
            for reader, writer in ends:
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*server.address)

    asyncio.run(test())


def test_asyncio_only_errors_of_the_handlers_own_are_told() -> None:
    async def test() -> None:
        errors: list[Exception] = []

        async def handler(channel: AsyncioChannel) -> None:
            if await channel.receive() == b"bad":
                raise ConnectionError("the database is gone")

        async with await serve_asyncio(
            handler, ANY, lambda: Delimited(b"\n", max_frame=5), receive_timeout="20ms",
            on_error=lambda error, channel: errors.append(error),
        ) as server:
            for data in (b"bad\n", b"good\n", b"too long", b"half", b""):
                reader, writer = await asyncio.open_connection(*server.address)
                writer.write(data)
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()
            await until_async(lambda: (server.finished, server.failed) == (4, 1))
        assert [str(error) for error in errors] == ["the database is gone"]

    asyncio.run(test())


@pytest.mark.parametrize("start", [serve, serve_asyncio])
def test_a_wrong_limit_is_named_and_leaves_no_listener(start: Callable[..., Any]) -> None:
    with socket.create_server(ANY) as free:
        address = free.getsockname()

    async def test() -> None:
        result = start(echo, address, line, connections_max=0)
        if asyncio.iscoroutine(result):
            await result

    with pytest.raises(ValueError, match="connections_max: 0"):
        asyncio.run(test())
    with socket.create_server(address):
        pass


def test_sys_exit_in_a_handler_ends_its_connection_and_gives_its_place_back() -> None:
    told: list[str] = []
    with serve(lambda channel: sys.exit(1), ("127.0.0.1", 0), line, connections_max=1,
               on_error=lambda error, channel: told.append(str(error))) as server:
        for _ in range(3):
            with client(server) as sock:
                assert sock.recv(10) == b""
        until(lambda: server.failed == 3)
    assert told == ["a handler raised SystemExit(1)"] * 3


def test_asyncio_sys_exit_in_a_handler_ends_its_connection_and_not_the_loop() -> None:
    async def handler(channel: AsyncioChannel) -> None:
        sys.exit(1)

    async def main() -> None:
        async with await serve_asyncio(handler, ("127.0.0.1", 0), line) as server:
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*server.address)
                assert await reader.read(10) == b""
                writer.close()
        assert server.failed == 3

    asyncio.run(main())
