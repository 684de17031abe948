"""What a program is to its host: a process, which ends with a status, and whose end closes what it had open."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from estab import ExitError, Host, Network

kept: list[Any] = []


@pytest.fixture
def a(net: Network) -> Host:
    host = net.host("a")
    net.link(host, net.host("b"), delay="10ms")
    return host


@pytest.fixture
def b(net: Network, a: Host) -> Host:
    return net.hosts["b"]


@pytest.mark.parametrize("status", [None, 0])
def test_sys_exit_with_nothing_wrong_ends_its_program_only(net: Network, a: Host, status: int | None) -> None:
    program = a.run(lambda: sys.exit(status))
    after = a.run(lambda: time.sleep(1) or "went on")
    net.run()
    assert (program.result(), after.result()) == (None, "went on")


@pytest.mark.parametrize(("given", "status", "text"), [(2, 2, "status 2"), ("no such file", 1, "no such file")])
def test_sys_exit_with_a_status_is_an_error_that_does_not_end_the_test(
    net: Network, a: Host, given: object, status: int, text: str,
) -> None:
    program = a.run(lambda: sys.exit(given), name="main")  # type: ignore[arg-type]
    with pytest.raises(ExitError, match=f"main on a ended with .*{text}") as caught:
        net.run()
    assert caught.value.status == status
    assert program.exception() is caught.value


def test_the_end_of_a_program_closes_what_it_had_open_whoever_holds_it(net: Network, a: Host, b: Host) -> None:
    @a.run
    def server() -> None:
        listener = socket.create_server(("", 80))
        taken = listener.accept()[0]
        kept.extend([listener, taken])
        time.sleep(1)

    @b.run
    def client() -> tuple[bytes, float, int]:
        with socket.create_connection(("a", 80)) as sock:
            found, at = sock.recv(10), time.monotonic()
        with socket.socket() as again:
            return found, at, again.connect_ex(("a", 80))

    net.run()
    assert client.result() == (b"", 1.04, errno.ECONNREFUSED)
    assert kept[1].fd == -1
    kept[1].close()  # as a __del__ may do later: nothing is wrong with that
    kept.clear()


def test_unread_data_makes_the_end_a_reset(net: Network, a: Host, b: Host) -> None:
    @a.run
    def server() -> None:
        kept.append(socket.create_server(("", 80)))
        kept.append(kept[0].accept()[0])
        time.sleep(1)

    @b.run
    def client() -> int | None:
        with socket.create_connection(("a", 80)) as sock:
            sock.sendall(b"never read")
            try:
                sock.recv(10)
            except OSError as error:
                return error.errno
        return None

    net.run()
    kept.clear()
    assert client.result() == errno.ECONNRESET


def test_a_program_waits_for_its_threads_and_its_daemon_threads_end_with_it(net: Network, a: Host, b: Host) -> None:
    @a.run
    def server() -> None:
        def listen(port: int) -> None:
            with socket.create_server(("", port)) as listener:
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=listen, args=(80,), daemon=True).start()
        threading.Thread(target=time.sleep, args=(10,)).start()

    def knock() -> int:
        with socket.socket() as sock:
            return sock.connect_ex(("a", 80))

    before, after = b.run(knock, start=5), b.run(knock, start=15)
    net.run()
    assert (before.result(), after.result()) == (0, errno.ECONNREFUSED)


def test_sockets_made_from_outside_outlive_programs(net: Network, a: Host, b: Host) -> None:
    outside = a.socket()
    outside.bind(("", 80))
    outside.listen()
    a.run(lambda: None)
    b.run(lambda: socket.create_connection(("a", 80)).close())
    net.run()
    assert outside.fd > 0
    outside.close()


def test_an_event_loop_is_there_to_be_had_in_a_main_thread(net: Network, a: Host) -> None:
    @a.run
    def main() -> float:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            assert asyncio.get_event_loop() is loop
            assert threading.main_thread() is threading.current_thread()
            loop.run_until_complete(asyncio.sleep(60))
            return loop.time()
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    net.run()
    assert main.result() == 60.0
    assert threading.main_thread() is threading.current_thread()


# --- no traceback after a good run


def test_the_end_of_a_network_leaves_no_word_of_executors(
    a: Host, b: Host, net: Network, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:
    @a.run
    async def serve() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await asyncio.to_thread(bytes.upper, await reader.readline()))
            writer.close()

        async with await asyncio.start_server(answer, "", 80) as listening:
            await listening.serve_forever()

    @b.run
    def ask() -> bytes:
        with socket.create_connection(("a", 80)) as sock:
            sock.sendall(b"hello\n")
            return sock.recv(10)

    net.run()
    assert ask.result() == b"HELLO\n"
    net.close()
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_a_worker_that_never_began_is_not_waited_for(tmp_path: Any) -> None:
    script = (
        "import estab\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "net = estab.Network()\n"
        "@net.host('a').run\n"
        "def main():\n    ThreadPoolExecutor(1).submit(print, 'hello')\n    raise ValueError('boom')\n"
        "net.run(check=False)\nnet.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_that_takes_any_exception_is_left_behind_after_a_few(net: Network, a: Host) -> None:
    caught: list[str] = []

    @a.run
    def main() -> None:
        def service() -> None:
            while True:
                try:
                    time.sleep(1)
                except BaseException as error:
                    caught.append(type(error).__name__)

        threading.Thread(target=service, daemon=True).start()
        time.sleep(10)

    net.run(until=5)
    net.close()
    assert 0 < len(caught) < 10
    assert set(caught) == {"ProgramEnded"}


# --- what a host can't have


@pytest.mark.parametrize("name", ["fork", "system", "posix_spawn"])
def test_processes_of_the_system_are_refused_in_a_sentence(net: Network, a: Host, name: str) -> None:
    @a.run
    def main() -> str:
        with pytest.raises(NotImplementedError) as caught:
            getattr(os, name)(*{"system": ("true",), "posix_spawn": ("/bin/true", [], {})}.get(name, ()))
        return str(caught.value)

    net.run()
    assert main.result().startswith(f"os.{name} can't be used on host a: ")


def test_subprocesses_and_process_pools_are_refused(net: Network, a: Host) -> None:
    @a.run
    def main() -> list[str]:
        found = []
        for make in (lambda: subprocess.run(["true"], check=False), lambda: ProcessPoolExecutor(1).submit(print)):
            with pytest.raises(NotImplementedError) as caught:
                make()
            found.append(str(caught.value))
        return found

    net.run()
    for text in main.result():
        assert "can't be used on host a" in text
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: logging.getLogger().name).result() == "root"


# --- modules of a program's own


def test_a_package_can_be_a_programs_own(
    net: Network, a: Host, b: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "singular"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "only.py").write_text("users = []\n")
    monkeypatch.syspath_prepend(tmp_path)

    def use(name: str) -> list[str]:
        from singular import only  # type: ignore[import-not-found]
        only.users.append(name)
        time.sleep(1)
        from singular import only as again
        assert again is only
        thread = threading.Thread(target=lambda: only.users.append(sys.modules["singular.only"] is only))
        thread.start()
        thread.join()
        return list(only.users)

    shared = [a.run(use, "a"), b.run(use, "b")]
    own = [host.run(use, "own", fresh=("singular",)) for host in (a, b)]
    net.run()
    assert [program.result() for program in own] == [["own", True]] * 2
    assert [program.result()[:2] for program in shared] == [["a", "b"]] * 2
    assert sys.modules.pop("singular.only").users[:2] == ["a", "b"]
    del sys.modules["singular"]


@pytest.mark.parametrize(("fresh", "error"), [
    ("twisted", TypeError), (("a.b",), ValueError), (("asyncio",), ValueError),
])
def test_what_can_not_be_fresh_is_said_at_once(a: Host, fresh: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="fresh: "):
        a.run(print, fresh=fresh)
