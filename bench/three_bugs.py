"""Three bugs, and which of three test tools find them: estab, simloop (if it is installed) and mocks.

1. A lost update: two clients read a counter, and write back one more (``lost_update.py``).
2. A response that is lost because the server closed with unread data.
3. A client that hangs on a half-open connection: its server has lost its power.

A test finds its bug if it fails. Each bug has a fix; a tool that knows the cause passes with it. Run it::

    python bench/three_bugs.py
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import lost_update

import estab
from estab.trial.attempt import attempt

SEEDS = 200
USER_TIMEOUT_MS = 20_000


def answer(sock: socket.socket, is_fixed: bool) -> None:
    """Refuse an upload. The bug: the rest of it is not read. The fix: a lingering close."""
    with sock:
        sock.recv(1000)
        sock.sendall(b"413 Too Large")
        if is_fixed:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass


def upload(sock: socket.socket) -> bytes:
    """Send too much, and give the answer."""
    with sock:
        sock.sendall(b"x" * 200_000)
        sock.shutdown(socket.SHUT_WR)
        return sock.recv(100)


def ask(sock: socket.socket, is_fixed: bool) -> bytes:
    """Ask, five seconds after connecting. The bug: nothing bounds the wait. The fix: TCP_USER_TIMEOUT."""
    with sock:
        if is_fixed:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        time.sleep(5)
        sock.sendall(b"hello")
        return sock.recv(100)


# --- estab


def estab_response(net: estab.Network, is_fixed: bool = False) -> None:
    """Bug 2."""
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="20ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            answer(listener.accept()[0], is_fixed)

    program = client.run(lambda: upload(socket.create_connection(("server", 80))))
    net.run()
    assert program.result() == b"413 Too Large"


def estab_hang(net: estab.Network, is_fixed: bool = False) -> None:
    """Bug 3."""
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="20ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            sock.recv(100)

    program = client.run(lambda: ask(socket.create_connection(("server", 80)), is_fixed))
    net.at("1s", server.power_off)
    net.run(until="60s", check=False)
    assert program.done(), "the client hangs"
    assert isinstance(program.exception(), TimeoutError)


# --- simloop: the same, rewritten for asyncio's streams


async def simloop_response(is_fixed: bool = False) -> None:
    """Bug 2."""
    loop: Any = asyncio.get_running_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"413 Too Large")
        if is_fixed:
            writer.write_eof()
            await reader.read()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(handle, port=80) as server:
            await server.serve_forever()

    async def send() -> bytes:
        reader, writer = await asyncio.open_connection("server", 80)
        writer.write(b"x" * 200_000)
        writer.write_eof()
        return await reader.read(100)

    loop.net.host("server").create_task(serve())
    await asyncio.sleep(1)
    assert await loop.net.host("client").create_task(send()) == b"413 Too Large"


async def simloop_hang(is_fixed: bool = False) -> None:
    """Bug 3."""
    loop: Any = asyncio.get_running_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
        except asyncio.CancelledError:
            return

    async def serve() -> None:
        async with await asyncio.start_server(handle, port=80) as server:
            await server.serve_forever()

    async def send() -> bytes:
        reader, writer = await asyncio.open_connection("server", 80)
        if is_fixed:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        await asyncio.sleep(5)
        writer.write(b"hello")
        return await reader.read(100)

    loop.net.host("server").create_task(serve())
    await asyncio.sleep(1)
    client = loop.net.host("client").create_task(send())
    await asyncio.sleep(1)
    loop.net.crash("server")
    await asyncio.sleep(60)
    assert client.done(), "the client hangs"
    assert isinstance(client.exception(), TimeoutError)


# --- mocks: the peer says what the test's author thinks that it says


def mock_update() -> None:
    """Bug 1: the service is a dictionary; calls come in the order in which the test makes them."""
    service = {"count": 0}
    call = mock.Mock(side_effect=lambda value=None: service.update(count=value) if value else service["count"])
    for _ in range(2):
        call(call() + 1)
    assert service["count"] == 2


def mock_response(is_fixed: bool = False) -> None:
    """Bug 2."""
    sock = mock.MagicMock()
    sock.recv.side_effect = [b"413 Too Large"]
    assert upload(sock) == b"413 Too Large"


def mock_hang(is_fixed: bool = False) -> None:
    """Bug 3: the author knows that a time-out is possible, else there would be nothing to return."""
    sock = mock.MagicMock()
    sock.recv.side_effect = TimeoutError
    with mock.patch("time.sleep"):
        try:
            ask(sock, is_fixed)
        except TimeoutError:
            return
    raise AssertionError("no time-out")


def _estab(scenario: Callable[..., None]) -> Callable[[bool], str]:
    def run(is_fixed: bool) -> str:
        for seed in range(SEEDS):
            made = attempt(lambda net: scenario(net, is_fixed) if is_fixed else scenario(net), seed)
            if made.is_failure:
                return f"seed {seed}: {made.sentence}"
        return ""
    return run


def _simloop(scenario: Callable[..., Any]) -> Callable[[bool], str]:
    def run(is_fixed: bool) -> str:
        from simloop import explore  # type: ignore[import-not-found,unused-ignore]

        report = explore(lambda: scenario(is_fixed) if is_fixed else scenario(), range(SEEDS))
        return "" if report is None else f"seed {report.seed}: {type(report.exception).__name__}: {report.exception}"
    return run


def _mock(scenario: Callable[..., None]) -> Callable[[bool], str]:
    def run(is_fixed: bool) -> str:
        try:
            scenario(is_fixed) if is_fixed else scenario()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""
    return run


CASES: dict[str, tuple[Callable[..., Any], Callable[[bool], str]]] = {
    "estab    lost update": (lost_update.in_estab, _estab(lost_update.in_estab)),
    "simloop  lost update": (lost_update.in_simloop, _simloop(lost_update.in_simloop)),
    "mock     lost update": (mock_update, _mock(mock_update)),
    "estab    lost response": (estab_response, _estab(estab_response)),
    "simloop  lost response": (simloop_response, _simloop(simloop_response)),
    "mock     lost response": (mock_response, _mock(mock_response)),
    "estab    half-open": (estab_hang, _estab(estab_hang)),
    "simloop  half-open": (simloop_hang, _simloop(simloop_hang)),
    "mock     half-open": (mock_hang, _mock(mock_hang)),
}


def _first_line(found: str) -> str:
    return found.splitlines()[0] if found else "passes"


def main() -> None:
    """Print what each finds, with and without the fix."""
    for name, (scenario, run) in CASES.items():
        lines = sum(bool(line.strip()) for line in inspect.getsource(scenario).splitlines()) - 1
        began = time.perf_counter()
        try:
            found = run(False)
            seconds = time.perf_counter() - began
            fixed = "" if "update" in name else f"; with the fix: {_first_line(run(True))}"
        except ImportError:
            print(f"{name:24} not installed")
            continue
        print(f"{name:24} {lines:3} lines {seconds:6.2f} s  {_first_line(found)}{fixed}", flush=True)


if __name__ == "__main__":
    main()
