"""Programs that exchange heartbeats and otherwise wait for ever: a deadlock, unless something may still come of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from estab.lab.host import Host
from estab.lab.network import Network
from estab.lab.programs.program import DeadlockError
from estab.lab.programs.watch import OverlongRunError
from tests.kit.two_hosts import two

Beating = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def answer_beats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readline() == b"ping\n":
        writer.write(b"pong\n")
    writer.close()


async def serve() -> None:
    async with await asyncio.start_server(answer_beats, "", 80) as server:
        await server.serve_forever()


async def beat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(30)
        writer.write(b"ping\n")
        assert await reader.readline() == b"pong\n"


def wait_beside(b: Host, a: Host, work: Callable[[], Awaitable[object]], beating: Beating = beat) -> None:
    """Have ``client`` on ``a`` do a work while it exchanges heartbeats with a server on ``b``."""
    b.run(serve)

    @a.run
    async def client() -> None:
        reader, writer = await asyncio.open_connection("b", 80)
        await asyncio.gather(beating(reader, writer), work())


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


# --- what is a deadlock


def test_tasks_that_exchange_heartbeats_beside_one_that_waits_for_ever_are_a_deadlock() -> None:
    net, a, b = two()
    wait_beside(b, a, wait_for_ever)
    with pytest.raises(DeadlockError) as caught:
        net.run()
    text = str(caught.value)
    assert "heartbeats and the like come again and again" in text
    assert "client on a waits in wait_for_ever (test_repetition.py:" in text
    assert "in beat (test_repetition.py:" in text
    assert "in answer_beats (test_repetition.py:" in text
    assert 4 * 3600 < net.now < 5 * 3600


@pytest.mark.parametrize("way", ["group", "wait", "task"])
def test_what_the_main_task_waits_for_is_found_in_the_tasks_that_it_waits_for(way: str) -> None:
    net, a, b = two()
    b.run(serve)

    @a.run
    async def client() -> None:
        reader, writer = await asyncio.open_connection("b", 80)
        if way == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(beat(reader, writer))
                group.create_task(wait_for_ever())
        tasks = [asyncio.create_task(beat(reader, writer)), asyncio.create_task(wait_for_ever())]
        if way == "wait":
            await asyncio.wait(tasks)
        await tasks[1]

    with pytest.raises(DeadlockError, match=r"client on a waits in wait_for_ever \(test_repetition.py:"):
        net.run()


def test_threads_that_exchange_heartbeats_beside_a_main_thread_that_waits_for_ever_are_a_deadlock() -> None:
    net, a, b = two()

    @b.run
    def serve_all() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(4) == b"ping":
                    pass

    @a.run
    def client() -> None:
        def beat_on() -> None:
            while True:
                time.sleep(30)
                connection.sendall(b"ping")

        with socket.create_connection(("b", 80)) as connection:
            threading.Thread(target=beat_on).start()
            connection.recv(100)

    with pytest.raises(DeadlockError, match=r"client on a waits in client \(test_repetition.py:"):
        net.run()


def test_threads_that_wait_for_each_others_end_beside_heartbeats_are_a_deadlock() -> None:
    net, a, b = two()
    b.run(serve)

    @a.run(daemon=True)
    async def beats() -> None:
        reader, writer = await asyncio.open_connection("b", 80)
        await beat(reader, writer)

    @a.run
    def circle() -> None:
        threads: list[threading.Thread] = []
        threads.append(threading.Thread(target=lambda: threads[1].join()))
        threads.append(threading.Thread(target=lambda: threads[0].join()))
        for thread in threads:
            thread.start()
        threads[0].join()

    with pytest.raises(DeadlockError, match=r"circle on a waits in <lambda> \(test_repetition\.py:"):
        net.run()


@pytest.mark.parametrize("is_gathered", [False, True])
def test_tasks_that_wait_for_each_others_end_beside_heartbeats_are_a_deadlock(*, is_gathered: bool) -> None:
    net, a, b = two()

    async def wait_in_a_circle() -> None:
        tasks: list[asyncio.Task[None]] = []

        async def first() -> None:
            if is_gathered:
                await asyncio.gather(tasks[1], wait_for_ever())
            await tasks[1]

        async def second() -> None:
            await tasks[0]

        tasks += [asyncio.create_task(first()), asyncio.create_task(second())]
        await tasks[0]

    wait_beside(b, a, wait_in_a_circle)
    where = "wait_for_ever" if is_gathered else "wait_in_a_circle"
    with pytest.raises(DeadlockError, match=rf"client on a waits in {where} \(test_repetition\.py:"):
        net.run()


def test_fast_heartbeats_are_found_earlier_unless_a_keepalive_may_end_a_connection() -> None:
    ends = []
    for option in (0, 1):
        net, a, b = two()

        async def with_option(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on: int = option) -> None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, on)
            while True:
                await asyncio.sleep(0.5 if not on else 20)
                writer.write(b"ping\n")
                await reader.readline()

        wait_beside(b, a, wait_for_ever, with_option)
        with pytest.raises(DeadlockError):
            net.run()
        ends.append(net.now / 3600)
    assert ends[0] < 2
    assert ends[1] > 4


# --- what is none


def test_a_sleep_that_is_longer_than_any_patience_is_waited_for() -> None:
    net, a, b = two()

    async def sleep() -> None:
        await asyncio.sleep(20 * 3600)
        raise EOFError

    wait_beside(b, a, sleep)
    with pytest.raises(EOFError):
        net.run()
    assert net.now > 20 * 3600


def test_a_task_that_counts_while_another_waits_for_it_is_waited_for() -> None:
    net, a, b = two()

    async def count() -> None:
        done = asyncio.Event()

        async def tick() -> None:
            for _ in range(100):
                await asyncio.sleep(360)
            done.set()

        task = asyncio.create_task(tick())
        await done.wait()
        assert task
        raise EOFError

    wait_beside(b, a, count)
    with pytest.raises(EOFError):
        net.run()
    assert net.now > 36_000


def test_a_long_transfer_is_waited_for() -> None:
    net = Network(seed=3)
    a, b, c = net.host("a"), net.host("b"), net.host("c")
    net.link(a, b, rate="2kbit", queue="200kB")
    net.link(b, c)

    @b.run
    def take() -> None:
        with socket.create_server(("", 80)) as listener, socket.create_server(("", 81)) as others:
            sender, _ = listener.accept()
            waiter, _ = others.accept()
            with sender, waiter:
                while sender.recv(65536):
                    pass
                waiter.sendall(b"done")

    @c.run
    def wait() -> bytes:
        with socket.create_connection(("b", 81)) as connection:
            return connection.recv(10)

    @a.run
    def send() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(bytes(6_000_000))

    net.run()
    assert wait.result() == b"done"
    assert net.now > 6 * 3600


def test_what_is_planned_for_later_is_waited_for() -> None:
    net, a, b = two()
    stopped: list[float] = []

    async def wait_for_word() -> None:
        loop = asyncio.get_running_loop()
        word = loop.create_future()
        net.at("30h", loop.call_soon_threadsafe, word.set_result, None)
        await word
        stopped.append(loop.time())
        raise EOFError

    wait_beside(b, a, wait_for_word)
    with pytest.raises(EOFError):
        net.run()
    assert stopped == [108_000.0]


def test_a_program_that_only_repeats_itself_and_waits_for_nothing_is_bounded_by_the_limit() -> None:
    net, a, _ = two()
    net.limit = "10h"

    @a.run
    async def poll() -> None:
        async def again() -> None:
            while True:
                await asyncio.sleep(60)

        await asyncio.gather(again(), again())

    with pytest.raises(OverlongRunError):
        net.run()


def test_servers_that_exchange_heartbeats_go_on_until_the_time_that_a_run_is_given() -> None:
    net, a, b = two()
    wait_beside(b, a, wait_for_ever)
    net.run(until="30h")
    assert net.now == 108_000


# --- only servers are left


def test_a_run_is_over_when_only_servers_that_exchange_heartbeats_are_left() -> None:
    net, a, b = two()

    def node(other: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            async def beat_on() -> None:
                while True:
                    await asyncio.sleep(60)
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection(other, 80)
                        writer.write(b"alive")
                        writer.close()

            async with await asyncio.start_server(lambda reader, writer: writer.close(), "", 80) as server:
                task = asyncio.create_task(beat_on())
                await server.serve_forever()
                assert task

        return run

    a.run(node("b"))
    b.run(node("a"))
    c = net.host("c")
    net.link(c, a)

    @c.run
    def call() -> None:
        time.sleep(7)
        socket.create_connection(("a", 80)).close()

    net.run()
    assert call.done()
    assert 7 <= net.now < 8
