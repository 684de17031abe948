"""Programs: their results, their failures, their order, and what happens when nothing can happen any more."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from estab.lab import strands
from estab.lab.network import Network
from estab.lab.node import Node
from estab.lab.programs import Deadlock, Unfinished


def two() -> tuple[Network, Node, Node]:
    net = Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")
    return net, a, b


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

    assert not blocking.done
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
    with pytest.raises(Unfinished, match=waits):
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
    assert other.done
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


def test_sys_exit_in_a_program_is_an_exception_like_others() -> None:
    net, a, _ = two()
    a.run(sys.exit, 3)
    with pytest.raises(SystemExit):
        net.run()


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


# --- when a run is over


def test_a_run_is_over_when_only_servers_wait_for_callers() -> None:
    net, a, b = two()

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            while True:
                connection, _ = listener.accept()
                connection.close()

    @a.run
    def call() -> bytes:
        with socket.create_connection(("b", 80)) as connection:
            return connection.recv(1)

    net.run()
    assert call.result() == b""
    assert not serve.done
    # All that was sent has arrived, and the clock did not run on to the end of TIME-WAIT.
    assert 0.04 <= net.now < 0.2
    assert [row.state for row in (*a.sockets(), *b.sockets())].count("TIME-WAIT") == 1


def test_a_run_is_not_over_before_what_was_written_is_delivered() -> None:
    net = Network(seed=4)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms", loss="20%")
    received: list[int] = []

    @b.run
    def sink() -> None:
        with socket.create_server(("", 80)) as listener:
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as file:
                    received.append(len(file.read()))

    @a.run
    def call() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(bytes(100_000))

    net.run()
    assert received == [100_000]


def test_a_datagram_server_is_a_server() -> None:
    net, a, b = two()

    @b.run
    def serve() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("", 53))
            while True:
                data, address = server.recvfrom(512)
                server.sendto(data[::-1], address)

    @a.run
    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.sendto(b"abc", ("b", 53))
            return caller.recv(512)

    net.run()
    assert ask.result() == b"cba"


def test_a_server_that_polls_for_ever_does_not_keep_a_run_going() -> None:
    net, a, b = two()

    @b.run
    def serve() -> None:
        server = HTTPServer(("", 80), BaseHTTPRequestHandler)
        server.serve_forever(poll_interval=0.1)

    @a.run
    def call() -> None:
        time.sleep(2.05)
        with socket.create_connection(("b", 80)):
            pass

    net.run()
    assert call.done
    assert net.now < 20


def test_a_server_that_gives_up_after_some_polls_is_waited_for() -> None:
    net, a, _ = two()

    @a.run
    def serve() -> int:
        with socket.create_server(("", 80)) as listener:
            listener.settimeout(0.5)
            for _ in range(12):
                with contextlib.suppress(TimeoutError):
                    listener.accept()
        return 12

    net.run()
    assert serve.result() == 12


def test_a_server_that_will_do_something_by_itself_is_waited_for() -> None:
    net, a, _ = two()

    @a.run
    async def serve() -> float:
        async with await asyncio.start_server(lambda reader, writer: None, "", 80):
            await asyncio.sleep(30)
        return asyncio.get_running_loop().time()

    net.run()
    assert serve.result() == 30.0


def test_a_daemon_is_not_waited_for() -> None:
    net, a, b = two()

    @b.run(daemon=True)
    def tick() -> None:
        while True:
            time.sleep(1)

    a.run(time.sleep, 3.5)
    net.run()
    assert net.now == 3.5


def test_a_deadlock_names_every_program_and_what_it_waits_for() -> None:
    net, a, b = two()

    @b.run
    def server() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)

    @a.run
    def client() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.recv(1)

    @a.run
    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock) as caught:
        net.run()
    text = str(caught.value)
    assert "server on b waits for recv() on 10.0.0.2:80>10.0.0.1:" in text
    assert "client on a waits for recv() on 10.0.0.1:" in text
    assert "never on a waits for select() on no socket since 0ns" in text


def test_a_program_that_polls_in_a_loop_lets_time_pass() -> None:
    net, a, b = two()

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                time.sleep(0.2)
                connection.sendall(b"x")

    @a.run
    def spin() -> bytes:
        with socket.create_connection(("b", 80)) as connection:
            connection.setblocking(False)
            while True:
                try:
                    return connection.recv(1)
                except BlockingIOError:
                    pass

    @a.run
    async def spin_more() -> None:
        while asyncio.get_running_loop().time() < 0.1:
            await asyncio.sleep(0)

    @a.run
    def spin_on_the_clock() -> None:
        while time.monotonic() < 0.1:
            pass

    @a.run
    def spin_on_poll() -> None:
        poll = select.poll()
        while time.monotonic() < 0.1:
            poll.poll(0)

    net.run()
    assert spin.result() == b"x"


# --- their end


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


def test_ctrl_c_ends_a_run_cleanly() -> None:
    code = """
import signal, threading, time
from estab.lab.network import Network
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
net = Network()
a = net.host("a")
@a.run
def loop():
    try:
        print("running", flush=True)
        while True:
            time.sleep(1)
    finally:
        print("tidied", flush=True)
try:
    net.run()
except KeyboardInterrupt:
    print("interrupted", flush=True)
net.close()
print(threading.active_count(), flush=True)
"""
    with subprocess.Popen([sys.executable, "-X", "dev", "-W", "error", "-c", code], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert output.split() == ["interrupted", "tidied", "1"]
    assert errors == ""


def test_a_run_is_over_when_the_last_programs_host_loses_its_power() -> None:
    net, a, b = two()
    b.run(time.sleep, 1)
    a.run(time.sleep, 1000)
    net.at(5, a.power_off)
    net.run()
    assert net.now == 5.0


def test_a_program_that_waits_where_the_lab_cannot_see_it_is_pointed_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(strands, "_STALL_S", 0.02)
    net, a, _ = two()
    outside = threading.Lock()

    def wait_unseen() -> None:
        outside.acquire(timeout=0.2)

    outside.acquire()
    a.run(wait_unseen)
    net.run()
    errors = capfd.readouterr().err
    assert "wait_unseen@a has run for 0.02s without waiting" in errors
    assert "outside.acquire(timeout=0.2)" in errors


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
