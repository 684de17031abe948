"""Whether a frame costs the same, however many things a stranger has made: one row for each kind of thing.

    python bench/flat.py [--most 100000] [--markdown] [KIND ...]

For each kind (or those with one of the given words in their names) a host is filled with 10, 100, ... of it, as far as
its bounds let, and then takes frames that concern one more of it, or expires what is held. The figure is the best of
several rounds, in microseconds of processor time a frame, or a handshake. A kind whose last figure is more than twice
its first one ends the program with status 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from estab.abi import AF_INET, AF_INET6, SOCK_STREAM
from estab.host.engine import Engine
from estab.units import SECOND
from estab.wire import icmp, ip, nd, tcp, udp
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq

__all__ = ["KINDS", "Kind", "main", "measure"]

HERE4, HERE6 = b"\x0a\0\0\1", b"\xfd" + bytes(14) + b"\1"
PEER4, PEER6 = b"\x0a\0\0\2", b"\xfd" + bytes(14) + b"\2"
MAC, OTHER = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
ROUNDS: Final = 7
FRAMES: Final = 200
RATIO_MAX: Final = 2.0
EXPIRY: Final = "datagrams that expire, one a deadline"


class Target:
    """A host on an Ethernet link, and the time."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND
        self.engine = Engine("target", b"0123456789abcdef" * 2)
        self.engine.config.icmp_ratelimit_ns = 1
        self.engine.config.icmp_msgs_per_sec = 1_000_000
        self.engine.config.tcp_rmem = (4096, 1 << 25, 1 << 25)
        self.engine.config.tcp_mem = (1 << 20, 1 << 20, 1 << 20)
        interface = self.engine.add_interface("eth0", mac=MAC)
        self.engine.add_address(interface, "10.0.0.1/8")
        self.engine.add_address(interface, "fd00::1/64")
        for address in ("10.0.0.2", "fd00::2"):
            self.engine.add_neighbor(interface, address, OTHER)
        self.listeners = [self.engine.socket(family, SOCK_STREAM, self.now_ns) for family in (AF_INET, AF_INET6)]
        for family, listener in zip((AF_INET, AF_INET6), self.listeners, strict=True):
            listener.v6only = family == AF_INET6
            listener.bind(("", 80), self.now_ns)
            listener.listen(100_000, self.now_ns)
        self.engine.config.tcp_max_syn_backlog = 200_000
        self.iss = 0
        """Of the last SYN-ACK."""

    def take(self, packet: bytes) -> None:
        """Take a packet off the wire, and drop what is answered."""
        ethertype = b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"
        self.engine.on_frame(1, MAC + OTHER + ethertype + packet, self.now_ns)
        self.drain()

    def open(self, syn_packet: bytes, ack_packet: bytes) -> None:
        """Do the peer's part of a handshake over IPv4; the link vouches for checksums."""
        self.engine.on_frame(1, MAC + OTHER + b"\x08\0" + syn_packet, self.now_ns)
        answer = self.engine.poll_frame(self.now_ns)
        assert answer is not None
        self.iss = int.from_bytes(answer.data[38:42], "big")
        number = (self.iss + 1 & 0xFFFFFFFF).to_bytes(4, "big")
        self.engine.on_frame(1, MAC + OTHER + b"\x08\0" + ack_packet[:28] + number + ack_packet[32:], self.now_ns, True)
        self.drain()

    def drain(self) -> None:
        """Let go of all that waits to leave."""
        while self.engine.poll_frame(self.now_ns) is not None:
            pass
        while self.engine.poll_event() is not None:
            pass


def v4(number: int) -> bytes:
    """Make an address of the link's network that is not the host's."""
    return b"\x0a" + (number % 0xFF0000 + 0x010000).to_bytes(3, "big")


def v6(number: int) -> bytes:
    """Make an IPv6 address of the link's network."""
    return HERE6[:8] + (number + 0x10000).to_bytes(8, "big")


Frames = tuple[bytes, ...]


def _take(target: Target, frames: Frames) -> None:
    target.take(frames[0])


@dataclass(frozen=True)
class Kind:
    """One thing that a stranger can make: the frames that make the ``number``-th, and how many there may be.

    ``begin`` prepares the host, ``make`` gives it the frames.
    """

    name: str
    frame: Callable[[int], bytes]
    most: int = 100_000
    second: Callable[[int], bytes] | None = None
    begin: Callable[[Target], None] | None = None
    make: Callable[[Target, Frames], None] = _take

    def frames(self, number: int) -> Frames:
        """Build the frames of the ``number``-th."""
        return (self.frame(number),) if self.second is None else (self.frame(number), self.second(number))


def fragment_of(source: bytes, here: bytes, ident: int, offset: int) -> bytes:
    """Make a fragment in the middle of a datagram."""
    return ip.emit(source, here, ip.UDP, bytes(16), 64, 0, ident, fragment_offset=offset, more_fragments=True)


def syn(source: bytes, here: bytes, number: int) -> bytes:
    """Make a SYN."""
    segment = tcp.Segment(1024 + number % 60_000, 80, Seq(number), Seq(0), tcp.SYN, 1000)
    return tcp.emit_packet(segment, IpHeader(source, here, dont_fragment=True))


def ping(source: bytes) -> bytes:
    """Make an echo request, whose answer needs a neighbour."""
    return ip.emit(source, HERE6, ip.ICMPV6, icmp.emit(icmp.Echo(6, False, 1, 1, b"x"), source, HERE6))


def solicitation(source: bytes) -> bytes:
    """Make a Neighbor Solicitation, which makes a neighbour."""
    message = nd.emit(nd.NeighborSolicitation(HERE6, OTHER), source, HERE6)
    return ip.emit(source, HERE6, ip.ICMPV6, message, 255)


def to_closed_port(source: bytes) -> bytes:
    """Make a datagram that is answered by an error, whose rate is limited for each receiver."""
    return udp.emit_packet(5, 9, b"", IpHeader(source, HERE4))


def acknowledgment(number: int, text: bytes = b"", at: int = 1, source: int | None = None) -> bytes:
    """Make an ACK of a handshake, or text of its connection; its acknowledgment number is filled in later."""
    place = number if source is None else source
    segment = tcp.Segment(1024 + place % 60_000, 80, Seq(place + at), Seq(0), tcp.ACK, 1000)
    segment.data, segment.end = text, len(text)
    return tcp.emit_packet(segment, IpHeader(v4(place), HERE4, dont_fragment=True))


def syn_with_scale(number: int) -> bytes:
    """Make a SYN whose connection has a large window, each from an address of its own."""
    segment = tcp.Segment(1024 + number % 60_000, 80, Seq(number), Seq(0), tcp.SYN, 1000)
    segment.mss, segment.wscale = 1460, 7
    return tcp.emit_packet(segment, IpHeader(v4(number), HERE4, dont_fragment=True))


def open_first(target: Target) -> None:
    """Open the connection whose text comes out of order, and let its window open as wide as its buffer."""
    target.engine.add_neighbor(target.engine.interfaces[1], "10.1.0.0", OTHER)
    target.open(syn_with_scale(0), acknowledgment(0))
    send_text(target, (acknowledgment(0, b"x"),))


def open_one(target: Target, frames: Frames) -> None:
    """Open a connection, whose peer is known."""
    target.open(frames[0], frames[1])


def send_text(target: Target, frames: Frames) -> None:
    """Send text of the first connection, which acknowledges its SYN-ACK."""
    number = (target.iss + 1 & 0xFFFFFFFF).to_bytes(4, "big")
    packet = frames[0][:28] + number + frames[0][32:]
    target.engine.on_frame(1, MAC + OTHER + b"\x08\0" + packet, target.now_ns, True)
    target.drain()


def syn_of_peer(number: int) -> bytes:
    """Make a SYN from the peer: another port and another number each time."""
    return syn(bytes([10, 0, number // 60_000, 2]), HERE4, number)


def ack_of_peer(number: int) -> bytes:
    """Make the ACK after ``syn_of_peer``."""
    segment = tcp.Segment(1024 + number % 60_000, 80, Seq(number + 1), Seq(0), tcp.ACK, 1000)
    return tcp.emit_packet(segment, IpHeader(bytes([10, 0, number // 60_000, 2]), HERE4, dont_fragment=True))


def know_peers(target: Target) -> None:
    """Let the peers of ``syn_of_peer`` need no question, and let the listener keep all their connections."""
    target.engine.config.somaxconn = 200_000
    target.listeners[0].listen(100_000, target.now_ns)
    target.engine.add_neighbor(target.engine.interfaces[1], "10.0.1.2", OTHER)


KINDS: Final = (
    Kind("datagrams of one fragment, IPv4", lambda number: fragment_of(PEER4, HERE4, number & 0xFFFF, 8), 10_000),
    Kind("datagrams of one fragment, IPv6", lambda number: fragment_of(PEER6, HERE6, number, 8), 10_000),
    Kind("fragments of one datagram, last first",
         lambda number: fragment_of(PEER4, HERE4, 7, 65_488 - 32 * (number % 2000)), 2_000),
    Kind("neighbours that never answer", lambda number: ping(v6(number))),
    Kind("neighbours that say they are there", lambda number: solicitation(v6(number))),
    Kind("half-open connections, IPv4", lambda number: syn(PEER4, HERE4, number)),
    Kind("half-open connections, IPv6", lambda number: syn(PEER6, HERE6, number)),
    Kind("receivers of ICMP errors", lambda number: to_closed_port(v4(number))),
    Kind("connections that nobody accepts, a handshake each", syn_of_peer, 50_000, ack_of_peer, know_peers, open_one),
    Kind("pieces of text out of order", lambda number: acknowledgment(number, b"x", 3 + 2 * number, 0), 10_000, None,
         open_first, send_text),
)


def measure(kind: Kind, count: int) -> float:
    """Make ``count`` of a kind, then time more frames of it. Gives microseconds a frame, the best of some rounds."""
    target = Target()
    if kind.begin is not None:
        kind.begin(target)
    for number in range(count):
        kind.make(target, kind.frames(number))
    best = float("inf")
    number = count
    for _ in range(ROUNDS):
        pieces = [kind.frames(number + at) for at in range(FRAMES)]
        number += FRAMES
        target.now_ns += SECOND // 1000
        began = time.thread_time_ns()
        for frames in pieces:
            kind.make(target, frames)
        if target.engine.next_deadline_ns() <= target.now_ns:
            target.engine.on_deadline(target.now_ns)
        best = min(best, (time.thread_time_ns() - began) / FRAMES / 1000)
    return best


def expiry(count: int) -> float:
    """Make ``count`` datagrams of a fragment, each at its own time, and let them expire one by one."""
    target = Target()
    for number in range(count):
        target.now_ns += 1000
        target.take(fragment_of(PEER4, HERE4, number, 8))
    began = time.thread_time_ns()
    while target.engine.reassembly.datagram_count():
        target.now_ns = max(target.now_ns, target.engine.next_deadline_ns())
        target.engine.on_deadline(target.now_ns)
        target.drain()
    return (time.thread_time_ns() - began) / count / 1000


def sizes(most: int) -> list[int]:
    """List 10, 100 and so on, up to ``most``, which is the last."""
    found = [size for size in (10, 100, 1_000, 10_000, 100_000) if size < most]
    return [*found, most]


def main(words: list[str] | None = None) -> int:
    """Measure all kinds, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("kinds", metavar="KIND", nargs="*", help="a word of the kind's name; all, if none is given")
    args = parser.parse_args(words)

    def is_wanted(name: str) -> bool:
        return not args.kinds or any(word in name for word in args.kinds)

    rows: list[tuple[str, list[tuple[int, float]]]] = []
    for kind in KINDS:
        if not is_wanted(kind.name):
            continue
        rows.append((kind.name, [(count, measure(kind, count)) for count in sizes(min(args.most, kind.most))]))
    if is_wanted(EXPIRY):
        rows.append((EXPIRY, [(count, expiry(count)) for count in sizes(min(args.most, 10_000))]))
    if not rows:
        parser.error(f"no kind has one of {', '.join(args.kinds)} in its name")
    bad = 0
    if args.markdown:
        print("| a stranger makes | µs a frame, beside so many of them | last ÷ first |\n| --- | --- | --- |")
    for name, figures in rows:
        ratio = figures[-1][1] / figures[0][1]
        bad += ratio > RATIO_MAX
        told = ", ".join(f"{count:,}: {took:.1f}" for count, took in figures)
        print(f"| {name} | {told} | {ratio:.2f} |" if args.markdown else f"{name:40} {told}   × {ratio:.2f}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
