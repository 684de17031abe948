"""Sets of tasks, futures, sockets, writers and protocols have the same order in each run: no address decides it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from estab import Network

COUNT = 12


class Chat(asyncio.Protocol):
    """Sends to all of its clients what one of them says."""

    clients: set[Chat]
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.clients.add(self)

    def data_received(self, data: bytes) -> None:
        for client in self.clients:
            client.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.clients.discard(self)


async def serve() -> None:
    """Echo at 7; pass all to all at 8 and 9, from a set of writers and from one of protocols."""
    writers: set[asyncio.StreamWriter] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        while data := await reader.read(100):
            for each in writers:
                each.write(data)
        writers.discard(writer)
        writer.close()

    class OwnChat(Chat):
        clients = set()

    await asyncio.start_server(echo, None, 7)  # IPv4 and IPv6
    await asyncio.start_server(chat, "", 8)
    loop = asyncio.get_running_loop()
    await (await loop.create_server(OwnChat, "server", 9)).serve_forever()


async def ask(number: int) -> bytes:
    reader, writer = await asyncio.open_connection("server", 7)
    writer.write(b"%d" % number)
    answer = await reader.read(10)
    writer.close()
    return answer


async def hold(number: int) -> None:
    _, writer = await asyncio.open_connection("server", 7)
    try:
        await asyncio.sleep(100)
    finally:
        writer.write(b"%d" % number)
        writer.close()


async def as_completed() -> None:
    for done in asyncio.as_completed([ask(number) for number in range(COUNT)]):
        await done


async def wait() -> None:
    done, _ = await asyncio.wait([asyncio.create_task(ask(number)) for number in range(COUNT)])
    for task in done:
        await ask(int(task.result()))


async def tasks_in_a_set() -> None:
    tasks = {asyncio.create_task(hold(number)) for number in range(COUNT)}
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def group() -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(COUNT):
                tasks.create_task(hold(number))
            await asyncio.sleep(1)
            raise ValueError
    except* ValueError:
        pass


async def left_over() -> None:
    kept = [asyncio.create_task(hold(number)) for number in range(COUNT)]
    await asyncio.sleep(1)
    assert len(asyncio.all_tasks()) == len(kept) + 1


async def generators() -> None:
    async def numbers(number: int) -> AsyncIterator[int]:
        try:
            while True:
                yield number
        finally:
            await ask(number)

    kept = [numbers(number) for number in range(COUNT)]
    for one in kept:
        await anext(one)
    asyncio.get_running_loop().kept = kept  # type: ignore[attr-defined]


def talk(port: int) -> Callable[[], Awaitable[None]]:
    async def chat() -> None:
        streams = [await asyncio.open_connection("server", port) for _ in range(COUNT)]
        await asyncio.sleep(1)
        streams[0][1].write(b"hello")
        await asyncio.gather(*(reader.readexactly(5) for reader, _ in streams))
        for _, writer in streams:
            writer.close()

    return chat


def pool() -> None:
    def ask_number(number: int) -> bytes:
        with socket.create_connection(("server", 7)) as sock:
            sock.sendall(b"%d" % number)
            return sock.recv(10)

    with concurrent.futures.ThreadPoolExecutor(COUNT) as threads:
        done, _ = concurrent.futures.wait([threads.submit(ask_number, number) for number in range(COUNT)])
    for each in done:
        ask_number(int(each.result()))


async def executor() -> None:
    def ask_number(number: int) -> bytes:
        with socket.create_connection(("server", 7)) as sock:
            sock.sendall(b"%d" % number)
            return sock.recv(10)

    loop = asyncio.get_running_loop()
    done, _ = await asyncio.wait({loop.run_in_executor(None, ask_number, number) for number in range(COUNT)})
    for each in done:
        await ask(int(each.result()))


def sockets() -> None:
    opened = {socket.create_connection(("server", 7)) for _ in range(COUNT)}
    for sock in opened:
        sock.sendall(b"hello")
    while opened:
        for sock in select.select(opened, [], [])[0]:
            opened.remove(sock)
            sock.close()


PROGRAMS: dict[str, Callable[[], object]] = {
    "as_completed": as_completed, "wait": wait, "tasks in a set": tasks_in_a_set, "group": group,
    "left over": left_over, "generators": generators, "writers": talk(8), "protocols": talk(9), "pool": pool,
    "executor": executor,
    "sockets": sockets,
}


def facts_of(program: Callable[[], object]) -> list[str]:
    with Network(seed=1) as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client, delay="10ms")
        seen = net.record()
        server.run(serve, daemon=True)
        client.run(program, start="10ms")
        net.run()
        return [repr(fact) for fact in seen.facts]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_set_has_the_same_order_in_two_runs(name: str) -> None:
    first = facts_of(PROGRAMS[name])
    kept = [bytearray(size) for size in range(1, 3000, 7)]  # so that the second run's objects lie elsewhere
    assert len(first) > 100
    assert first == facts_of(PROGRAMS[name])
    assert kept


def test_servers_on_all_addresses_listen_in_the_same_order_whatever_the_hash_seed(tmp_path: Path) -> None:
    found = set()
    for hash_seed in ("1", "2", "3", "4"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, str(Path(__file__).resolve())], env=environment, capture_output=True,
                              text=True, check=True, cwd=tmp_path)
        found.add(done.stdout)
    assert len(found) == 1
    assert "listen" in found.pop()


def test_a_set_made_in_a_run_finds_its_members_after_it() -> None:
    kept: set[object] = set()

    async def program() -> None:
        _, writer = await asyncio.open_connection("server", 7)
        kept.update((writer, writer.transport, asyncio.current_task(), writer.transport.get_protocol()))
        writer.close()

    facts_of(program)
    assert len(kept) == 4
    assert all(one in kept for one in list(kept))


def names_of() -> list[list[str]]:
    with Network(seed=1) as net:
        one, other = net.host("one"), net.host("other")

        async def tasks() -> list[str]:
            made = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
            made.append(asyncio.create_task(asyncio.sleep(0), name="mine"))
            return [task.get_name() for task in (asyncio.current_task(), *made) if task is not None]

        def threads() -> list[str]:
            made = [threading.Thread(target=id, args=(0,)) for _ in range(2)]
            names = [thread.name for thread in made]
            for _ in range(2):
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    names.append(pool.submit(threading.current_thread).result().name)
            return names

        programs = [one.run(tasks), other.run(tasks), one.run(threads), other.run(threads)]
        net.run()
        return [program.result() for program in programs]


def test_names_of_tasks_and_threads_are_counted_in_each_program() -> None:
    tasks = ["Task-1", "Task-2", "Task-3", "mine"]
    threads = ["Thread-1 (id)", "Thread-2 (id)", "ThreadPoolExecutor-0_0", "ThreadPoolExecutor-1_0"]
    assert names_of() == [tasks, tasks, threads, threads]
    outside = threading.Thread().name
    assert names_of() == [tasks, tasks, threads, threads]
    assert outside != threading.Thread().name


def test_outside_of_programs_objects_hash_by_their_addresses() -> None:
    facts_of(sockets)
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    assert hash(future) == object.__hash__(future)


if __name__ == "__main__":
    print("\n".join(facts_of(as_completed)))


def test_objects_of_different_hosts_hash_by_different_numbers() -> None:
    async def hashes() -> set[int]:
        return {hash(asyncio.ensure_future(asyncio.sleep(0))) for _ in range(10)}

    net = Network(seed=1)
    programs = [net.host(f"h{number}").run(hashes) for number in range(20)]
    net.run()
    assert len(set().union(*(program.result() for program in programs))) == 200, "else sets of all tasks are slow"
