"""Connections a second through the core: opened, a byte each way, closed, by a served host that no kernel is under.

    python bench/connections.py [COUNT]      the installed or ``PYTHONPATH``'s estab, compiled or not: it says which

A client made of templates opens 32 connections at a time, as ``bench/stacks/race.py`` does with a real one: for each it
sends six packets (SYN, ACK, a byte, the ACK of the echo, FIN, the last ACK) and is sent three. All frames of a kind are
made beforehand, and go through the loop's step one by one, each with its answer, as from a device. Only the steps are
timed, by the processor's time, in two ways: *with offload*, as from TUN with a virtio header, where checksums are known
to be good; and *plain*. COUNT connections are measured five times; the best is given.
"""

from __future__ import annotations

import argparse
import sys
from time import process_time

from estab._build import core_kind
from estab.host.drive.step import Stepper
from estab.host.engine import Engine
from estab.serve.plain import Echo
from estab.serve.services import Services
from estab.wire import ip, tcp
from estab.wire.ip import IpHeader
from estab.wire.seq import wrap

AT_ONCE = 32
ROUNDS = 5
HEADER_BYTES = 10
KNOWN_GOOD = b"\x02" + bytes(HEADER_BYTES - 1)
HERE, THERE = b"\x0a\0\0\x02", b"\x0a\0\0\x01"
PORT = 7
STEP_NS = 10_000


class Server:
    """A host that echoes, on a device that is two lists."""

    def __init__(self, is_plain: bool) -> None:
        self.now_ns = 1_000_000_000
        self.engine = Engine("server", bytes(range(32)))
        self.interface = self.engine.add_interface(
            "tun0", mtu=1500, segment_bytes_max=0 if is_plain else 65_000, has_checksum_offload=not is_plain,
        )
        self.engine.add_address(self.interface, "10.0.0.2/24")
        self.sent: list[bytes] = []
        self.frames: list[bytes | None] = []
        """What the device has, the next one last. ``None``: it has none now."""
        self.header = b"" if is_plain else KNOWN_GOOD
        services = Services(self.engine)
        services.add(Echo(), "", PORT, self.now_ns)
        self.services = services
        self.stepper = Stepper(self.engine, self.interface, self.frames.pop, self.send, tell, len(self.header),
                               is_polled=True)
        self.stepper.handler = services
        self.seconds = 0.0

    def send(self, header: bytes, frame: bytes) -> bool:
        """Send a frame."""
        self.sent.append(frame)
        return True

    def take(self, frames: list[bytes]) -> list[bytes]:
        """Take frames from the device, one a step. Returns what was sent."""
        self.sent.clear()
        self.frames.clear()
        self.frames += [None] * len(frames)
        self.frames += reversed(frames)
        step, now_ns = self.stepper.step, self.now_ns
        started = process_time()
        for _ in frames:
            now_ns += STEP_NS
            step(now_ns)
        self.seconds += process_time() - started
        self.now_ns = now_ns
        return self.sent


def tell(fd: int, bits: int) -> None:
    """Be told of news that no service takes: there is none."""


class Client:
    """One connection of the client's: what it sends next follows from what it was sent."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self.seq = port * 7919
        self.ack = 0
        self.ts_ecr = 0

    def frame(self, flags: int, text: bytes = b"") -> bytes:
        """Make the next packet, with the options of Linux's."""
        segment = tcp.Segment(self.port, PORT, wrap(self.seq), wrap(self.ack), flags, 502)
        segment.has_timestamps = True
        segment.ts_val = self.server.now_ns // 1_000_000
        segment.ts_ecr = self.ts_ecr
        if flags & tcp.SYN:
            segment.wnd, segment.mss, segment.wscale, segment.sack_permitted = 64_240, 1460, 7, True
        segment.data, segment.end = text, len(text)
        self.seq += len(text) + (1 if flags & (tcp.SYN | tcp.FIN) else 0)
        packet = tcp.emit_packet(segment, IpHeader(THERE, HERE, ident=1, dont_fragment=True))
        return self.server.header + packet

    def heard(self, frame: bytes) -> None:
        """Take a packet of the server's."""
        segment = tcp.parse(ip.parse(frame, 0), True)
        length = segment.end - segment.start + (1 if segment.flags & (tcp.SYN | tcp.FIN) else 0)
        self.ack = segment.seq + length
        self.ts_ecr = segment.ts_val


def exchange(server: Server, first_port: int) -> None:
    """Open 32 connections, send a byte on each, have it back, and close them."""
    clients = [Client(server, first_port + number) for number in range(AT_ONCE)]

    def turn(flags: int, text: bytes = b"", answers: int = AT_ONCE) -> None:
        sent = server.take([client.frame(flags, text) for client in clients])
        if len(sent) != answers:
            raise SystemExit(f"{len(sent)} packets were sent where {answers} were to be")
        for client, frame in zip(clients, sent, strict=False):
            client.heard(frame)

    turn(tcp.SYN)
    turn(tcp.ACK, answers=0)
    turn(tcp.ACK | tcp.PSH, b"a")
    turn(tcp.ACK, answers=0)
    turn(tcp.FIN | tcp.ACK)
    turn(tcp.ACK, answers=0)


def measure(server: Server, count: int) -> float:
    """Return the processor's microseconds for a connection."""
    server.seconds = 0.0
    for number in range(count // AT_ONCE):
        exchange(server, 1024 + number * AT_ONCE % 60_000)
    return server.seconds * 1e6 / (count // AT_ONCE * AT_ONCE)


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description="connections a second through the core")
    parser.add_argument("count", nargs="?", type=int, default=20_000, metavar="COUNT", help="20,000 by default")
    count = parser.parse_args().count
    if count < AT_ONCE:
        parser.error(f"COUNT: at least {AT_ONCE}, which are open at once")
    print(f"estab's core is {core_kind()}; Python {sys.version.split()[0]}; {ROUNDS} times {count:,} connections, "
          f"{AT_ONCE} at once")
    servers = [("with offload", Server(False)), ("plain", Server(True))]
    best = {name: 1e9 for name, _ in servers}
    for _ in range(ROUNDS):
        for name, server in servers:
            best[name] = min(best[name], measure(server, count))
    for name, us in best.items():
        print(f"  {name:14} {us:8.2f} µs a connection {1e6 / us:12,.0f} connections/s")


if __name__ == "__main__":
    main()
