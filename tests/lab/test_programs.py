"""Programs: their results, their failures, their order, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time

import pytest

from estab.lab.network import Network
from estab.lab.programs.program import UnfinishedError
from tests.kit.two_hosts import two


def test_a_decorated_function_becomes_a_program_with_a_result() -> None:
    net, a, _ = two()

    @a.run
    def blocking() -> int:
        time.sleep(1)
        return 7

    @a.run
    async def asynchronous() -> float:
        await asyncio.sleep(2)
        return asyncio.get_running_loop().time()

    assert not blocking.done()
    net.run()
    assert (blocking.result(), asynchronous.result()) == (7, 2.0)


def test_arguments_a_start_and_a_name_can_be_given() -> None:
    net, a, _ = two()

    @a.run(start="2s", name="later")
    def first() -> float:
        return time.monotonic()

    second = a.run(lambda x, y: (x, y, time.monotonic()), 1, "two", start=3)
    net.run()
    assert first.name == "later"
    assert first.result() == 2.0
    assert second.result() == (1, "two", 3.0)
    with pytest.raises(TypeError, match="is not a function"):
        a.run(first.result())


def test_a_result_asked_for_too_early_says_what_the_program_waits_for() -> None:
    net, a, b = two()

    @a.run
    def caller() -> bytes:
        with socket.create_connection(("b", 80)) as connection:
            return connection.recv(1)

    @b.run
    def silent() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0]:
            time.sleep(10)

    net.run(until=1)
    waits = r"caller on a waits for recv\(\) on 10\.0\.0\.1:\d+>10\.0\.0\.2:80 \(ESTABLISHED\)"
    with pytest.raises(UnfinishedError, match=waits):
        caller.result()


def test_a_program_can_wait_for_the_result_of_another_and_gets_its_exception() -> None:
    net, a, b = two()

    @b.run
    def slow() -> str:
        time.sleep(5)
        return "done"

    @b.run
    def broken() -> None:
        time.sleep(1)
        raise LookupError("no such thing")

    @a.run
    def waiter() -> tuple[str, float]:
        with pytest.raises(LookupError):
            broken.result()
        return slow.result(), time.monotonic()

    net.run()
    assert waiter.result() == ("done", 5.0)


def test_an_exception_ends_the_run_and_bears_the_place_and_time() -> None:
    net, a, b = two()
    other = b.run(time.sleep, 100)

    @a.run
    def broken() -> None:
        time.sleep(1.5)
        raise LookupError("no such thing")

    with pytest.raises(LookupError) as caught:
        net.run()
    assert caught.value.__notes__ == ["in program broken on host a, at 1.5s"]
    assert caught.traceback[-1].name == "broken"
    assert net.now == 1.5
    # It was told once; the others can go on.
    net.run()
    assert other.done()
    with pytest.raises(LookupError):
        broken.result()


def test_without_check_an_exception_waits_for_result() -> None:
    net, a, _ = two()

    @a.run
    def broken() -> None:
        raise LookupError("no such thing")

    net.run(check=False)
    with pytest.raises(LookupError):
        broken.result()


def test_programs_of_one_instant_run_in_the_order_in_which_they_were_started() -> None:
    net, a, b = two()
    seen: list[str] = []

    def note(name: str) -> None:
        for _ in range(3):
            seen.append(name)
            time.sleep(0.5)

    for node, name in ((a, "first"), (b, "second"), (a, "third")):
        node.run(note, name)
    net.run()
    assert seen == ["first", "second", "third"] * 3


def test_only_one_program_runs_at_a_time() -> None:
    net, a, b = two()
    inside = 0

    def enter() -> None:
        nonlocal inside
        for _ in range(50):
            inside += 1
            assert inside == 1
            sum(range(2000))
            inside -= 1
            time.sleep(0)

    for node in (a, b, a):
        node.run(enter)
    net.run()


def test_an_ended_async_program_has_its_tasks_cancelled() -> None:
    seen: list[str] = []
    with Network() as net:
        a = net.host("a")

        @a.run(daemon=True)
        async def wait() -> None:
            async def inner() -> None:
                try:
                    await asyncio.sleep(1000)
                finally:
                    seen.append("inner")

            task = asyncio.create_task(inner())
            try:
                await task
            finally:
                seen.append("outer")

        net.run(until=1)
    assert seen == ["inner", "outer"]


def test_a_program_that_swallows_its_end_is_left_behind() -> None:
    net = Network()
    a = net.host("a")

    @a.run(daemon=True)
    def stubborn() -> None:
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(1)

    net.run(until=1)
    net.close()
    assert net.now == 1.0


def test_closing_from_a_program_is_refused() -> None:
    net, a, _ = two()
    a.run(net.close)
    with pytest.raises(RuntimeError, match="running"):
        net.run()


def test_tasks_that_wait_while_they_tidy_up_are_cancelled_again(recwarn: pytest.WarningsRecorder) -> None:
    seen: list[str] = []
    with Network() as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @b.run
        async def serve() -> None:
            async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await reader.read(1)
                finally:
                    try:
                        await asyncio.sleep(10)
                    finally:
                        seen.append("tidied up")

            async with await asyncio.start_server(on_caller, "", 80) as server:
                await server.serve_forever()

        @a.run(daemon=True)
        async def call() -> None:
            _, writer = await asyncio.open_connection("b", 80)
            await asyncio.sleep(1000)
            writer.close()

        net.run(until=1)
    gc.collect()
    assert seen == ["tidied up"]
    assert [str(warning.message) for warning in recwarn] == []
