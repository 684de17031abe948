"""How fast the lab is: hosts, segments, round trips, connections, requests, small networks, seeds.

    python bench/lab.py                                    every row, five times, and the medians
    python bench/lab.py bulk blocking --rounds 9           these rows
    python bench/lab.py --before OLD/bin/python            another installation of estab, measured in turn with this one
    python bench/lab.py --simloop PYTHON                   the lost update in simloop, with an interpreter that has it
    python bench/lab.py --page docs/speed.md               and write the table there

Each figure is of a process of its own. Two are given: by the clock, and by the processor time that the process used,
which other load on the machine changes least. A run is on one CPU, so on an idle machine both agree.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BEGIN, END = "<!-- lab: begin -->", "<!-- lab: end -->"
_FILES_MAX: Final = 1 << 20
_FOLDER: Final = str(Path(__file__).resolve().parent)
if sys.path and sys.path[0] == _FOLDER:  # its modules have names of others
    sys.path.pop(0)


class Stopwatch:
    """Real time and processor time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return seconds by the clock, and of the processor."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def peak_mib() -> float:
    """Return the most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_bytes() -> int:
    """Return the memory that this process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stay_on_one_cpu() -> None:
    """Keep this process on the CPU where it runs, if the system lets it: to wake a thread on another takes longer."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {ctypes.CDLL(None).sched_getcpu()})


def pair(**link: Any) -> tuple[Any, Any, Any]:
    """Make a network of two hosts, 1 ms apart."""
    import estab

    net = estab.Network(seed=1)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="1ms", **link)
    return net, a, b


# --- the rows: each returns the quantity of work, its seconds by clock and processor, and, if it counts them, segments


def star(hosts: int) -> tuple[float, float, float]:
    """Hosts around a router, each with a connection to one server for 60 virtual seconds."""
    import estab

    watch = Stopwatch()
    net = estab.Network(seed=1)
    hub, server = net.host("hub", forwarding=True), net.host("server", somaxconn=hosts + 100)
    net.link(server, hub, delay="1ms")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(64))
        await reader.read()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "", 80, backlog=hosts + 100) as listener:
            await listener.serve_forever()

    async def call(address: str) -> None:
        reader, writer = await asyncio.open_connection(address, 80)
        writer.write(b"x" * 64)
        await reader.read(64)
        await asyncio.sleep(50)
        writer.close()

    server.run(serve, daemon=True)
    for number in range(hosts):
        host = net.host(f"h{number}")
        net.link(host, hub, delay="1ms")
        host.run(call, server.address, start="1s")
    net.run("60s")
    wall, cpu = watch.read()
    return 1, wall, cpu


def bulk(megabytes: int) -> tuple[float, float, float, float]:
    """One blocking program writes, another reads; 1 ms, MTU 1500. Segments are those that both hosts sent."""
    net, a, b = pair()

    def read() -> int:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            return sum(len(text) for text in iter(lambda: connection.recv(65536), b""))

    def write() -> None:
        text = bytes(1_000_000)
        with socket.create_connection(("b", 80)) as connection:
            for _ in range(megabytes):
                connection.sendall(text)

    reading = b.run(read)
    a.run(write)
    watch = Stopwatch()
    net.run()
    wall, cpu = watch.read()
    assert reading.result() == megabytes * 1_000_000
    return megabytes, wall, cpu, sum(host.counters()["TcpOutSegs"] for host in (a, b))


def blocking(count: int) -> tuple[float, float, float]:
    """64 bytes there and back, by blocking programs."""
    net, a, b = pair()

    def echo() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            while text := connection.recv(64):
                connection.sendall(text)

    def ask() -> None:
        with socket.create_connection(("b", 80)) as connection:
            for _ in range(count):
                connection.sendall(b"x" * 64)
                connection.recv(64)

    b.run(echo)
    a.run(ask)
    watch = Stopwatch()
    net.run()
    return count, *watch.read()


def streams(count: int) -> tuple[float, float, float]:
    """64 bytes there and back, by asyncio's streams."""
    net, a, b = pair()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.read(64):
            writer.write(text)
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(echo, "", 80) as listener:
            await listener.serve_forever()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("b", 80)
        for _ in range(count):
            writer.write(b"x" * 64)
            await reader.readexactly(64)
        writer.close()

    b.run(serve, daemon=True)
    a.run(ask, start="1ms")
    watch = Stopwatch()
    net.run()
    return count, *watch.read()


def open_connections(count: int) -> tuple[float, float, float]:
    """So many connections by asyncio between two hosts, all open at once."""
    import estab

    watch = Stopwatch()
    net = estab.Network(seed=1)
    server = net.host("server", somaxconn=65_535, tcp_max_syn_backlog=65_535, nofile=count + 1000)
    clients = [net.host(f"c{number}") for number in range(-(-count // 20_000))]
    hub = net.host("hub", forwarding=True)
    net.link(server, hub, delay="1ms")
    for host in clients:
        net.link(host, hub, delay="1ms")

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(hold, "", 80, backlog=65_535) as listener:
            await listener.serve_forever()

    async def call(address: str, share: int) -> int:
        held = []
        for first in range(0, share, 1000):
            number = min(1000, share - first)
            held += await asyncio.gather(*[asyncio.open_connection(address, 80) for _ in range(number)])
        await asyncio.sleep(60)
        return len(held)

    server.run(serve, daemon=True)
    calling = [host.run(call, server.address, min(20_000, count - place * 20_000), start="1s")
               for place, host in enumerate(clients)]
    before = resident_bytes()
    net.run("30s")
    wall, cpu = watch.read()
    print(json.dumps({"bytes": (resident_bytes() - before) / count}), file=sys.stderr)
    assert not any(program.done() for program in calling)
    return 1, wall, cpu


def requests(count: int) -> tuple[float, float, float]:
    """GETs by aiohttp from aiohttp, one after the other, in the lab."""
    import aiohttp.web  # noqa: F401 - so that to import it is no part of either row

    net, a, b = pair()
    b.run(_serve_http, daemon=True)
    a.run(_get_http, "b", count, start="10ms")
    watch = Stopwatch()
    net.run()
    return count, *watch.read()


def requests_on_loopback(count: int) -> tuple[float, float, float]:
    """The same between two threads over this machine's loopback, both on one CPU: a third faster than on two.

    The lab, too, keeps its threads on one.
    """
    import aiohttp.web  # noqa: F401

    stay_on_one_cpu()
    ready = threading.Event()
    ended: list[Callable[[], object]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        ended.append(lambda: loop.call_soon_threadsafe(stop.set))
        await _serve_http("127.0.0.1", ready, stop)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    watch = Stopwatch()
    asyncio.run(_get_http("127.0.0.1", count))
    read = watch.read()
    ended[0]()
    thread.join()
    return count, *read


async def _serve_http(address: str = "", ready: Any = None, stop: Any = None) -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address or "0.0.0.0", 8080).start()
    if ready is not None:
        ready.set()
    await (stop.wait() if stop is not None else asyncio.sleep(3600))
    await runner.cleanup()


async def _get_http(host: str, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            async with session.get(f"http://{host}:8080/") as answer:
                await answer.read()


def exchange_once(net: Any) -> None:
    """Build a network of two hosts, and let them exchange once."""
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.sendall(connection.recv(64))

    def call() -> bytes:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(b"hello")
            return connection.recv(64)

    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="1ms")
    b.run(serve)
    called = a.run(call)
    net.run()
    assert called.result() == b"hello"


def one_by_one(scenario: Callable[[Any], None], count: int) -> tuple[float, float, float]:
    """Make and close a network for each seed."""
    import estab

    assert estab.Network  # it is imported at its first use, which is no part of a seed
    watch = Stopwatch()
    for seed in range(count):
        with estab.Network(seed=seed) as net:
            scenario(net)
    return count, *watch.read()


def swept(scenario: Callable[[Any], None], count: int) -> tuple[float, float, float]:
    """Run the same seeds by ``estab.sweep``, which keeps of each what a failing one is to be told with."""
    import estab

    estab.sweep(seeds=1).run(scenario)  # what it imports is no part of a seed
    watch = Stopwatch()
    found = estab.sweep(seeds=count).run(scenario)
    assert found.failed is None
    return count, *watch.read()


def small(count: int) -> tuple[float, float, float]:
    """Networks of two hosts: build, one exchange, close."""
    return one_by_one(exchange_once, count)


def small_swept(count: int) -> tuple[float, float, float]:
    """The same by a sweep."""
    return swept(exchange_once, count)


class Counter:
    """A service with a count: ``get`` reads it, a number sets it."""

    def __init__(self) -> None:
        self.count = 0

    async def serve(self) -> None:
        """Answer on port 8080."""
        async with await asyncio.start_server(self._answer, port=8080) as server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line == b"get\n":
            writer.write(b"%d\n" % self.count)
        else:
            self.count = int(line)
            writer.write(b"ok\n")
        writer.close()

    @staticmethod
    async def increment() -> None:
        """Read the count, and write one more, over a connection each."""
        seen = int(await Counter.call(b"get\n"))
        await Counter.call(b"%d\n" % (seen + 1))

    @staticmethod
    async def call(line: bytes) -> bytes:
        """Send a line, and return the answer."""
        reader, writer = await asyncio.open_connection("counter", 8080)
        writer.write(line)
        reply = await reader.readline()
        writer.close()
        return reply


def lose_an_update(net: Any) -> None:
    """Build the network of a lost update, and run it."""
    router = net.host("router", forwarding=True)
    hosts = {name: net.host(name) for name in ("counter", "a", "b")}
    for host in hosts.values():
        net.link(host, router, delay="12.75ms", jitter="12.25ms")
    counter = Counter()
    hosts["counter"].run(counter.serve, daemon=True)
    hosts["a"].run(Counter.increment, start="1s")
    hosts["b"].run(Counter.increment, start="1.2s")
    net.run()
    assert counter.count in (1, 2)


def lost_update(count: int) -> tuple[float, float, float]:
    """Seeds of a lost update: three hosts and a router, asyncio, four connections."""
    return one_by_one(lose_an_update, count)


def lost_update_swept(count: int) -> tuple[float, float, float]:
    """The same by a sweep."""
    return swept(lose_an_update, count)


def lost_update_in_simloop(count: int) -> tuple[float, float, float]:
    """The same by simloop, whose messages cross no router and no TCP."""
    from simloop import explore  # type: ignore[import-not-found,unused-ignore]

    async def scenario() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.net.set_defaults(latency=(0.001, 0.050))
        counter = Counter()
        loop.net.host("counter").create_task(counter.serve())
        await asyncio.sleep(1.0)
        first = loop.net.host("a").create_task(Counter.increment())
        await asyncio.sleep(0.2)
        await asyncio.gather(first, loop.net.host("b").create_task(Counter.increment()))
        assert counter.count in (1, 2)

    watch = Stopwatch()
    explore(scenario, range(count))
    return count, *watch.read()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what is run with which size, what it is called, its unit, and the aim."""

    name: str
    run: Callable[[int], tuple[float, ...]]
    size: int
    title: str
    unit: str
    aim: str
    is_rate: bool = True
    shows_memory: bool = False


ROWS: Final = {row.name: row for row in (
    Row("star", star, 1000, "1,000 hosts around a router, a connection each, asyncio, 60 virtual s", "s",
        "1 s, 150 MiB", is_rate=False, shows_memory=True),
    Row("star-10000", star, 10_000, "10,000 hosts", "s", "15 s, 1.5 GiB", is_rate=False, shows_memory=True),
    Row("bulk", bulk, 100, "bulk, two hosts, 1 ms, MTU 1500, blocking", "MB/s", "350,000 segments/s"),
    Row("blocking", blocking, 10_000, "64-byte round trips, blocking", "/s", "20,000 /s"),
    Row("streams", streams, 10_000, "64-byte round trips, asyncio", "/s", "15,000 /s"),
    Row("open", open_connections, 5000, "5,000 open asyncio connections", "s", "1.5 s", is_rate=False,
        shows_memory=True),
    Row("open-100000", open_connections, 100_000, "100,000 open asyncio connections", "s", "1.5 GB", is_rate=False,
        shows_memory=True),
    Row("requests", requests, 1000, "GETs, aiohttp", "/s", "the next row"),
    Row("loopback", requests_on_loopback, 1000, "the same over the kernel's loopback, on one CPU", "/s", ""),
    Row("small", small, 400, "small networks: build, one exchange, close", "/s", "2,000 /s"),
    Row("small-swept", small_swept, 400, "the same by `estab.sweep`, in one process", "/s", "2,000 /s"),
    Row("lost-update", lost_update, 200, "seeds of a lost update: three hosts, a router, asyncio", "/s", "400 /s"),
    Row("lost-update-swept", lost_update_swept, 200, "the same by `estab.sweep`, in one process", "/s", "400 /s"),
    Row("simloop", lost_update_in_simloop, 200, "the lost update by simloop 0.2.2, without router and TCP", "/s", ""),
)}
_LONG: Final = ("star-10000", "open-100000")


def measure(row: Row, python: str) -> dict[str, float] | None:
    """Run a row once in a process of its own. ``None``: it could not."""
    done = subprocess.run([python, __file__, "--one", row.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["?"]
        print(f"bench: {row.name} with {python}: {last[0]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(row: Row) -> None:
    """Run a row here, and print its figures as JSON."""
    for most in (_FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):  # on loopback each end takes one
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            break
    quantity, wall, cpu, *segments = row.run(row.size)
    figures = {"wall": quantity / wall, "cpu": quantity / cpu} if row.is_rate else {"wall": wall, "cpu": cpu}
    if segments:
        figures |= {"segments by wall": segments[0] / wall, "segments by cpu": segments[0] / cpu}
    print(json.dumps({**figures, "mib": peak_mib()}))
    sys.stdout.flush()
    os._exit(0)  # to end thousands of threads one by one is no part of any figure


def figure(row: Row, results: list[dict[str, float]], key: str) -> str:
    """Write the median of a figure, with segments or memory if the row has them."""
    if not results:
        return "–"
    value = statistics.median(result[key] for result in results)
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    text += f" {row.unit}"
    if f"segments by {key}" in results[0]:
        text += f", {statistics.median(result[f'segments by {key}'] for result in results):,.0f} segments/s"
    if row.shows_memory and key == "wall":
        text += f", {statistics.median(result['mib'] for result in results):,.0f} MiB"
    return text


def table(rows: list[Row], before: dict[str, list[dict[str, float]]], now: dict[str, list[dict[str, float]]]) -> str:
    """Write all as a table of Markdown."""
    has_before = any(before.values())
    head = ["work", "aim", *(["before"] if has_before else []), "now", *(["before, by CPU"] if has_before else []),
            "now, by CPU"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.title, row.aim]
        for key in ("wall", "cpu"):
            if has_before:
                cells.append(figure(row, before[row.name], key))
            cells.append(figure(row, now[row.name], key))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(page: Path, text: str) -> None:
    """Put the table between its two marks."""
    old = page.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Measure the rows, in turn, and print the medians."""
    parser = argparse.ArgumentParser(description="how fast the lab is")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all but the two longest if none")
    parser.add_argument("--all", action="store_true", help="the two longest rows as well, once each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", metavar="PYTHON", help="an interpreter with another estab, measured in turn")
    parser.add_argument("--simloop", metavar="PYTHON", help="an interpreter with simloop")
    parser.add_argument("--page", type=Path, help="the page whose table is written")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = [name for name in [*given.rows, *([given.one] if given.one else [])] if name not in ROWS]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    if given.one:
        one(ROWS[given.one])
    names = given.rows or [name for name in ROWS if given.all or name not in _LONG]
    rows = [ROWS[name] for name in names if name != "simloop" or given.simloop]
    before: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
    now: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(1, given.rounds + 1):
            for row in rows:
                if number > 1 and row.name in _LONG:
                    continue
                python = given.simloop if row.name == "simloop" else sys.executable
                turns = [(now, python)]
                if given.before and row.name not in ("simloop", "loopback"):
                    turns.insert(0, (before, given.before))
                for kept, interpreter in turns:
                    found = measure(row, interpreter)
                    if found is not None:
                        kept[row.name].append(found)
                print(f"bench: round {number} of {given.rounds}: {row.name}: {figure(row, now[row.name][-1:], 'wall')}",
                      file=sys.stderr, flush=True)
    text = table(rows, before, now)
    print(text)
    if given.page:
        write(given.page, text)


if __name__ == "__main__":
    main()
