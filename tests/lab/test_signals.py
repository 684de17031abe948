"""Signals of programs: handlers of their own, ends by default, alarms; a network stops its services in order."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import threading
import time
from typing import Any

import pytest

from estab import ExitError, Host, Network


@pytest.fixture
def a(net: Network) -> Host:
    host = net.host("a")
    net.link(host, net.host("b"), delay="10ms")
    return host


@pytest.fixture
def b(net: Network, a: Host) -> Host:
    return net.hosts["b"]


def serve() -> None:
    with socket.create_server(("", 80)) as listener:
        taken = listener.accept()[0]
        while taken.recv(10):
            pass


def test_a_handler_runs_in_the_main_thread_and_the_wait_goes_on(net: Network, a: Host) -> None:
    seen: list[tuple[int, float, bool]] = []

    @a.run
    def service() -> float:
        def handle(number: int, frame: Any) -> None:
            is_main = threading.current_thread() is threading.main_thread()
            seen.append((number, time.monotonic(), is_main and frame is not None))

        before = signal.signal(signal.SIGTERM, handle)
        assert (before, signal.getsignal(signal.SIGTERM)) == (signal.SIG_DFL, handle)
        time.sleep(10)
        return time.monotonic()

    net.at(3, service.signal, signal.SIGTERM)
    net.run()
    assert seen == [(signal.SIGTERM, 3.0, True)]
    assert service.result() == 10.0


def test_handlers_are_each_programs_own_and_the_process_keeps_its(net: Network, a: Host) -> None:
    before = signal.getsignal(signal.SIGTERM)

    @a.run
    def first() -> None:
        signal.signal(signal.SIGTERM, lambda *args: None)

    second = a.run(lambda: (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)), start=1)
    net.run()
    assert second.result() == (signal.SIG_DFL, signal.default_int_handler)
    assert signal.getsignal(signal.SIGTERM) is before


def test_terminate_without_a_handler_ends_the_program_and_its_peer_sees_the_end(net: Network, a: Host, b: Host) -> None:
    server = a.run(serve)

    @b.run
    def client() -> tuple[bytes, float, int]:
        with socket.create_connection(("a", 80)) as sock:
            found = sock.recv(10)
            at = time.monotonic()
        with socket.socket() as again:
            return found, at, again.connect_ex(("a", 80))

    net.at(5, server.terminate)
    net.run()
    assert client.result() == (b"", 5.01, errno.ECONNREFUSED)
    with pytest.raises(ExitError, match="serve on a was ended by SIGTERM") as caught:
        server.result()
    assert caught.value.status == -signal.SIGTERM


def test_kill_ends_a_program_that_handles_everything(net: Network, a: Host) -> None:
    cleaned: list[str] = []

    @a.run
    def stubborn() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with pytest.raises(OSError, match="argument"):
            signal.signal(signal.SIGKILL, signal.SIG_IGN)
        try:
            time.sleep(100)
        finally:
            cleaned.append("no chance for that")

    net.at(1, stubborn.terminate)
    net.at(2, stubborn.kill)
    net.run()
    assert isinstance(stubborn.exception(), ExitError)
    assert (net.now, cleaned) == (2.0, [])


def test_sigint_is_a_keyboard_interrupt_that_ends_its_program_only(net: Network, a: Host) -> None:
    @a.run
    def polite() -> str:
        try:
            time.sleep(100)
        except KeyboardInterrupt:
            return f"stopped at {time.monotonic():g}"
        return "never"

    impolite = a.run(time.sleep, 100)
    net.at(2, polite.signal, signal.SIGINT)
    net.at(3, impolite.signal, signal.SIGINT)
    net.run()
    assert polite.result() == "stopped at 2"
    assert isinstance(impolite.exception(), ExitError)


def test_asyncio_takes_signals_as_it_does_in_a_process(net: Network, a: Host) -> None:
    @a.run
    async def service() -> float:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        assert loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.remove_signal_handler(signal.SIGTERM)
        return loop.time()

    net.at("7s", service.terminate)
    net.run()
    assert service.result() == 7.0


def test_the_first_sigint_cancels_the_task_of_a_coroutine_and_the_second_interrupts_it(net: Network, a: Host) -> None:
    async def main(patience: float) -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(patience)
            return f"tidied up at {asyncio.get_running_loop().time():g}"
        return "never"

    async def stubborn() -> None:
        await asyncio.sleep(100)

    @a.run
    async def other() -> str:
        signal.signal(signal.SIGINT, lambda number, frame: None)
        await asyncio.sleep(6)
        return "its own handler"

    quick, slow, ended = a.run(main, 1), a.run(main, 50), a.run(stubborn)
    for program in (quick, slow, ended, other):
        net.at(2, program.signal, signal.SIGINT)
    net.at(5, slow.signal, signal.SIGINT)
    net.run()
    assert quick.result() == "tidied up at 3"
    assert isinstance(slow.exception(), ExitError)
    assert slow.exception().status == -signal.SIGINT  # type: ignore[union-attr]
    assert isinstance(ended.exception(), ExitError)
    assert other.result() == "its own handler"


def test_programs_of_one_host_signal_each_other_by_number(net: Network, a: Host) -> None:
    numbers: list[int] = []

    @a.run
    def waits() -> list[int]:
        numbers.append(os.getpid())
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        signal.pause()
        return numbers

    @a.run(start=1)
    def sends() -> int | None:
        os.kill(numbers[0], 0)
        os.kill(numbers[0], signal.SIGUSR1)
        time.sleep(1)
        try:
            os.kill(numbers[0], signal.SIGUSR1)
        except ProcessLookupError as error:
            return error.errno
        return None

    net.run()
    assert waits.done()
    assert sends.result() == errno.ESRCH


def test_only_the_main_thread_sets_handlers(net: Network, a: Host) -> None:
    @a.run
    def main() -> list[str]:
        found: list[str] = []

        def other() -> None:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            except ValueError as error:
                found.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return found

    net.run()
    assert main.result() == ["signal only works in main thread of the main interpreter"]


def test_the_wakeup_descriptor_gets_the_signals_number(net: Network, a: Host) -> None:
    @a.run
    def main() -> tuple[int, bytes]:
        reader, writer = socket.socketpair()
        with reader, writer:
            writer.setblocking(False)
            before = signal.set_wakeup_fd(writer.fileno())
            signal.signal(signal.SIGUSR1, lambda number, frame: None)
            return before, reader.recv(10)

    net.at(1, main.signal, signal.SIGUSR1)
    net.run()
    assert main.result() == (-1, bytes([signal.SIGUSR1]))


def test_alarms_come_in_virtual_time(net: Network, a: Host) -> None:
    @a.run
    def main() -> tuple[list[float], int]:
        rung: list[float] = []
        signal.signal(signal.SIGALRM, lambda number, frame: rung.append(time.monotonic()))
        signal.alarm(3600)
        time.sleep(600)
        left = signal.alarm(60)
        time.sleep(100)
        signal.setitimer(signal.ITIMER_REAL, 1.5, 10)
        time.sleep(30)
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(100)
        return rung, left

    net.run()
    assert main.result() == ([660.0, 701.5, 711.5, 721.5], 3000)


def test_a_network_that_closes_stops_its_services_in_order(a: Host, net: Network) -> None:
    happened: list[object] = []

    @a.run
    def service() -> str:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        stop.wait()
        time.sleep(2)  # lets its callers finish
        happened.append("stopped")
        return "in order"

    net.at(10, happened.append, "an action after the end")
    net.run(until=5)
    assert not service.done()
    net.close()
    assert service.result() == "in order"
    assert happened == ["stopped"]


def test_a_service_that_does_not_stop_is_ended_all_the_same(a: Host, net: Network) -> None:
    @a.run
    def service() -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        time.sleep(86400)

    net.run(until=5)
    net.close()
    assert service.cancelled()
    assert net.now <= 35


def test_os_exit_ends_its_program_without_tidying_up(net: Network, a: Host) -> None:
    cleaned: list[str] = []

    @a.run
    def main() -> None:
        try:
            time.sleep(1)
            os._exit(3)
        finally:
            cleaned.append("no chance for that")

    net.run(check=False)
    with pytest.raises(ExitError, match="ended with status 3") as caught:
        main.result()
    assert (caught.value.status, cleaned) == (3, [])
