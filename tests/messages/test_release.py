"""The reaper: the socket first, the clean-up elsewhere, none lost, all bounded, failures told."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from estab.messages import AsyncioReaper, Reaper


class Gate:
    """Clean-up that waits to be let through; counts how many run at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.most = self.done = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        assert self.open.wait(10)
        with self._lock:
            self.running -= 1
            self.done += 1


def test_the_socket_is_closed_before_the_clean_up_begins() -> None:
    near, far = socket.socketpair()
    seen: list[int] = []
    with far, Reaper() as reaper:
        reaper.release(near, lambda: seen.append(near.fileno()))
        assert near.fileno() == -1
        far.settimeout(5)
        assert far.recv(1) == b""
    assert seen == [-1]


def test_the_peer_sees_our_fin_while_the_clean_up_still_runs() -> None:
    near, far = socket.socketpair()
    gate = Gate()
    with far, Reaper() as reaper:
        reaper.release(near, gate)
        assert gate.begun.acquire(timeout=5)
        far.settimeout(5)
        assert far.recv(1) == b""
        assert reaper.pending == 1
        gate.open.set()
    assert gate.done == 1


def test_no_more_run_at_once_than_there_are_workers() -> None:
    gate = Gate()
    with Reaper(workers=2) as reaper:
        for _ in range(6):
            reaper.submit(gate)
        for _ in range(2):
            assert gate.begun.acquire(timeout=5)
        assert not gate.begun.acquire(timeout=0.01)
        gate.open.set()
    assert (gate.most, gate.done) == (2, 6)


def test_a_full_backlog_makes_the_caller_do_it_and_loses_nothing() -> None:
    gate = Gate()
    done: list[int] = []
    with Reaper(workers=1, backlog=2) as reaper:
        reaper.submit(gate)
        assert gate.begun.acquire(timeout=5)
        here = threading.get_ident()
        threads: list[int] = []

        def clean(i: int) -> None:
            done.append(i)
            threads.append(threading.get_ident())

        for i in range(5):
            reaper.submit(partial(clean, i))
        assert done == [2, 3, 4]
        assert threads == [here] * 3
        gate.open.set()
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert reaper.drain().by_caller == 3


def test_a_burst_on_an_idle_reaper_uses_all_workers() -> None:
    gate = Gate()
    with Reaper(workers=3, backlog=10) as reaper:
        reaper.submit(lambda: None)
        while reaper.pending:
            threading.Event().wait(0.001)
        for _ in range(3):
            reaper.submit(gate)
        for _ in range(3):
            assert gate.begun.acquire(timeout=5)
        gate.open.set()


def test_a_clean_up_that_fails_is_told_and_counted_and_ends_nothing_else() -> None:
    told: list[tuple[str, str]] = []

    def bad() -> None:
        raise OSError("disk full")

    reaper = Reaper(workers=1, on_error=lambda error, function: told.append((str(error), function.__name__)))
    done: list[int] = []
    for function in (bad, lambda: done.append(1)):
        reaper.submit(function)
    drained = reaper.drain()
    assert told == [("disk full", "bad")]
    assert (done, drained.done, drained.failed) == ([1], 1, 1)


def test_without_on_error_failures_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with Reaper() as reaper:
        reaper.submit(lambda: 1 // 0)
    assert "ZeroDivisionError" in caplog.text
    assert "test_release.py" in caplog.text


def test_an_on_error_that_fails_itself_stops_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    with Reaper(workers=1, on_error=lambda error, function: 1 // 0) as reaper:
        for _ in range(2):
            reaper.submit(lambda: [].pop())
    assert reaper.failed == 2
    assert "on_error failed" in caplog.text


def test_drain_names_what_was_not_done_in_time_and_later_work_is_its_callers() -> None:
    gate = Gate()
    reaper = Reaper(workers=1)
    reaper.submit(gate.__call__)
    reaper.submit(gate.open.is_set)
    assert gate.begun.acquire(timeout=5)
    drained = reaper.drain("2ms")
    assert len(drained.unfinished) == 2
    assert drained.unfinished[0].startswith("Gate.__call__ (")
    done: list[int] = []
    reaper.submit(lambda: done.append(1))
    assert done == [1]
    gate.open.set()
    assert reaper.drain("5s").unfinished == ()


def test_drain_ends_the_threads() -> None:
    reaper = Reaper(workers=3)
    gate = Gate()
    gate.open.set()
    for _ in range(9):
        reaper.submit(gate)
    before = [thread for thread in threading.enumerate() if thread.name.startswith("estab-reaper")]
    reaper.drain()
    for thread in before:
        thread.join(5)
    assert not any(thread.is_alive() for thread in before)


@pytest.mark.parametrize("make", [Reaper, AsyncioReaper])
@pytest.mark.parametrize(("options", "says"), [({"workers": 0}, "workers: 0"), ({"backlog": -1}, "backlog: -1")])
def test_a_wrong_argument_is_named(make: Callable[..., Any], options: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**options)


# --- asyncio


def test_asyncio_the_stream_is_closed_and_the_clean_up_runs_elsewhere() -> None:
    async def test() -> None:
        near, far = socket.socketpair()
        far.settimeout(5)
        go, seen = asyncio.Event(), []

        async def clean(name: str) -> None:
            await go.wait()
            seen.append(name)

        with far:
            _, writer = await asyncio.open_connection(sock=near)
            async with AsyncioReaper() as reaper:
                await reaper.release(writer, clean, "session")
                assert writer.is_closing()
                await writer.wait_closed()
                assert far.recv(1) == b""
                assert (seen, reaper.pending) == ([], 1)
                go.set()
            assert seen == ["session"]

    asyncio.run(test())


def test_asyncio_work_is_bounded_and_a_full_backlog_makes_the_caller_wait() -> None:
    async def test() -> None:
        go, running, most, done = asyncio.Event(), 0, 0, 0

        async def clean() -> None:
            nonlocal running, most, done
            running += 1
            most = max(most, running)
            await go.wait()
            running -= 1
            done += 1

        async with AsyncioReaper(workers=2, backlog=3) as reaper:
            for _ in range(5):
                await reaper.submit(clean)
            sixth = asyncio.create_task(reaper.submit(clean))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not sixth.done()
            assert (running, reaper.pending) == (3, 5)
            go.set()
            await sixth
        assert (most, done, reaper.by_caller) == (3, 6, 1)

    asyncio.run(test())


def test_asyncio_ordinary_functions_run_beside_the_loop() -> None:
    async def test() -> None:
        threads: list[int] = []
        async with AsyncioReaper() as reaper:
            await reaper.submit(lambda: threads.append(threading.get_ident()))
        assert threads != [threading.get_ident()]
        assert len(threads) == 1

    asyncio.run(test())


def test_asyncio_failures_are_told_and_drain_cancels_what_is_late() -> None:
    async def test() -> None:
        told: list[str] = []
        cancelled = False

        async def bad() -> None:
            raise OSError("disk full")

        async def endless() -> None:
            nonlocal cancelled
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise

        reaper = AsyncioReaper(workers=1, on_error=lambda error, function: told.append(str(error)))
        for function in (bad, endless, bad):
            await reaper.submit(function)
        drained = await reaper.drain("5ms")
        assert told == ["disk full"]
        assert [name.split(" ")[0].rpartition(".")[2] for name in drained.unfinished] == ["endless", "bad"]
        assert cancelled
        assert reaper.pending == 0

    asyncio.run(test())


def test_sys_exit_in_a_clean_up_ends_the_clean_up_and_no_worker() -> None:
    told: list[BaseException] = []
    reaper = Reaper(workers=1, on_error=lambda error, function: told.append(error))
    ran: list[int] = []
    for number in range(3):
        reaper.submit(sys.exit)
        reaper.submit(partial(ran.append, number))
    found = reaper.drain(20)
    assert ran == [0, 1, 2]
    assert (found.done, found.failed, found.unfinished) == (3, 3, ())
    assert all("raised SystemExit" in str(error) for error in told)


def test_a_worker_that_is_ended_leaves_its_place_to_another() -> None:
    class Stop(BaseException):
        """What a runtime may end a thread by."""

    reaper = Reaper(workers=1)
    ended = threading.Event()

    def stop() -> None:
        ended.set()
        raise Stop

    hook = threading.excepthook
    threading.excepthook = lambda args: None
    try:
        reaper.submit(stop)
        assert ended.wait(20)
        while reaper.pending:
            pass
        reaper.submit(lambda: None)
        assert reaper.drain(20).done == 1
    finally:
        threading.excepthook = hook


def test_asyncio_a_clean_up_that_is_cancelled_or_exits_by_itself_ends_nothing_else() -> None:
    async def main() -> None:
        told: list[BaseException] = []
        reaper = AsyncioReaper(workers=1, on_error=lambda error, function: told.append(error))
        ran: list[int] = []

        async def cancelled() -> None:
            raise asyncio.CancelledError

        async def exits() -> None:
            sys.exit(1)

        for function in (cancelled, exits, sys.exit):
            await reaper.submit(function)
            await reaper.submit(partial(ran.append, len(ran)))
        found = await reaper.drain(20)
        assert (len(ran), found.done, found.failed, found.unfinished) == (3, 3, 3, ())
        assert len(told) == 3

    asyncio.run(main())
