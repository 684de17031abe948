"""Memory of an idle established connection, and of what a network of the lab is made of.

    python bench/memory.py [CONNECTIONS]      100,000 by default

What is counted is how much the resident memory of this process grew, divided by the number of things: for the end of a
connection TCB, socket, entries in the fd, port and connection tables, timers, and whatever the allocator adds. Then
each end sends a byte to the other, and it is counted again. In the lab: a host without links, a link with all that its
ends get, a program that waits, with its thread and a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import socket
import sys
import time
from collections.abc import Callable

import estab
from estab._build import core_kind
from estab.abi import AF_INET, SOCK_STREAM
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket

PAGE = 4096
PER_ADDRESS = 20_000
"""Connections to each of the server's addresses: ephemeral ports are 28,232 to one."""


def resident_bytes() -> int:
    """Ask how much memory this process holds now (Linux)."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


class Crowd:
    """A client and a server with many connections between them."""

    def __init__(self, addresses: int) -> None:
        self.now_ns = 1_000_000_000
        self.client, self.server = self.host("client", 1, 1), self.host("server", 2, addresses)
        self.listener = self.socket(self.server)
        self.listener.bind(("", 80), self.now_ns)
        self.listener.listen(1024, self.now_ns)
        self.kept: list[StreamSocket] = []

    def host(self, name: str, number: int, addresses: int) -> Engine:
        """Make a host with one interface and as many addresses as asked."""
        host = Engine(name, name.encode() * 16)
        host.files.limit = 1 << 24
        interface = host.add_interface("eth0", mtu=1500)
        for index in range(addresses):
            host.add_address(interface, f"10.{number}.{index}.1/8")
        return host

    def socket(self, host: Engine) -> StreamSocket:
        """Make a TCP socket."""
        made = host.socket(AF_INET, SOCK_STREAM, self.now_ns)
        assert isinstance(made, StreamSocket)
        return made

    def connect(self, number: int) -> None:
        """Open one more connection and keep both its ends."""
        self.now_ns += 1000
        end = self.socket(self.client)
        try:
            end.connect((f"10.2.{number // PER_ADDRESS}.1", 80), self.now_ns)
        except BlockingIOError:
            pass
        self.exchange()
        self.kept += [end, self.listener.accept(self.now_ns)]

    def talk(self, ends: list[StreamSocket]) -> None:
        """Let each of these ends, which stand in pairs, send a byte to the other, and wait until all is quiet."""
        for end, other in zip(ends[::2], ends[1::2], strict=True):
            for sender, reader in ((end, other), (other, end)):
                self.now_ns += 1_000_000
                sender.send(b"x", 0, self.now_ns)
                self.exchange()
                reader.recv(1, 0, self.now_ns)
        self.now_ns += 10_000_000_000
        for host in (self.client, self.server):
            host.on_deadline(self.now_ns)
        self.exchange()

    def exchange(self) -> None:
        """Carry frames both ways until there are none, and take all news."""
        for source, target in ((self.client, self.server), (self.server, self.client)) * 2:
            while (frame := source.poll_frame(self.now_ns)) is not None:
                target.on_frame(1, frame.data, self.now_ns)
            while source.poll_event() is not None:
                pass


def parts_of(end: StreamSocket) -> list[tuple[str, int]]:
    """List what one end is made of, with sizes: its objects, without what the allocator and the tables add."""
    connection = end.connection
    assert connection is not None
    parts = {"TCB": connection, "socket": end, "key": connection.key, "binding": end.binding}
    for name in ("traffic", "marks", "troubles", "later_minima", "seldom", "rate", "losses", "ecn", "sent", "unsent",
                 "received", "out_of_order"):
        parts[name] = getattr(connection, name)
    parts["extras"] = end.extras
    return [(name, sys.getsizeof(part)) for name, part in parts.items() if part is not None]


def per(count: int, make: Callable[[int], object]) -> float:
    """Return how much memory grows for one of so many things, after some that are not counted."""
    kept = [make(number) for number in range(50)]
    before = resident_bytes()
    kept += [make(number) for number in range(50, 50 + count)]
    return (resident_bytes() - before) / count


def lab() -> None:
    """Print what hosts, links and programs of the lab take."""
    net = estab.Network(seed=1)
    print(f"  a host of the lab         {per(1000, lambda number: net.host(f'h{number}')):8,.0f} bytes")
    a, b = net.host("a", somaxconn=5000), net.host("b")
    print(f"  a link of the lab         {per(1000, lambda _: net.link(a, b, delay='1ms')):8,.0f} bytes")

    def serve() -> None:
        with socket.create_server(("", 80), backlog=5000) as listener:
            held = []
            while True:
                held.append(listener.accept()[0])

    def call() -> None:
        with socket.create_connection((a.address, 80)):
            time.sleep(3600)

    async def call_async() -> None:
        _, writer = await asyncio.open_connection(a.address, 80)
        await asyncio.sleep(3600)
        writer.close()

    a.run(serve, daemon=True)
    for name, function in (("a blocking", call), ("an asyncio", call_async)):
        def start(number: int, function: Callable[[], object] = function) -> None:
            b.run(function)
            net.run(until=net.now + 0.01)

        print(f"  {name} program        {per(200, start):8,.0f} bytes, with its thread and both ends of a connection")
    net.abandon()


def main() -> None:
    """Open them, let the delayed acknowledgments go, and print what one end takes."""
    parser = argparse.ArgumentParser(description="memory of an idle connection, and of what a network is made of")
    parser.add_argument("count", nargs="?", type=int, default=100_000, metavar="CONNECTIONS", help="100,000 by default")
    count = parser.parse_args().count
    if count < 1:
        parser.error("CONNECTIONS: at least 1")
    warm_up = 200  # what is made once is not counted
    crowd = Crowd((warm_up + count) // PER_ADDRESS + 1)
    for number in range(warm_up):
        crowd.connect(number)
    before = resident_bytes()
    for number in range(warm_up, warm_up + count):
        crowd.connect(number)
    crowd.now_ns += 10_000_000_000
    for host in (crowd.client, crowd.server):
        host.on_deadline(crowd.now_ns)
    crowd.exchange()
    used = resident_bytes() - before
    print(f"estab's core is {core_kind()}; {count:,} connections, idle and established, both ends in this process")
    print(f"  one end of one connection {used / count / 2:8,.0f} bytes")
    print("    of which " + ", ".join(f"{name} {size:,}" for name, size in parts_of(crowd.kept[-1])))
    before = resident_bytes()
    crowd.talk(crowd.kept[2 * warm_up :])
    used += resident_bytes() - before
    print(f"  after a byte each way     {used / count / 2:8,.0f} bytes")
    print("    of which " + ", ".join(f"{name} {size:,}" for name, size in parts_of(crowd.kept[-1])))
    lab()


if __name__ == "__main__":
    main()
