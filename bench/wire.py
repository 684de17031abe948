"""Nanoseconds that the wire floor takes for a segment, a header, a kilobyte.

    python bench/wire.py            the installed or ``PYTHONPATH``'s estab, compiled or not: it says which

Each number is the best of many short runs, so that a busy machine disturbs little. A call of ``len`` takes as long as
the loop and Python's own part of each call, and is taken off.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from estab.wire import checksum, ethernet, fragment, icmp, ip, octets, offload, seq, tcp, udp
from estab.wire.ip import IpHeader

SRC_V4, DST_V4 = b"\x0a\0\0\1", b"\x0a\0\0\2"
SRC_V6, DST_V6 = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"
RUNS = 60
RUN_NS = 1_000_000


def best_ns(call: Callable[..., object], *arguments: object) -> float:
    """Time one call: the best average of many runs of a millisecond, without the loop."""
    count = 1
    while (took := _loop(call, arguments, count)) < RUN_NS and count < 100_000:
        count = max(count + 1, min(count * 8, count * RUN_NS // max(took, 1)))
    idle = min(_loop(len, (b"",), count) for _ in range(RUNS))
    return max(0, min(_loop(call, arguments, count) for _ in range(RUNS)) - idle) / count


def _loop(call: Callable[..., object], arguments: tuple[object, ...], count: int) -> int:
    numbers = range(count)
    start = time.perf_counter_ns()
    for _ in numbers:
        call(*arguments)
    return time.perf_counter_ns() - start


def data_segment(text: bytes) -> tcp.Segment:
    """Build the segment of a bulk transfer: text and timestamps."""
    segment = tcp.Segment(40000, 80, seq.Seq(0x89ABCDEF), seq.Seq(0x12345678), tcp.ACK | tcp.PSH, 502)
    segment.has_timestamps = True
    segment.ts_val, segment.ts_ecr = 0x11223344, 0x55667788
    segment.data, segment.end = text, len(text)
    return segment


def main() -> None:
    """Print all numbers."""
    print("estab.wire is", "compiled" if octets.IS_COMPILED else "interpreted")
    for name, src, dst in (("IPv4", SRC_V4, DST_V4), ("IPv6", SRC_V6, DST_V6)):
        for size in (0, 64, 1448):
            segment = data_segment((bytes(range(256)) * 6)[:size])
            whole = tcp.emit_packet(segment, IpHeader(src, dst, ident=1, dont_fragment=True))
            packet = ip.parse(whole, 0)
            row(f"{name} ip.parse, {size} B of text", ip.parse, whole, 0)
            row(f"{name} tcp.parse, {size} B", tcp.parse, packet, False)
            row(f"{name} tcp.parse, {size} B, checksum known good", tcp.parse, packet, True)
            row(f"{name} tcp.emit_packet, {size} B", tcp.emit_packet, segment, src, dst, 64, 1, True, 0, False)
        row(f"{name} tcp.flow_key", tcp.flow_key, packet)
    numbers = (1, 2, seq.Seq(3), seq.Seq(4), 0, 5)
    row("tcp.Segment()", tcp.Segment, *numbers)
    sack = data_segment(b"")
    sack.sack = [1, 2, 3, 4]
    row("tcp.emit_packet, two SACK blocks", tcp.emit_packet, sack, SRC_V4, DST_V4, 64, 1, True, 0, False)
    sacked = ip.parse(tcp.emit_packet(sack, IpHeader(SRC_V4, DST_V4, ident=1, dont_fragment=True)), 0)
    row("tcp.parse, two SACK blocks", tcp.parse, sacked, False)
    datagram = udp.emit_packet(1, 2, bytes(64), IpHeader(SRC_V4, DST_V4, ident=1))
    row("udp.parse, 64 B", udp.parse, ip.parse(datagram))
    row("udp.emit_packet, 64 B", udp.emit_packet, 1, 2, bytes(64), SRC_V4, DST_V4, 64, 0, 1, False, 0)
    error = ip.emit(SRC_V4, DST_V4, ip.ICMP, icmp.emit(icmp.Error(4, icmp.UNREACHABLE, 1, datagram), SRC_V4, DST_V4))
    row("icmp.parse, an error", icmp.parse, ip.parse(error))
    row("ethernet.parse", ethernet.parse, ethernet.emit(bytes(6), bytes(6), ethernet.IPV4, datagram))
    block = bytes(range(256)) * 256
    for size in (20, 64, 1460, 65536):
        row(f"checksum.checksum, {size} B", checksum.checksum, block, 0, size, 0, size=size)
    segment = data_segment(bytes(65000))
    row("tcp.emit_packet, 65000 B, partial checksum",
        tcp.emit_packet, segment, SRC_V4, DST_V4, 64, 1, True, 0, True, size=65000)
    big = tcp.emit_packet(segment, IpHeader(SRC_V4, DST_V4, ident=1, dont_fragment=True), is_checksum_partial=True)
    row("offload.split, 65000 B at 1448", offload.split, big, 1448, size=65000)
    row("fragment.split, 65000 B at 1500", fragment.split, ip.parse(big), 1500, 1, size=65000)


def row(name: str, call: Callable[..., object], *arguments: object, size: int = 0) -> None:
    """Print one number, and what it makes in bytes where ``size`` says how many."""
    ns = best_ns(call, *arguments)
    rate = f"{size / ns:8.2f} GB/s" if size and ns else ""
    print(f"{name:45} {ns:10.0f} ns {rate}")


if __name__ == "__main__":
    main()
