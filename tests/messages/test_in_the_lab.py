"""Channels, heartbeats and the watch on hosts of estab, in virtual time: when what is noticed, to the millisecond."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest

import estab
from estab.messages import (
    AnyioChannel,
    AsyncioChannel,
    Channel,
    CloseWaitWatch,
    Delimited,
    Drained,
    EndOfStreamError,
    Heartbeat,
    PeerLostError,
    Stopped,
    Stuck,
    serve,
    serve_asyncio,
)

BEAT = Heartbeat("5s", "15s")


def line() -> Delimited:
    return Delimited(b"\n")


def blocking() -> None:
    with Channel(socket.create_connection(("server", 80)), line(), heartbeat=BEAT) as channel:
        channel.send(b"hello")
        assert channel.receive() == b"HELLO"
        channel.receive()


def by_asyncio() -> None:
    async def call() -> None:
        streams = await asyncio.open_connection("server", 80)
        async with AsyncioChannel(*streams, line(), heartbeat=BEAT) as channel:
            await converse(channel)

    asyncio.run(call())


def by_anyio() -> None:
    async def call() -> None:
        async with AnyioChannel(await anyio.connect_tcp("server", 80), line(), heartbeat=BEAT) as channel:
            await converse(channel)

    anyio.run(call)


async def converse(channel: AsyncioChannel | AnyioChannel) -> None:
    await channel.send(b"hello")
    assert await channel.receive() == b"HELLO"
    await channel.receive()


def shout(heartbeat: Heartbeat) -> Callable[[], None]:
    """A server's program: one connection, all in capitals, until it ends."""

    def run() -> None:
        with socket.create_server(("", 80)) as listener:
            sock, _ = listener.accept()
        with Channel(sock, line(), heartbeat=heartbeat) as channel, suppress(PeerLostError):
            for message in channel:
                channel.send(message.upper())

    return run


@pytest.mark.parametrize("call", [blocking, by_asyncio, by_anyio])
def test_a_cut_cable_is_noticed_after_the_timeout_by_every_channel(
    net: estab.Network, call: Callable[[], None]
) -> None:
    server, client = net.host("server"), net.host("client")
    cable = net.link(server, client, delay="20ms")
    server.run(shout(BEAT), daemon=True)
    program = client.run(call)
    net.at("60s", cable.cut)
    net.run(check=False)
    with pytest.raises(PeerLostError) as caught:
        program.result()
    error = caught.value
    last_byte = net.now - error.silent_ns / 1e9
    assert error.silent_ns == pytest.approx(15e9, abs=5e6)
    assert 55 < last_byte < 60
    assert (error.facts.state, error.facts.unread_bytes) == ("ESTABLISHED", 0)
    assert error.facts.unacked_bytes == len(b"PING\n"), "the ping is what nobody acknowledged"
    assert error.facts.last_data_in_ns == pytest.approx(15e9, abs=5e6)


def test_the_socket_tells_a_program_that_hangs_from_a_cable_that_is_cut(net: estab.Network) -> None:
    """The peer's kernel acknowledged the ping, so nothing is unacknowledged: the program is to blame."""
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="20ms")

    @server.run(daemon=True)
    def hang() -> None:
        with socket.create_server(("", 80)) as listener:
            sock, _ = listener.accept()
        sock.sendall(sock.recv(100).upper())
        time.sleep(1000)

    program = client.run(blocking)
    net.run(check=False)
    with pytest.raises(PeerLostError) as caught:
        program.result()
    assert caught.value.facts.unacked_bytes == 0
    assert caught.value.facts.last_ack_in_ns is not None
    assert caught.value.facts.last_ack_in_ns < caught.value.silent_ns - 1e9


@pytest.mark.parametrize("call", [blocking, by_asyncio, by_anyio])
def test_an_outage_shorter_than_the_timeout_is_survived(net: estab.Network, call: Callable[[], None]) -> None:
    server, client = net.host("server"), net.host("client")
    cable = net.link(server, client, delay="20ms")
    server.run(shout(BEAT), daemon=True)
    program = client.run(call)
    net.at("60s", cable.cut)
    net.at("63s", cable.heal)
    net.run(until="300s")
    assert not program.done()


@pytest.mark.parametrize("call", [blocking, by_asyncio, by_anyio])
def test_declined_by_the_server_nobody_asks_and_silence_means_nothing(
    net: estab.Network, call: Callable[[], None]
) -> None:
    server, client = net.host("server"), net.host("client")
    cable = net.link(server, client, delay="20ms")
    server.run(shout(Heartbeat.declined()), daemon=True)
    program = client.run(call)
    net.at("60s", cable.cut)
    net.run(until="3600s")
    assert not program.done()


def test_a_server_under_asyncio_lets_a_peer_go_that_answers_no_ping_and_cleans_up_behind_it(net: estab.Network) -> None:
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="20ms")
    lost: list[float] = []

    async def handle(channel: AsyncioChannel) -> None:
        channel.defer(slow)
        with suppress(EndOfStreamError):
            await channel.receive()

    async def slow() -> None:
        await asyncio.sleep(30)
        lost.append(net.now)

    @server.run
    async def run() -> tuple[int, int, float]:
        running = await serve_asyncio(handle, ("", 80), line, heartbeat=BEAT)
        await asyncio.sleep(100)
        finished, stopped = running.finished, await running.stop("10s")
        assert stopped.clean_up is not None
        return finished, stopped.clean_up.done, net.now

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as sock, pytest.raises(ConnectionResetError):  # noqa: PT012
            while sock.recv(100):  # reads the pings, and answers none
                pass

    net.run()
    finished, done, at = run.result()
    assert (finished, done, at) == (1, 1, 100.0)
    assert lost == [pytest.approx(15 + 30, abs=1)]


def test_a_server_in_threads_releases_at_once_and_cleans_up_in_virtual_time(net: estab.Network) -> None:
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="20ms")
    cleaned: list[float] = []

    def clean() -> None:
        time.sleep(40)
        cleaned.append(net.now)

    def handle(channel: Channel) -> None:
        channel.defer(clean)
        for message in channel:
            channel.send(message.upper())

    @server.run
    def run() -> Stopped:
        running = serve(handle, ("", 80), line)
        time.sleep(20)
        return running.stop(grace="60s")

    @client.run(start="1s")
    def call() -> float:
        with Channel(socket.create_connection(("server", 80)), line()) as channel:
            channel.send(b"hello")
            assert channel.receive() == b"HELLO"
            channel.send_eof()
            assert list(channel) == []
        return net.now

    net.run()
    assert call.result() < 1.5, "the server's end came though its clean-up takes 40 s"
    assert cleaned == [pytest.approx(41, abs=0.5)]
    assert run.result().clean_up == Drained(done=1, failed=0, by_caller=0, unfinished=())


def test_the_watch_names_a_hosts_sockets_and_the_lines_that_hold_them(net: estab.Network) -> None:
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="20ms")

    @server.run
    def hold() -> None:
        with socket.create_server(("", 80)) as listener:
            reads, waits = listener.accept()[0], listener.accept()[0]
        with reads, waits:
            while reads.recv(100):  # the line
                pass
            time.sleep(60)

    @client.run
    def call() -> None:
        for _ in range(2):
            with socket.create_connection(("server", 80)) as sock:
                sock.sendall(b"hello")

    watch = CloseWaitWatch("10s", server.sockets, clock_ns=lambda: net.now_ns)
    found: list[list[Stuck]] = []
    net.every("1s", lambda: found.append(watch.check()))
    with watch.tracing(estab.Socket):
        net.run()
    first = next(i for i, stuck in enumerate(found) if stuck)
    assert first == pytest.approx(10, abs=1)
    reads, waits = sorted(found[first + 2], key=lambda stuck: stuck.fd)
    assert (reads.unread_bytes, waits.unread_bytes) == (0, 5)
    number = line_of("while reads.recv(100):  # the line")
    assert reads.read_at.startswith(f"{__file__}:{number} in ")
    assert waits.how == "no line of the program has read the end of the stream"
    assert watch.check() == []


def line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as file:
        return next(i for i, row in enumerate(file, 1) if row.strip() == text)
