"""Segments a second through the whole core: parse, process, emit. No links, no clock: two hosts hand each other frames.

    python bench/segments.py [SECONDS]      the installed or ``PYTHONPATH``'s estab, compiled or not: it says which

- *one host*: 64-byte segments that were made beforehand go to one host, which parses them, checksum included, processes
  them and emits its acknowledgments. This is the core alone, without the sender's work.
- *echo*: 64 bytes go to a program, which reads them and sends them back. Each segment is parsed, processed, read,
  answered by a ``send`` and emitted.
- *stream*: 64-byte segments one way, every second one acknowledged. Both hosts' work is counted: the sender's too.
- *bulk*: as much as fits, in segments for an MTU of 1500, and in super-segments as a link with offload takes them.

Time is the processor's, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import sys
from time import process_time

from estab._build import core_kind
from estab.abi import AF_INET, SOCK_STREAM
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket
from estab.tcp.config import Config
from estab.wire import ip, tcp
from estab.wire.ip import IpHeader
from estab.wire.seq import wrap

SIZE = 64


class Lab:
    """Two hosts on one wire, their clock, and a connection between them."""

    def __init__(self, segment_bytes_max: int = 0) -> None:
        self.now_ns = 1_000_000_000
        self.a, self.b = self.host("a", 1, segment_bytes_max), self.host("b", 2, segment_bytes_max)
        listener = self.socket(self.b)
        listener.bind(("10.0.0.2", 80), self.now_ns)
        listener.listen(8, self.now_ns)
        self.client = self.socket(self.a)
        try:
            self.client.connect(("10.0.0.2", 80), self.now_ns)
        except BlockingIOError:
            pass
        self.exchange()
        self.server = listener.accept(self.now_ns)
        self.client.nodelay = self.server.nodelay = True

    def host(self, name: str, number: int, segment_bytes_max: int) -> Engine:
        """Make a host with one interface that carries bare IP packets."""
        config = Config()
        config.tcp_delack_ns = 1_000_000_000
        host = Engine(name, name.encode() * 16, config)
        interface = host.add_interface(
            "eth0", mtu=1500, segment_bytes_max=segment_bytes_max, has_checksum_offload=segment_bytes_max > 0,
        )
        host.add_address(interface, f"10.0.0.{number}/24")
        return host

    def socket(self, host: Engine) -> StreamSocket:
        """Make a TCP socket."""
        made = host.socket(AF_INET, SOCK_STREAM, self.now_ns)
        assert isinstance(made, StreamSocket)
        return made

    def move(self, source: Engine, target: Engine) -> int:
        """Carry all frames that a host has to the other; says how many."""
        moved = 0
        while (frame := source.poll_frame(self.now_ns)) is not None:
            target.on_frame(1, frame.data, self.now_ns, frame.is_partial_checksum)
            moved += 1
        return moved

    def exchange(self) -> int:
        """Carry frames both ways until there are none; says how many."""
        moved = 0
        while step := self.move(self.a, self.b) + self.move(self.b, self.a):
            moved += step
        return moved


def one_host(seconds: float) -> float:
    """Count segments a second that one host takes in, acknowledgments out included."""
    lab = Lab()
    lab.client.send(bytes(SIZE), 0, lab.now_ns)
    first = lab.a.poll_frame(lab.now_ns)
    assert first is not None
    packet = ip.parse(first.data, 0)
    segment = tcp.parse(packet, False)
    start = segment.seq
    segments = 0
    taken = 0.0
    on_frame, poll_frame, now_ns = lab.b.on_frame, lab.b.poll_frame, lab.now_ns
    while taken < seconds:
        frames = []
        for _ in range(4096):
            segment.seq = wrap(start)
            frames.append(tcp.emit_packet(segment, IpHeader(packet.src, packet.dst, ident=1, dont_fragment=True)))
            start += SIZE
        started = process_time()
        for number, frame in enumerate(frames):
            on_frame(1, frame, now_ns)
            poll_frame(now_ns)
            if number & 63 == 63:
                lab.server.recv(64 * SIZE, 0, now_ns)
        taken += process_time() - started
        segments += len(frames)
    return segments / taken


def echo(seconds: float) -> float:
    """Count segments a second when every one is answered by a program."""
    lab = Lab()
    message = bytes(SIZE)
    segments = 0
    started = process_time()
    while (taken := process_time() - started) < seconds:
        for _ in range(500):
            lab.now_ns += 1000
            lab.client.send(message, 0, lab.now_ns)
            segments += lab.move(lab.a, lab.b)
            lab.server.send(lab.server.recv(SIZE, 0, lab.now_ns), 0, lab.now_ns)
            segments += lab.move(lab.b, lab.a)
            lab.client.recv(SIZE, 0, lab.now_ns)
    return segments / taken


def stream(seconds: float) -> float:
    """Count segments a second of a one-way stream of small segments, acknowledgments included."""
    lab = Lab()
    message = bytes(SIZE)
    segments = 0
    started = process_time()
    while (taken := process_time() - started) < seconds:
        for _ in range(100):
            lab.now_ns += 10_000
            for _ in range(8):
                lab.client.send(message, 0, lab.now_ns)
                segments += lab.move(lab.a, lab.b)
            lab.server.recv(8 * SIZE, 0, lab.now_ns)
            segments += lab.move(lab.b, lab.a)
    return segments / taken


def bulk(seconds: float, segment_bytes_max: int) -> float:
    """Count bytes a second of a one-way transfer."""
    lab = Lab(segment_bytes_max)
    block = bytes(65536)
    received = 0
    started = process_time()
    while (taken := process_time() - started) < seconds:
        for _ in range(50):
            lab.now_ns += 100_000
            if lab.client.outq_bytes < 262_144:
                try:
                    lab.client.send(block, 0, lab.now_ns)
                except BlockingIOError:
                    pass
            lab.exchange()
            try:
                received += len(lab.server.recv(1 << 20, 0, lab.now_ns))
            except BlockingIOError:
                pass
    return received / taken


def main() -> None:
    """Print one line a measure."""
    parser = argparse.ArgumentParser(description="segments a second through the core")
    parser.add_argument("seconds", nargs="?", type=float, default=2.0, metavar="SECONDS", help="of each; 2 by default")
    seconds = parser.parse_args().seconds
    if not 0 < seconds < 3600:
        parser.error("SECONDS: more than 0, at most an hour")
    print(f"estab's core is {core_kind()}; Python {sys.version.split()[0]}; both hosts on one core, {seconds:g} s each")
    print(f"  one host, {SIZE} bytes   {max(one_host(seconds / 2), one_host(seconds / 2)):12,.0f} segments/s")
    print(f"  echo, {SIZE} bytes       {max(echo(seconds / 2), echo(seconds / 2)):12,.0f} segments/s")
    print(f"  stream, {SIZE} bytes     {max(stream(seconds / 2), stream(seconds / 2)):12,.0f} segments/s")
    print(f"  bulk, MTU 1500       {bulk(seconds, 0) / 1e6:12,.0f} MB/s")
    print(f"  bulk, 64 KB segments {bulk(seconds, 65_000) / 1e6:12,.0f} MB/s")


if __name__ == "__main__":
    main()
