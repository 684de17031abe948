"""Event loops around a network and in its programs do not get in each other's way."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator

import pytest

from estab.sockets.polling import event_loop
from tests.kit.two_hosts import two


async def _answer() -> int:
    return 7


def test_an_action_is_in_no_event_loop_also_if_the_thread_of_a_coroutine_carries_it_out() -> None:
    net, a, _ = two()
    seen: list[object] = []

    @a.run
    async def program() -> bool:
        before = asyncio.get_running_loop()
        await asyncio.sleep(2)
        return asyncio.get_running_loop() is before

    def action() -> None:
        seen.append(asyncio._get_running_loop())
        seen.append(asyncio.run(_answer()))

    net.at("1s", action)
    net.run()
    assert program.result()
    assert seen == [None, 7]


def test_each_loop_logs_its_selector_as_asyncio_s_own_do_whatever_ran_before(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        net, a, b = two()
        a.run(_answer)
        b.run(_answer)
        with caplog.at_level(logging.DEBUG, logger="asyncio"):
            net.run()
    assert [record.getMessage() for record in caplog.records] == ["Using selector: _LoopSelector"] * 4


def test_a_promise_is_asked_in_no_event_loop_while_a_program_waits_in_one() -> None:
    net, a, _ = two()
    seen: list[object] = []

    def is_kept() -> bool:
        seen.append(asyncio._get_running_loop())
        return True

    net.always(is_kept, "nothing")

    @a.run
    async def main() -> bool:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(2)
        return loop is asyncio.get_running_loop()

    net.run()
    assert main.result()
    assert len(seen) > 1
    assert set(seen) == {None}


def test_a_network_runs_inside_of_a_running_event_loop_and_leaves_it_as_it_was() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("closed")

    async def page() -> tuple[list[object], bool, bool]:
        net, a, _ = two()
        loop, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()
        seen: list[object] = []
        program = a.run(_answer)
        net.at("1s", lambda: seen.append(asyncio._get_running_loop()))
        net.run(until="2s")
        seen.append(program.result())
        await anext(numbers())
        return seen, asyncio.get_running_loop() is loop, sys.get_asyncgen_hooks() == hooks

    assert asyncio.run(page(), debug=True) == ([None, 7], True, True)
    assert closed == ["closed"]


def test_a_blocking_call_in_a_coroutine_lets_another_loop_of_the_same_host_go_on() -> None:
    net, a, b = two()
    order: list[str] = []

    @a.run
    async def blocking() -> None:
        import time

        time.sleep(2)
        order.append(f"blocking at {asyncio.get_running_loop().time():g}")

    @a.run
    async def waiting() -> None:
        await asyncio.sleep(1)
        order.append(f"waiting at {asyncio.get_running_loop().time():g}")

    net.run()
    assert order == ["waiting at 1", "blocking at 2"]
    assert b.name == "b"


def test_what_is_no_coroutine_is_refused_as_asyncio_does_and_takes_no_number() -> None:
    async def main() -> list[str]:
        loop, found = asyncio.get_running_loop(), []
        for wrong in (5, len, None, _answer):
            for create in (loop.create_task, asyncio.create_task):
                with pytest.raises(TypeError) as caught:
                    create(wrong)  # type: ignore[operator]
                found.append(str(caught.value))
        answer = _answer()
        with pytest.raises(TypeError):
            loop.create_task(answer, colour="red")  # type: ignore[call-arg]
        found.append(loop.create_task(answer).get_name())
        return found

    expected = asyncio.run(main())
    net, a, _ = two()
    got = a.run(main)
    net.run()
    assert got.result()[:-1] == expected[:-1]
    assert got.result()[-1] == "Task-2"


def test_timers_of_one_time_come_in_the_order_in_which_they_were_set() -> None:
    async def main() -> list[list[int]]:
        loop = asyncio.get_running_loop()
        called: list[int] = []
        woken: list[int] = []
        timers = [loop.call_later(1, called.append, number) for number in range(40)]
        for timer in timers[::3]:
            timer.cancel()

        async def sleep(number: int) -> None:
            await asyncio.sleep(1.5)
            woken.append(number)

        await asyncio.gather(*map(sleep, range(40)))
        return [called, woken]

    net, a, _ = two()
    got = a.run(main)
    net.run()
    assert got.result() == [[number for number in range(40) if number % 3], list(range(40))]


def test_a_loop_keeps_nothing_of_tasks_that_are_gone() -> None:
    net, a, _ = two()

    @a.run
    async def main() -> int:
        for _ in range(2000):
            await asyncio.create_task(_answer())
        return len(asyncio.get_running_loop()._callbacks.tasks)  # type: ignore[attr-defined]

    net.run()
    assert main.result() < 200


@pytest.mark.parametrize("many", [0, 1000])
def test_a_loop_knows_its_own_tasks_among_many(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(event_loop, "_TASKS_MANY", many)
    net, a, b = two()
    cancelled: list[str] = []

    async def sleep(name: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    async def main(name: str) -> list[str]:
        kept = [asyncio.create_task(sleep(name), name=f"{name}{number}") for number in range(2)]
        done = asyncio.ensure_future(asyncio.sleep(0))
        await asyncio.sleep(1)
        assert done.done()
        assert not any(task.done() for task in kept)
        return sorted(task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()})

    first, second = a.run(main, "a"), b.run(main, "b")
    net.run()
    assert first.result() == ["a0", "a1"]
    assert second.result() == ["b0", "b1"]
    assert sorted(cancelled) == ["a", "a", "b", "b"], "the end of a program cancels its own tasks"


def test_each_event_loop_has_what_asyncio_gives_one_and_shares_nothing() -> None:
    net, a, b = two()
    found: list[dict[str, object]] = []

    async def main() -> None:
        found.append(dict(vars(asyncio.get_running_loop())))
        asyncio.get_running_loop().add_signal_handler(15, print)

    for host in (a, b, a):
        host.run(main)
    net.run()
    reference = asyncio.SelectorEventLoop()
    members = set(vars(reference)) - {"_ssock", "_csock"}  # a loop of ours wakes itself without sockets
    reference.close()
    for members_of in found:
        assert members <= set(members_of)
        assert {name: type(value) for name, value in members_of.items()} == {
            name: type(value) for name, value in found[0].items()}
    shared = {name for name in members if id(found[0][name]) == id(found[1][name])}
    assert all(found[0][name] is None or isinstance(found[0][name], (bool, int, float)) for name in shared)


@pytest.mark.parametrize("variable", ["", "1"])
def test_an_event_loop_is_in_debug_mode_if_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, variable: str,
) -> None:
    net, a, b = two()

    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    before = a.run(main)
    net.run()
    monkeypatch.setenv("PYTHONASYNCIODEBUG", variable)
    after = b.run(main)
    net.run()
    assert (before.result(), after.result()) == (False, bool(variable))


def test_tasks_that_tasks_start_while_they_are_cancelled_are_ended_as_asyncio_does() -> None:
    net, a, _ = two()
    ends: list[str] = []
    kept: list[object] = []

    async def late() -> None:
        ends.append("late began")

    async def worker() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ends.append("worker")
            await asyncio.create_task(late())

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ends.append("generator")

    @a.run
    async def main() -> None:
        generator = generate()
        kept.extend([asyncio.create_task(worker()), generator])
        await anext(generator)
        await asyncio.sleep(1)

    net.run()
    assert main.done()
    assert ends == ["worker", "late began", "generator"]


def test_a_program_that_ends_among_many_tasks_looks_at_its_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def has_tasks(loop: asyncio.AbstractEventLoop) -> bool:
        asked.append(loop)
        return False

    gc.collect()  # tasks that other tests left count as well
    monkeypatch.setattr(event_loop, "_TASKS_MANY", 5)
    monkeypatch.setattr(event_loop, "has_tasks", has_tasks)
    net, a, _ = two()

    async def program(number: int) -> int:
        await asyncio.sleep(number)
        return number

    started = [a.run(program, number) for number in range(20)]
    net.run()
    assert [one.result() for one in started] == list(range(20))
    assert 0 < len(asked) < 10  # only by the last ones, when few tasks are left
