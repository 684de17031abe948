"""Nanoseconds that the wire floor takes for a segment, a header, a kilobyte.

    python bench/wire.py            the installed or ``PYTHONPATH``'s estab, compiled or not: it says which

Each number is the best of several runs, so that a busy machine disturbs little. The loop's own cost is taken off.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from estab.wire import checksum, ethernet, fragment, icmp, ip, octets, offload, seq, tcp, udp

SRC_V4, DST_V4 = b"\x0a\0\0\1", b"\x0a\0\0\2"
SRC_V6, DST_V6 = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"
RUNS = 7


def best_ns(call: Callable[[], object], seconds: float = 0.05) -> float:
    """Time one call: the best average of several runs, without the loop."""
    count = 1
    while _loop(call, count) < seconds / 4:
        count *= 4
    idle = min(_loop(_nothing, count) for _ in range(RUNS))
    return max(0.0, min(_loop(call, count) for _ in range(RUNS)) - idle) / count * 1e9


def _loop(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start


def _nothing() -> None:
    pass


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
            segment = data_segment(bytes(range(256)) * 6)
            segment.end = size
            segment.data = segment.data[:size]
            whole = tcp.emit_packet(segment, src, dst, 64, 1, True, 0, False)
            packet = ip.parse(whole, 0)
            row(f"{name} ip.parse, {size} B of text", lambda whole=whole: ip.parse(whole, 0))
            row(f"{name} tcp.parse, {size} B", lambda packet=packet: tcp.parse(packet, False))
            row(f"{name} tcp.parse, {size} B, checksum known good", lambda packet=packet: tcp.parse(packet, True))
            row(
                f"{name} tcp.emit_packet, {size} B",
                lambda segment=segment, src=src, dst=dst: tcp.emit_packet(segment, src, dst, 64, 1, True, 0, False),
            )
        row(f"{name} flow_key", lambda packet=packet: tcp.flow_key(packet))
    packet = ip.parse(tcp.emit_packet(data_segment(b""), SRC_V4, DST_V4, 64, 1, True, 0, False), 0)
    row("Segment()", lambda: tcp.Segment(1, 2, seq.Seq(3), seq.Seq(4), 0, 5))
    sack = data_segment(b"")
    sack.sack = [1, 2, 3, 4]
    row("tcp.emit_packet, two SACK blocks", lambda: tcp.emit_packet(sack, SRC_V4, DST_V4, 64, 1, True, 0, False))
    sacked = ip.parse(tcp.emit_packet(sack, SRC_V4, DST_V4, 64, 1, True, 0, False), 0)
    row("tcp.parse, two SACK blocks", lambda: tcp.parse(sacked, False))
    datagram = udp.emit_packet(1, 2, bytes(64), SRC_V4, DST_V4, 64, 0, 1, False, 0)
    row("ip.parse + udp.parse, 64 B", lambda: udp.parse(ip.parse(datagram)))
    row("udp.emit_packet, 64 B", lambda: udp.emit_packet(1, 2, bytes(64), SRC_V4, DST_V4, 64, 0, 1, False, 0))
    error = ip.emit(SRC_V4, DST_V4, ip.ICMP, icmp.emit(icmp.Error(4, icmp.UNREACHABLE, 1, datagram), SRC_V4, DST_V4))
    row("ip.parse + icmp.parse, an error", lambda: icmp.parse(ip.parse(error)))
    frame = ethernet.emit(bytes(6), bytes(6), ethernet.IPV4, datagram)
    row("ethernet.parse", lambda: ethernet.parse(frame))
    block = bytes(range(256)) * 256
    for size in (20, 64, 1460, 65536):
        row(f"checksum, {size} B", lambda size=size: checksum.checksum(block, 0, size, 0), size)
    big = tcp.emit_packet(data_segment(bytes(65000)), SRC_V4, DST_V4, 64, 1, True, 0, True)
    row("emit_packet, 65000 B, partial checksum", lambda: tcp.emit_packet(
        data_segment(big[52:]), SRC_V4, DST_V4, 64, 1, True, 0, True), 65000)
    row("offload.split, 65000 B at 1448", lambda: offload.split(big, 1448), 65000)
    parsed = ip.parse(big)
    row("fragment.split, 65000 B at 1500", lambda: fragment.split(parsed, 1500, 1), 65000)


def row(name: str, call: Callable[[], object], size: int = 0) -> None:
    """Print one number, and what it makes in bytes where ``size`` says how many."""
    ns = best_ns(call)
    rate = f"{size / ns:8.2f} GB/s" if size and ns else ""
    print(f"{name:45} {ns:10.0f} ns {rate}")


if __name__ == "__main__":
    main()
