"""When a run is over: who is waited for, who is not, and what is said when nothing can happen any more."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NoReturn

import pytest

from estab.lab.network import Network
from estab.lab.programs.program import DeadlockError
from tests.kit.two_hosts import two

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
    assert not serve.done()
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


def test_what_is_still_to_be_delivered_is_what_the_rows_of_all_sockets_say() -> None:
    net = Network(seed=4)
    a, b = net.host("a"), net.host("b")
    cable = net.link(a, b, delay="10ms", loss="10%")
    waited_in: set[str] = set()
    rested_in: set[str] = set()

    def agree() -> bool:
        for host in (a, b):
            rows = [row for row in host.sockets() if row.netid.startswith("tcp")]
            waiting = [row.state for row in rows if row.state in ("SYN-SENT", "FIN-WAIT-1", "CLOSING", "LAST-ACK")
                       or (row.send_q > 0 and row.state != "LISTEN")]
            if host.engine.is_delivering() is not bool(waiting):
                return False
            waited_in.update(waiting)
            rested_in.update(row.state for row in rows if not waiting)
        return True

    def answer(connection: socket.socket, is_first_to_close: bool) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(bytes(20_000))
            if is_first_to_close:
                connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            for place in range(4):
                answer(listener.accept()[0], place % 2 == 0)

    @a.run
    def call() -> None:
        for place in range(4):
            with socket.create_connection(("b", 80)) as caller:
                time.sleep(0.2)
                answer(caller, place >= 2)
        with contextlib.suppress(OSError):
            socket.create_connection(("b", 81), timeout=1)
        lost = socket.create_connection(("b", 80))
        lost.sendall(b"nobody accepts it, and the cable is cut")
        cable.cut()
        lost.close()

    net.always(agree, "both ways to ask agree")
    net.run(until="300s")
    assert waited_in >= {"SYN-SENT", "ESTAB", "FIN-WAIT-1", "CLOSE-WAIT", "LAST-ACK"}
    assert rested_in >= {"LISTEN", "ESTAB", "FIN-WAIT-2", "TIME-WAIT"}


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
    assert call.done()
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


@pytest.mark.parametrize("is_daemon", [True, False])
@pytest.mark.parametrize("after_s", [0, 1, 40])
def test_a_server_in_a_thread_is_shut_down_though_it_only_polls(is_daemon: bool, after_s: int) -> None:
    net, a, _ = two()

    @a.run
    def main() -> float:
        with HTTPServer(("", 80), BaseHTTPRequestHandler) as server:
            serving = threading.Thread(target=server.serve_forever, daemon=is_daemon)
            serving.start()
            time.sleep(after_s)
            server.shutdown()  # waits for what the thread finds at its next poll
            serving.join()
        return time.monotonic()

    net.run()
    assert main.result() <= after_s + 0.5


def test_what_a_daemon_thread_will_do_is_waited_for_by_a_function_that_waits_for_it() -> None:
    net, a, _ = two()

    @a.run
    def main() -> str:
        answers: queue.Queue[str] = queue.Queue()

        def work() -> None:
            time.sleep(5)
            answers.put("done")

        with socket.create_server(("", 80)) as listener:
            threading.Thread(target=listener.accept, daemon=True).start()
            threading.Thread(target=work, daemon=True).start()
            return answers.get()

    net.run()
    assert (main.result(), net.now) == ("done", 5.0)


def test_daemon_threads_keep_no_run_going_once_the_function_has_returned() -> None:
    net, a, _ = two()

    @a.run
    def main() -> None:
        def tick() -> None:
            while True:
                time.sleep(1)

        threading.Thread(target=tick, daemon=True).start()
        time.sleep(2.5)

    net.run()
    assert net.now == 2.5


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

    with pytest.raises(DeadlockError) as caught:
        net.run()
    text = str(caught.value)
    assert "server on b waits for recv() on 10.0.0.2:80>10.0.0.1:" in text
    assert "client on a waits for recv() on 10.0.0.1:" in text
    assert "never on a waits for select() on no socket; task" in text


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

    @a.run
    def ask_whether_it_may_write() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            for ask in (lambda: select.select([], [sock], [], 1), lambda: selector.select(1)):
                timer = threading.Timer(0.1, int)
                timer.start()
                while not timer.finished.is_set():
                    ask()

    net.run()
    assert spin.result() == b"x"
    assert ask_whether_it_may_write.done()


# --- their end


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


def test_ctrl_c_at_the_end_of_a_run_leaves_a_network_that_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net, a, _ = two()

    def interrupt() -> NoReturn:  # what compiled code called last that is not compiled: it finds a signal that came
        raise KeyboardInterrupt

    async def main() -> None:
        loop = asyncio.get_running_loop()
        a.run(time.sleep, 1)
        with monkeypatch.context() as patch:
            patch.setattr(net._scheduler.repetition, "end", interrupt)
            patch.setattr(net._scheduler.repetition, "begin", lambda *args, **words: None)
            with pytest.raises(KeyboardInterrupt):
                net.run()
        assert asyncio.get_running_loop() is loop

    asyncio.run(main())
    again = a.run(time.sleep, 1)
    net.run()
    assert again.done()
    assert net.now == 2.0


def test_ctrl_c_once_the_driver_has_noticed_the_end_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, a, _ = two()
    lock = net._scheduler._driver

    class Interrupted:
        """The driver's lock: a signal is noticed when it was taken."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if not lock.acquire(blocking, timeout):
                return False
            monkeypatch.undo()
            raise KeyboardInterrupt

        def release(self) -> None:
            lock.release()

    monkeypatch.setattr(net._scheduler, "_driver", Interrupted())
    a.run(time.sleep, 1)
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        net.run()
    assert time.perf_counter() - started < 1
    again = a.run(time.sleep, 1)
    net.run()
    assert again.done()
    assert net.now == 2.0


def test_a_run_is_over_when_the_last_programs_host_loses_its_power() -> None:
    net, a, b = two()
    b.run(time.sleep, 1)
    a.run(time.sleep, 1000)
    net.at(5, a.power_off)
    net.run()
    assert net.now == 5.0


def test_a_network_that_was_never_run_says_so_when_it_is_checked() -> None:
    with Network() as net:
        net.host("a").run(lambda: None, name="client")
        with pytest.raises(RuntimeError, match=r"no program ran: client on a waited for net.run\(\)"):
            net.check()
        net.run()
        net.check()


def test_what_ended_a_thread_of_a_program_is_raised_when_the_network_is_checked() -> None:
    printed: list[str] = []

    def serve() -> None:
        def handle() -> None:
            raise ValueError("a bug in a handler")

        thread = threading.Thread(target=handle)
        thread.start()
        thread.join()

    hook = threading.excepthook
    threading.excepthook = lambda args: printed.append(str(args.exc_value))
    try:
        with Network() as net:
            net.host("server").run(serve)
            net.run()
            with pytest.raises(ValueError, match="a bug in a handler") as raised:
                net.check()
    finally:
        threading.excepthook = hook
    assert raised.value.__notes__[-1] == "in a thread of program serve on host server"
    assert printed == ["a bug in a handler"]
