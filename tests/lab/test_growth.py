"""What a network takes of the processor grows as what happens in it, not as the square of that.

Each figure is of a process of its own. Four times the work takes four times as long and, as caches and the garbage
collector have more to do, a little more: up to five times. Something that is looked through whole for each of its parts
shows as eight and more. It once did: each program that ended looked at the tasks of all.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from estab._build import core_kind

RATIO_MAX = 6.8

STAR = """
    hub, server = net.host("hub", forwarding=True), net.host("server", somaxconn=10_000)
    net.link(server, hub, delay="1ms")
    server.run(serve, daemon=True)
    for number in range(count):
        host = net.host(f"h{number}")
        net.link(host, hub, delay="1ms")
        host.run(call, 1, start="1s")
"""

CONNECTIONS = """
    host, server = net.host("host"), net.host("server", somaxconn=10_000, nofile=20_000)
    net.link(host, server, delay="1ms")
    server.run(serve, daemon=True)
    host.run(call, count, start="1s")
"""

SCRIPT = """
import asyncio, os, sys, time
import estab

async def answer(reader, writer):
    writer.write(await reader.read(64))
    await reader.read()
    writer.close()

async def serve():
    async with await asyncio.start_server(answer, "", 80, backlog=10_000) as listener:
        await listener.serve_forever()

async def call(count):
    opened = []
    for first in range(0, count, 500):
        share = range(first, min(first + 500, count))
        opened += await asyncio.gather(*[asyncio.open_connection("server", 80) for _ in share])
    for reader, writer in opened:
        writer.write(b"x" * 64)
    for reader, writer in opened:
        assert len(await reader.read(64)) == 64
    await asyncio.sleep(30)
    for reader, writer in opened:
        writer.close()

def work(count):
    net = estab.Network(seed=1)
{network}
    net.run("60s")

work(3)  # imports
begin = time.process_time()
work({count})
print(time.process_time() - begin, flush=True)
os._exit(0)  # without waiting until all is released
"""


def seconds(network: str, count: int) -> float:
    """Take the processor time of a network with so many hosts or connections."""
    script = SCRIPT.replace("{network}", network).replace("{count}", str(count))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize(("network", "count"), [
    pytest.param(STAR, 1000, id="hosts"), pytest.param(CONNECTIONS, 1500, id="connections"),
])
def test_four_times_the_work_does_not_take_much_more_than_four_times_as_long(network: str, count: int) -> None:
    if core_kind() != "compiled":
        count //= 4
    ratios = []
    for _ in range(3):  # other load on the machine changes processor time, too
        ratios.append(seconds(network, 4 * count) / seconds(network, count))
        if ratios[-1] < RATIO_MAX:
            return
    pytest.fail(f"four times as many took {', '.join(f'{ratio:.1f}' for ratio in ratios)} times as long")
