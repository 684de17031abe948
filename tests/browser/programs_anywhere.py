"""Programs that run in CPython and in Pyodide. ``main`` runs one and hashes its facts: both must say the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import estab


def blocking(net: Any) -> object:
    """Run two blocking programs while their cable is pulled."""
    phone, server = net.host("phone"), net.host("server")
    wifi = net.link(phone, server, delay="40ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            sock.sendall(sock.recv(100).upper())
            sock.recv(1)

    @phone.run
    def call() -> bytes:
        with socket.create_connection(("server", 80)) as sock:
            sock.sendall(b"hello")
            return sock.recv(100)

    net.at("0.1s", wifi.cut)
    net.at("0.5s", wifi.heal)
    net.run()
    return call.result().decode()


def event_loops(net: Any) -> object:
    """Run an asynchronous program, and a function that calls ``asyncio.run``."""
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="20ms", loss="5%")

    @server.run
    async def serve() -> None:
        done = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            done.set()

        async with await asyncio.start_server(answer, "0.0.0.0", 7):
            await done.wait()

    async def ask() -> list[object]:
        await asyncio.sleep(1)
        reader, writer = await asyncio.open_connection("server", 7)
        writer.write(b"hi\n")
        line = await reader.readline()
        writer.close()
        return [line.decode(), asyncio.current_task() is not None]

    asked = client.run(lambda: asyncio.run(ask()))
    net.run()
    return asked.result()


def threads(net: Any) -> object:
    """Start threads, with locks, names and a pool, and blocking calls in an event loop's threads."""
    host, other = net.host("host"), net.host("other")
    net.link(host, other, delay="5ms")

    @host.run
    def work() -> list[object]:
        done: list[object] = []
        lock = threading.RLock()

        def one(number: int) -> None:
            with lock:
                time.sleep(number / 10)
                done.append([number, threading.current_thread().name])

        made = [threading.Thread(target=one, args=(number,), name=f"worker {number}") for number in (3, 1, 2)]
        for thread in made:
            thread.start()
        for thread in made:
            thread.join()
        with ThreadPoolExecutor(2) as pool:
            slept = list(pool.map(lambda number: (time.sleep(number), number)[1], [2, 1]))
        return [done, slept, [thread.is_alive() for thread in made],
                threading.current_thread() is threading.main_thread()]

    @other.run
    async def gather() -> list[float]:
        def nap(number: int) -> float:
            time.sleep(number)
            return time.monotonic()

        return await asyncio.gather(*(asyncio.to_thread(nap, number) for number in (2, 1)))

    net.run()
    return [work.result(), gather.result()]


def deadlock(net: Any) -> object:
    """Wait for ever: the run ends, and says for what; then the network closes."""
    host = net.host("host")

    @host.run
    def wait() -> None:
        socket.create_server(("", 80)).accept()

    @host.run
    def sleep() -> None:
        threading.Event().wait()

    try:
        net.run()
    except estab.DeadlockError as error:
        net.close()
        return "sleep on host waits for a lock" in str(error)
    return False


PROGRAMS: dict[str, Callable[[Any], object]] = {
    "blocking": blocking, "event_loops": event_loops, "threads": threads, "deadlock": deadlock,
}


def main(given: str) -> str:
    """Run one; write its result, the number of facts, their hash and the time at its end."""
    digest = hashlib.sha256()
    count = 0

    def see(fact: object) -> None:
        nonlocal count
        count += 1
        digest.update(repr(fact).encode())

    net = estab.Network(seed=7)
    net.observe(see)
    result = PROGRAMS[given](net)
    return json.dumps([result, count, digest.hexdigest(), net.now])
