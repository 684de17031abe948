"""Seeds a second of a lost update across three hosts, in estab and in simloop, in turn.

A counter, and two clients that each read it and write back one more; the second begins 200 ms after the first. simloop
is the scenario of its README, so its latency is 1 to 50 ms a message. In estab the same coroutines run over TCP with
that latency for each packet. simloop is optional, and needs Python 3.12::

    taskset -c 1 python bench/lost_update.py --seeds 200 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import estab
from estab.trial.attempt import attempt

PORT = 8080


class Counter:
    """The service."""

    def __init__(self) -> None:
        self.count = 0

    async def serve(self) -> None:
        """Answer ``get`` with the count, and take any number as the new one."""
        async with await asyncio.start_server(self._handle, port=PORT) as server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line == b"get\n":
            writer.write(b"%d\n" % self.count)
        else:
            self.count = int(line)
            writer.write(b"ok\n")
        writer.close()


async def call(line: bytes) -> bytes:
    """Send a line over a connection of its own, and give the answer."""
    reader, writer = await asyncio.open_connection("counter", PORT)
    writer.write(line)
    reply = await reader.readline()
    writer.close()
    return reply


async def increment() -> None:
    """Read the count, and write one more."""
    seen = int(await call(b"get\n"))
    await call(b"%d\n" % (seen + 1))


def in_estab(net: estab.Network) -> None:
    """Play it over TCP."""
    hosts = {name: net.host(name) for name in ("counter", "a", "b")}
    counter = Counter()
    for name in ("a", "b"):
        net.link(hosts[name], hosts["counter"], delay="25.5ms", jitter="24.5ms")
    hosts["counter"].run(counter.serve, daemon=True)
    hosts["a"].run(increment, start="1s")
    hosts["b"].run(increment, start="1.2s")
    net.run()
    assert counter.count == 2


async def in_simloop() -> None:
    """Play it on simloop's streams."""
    loop: Any = asyncio.get_running_loop()
    loop.net.set_defaults(latency=(0.001, 0.050))
    counter = Counter()
    loop.net.host("counter").create_task(counter.serve())
    await asyncio.sleep(1.0)
    first = loop.net.host("a").create_task(increment())
    await asyncio.sleep(0.2)
    second = loop.net.host("b").create_task(increment())
    await asyncio.gather(first, second)
    assert counter.count == 2


def estab_seeds(count: int) -> list[int]:
    """Run seeds, and give those that failed."""
    return [seed for seed in range(count) if attempt(in_estab, seed).is_failure]


def simloop_seeds(explore: Callable[..., Any], count: int) -> list[int]:
    """Run seeds, and give those that failed. simloop stops at a failure; this goes on after it."""
    scenario: Callable[[], Awaitable[None]] = in_simloop
    failed: list[int] = []
    first = 0
    while first < count:
        report = explore(scenario, range(first, count))
        if report is None:
            break
        failed.append(report.seed)
        first = report.seed + 1
    return failed


def main() -> None:
    """Print seeds a second, a line for each round and tool."""
    parser = argparse.ArgumentParser(description="seeds a second of a lost update across three hosts")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    tools: dict[str, Callable[[int], list[int]]] = {"estab": estab_seeds}
    try:
        from simloop import explore  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        print("simloop is not installed: estab alone")
    else:
        tools["simloop"] = lambda count: simloop_seeds(explore, count)
    for run in tools.values():
        run(5)
    for number in range(1, given.rounds + 1):
        for name, run in tools.items():
            wall, cpu = time.perf_counter(), time.process_time()
            failed = run(given.seeds)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"round {number}  {name:8} {given.seeds / wall:7.1f} seeds a second, {given.seeds / cpu:7.1f} a CPU "
                  f"second; failed: {len(failed)}, lowest {failed[0] if failed else '-'}; "
                  f"load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
