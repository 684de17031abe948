"""A run ends, or says why not: what stands still is named at once, and what goes on for ever is told or ended."""

from __future__ import annotations

import asyncio
import queue
import socket
import socketserver
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from estab import DeadlockError, Host, Network, OverlongRunError
from estab.lab.programs import strands, watch
from estab.trial.attempt import attempt

REAL_SLEEP = [time.sleep]
"""In a list no stand-in finds it."""


@pytest.fixture
def a(net: Network) -> Host:
    host = net.host("a")
    net.link(host, net.host("b"), delay="10ms")
    return host


@pytest.fixture
def b(net: Network, a: Host) -> Host:
    return net.hosts["b"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and be sure soon."""
    monkeypatch.setattr(strands, "LOOK_S", 0.01)
    monkeypatch.setattr(watch, "REAL_NS", 50_000_000)
    monkeypatch.setattr(watch, "LOCK_NS", 100_000_000)
    monkeypatch.setattr(watch, "STALL_S", 0.2)
    monkeypatch.setattr(watch, "LONG_S", 0.05)


# --- a program that neither computes nor waits in virtual time


def in_a_process(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False,
                          timeout=60)


@pytest.mark.parametrize("lock", ["threading.Lock()", "threading.RLock()"])
def test_a_lock_made_outside_and_held_across_a_wait_is_a_deadlock_that_is_named(lock: str) -> None:
    done = in_a_process(f"""
        import estab, threading, time
        lock = {lock}
        net = estab.Network()
        a, b = net.host("a"), net.host("b")

        @a.run
        def first():
            with lock:
                time.sleep(5)

        @b.run(start=1)
        def second():
            with lock:
                pass

        net.run()
    """)
    assert done.returncode == 1
    assert "DeadlockError: second@b waits for a lock that was made outside of programs, at 1s" in done.stderr
    assert "in second" in done.stderr


def test_a_lock_is_named_at_once_if_no_other_thread_could_release_it() -> None:
    done = in_a_process("""
        import estab, threading, time
        from estab.lab.programs import watch
        watch.LOCK_NS = 10**15
        lock = threading.Lock()
        lock.acquire()
        with estab.Network() as net:
            net.host("a").run(lock.acquire)
            net.run()
    """)
    assert done.returncode == 1
    assert "DeadlockError" in done.stderr


def test_a_lock_that_another_thread_releases_is_waited_for() -> None:
    done = in_a_process("""
        import estab, threading, time
        lock = threading.Lock()
        lock.acquire()
        thread = threading.Timer(1.3, lock.release)
        with estab.Network() as net:
            thread.start()
            net.host("a").run(lock.acquire)
            net.run()
        thread.join()
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_queue_made_outside_is_named_too() -> None:
    done = in_a_process("""
        import estab, queue
        simple = queue.SimpleQueue()
        net = estab.Network()
        net.host("a").run(lambda: simple.get())
        net.run()
    """)
    assert done.returncode == 1
    assert "DeadlockError" in done.stderr
    assert "in <lambda>" in done.stderr


@pytest.mark.parametrize("make", [threading.Event, threading.Condition, queue.Queue, lambda: threading.Semaphore(0)])
def test_what_is_built_of_locks_outside_waits_in_virtual_time(
    net: Network, a: Host, b: Host, make: Callable[[], Any],
) -> None:
    made = make()

    def wait() -> float:
        if isinstance(made, threading.Condition):
            with made:
                made.wait()
        elif isinstance(made, queue.Queue):
            made.get()
        else:
            made.wait() if isinstance(made, threading.Event) else made.acquire()
        return time.monotonic()

    def wake() -> None:
        if isinstance(made, threading.Condition):
            with made:
                made.notify()
        elif isinstance(made, queue.Queue):
            made.put(1)
        else:
            made.set() if isinstance(made, threading.Event) else made.release()

    waited = a.run(wait)
    b.run(wake, start=60)
    net.run()
    assert waited.result() == 60.0


@pytest.mark.usefixtures("soon")
def test_real_time_in_a_program_is_told_once_with_its_line(
    net: Network, a: Host, capfd: pytest.CaptureFixture[str],
) -> None:
    def sleeps() -> None:
        for _ in range(2):
            REAL_SLEEP[0](0.3)

    a.run(sleeps)
    net.run()
    errors = capfd.readouterr().err
    assert errors.count("estab: sleeps@a takes real time and stands still at 0ns of virtual time: sleeps (test_") == 1


@pytest.mark.usefixtures("soon")
def test_a_program_that_computes_without_a_pause_is_told(
    net: Network, a: Host, capfd: pytest.CaptureFixture[str],
) -> None:
    def computes() -> None:
        until = time.process_time() + 0.6
        while time.process_time() < until:
            pass

    a.run(computes)
    net.run()
    assert "estab: computes@a has run for 0.2s without waiting, at 0ns" in capfd.readouterr().err


def test_ctrl_c_names_the_program_that_ran_and_ends_one_that_spins() -> None:
    done = in_a_process("""
        import estab, signal, threading, time
        net = estab.Network()

        @net.host("a").run(start=3)
        def spins():
            while True:
                pass

        net.host("b").run(time.sleep, 100)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(1)
        try:
            net.run()
        finally:
            print([thread.name for thread in threading.enumerate() if thread.name == "spins@a"])
    """)
    assert "KeyboardInterrupt" in done.stderr
    assert "the network was at 3s, and spins@a ran spins (<string>:" in done.stderr
    assert "sleep on b waits for sleep(100)" in done.stderr
    assert done.stdout == "[]\n"


def test_what_the_handler_of_a_signal_raised_names_the_program_that_ran() -> None:
    done = in_a_process("""
        import estab, signal
        net = estab.Network()

        @net.host("a").run(start=3)
        def spins():
            while True:
                pass

        def give_up(number, frame):
            raise TimeoutError("the test took too long")  # as pytest-timeout does

        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(1)
        net.run()
    """)
    assert "TimeoutError: the test took too long\n" in done.stderr
    assert "the network was at 3s, and spins@a ran spins (<string>:" in done.stderr


def test_an_action_that_sleeps_is_refused(net: Network, a: Host) -> None:
    net.at(1, time.sleep, 10)
    a.run(time.sleep, 5)
    with pytest.raises(RuntimeError, match="an action can't wait"):
        net.run()


# --- a run that goes on


def test_a_daemon_thread_keeps_no_run_going(net: Network, a: Host, b: Host) -> None:
    @a.run
    def serve() -> None:
        def housekeeping() -> None:
            while True:
                time.sleep(5)

        threading.Thread(target=housekeeping, daemon=True).start()
        with socketserver.ThreadingTCPServer(("", 7), socketserver.StreamRequestHandler) as server:
            server.serve_forever()

    b.run(lambda: socket.create_connection(("a", 7)).close(), start=1)
    net.run()
    assert net.now < 2


@pytest.mark.parametrize("periods", [(1.0,), (1.0, 3.5), (0.7, 11.0, 30.0)])
def test_periodic_tasks_of_a_server_keep_no_run_going(
    net: Network, a: Host, b: Host, periods: tuple[float, ...],
) -> None:
    @a.run
    async def serve() -> None:
        async def every(seconds: float) -> None:
            while True:
                await asyncio.sleep(seconds)

        background = [asyncio.create_task(every(seconds)) for seconds in periods]
        async with await asyncio.start_server(lambda reader, writer: writer.close(), "", 7) as server:
            await server.serve_forever()
        await asyncio.gather(*background)

    b.run(lambda: socket.create_connection(("a", 7)).close(), start=1)
    net.run()
    assert 1 < net.now < 2


@pytest.mark.parametrize("sleep", [
    lambda: time.sleep(0.5), lambda: time.sleep(3600), lambda: threading.Event().wait(1),
], ids=["half a second", "an hour", "an event"])
def test_a_server_whose_main_thread_sleeps_keeps_no_run_going(
    net: Network, a: Host, b: Host, sleep: Callable[[], object],
) -> None:
    @a.run
    def serve() -> None:
        listener = socket.create_server(("", 7))

        def accept() -> None:
            while True:
                listener.accept()[0].close()

        threading.Thread(target=accept).start()
        while True:
            sleep()

    b.run(lambda: socket.create_connection(("a", 7)).close(), start=1)
    net.run()
    assert 1 < net.now < 2


def test_a_program_that_sleeps_beside_its_server_and_then_acts_is_waited_for(net: Network, a: Host, b: Host) -> None:
    @a.run
    def serve() -> str:
        listener = socket.create_server(("", 7))
        threading.Thread(target=listener.accept, daemon=True).start()
        for _ in range(50):
            time.sleep(1)
        return "acted"

    net.run()
    assert serve.result() == "acted"


def test_now_is_when_things_happened_and_not_when_polling_was_given_up(net: Network, a: Host, b: Host) -> None:
    @a.run
    def serve() -> None:
        with socket.create_server(("", 7)) as listener:
            listener.settimeout(3600)
            while True:
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    continue

    def call() -> None:
        socket.create_connection(("a", 7)).close()

    b.run(call, start=1)
    net.run()
    assert 1 < net.now < 1.1
    net.run(until=10)
    assert net.now == 10.0
    b.run(call)
    net.run()
    assert net.now > 3600


def test_both_sides_that_send_and_neither_reads_are_a_deadlock(net: Network, a: Host, b: Host) -> None:
    @a.run
    def serve() -> None:
        with socket.create_server(("", 7)) as listener, listener.accept()[0] as taken:
            while piece := taken.recv(65536):
                taken.sendall(piece * 2)

    @b.run
    def pipeline() -> None:
        with socket.create_connection(("a", 7)) as sock:
            sock.sendall(bytes(20_000_000))

    with pytest.raises(DeadlockError, match=r"but probes(.|\n)*sendall\(\)(.|\n)*sendall\(\)"):
        net.run()


def test_keepalives_keep_no_run_going(net: Network, a: Host, b: Host) -> None:
    def serve() -> None:
        with socket.create_server(("", 7)) as listener, listener.accept()[0] as taken:
            taken.recv(10)

    def listen() -> None:
        with socket.create_connection(("a", 7)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.recv(10)

    a.run(serve)
    b.run(listen)
    with pytest.raises(DeadlockError, match=r"since 0\.0[0-9]*s but probes"):
        net.run()


def test_a_dead_peer_is_still_noticed_by_keepalives(net: Network, a: Host, b: Host) -> None:
    def serve() -> None:
        with socket.create_server(("", 7)) as listener, listener.accept()[0] as taken:
            taken.recv(10)

    @b.run
    def listen() -> float:
        with socket.create_connection(("a", 7)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 32767)
            with pytest.raises(TimeoutError):
                sock.recv(10)
        return time.monotonic()

    a.run(serve)
    net.at(1, a.power_off)
    net.run()
    assert listen.result() > 32767 + 9 * 75 - 1


@pytest.mark.usefixtures("soon")
def test_a_run_that_goes_on_for_long_says_for_whom(net: Network, a: Host, capfd: pytest.CaptureFixture[str]) -> None:
    def heartbeat() -> None:
        for _ in range(20_000):
            time.sleep(1)

    a.run(heartbeat)
    net.run()
    errors = capfd.readouterr().err
    assert errors.count("estab: this run has taken") == 1
    assert any(f"heartbeat on a {does}" in errors for does in ("waits for sleep(1)", "is about to run", "runs"))
    assert "daemon=True" in errors


def test_a_deadlock_names_thread_task_and_line(net: Network, a: Host, b: Host) -> None:
    @a.run
    def threads() -> None:
        threading.Thread(target=queue.Queue().get, name="writer").start()
        threading.Event().wait()

    @b.run
    async def tasks() -> None:
        async def forever() -> None:
            await asyncio.Event().wait()

        await asyncio.create_task(forever(), name="the one")

    with pytest.raises(DeadlockError) as caught:
        net.run()
    text = str(caught.value)
    assert "threads on a waits for a lock since 0ns, in threads (test_standing_still.py:" in text
    assert "thread writer" in text
    assert "task 'the one' in forever (test_standing_still.py:" in text


def test_a_limit_ends_a_run_that_goes_on_and_says_for_whom() -> None:
    with Network(limit="1h") as net:
        def heartbeat() -> None:
            while True:
                time.sleep(1)

        net.host("a").run(heartbeat)
        with pytest.raises(OverlongRunError, match=r"goes on at 3600s, after '1h' (.|\n)*heartbeat on a waits"):
            net.run()
        net.run(until="3h")
        assert net.now == 3 * 3600


def test_a_trial_has_a_limit_that_a_test_can_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estab.trial.attempt.RUN_LIMIT", "1h")

    def sleeps(net: Network) -> None:
        net.host("a").run(time.sleep, 30 * 86400)
        net.run()

    def sleeps_long(net: Network) -> None:
        net.limit = None
        sleeps(net)

    assert isinstance(attempt(sleeps, 1).error, OverlongRunError)
    assert attempt(sleeps_long, 1).error is None
    with pytest.raises(ValueError, match="limit"):
        Network(limit="a week")
