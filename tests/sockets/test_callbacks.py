"""The event loop's own methods do what asyncio's do, which run in debug mode."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from estab import Host, Network
from estab.sockets.polling.event_loop import EventLoop

Log = list[tuple[object, ...]]


def in_both_ways(host: Host, net: Network, main: Callable[[asyncio.AbstractEventLoop], Any]) -> list[Any]:
    """Run a coroutine function with the loop's own methods, and with asyncio's."""

    async def run(is_debugging: bool) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EventLoop)
        loop.set_debug(is_debugging)
        return await main(loop)

    logging.getLogger("asyncio").setLevel(logging.ERROR)
    programs = []
    for is_debugging in (False, True):
        programs.append(host.run(run, is_debugging))
        net.run()
    return [program.result() for program in programs]


def plans(rng: random.Random, loop: asyncio.AbstractEventLoop, log: Log) -> Callable[[int], None]:
    """Make a callback that plans others, now and later, cancels some, and fails at times."""
    start, handles = loop.time(), list[asyncio.Handle]()

    def act(number: int) -> None:
        log.append((number, round(loop.time() - start, 6), len(handles)))
        if len(log) > 300:
            return
        for _ in range(rng.randrange(3)):
            delay = rng.choice((0, 0, 0.125, 0.25, 1))  # added up without rounding
            name = rng.randrange(1000)
            if delay == 0:
                handles.append(loop.call_soon(act, name))
            elif name % 2:
                handles.append(loop.call_later(delay, act, name))
            else:
                handles.append(loop.call_at(loop.time() + delay, act, name))
        if handles and rng.random() < 0.3:
            handles.pop(rng.randrange(len(handles))).cancel()
        if rng.random() < 0.1:
            raise ValueError(number)

    return act


@pytest.mark.parametrize("seed", range(20))
def test_callbacks_and_timers_run_in_asyncios_order(net: Network, a: Host, seed: int) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> Log:
        log: Log = []
        loop.set_exception_handler(lambda _, context: log.append(("failed", context["message"].split(" at ")[0],
                                                                  context["exception"].args, sorted(context)[:3])))
        act = plans(random.Random(seed), loop, log)
        for number in range(5):
            loop.call_soon(act, number)
        await asyncio.sleep(30)
        return log

    quick, plain = in_both_ways(a, net, main)
    assert quick == plain
    assert len(quick) >= 5


def test_a_callback_that_fails_is_reported_with_its_handle(net: Network, a: Host) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> tuple[object, ...]:
        found: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: found.append(context))
        failure = KeyError("x")

        def fail(*args: object) -> None:
            if args:
                handles[1].cancel()
            raise failure

        handles = [loop.call_soon(fail), loop.call_soon(fail, 1)]
        await asyncio.sleep(0.1)
        last = failure.__traceback__
        names = []
        while last is not None:
            names.append(last.tb_frame.f_code.co_name)
            last = last.tb_next
        assert [context["handle"] for context in found] == handles
        assert [context["exception"] for context in found] == [failure, failure]
        assert names[-1] == "fail"
        return tuple(context["message"].split(" at ")[0] for context in found)

    quick, plain = in_both_ways(a, net, main)
    assert quick == plain
    assert "fail()" in quick[0]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_passes_through_the_loop(net: Network, a: Host, kind: type[BaseException]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            raise kind(3)

        loop.call_soon(end)
        await asyncio.sleep(1)

    program = a.run(main)
    net.run(check=False)
    assert type(program.exception()).__name__ == "ExitError"


def test_a_callback_runs_in_the_context_that_it_was_given(net: Network, a: Host) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main(loop: asyncio.AbstractEventLoop) -> list[str]:
        seen: list[str] = []
        other = contextvars.copy_context()
        other.run(variable.set, "other")
        variable.set("own")
        for plan in (loop.call_soon, lambda f, **kw: loop.call_later(0.1, f, **kw)):
            plan(lambda: seen.append(variable.get()), context=other)  # type: ignore[operator]
            plan(lambda: seen.append(variable.get()))  # type: ignore[operator]
        variable.set("later")
        await asyncio.sleep(1)
        task = loop.create_task(asyncio.sleep(0), name="named")
        assert task.get_name() == "named"
        await task
        return seen

    quick, plain = in_both_ways(a, net, main)
    assert quick == plain == ["other", "own", "other", "own"]


def test_cancelled_timers_are_forgotten_when_they_are_many(net: Network, a: Host) -> None:
    async def main(loop: Any) -> int:
        timers = [loop.call_later(1000 + number, print) for number in range(300)]
        for timer in timers[50:]:
            timer.cancel()
        await asyncio.sleep(0.1)
        left = len(loop._scheduled)
        for timer in timers[:50]:
            timer.cancel()
        return left

    assert in_both_ways(a, net, main) == [50, 50]


def test_readers_and_writers_are_replaced_and_removed(net: Network, a: Host) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> Log:
        log: Log = []
        here, there = socket.socketpair()
        here.setblocking(False)
        loop.add_reader(here, log.append, ("first",))
        loop.add_reader(here.fileno(), log.append, ("read",))
        loop.add_writer(here, lambda: (log.append(("write",)), loop.remove_writer(here)))
        there.send(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.append((loop.remove_reader(here), loop.remove_reader(here), loop.remove_writer(here)))
        log.append((loop.remove_reader(there), loop.remove_writer(there.fileno())))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="Invalid file"):
            loop.add_reader(-1, print)
        here.close()
        there.close()
        return log

    quick, plain = in_both_ways(a, net, main)
    assert quick == plain
    assert ("read",) in quick
    assert ("first",) not in quick
    assert quick[-2:] == [(True, False, False), (False, False)]


def test_a_loop_can_be_put_into_debug_mode_and_out_of_it(net: Network, a: Host) -> None:
    @a.run
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        assert loop.get_debug()
        with pytest.raises(TypeError, match="callable object was expected"):
            loop.call_soon(3)  # type: ignore[arg-type]
        await asyncio.sleep(1)
        loop.set_debug(False)
        assert not loop.get_debug()
        await asyncio.sleep(1)

    net.run()
    main.result()


def test_a_closed_loop_refuses_callbacks(net: Network, a: Host) -> None:
    @a.run
    def main() -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        coroutine = asyncio.sleep(0)
        for call in (lambda: loop.call_soon(print), lambda: loop.call_later(1, print), lambda: loop.run_forever(),
                     lambda: loop.create_task(coroutine)):
            with pytest.raises(RuntimeError, match="closed"):
                call()
        coroutine.close()

    net.run()
    main.result()


# --- the end of a program


def test_what_a_program_leaves_is_ended_with_its_loop(net: Network, a: Host) -> None:
    log: list[str] = []

    async def generate() -> Any:
        try:
            yield 1
            yield 2
        finally:
            log.append("generator")

    async def wait() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            log.append("task")

    kept: list[Any] = []

    async def main(what: str) -> None:
        loop = asyncio.get_running_loop()
        if what == "task":
            kept.append(loop.create_task(wait()))
            await asyncio.sleep(0)
        elif what == "generator":
            kept.append(generate())
            await anext(kept[-1])
        elif what == "thread":
            await loop.run_in_executor(None, lambda: None)
            kept.append(next(thread for thread in threading.enumerate() if thread.name.startswith("asyncio")))
        elif what == "callback":
            loop.call_soon(loop.call_soon, log.append, "callback")

    programs = [a.run(main, what) for what in ("task", "generator", "thread", "callback", "nothing")]
    net.run()
    for program in programs:
        program.result()
    assert log == ["task", "generator", "callback"]
    assert not kept[-1].is_alive()
    assert net.now == 0


# --- numbers


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors of this process are counted")
def test_asyncio_takes_no_descriptor_of_the_process(net: Network, a: Host, b: Host) -> None:
    counts: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "", 80) as server:
            await server.serve_forever()

    async def call() -> None:
        before = len(list(descriptors()))
        writers = [(await asyncio.open_connection("b", 80))[1] for _ in range(20)]
        counts.append(len(list(descriptors())) - before)
        sock = writers[0].get_extra_info("socket")
        assert os.fstat(sock.fileno())
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            assert copy.getpeername()[1] == 80
        for writer in writers:
            writer.close()

    b.run(serve, daemon=True)
    calling = a.run(call, start="1ms")
    net.run()
    calling.result()
    assert counts == [0]


def descriptors() -> Iterator[str]:
    """List the descriptors of this process."""
    return iter(os.listdir("/proc/self/fd"))


def test_a_task_that_failed_is_reported_when_it_is_dropped_also_after_a_callback_that_failed(
    net: Network, a: Host,
) -> None:
    async def fail() -> None:
        raise KeyError("task")

    async def main(loop: asyncio.AbstractEventLoop) -> list[str]:
        said: list[str] = []
        loop.set_exception_handler(lambda _, context: said.append(repr(context["exception"])))
        loop.call_soon(lambda: {}["callback"])
        asyncio.ensure_future(fail())  # noqa: RUF006 - nobody keeps it
        await asyncio.sleep(1)
        return said

    gc.disable()
    try:
        assert in_both_ways(a, net, main) == [["KeyError('callback')", "KeyError('task')"]] * 2
    finally:
        gc.enable()
