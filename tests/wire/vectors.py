"""Packets that a Linux 6 kernel sent over its loopback device, and what Hypothesis builds ours from.

TCP and UDP checksums on that device are partial: they hold the pseudo-header's sum only.
"""

from __future__ import annotations

from hypothesis import strategies as st

from estab.wire import tcp
from estab.wire.seq import Seq

A4, B4 = b"\x0a\0\0\1", b"\x0a\0\0\2"
A6, B6 = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"
LO4, LO6 = b"\x7f\0\0\1", bytes(15) + b"\1"

LINUX_TCP_V4 = [bytes.fromhex(text) for text in (
    "4500003cc39d40004006791c7f0000017f000001ede2e3512a3a483b00000000a002ffd7fe3000000204ffd70402080a211d657b0000000001"
    "03030a",
    "4500003c0000400040063cba7f0000017f000001e351ede2a81b60382a3a483ca012ffcbfe3000000204ffd70402080ae491596e211d657b01"
    "03030a",
    "45000034c39e4000400679237f0000017f000001ede2e3512a3a483ca81b603980100040fe2800000101080a211d657be491596e",
    "45000039c39f40004006791d7f0000017f000001ede2e3512a3a483ca81b603980180040fe2d00000101080a211d657be491596e68656c6c6f",
    "45000034c3a04000400679217f0000017f000001ede2e3512a3a4841a81b603980110040fe2800000101080a211d65e0e491596e",
)]
LINUX_TCP_V6 = [bytes.fromhex(text) for text in (
    "6000e8ff0028064000000000000000000000000000000001000000000000000000000000000000019bd6936b6086e98800000000a002ffc400"
    "3000000204ffc40402080ae3f97829000000000103030a",
    "6006e632002806400000000000000000000000000000000100000000000000000000000000000001936b9bd68a01fb286086e989a012ffb800"
    "3000000204ffc40402080a9c6df0bae3f978290103030a",
    "6000e8ff0025064000000000000000000000000000000001000000000000000000000000000000019bd6936b6086e9898a01fb298018004000"
    "2d00000101080ae3f9782b9c6df0ba68656c6c6f",
)]
LINUX_UDP_V4 = bytes.fromhex(
    "45000030403140004011fc897f0000017f000001ed4f0009001cfe2f75647020746f206120636c6f73656420706f7274")
LINUX_UDP_V6 = bytes.fromhex(
    "6007a085001c11400000000000000000000000000000000100000000000000000000000000000001ad810009001c002f75647020746f206120"
    "636c6f73656420706f7274")
LINUX_PORT_UNREACHABLE_V4 = bytes.fromhex("45c0004cd30200004001a8ec7f0000017f00000103034fc600000000") + LINUX_UDP_V4
LINUX_PORT_UNREACHABLE_V6 = bytes.fromhex(
    "600eb84b004c3a40000000000000000000000000000000010000000000000000000000000000000101047d2100000000") + LINUX_UDP_V6

u8s = st.integers(0, 0xFF)
u16s = st.integers(0, 0xFFFF)
u32s = st.integers(0, 0xFFFFFFFF)
address_pairs = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
)
_known_kinds = (0, 1, 2, 3, 4, 5, 8, 34, tcp.ACCECN0_KIND, tcp.ACCECN1_KIND)


@st.composite
def segments(draw: st.DrawFn) -> tcp.Segment:
    """Any segment whose options fit into a header."""
    segment = tcp.Segment(
        draw(u16s), draw(u16s), Seq(draw(u32s)), Seq(draw(u32s)), draw(st.integers(0, 0x1FF)), draw(u16s))
    segment.urg = draw(u16s)
    segment.tos = draw(u8s)
    segment.data = draw(st.binary(max_size=300))
    segment.start = draw(st.integers(0, len(segment.data)))
    segment.end = draw(st.integers(segment.start, len(segment.data)))
    if draw(st.booleans()):
        segment.has_timestamps, segment.ts_val, segment.ts_ecr = True, draw(u32s), draw(u32s)
    if draw(st.booleans()):
        segment.mss = draw(st.integers(1, 0xFFFF))
    if draw(st.booleans()):
        segment.wscale = draw(st.integers(0, 14))
    segment.sack_permitted = draw(st.booleans())
    for name, values in (
        ("sack", st.lists(u32s, min_size=1, max_size=4).map(lambda edges: edges * 2)),
        ("fast_open", st.just(b"") | st.integers(2, 8).flatmap(lambda n: st.binary(min_size=n * 2, max_size=n * 2))),
        ("unknown", st.lists(st.tuples(u8s.filter(lambda kind: kind not in _known_kinds), st.binary(max_size=12)),
                             min_size=1, max_size=3)),
    ):
        if draw(st.booleans()):
            setattr(segment, name, draw(values))
            if tcp.options_length(segment) > tcp.OPTIONS_BYTES_MAX:
                setattr(segment, name, None)
    return segment


def facts(segment: tcp.Segment) -> tuple[object, ...]:
    """All that a segment says, to compare two."""
    return (
        segment.sport, segment.dport, segment.seq, segment.ack, segment.flags, segment.wnd, segment.urg, segment.tos,
        segment.data[segment.start : segment.end], segment.mss, segment.wscale, segment.sack_permitted,
        segment.has_timestamps, segment.ts_val, segment.ts_ecr, segment.sack, segment.fast_open, segment.unknown,
        None if segment.accecn is None else (segment.accecn.kind, list(segment.accecn.fields)),
    )


def naive_sum(data: bytes) -> int:
    """RFC 1071 as it is written: add the 16-bit words, then fold the carries in."""
    total = 0
    for index in range(0, len(data), 2):
        total += int.from_bytes(data[index : index + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
