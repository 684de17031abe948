"""Threads, locks and executors of programs: in virtual time, one at a time, in an order that follows from the seed."""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
import socketserver
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from estab import Host, Network, UnfinishedError

module_lock = threading.Lock()
module_queue: queue.Queue[int] = queue.Queue()


def result_of(net: Network, node: Host, function: Any) -> Any:
    program = node.run(function)
    net.run()
    return program.result()


def test_threads_run_in_virtual_time_and_can_be_joined(net: Network, a: Host) -> None:
    before = set(threading.enumerate())

    def program() -> tuple[list[str], float]:
        seen: list[str] = []

        def work(name: str, duration: float) -> None:
            time.sleep(duration)
            seen.append(f"{name} on {socket.gethostname()} in {threading.current_thread().name}")

        threads = [
            threading.Thread(target=work, args=item, name=f"worker {item[0]}") for item in (("slow", 60), ("quick", 1))
        ]
        for thread in threads:
            thread.start()
            assert thread.is_alive()
            assert thread.ident is not None
        threads[0].join(timeout=5)
        assert threads[0].is_alive()
        assert not threads[1].is_alive()
        assert time.monotonic() == 5.0
        for thread in threads:
            thread.join()
        assert not any(thread.is_alive() for thread in threads)
        return seen, time.monotonic()

    seen, when = result_of(net, a, program)
    assert seen == ["quick on a in worker quick", "slow on a in worker slow"]
    assert when == 60.0
    assert set(threading.enumerate()) <= before, "a thread was left behind"


def test_locks_conditions_and_their_kin_wait_in_virtual_time(net: Network, a: Host) -> None:
    def program() -> list[object]:
        seen: list[object] = []
        lock, rlock, event, semaphore = threading.Lock(), threading.RLock(), threading.Event(), threading.Semaphore(1)
        barrier, condition = threading.Barrier(2), threading.Condition()

        def other() -> None:
            with lock, rlock, rlock, semaphore:
                time.sleep(10)
            event.set()
            barrier.wait()
            with condition:
                condition.notify_all()

        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(1)
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=2)
        assert not semaphore.acquire(timeout=2)
        assert not event.wait(1)
        seen.append(time.monotonic())
        with lock, rlock:
            seen.append(time.monotonic())
        event.wait()
        with condition:
            barrier.wait()
            condition.wait()
            assert not condition.wait(5)
        seen.append(time.monotonic())
        thread.join()
        return seen

    assert result_of(net, a, program) == [6.0, 10.0, 15.0]


def test_queues_and_executors_work_as_they_are(net: Network, a: Host) -> None:
    def program() -> tuple[list[int], float]:
        with ThreadPoolExecutor(3) as pool:
            def work(number: int) -> int:
                time.sleep(1)
                return number * number

            squares = list(pool.map(work, range(9)))
        with pytest.raises(queue.Empty):
            queue.Queue[int]().get(timeout=2)
        simple: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Timer(4, simple.put, [7]).start()
        assert simple.get() == 7
        return squares, time.monotonic()

    assert result_of(net, a, program) == ([number * number for number in range(9)], 9.0)


def test_asyncio_may_use_threads(net: Network, a: Host) -> None:
    async def program() -> tuple[list[float], float]:
        def work(duration: float) -> float:
            time.sleep(duration)
            return time.monotonic()

        done = await asyncio.gather(*(asyncio.to_thread(work, duration) for duration in (3, 1, 2)))
        loop = asyncio.get_running_loop()
        return done, await loop.run_in_executor(None, work, 1)

    assert result_of(net, a, program) == ([3.0, 1.0, 2.0], 4.0)


def test_a_server_with_a_thread_for_each_caller(net: Network, a: Host, b: Host) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                time.sleep(1)
                self.wfile.write(line.upper())

    @b.run
    def serve() -> None:
        with socketserver.ThreadingTCPServer(("", 80), Handler) as server:
            server.serve_forever()

    def ask(text: bytes) -> tuple[bytes, float]:
        with socket.create_connection(("b", 80)) as connection, connection.makefile("rwb") as file:
            file.write(text)
            file.flush()
            return file.readline(), time.monotonic()

    programs = [a.run(ask, b"caller %d\n" % number) for number in range(3)]
    net.run()
    for number, program in enumerate(programs):
        answer, when = program.result()
        assert answer == b"CALLER %d\n" % number
        assert when == pytest.approx(1.04)


def test_a_program_with_threads_left_is_waited_for_but_not_for_daemons(net: Network, a: Host) -> None:
    ended: list[float] = []

    def nap(duration: float) -> None:
        time.sleep(duration)
        ended.append(time.monotonic())

    def program() -> None:
        threading.Thread(target=nap, args=(5,)).start()
        threading.Thread(target=nap, args=(1000,), daemon=True).start()

    result_of(net, a, program)
    assert ended == [5.0]
    assert net.now == 5.0


def test_an_exception_in_a_thread_goes_to_the_hook(net: Network, a: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append(args.exc_value))

    def fail() -> None:
        raise LookupError("in a thread")

    def program() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    result_of(net, a, program)
    assert [repr(error) for error in caught] == ["LookupError('in a thread')"]


def test_threads_end_quietly_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[object] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    before = threading.active_count()
    seen: list[str] = []
    with Network() as net:
        a = net.host("a")

        def wait() -> None:
            lock = threading.Lock()
            with lock:
                try:
                    queue.Queue[int]().get()
                finally:
                    seen.append("ended")

        @a.run(daemon=True)
        def program() -> None:
            pool = ThreadPoolExecutor()
            pool.submit(wait)
            thread = threading.Thread(target=wait)
            thread.start()
            thread.join()

        net.run(until=1)
    with pytest.raises(UnfinishedError):
        program.result()
    assert seen == ["ended", "ended"]
    assert caught == []
    assert threading.active_count() == before


def test_locks_made_at_import_work_where_nobody_waits_while_holding_one(net: Network, a: Host) -> None:
    def produce() -> None:
        for number in range(3):
            time.sleep(1)
            with module_lock:
                module_queue.put(number)

    def consume() -> list[int]:
        return [module_queue.get() for _ in range(3)]

    a.run(produce)
    assert result_of(net, a, consume) == [0, 1, 2]


def test_logging_from_threads_bears_virtual_times(net: Network, a: Host, caplog: pytest.LogCaptureFixture) -> None:
    def say(number: int) -> None:
        time.sleep(number)
        logging.getLogger("lab").warning("number %d", number)

    def program() -> None:
        threads = [threading.Thread(target=say, args=(number,)) for number in (2, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    result_of(net, a, program)
    assert [(record.getMessage(), record.created - 1767225600) for record in caplog.records] == [
        ("number 1", 1.0), ("number 2", 2.0),
    ]


def test_the_order_of_threads_is_the_same_each_time() -> None:
    def run() -> list[int]:
        seen: list[int] = []
        with Network(5) as net:
            a = net.host("a")

            @a.run
            def program() -> None:
                lock = threading.Lock()

                def work(number: int) -> None:
                    for _ in range(5):
                        with lock:
                            time.sleep(0.001)
                            seen.append(number)

                threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            net.run()
        return seen

    first = run()
    assert run() == first
    assert sorted(first) == sorted([*range(5)] * 5)


def test_threads_of_other_threads_are_the_operating_systems(a: Host) -> None:
    seen: list[object] = []

    def outside() -> None:
        thread = threading.Thread(target=lambda: seen.append(type(threading.Lock())))
        thread.start()
        thread.join()

    with a.installed():
        thread = threading.Thread(target=outside)
        thread.start()
        thread.join(5)
    assert seen == [type(module_lock)]


def test_the_interpreter_ends_even_if_nobody_closed_the_network() -> None:
    code = """
import queue, threading, time
from concurrent.futures import ThreadPoolExecutor
from estab import Network
net = Network()
a = net.host("a")
@a.run(daemon=True)
def program():
    pool = ThreadPoolExecutor()
    pool.submit(time.sleep, 1000)
    threading.Thread(target=queue.Queue().get).start()
    time.sleep(1000)
net.run(until=1)
print("done", flush=True)
"""
    command = [sys.executable, "-X", "dev", "-c", code]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("done\n", "")


pool_of_a_module = ThreadPoolExecutor(2, "shop")


def test_a_pool_that_was_made_before_has_threads_of_each_program_that_uses_it() -> None:
    def work(number: int) -> tuple[str, int]:
        time.sleep(5)
        return socket.gethostname(), number

    with Network() as net:
        a, b = net.host("a"), net.host("b")
        several = a.run(lambda: list(pool_of_a_module.map(work, range(3))))

        @b.run
        def shut_down() -> tuple[str, int]:
            result = pool_of_a_module.submit(work, 9).result()
            pool_of_a_module.shutdown()
            with pytest.raises(RuntimeError, match="after shutdown"):
                pool_of_a_module.submit(work, 9)
            return result

        net.run()
        assert (several.result(), shut_down.result()) == ([("a", 0), ("a", 1), ("a", 2)], ("b", 9))
        assert net.now == 10
    assert pool_of_a_module.submit(int).result() == 0


def test_a_program_sees_its_own_threads_and_no_others() -> None:
    def look() -> tuple[list[str], int, bool]:
        threading.Thread(target=time.sleep, args=(5,), name="mine").start()
        time.sleep(1)
        names = sorted(thread.name.partition("@")[0] for thread in threading.enumerate())
        return names, threading.active_count(), threading.main_thread() in threading.enumerate()

    with Network() as net:
        programs = [net.host(name).run(look) for name in "ab"]
        net.run()
    assert [program.result() for program in programs] == [(["look", "mine"], 2, True)] * 2
    assert threading.current_thread() in threading.enumerate()
