"""Whatever the bytes: a parser gives a valid value or raises ``WireError``; what routers and edges do next holds too.

Half of the cases are noise; the others are good packets with a few octets changed, cut or repeated, their checksums set
right again so that the damage gets past the first check.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estab.errors import WireError
from estab.wire import arp, checksum, ethernet, fragment, icmp, ip, nd, offload, tcp, udp
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.wire.vectors import (
    A4,
    A6,
    B4,
    B6,
    LINUX_PORT_UNREACHABLE_V4,
    LINUX_PORT_UNREACHABLE_V6,
    LINUX_TCP_V4,
    LINUX_TCP_V6,
)

ROUTER = bytes.fromhex("fe80") + bytes(13) + b"\1"
MAC = bytes.fromhex("020000000001")


def rich_segment() -> tcp.Segment:
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.SYN, 5)
    segment.mss, segment.wscale, segment.sack_permitted = 1460, 7, True
    segment.fast_open, segment.unknown = b"abcdef", [(253, b"xyz"), (30, b"ab")]
    return segment


def sack_segment() -> tcp.Segment:
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.ACK | tcp.URG | tcp.PSH, 5)
    segment.has_timestamps, segment.sack = True, [1, 2, 3, 4, 5, 6]
    segment.data, segment.end = b"some text to be cut", 19
    return segment


EXTENSIONS = bytes([60, 0, 5, 2, 0, 0, 0xC2, 0]) + bytes([43, 0, 1, 4, 0, 0, 0, 0]) + bytes([51, 0, 0, 0, 0, 0, 0, 0])
EXTENSIONS += bytes([44, 1]) + bytes(10) + bytes([6, 0, 0, 0, 0, 0, 0, 9])
ND = [
    nd.NeighborSolicitation(B6, MAC), nd.NeighborAdvertisement(ROUTER, True, False, True, MAC),
    nd.RouterSolicitation(MAC),
    nd.RouterAdvertisement(64, True, True, 9, 9, 9, MAC, 1400, [nd.Prefix(A6, 64, True, True, 9, 9)]),
    nd.Redirect(ROUTER, B6, MAC, bytes(48)),
]
GOOD = [
    *LINUX_TCP_V4, *LINUX_TCP_V6, LINUX_PORT_UNREACHABLE_V4, LINUX_PORT_UNREACHABLE_V6,
    *(tcp.emit_packet(one(), IpHeader(src, dst, ident=1, flow_label=1))
      for one in (rich_segment, sack_segment) for src, dst in ((A4, B4), (A6, B6))),
    udp.emit_packet(1, 2, b"payload", IpHeader(A4, B4, ident=1)),
    udp.emit_packet(1, 2, b"odd", IpHeader(A6, B6, ident=1)),
    ip.emit(A4, B4, ip.UDP, bytes(32), options=b"\x94\x04\0\0\x44\x04\x05\0", more_fragments=True, fragment_offset=800),
    ip.emit(A6, B6, ip.UDP, bytes(32), more_fragments=True, fragment_offset=800),
    ip.emit(A6, B6, ip.HOP_BY_HOP, EXTENSIONS + tcp.emit(sack_segment(), A6, B6)),
    *(ip.emit(ROUTER, B6, ip.ICMPV6, nd.emit(message, ROUTER, B6), 255) for message in ND),
    *(ip.emit(A4, B4, ip.ICMP, icmp.emit(icmp.Error(4, problem, 0, LINUX_TCP_V4[0], 1400, 20, A4), A4, B4))
      for problem in range(1, 6)),
    *(ip.emit(A6, B6, ip.ICMPV6, icmp.emit(icmp.Error(6, problem, 0, LINUX_TCP_V6[0], 1400, 40), A6, B6))
      for problem in range(1, 5)),
    ip.emit(A6, B6, ip.ICMPV6, icmp.emit(icmp.Echo(6, False, 1, 2, b"ping"), A6, B6)),
]
noise = st.binary(max_size=120)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good packet after a few accidents."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        what = draw(st.sampled_from(["set", "flip", "cut", "insert", "repeat"]))
        if what == "set" and data:
            data[at] = draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
        elif what == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif what == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        else:
            data += data[at:]
    return repaired(bytes(data[:2000])) if draw(st.booleans()) else bytes(data[:2000])


def repaired(data: bytes) -> bytes:
    """Set the lengths of the IP header and IPv4's checksum right, as far as there is a header."""
    if len(data) >= 40 and data[0] >> 4 == 6:
        return data[:4] + (len(data) - 40).to_bytes(2, "big") + data[6:]
    if len(data) >= 20 and data[0] >> 4 == 4:
        data = data[:2] + len(data).to_bytes(2, "big") + data[4:10] + b"\0\0" + data[12:]
        size = min(max(20, (data[0] & 15) * 4), len(data))
        return data[:10] + checksum.checksum(data, 0, size).to_bytes(2, "big") + data[12:]
    return data


def read_all(data: bytes) -> None:
    """Put bytes through every parser that could meet them; only ``WireError`` may come out."""
    for parse in (icmp.parse_quoted, arp.parse, ethernet.parse, offload.parse):
        try:
            parse(data)
        except WireError:
            continue
    try:
        packet = ip.parse(data)
    except WireError:
        return
    for read in (tcp.parse, udp.parse, icmp.parse):
        try:
            read(packet, True)
        except WireError:
            continue
    with contextlib.suppress(WireError):
        offload.split(data, 7)
    offload.finish_checksum(data)


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_good_packets_cut_at_every_place_raise_nothing_else(number: int) -> None:
    data = GOOD[number]
    for end in range(len(data)):
        read_all(data[:end])
        read_all(repaired(data[:end]))


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_good_packets_with_any_one_octet_changed_raise_nothing_else(number: int) -> None:
    data = GOOD[number]
    for at in range(len(data)):
        for octet in (0, 1, 2, 3, 7, 0x3C, 0x40, 0x7F, 0x80, 0xFF, data[at] ^ 1, (data[at] + 1) & 0xFF):
            read_all(repaired(data[:at] + bytes([octet]) + data[at + 1 :]))


packets = damaged() | noise | noise.map(lambda data: repaired(b"\x45" + data)) | noise.map(
    lambda data: repaired(b"\x60" + data))


@given(packets, st.integers(0, 3))
@example(bytes.fromhex("6000000000000040") + bytes(32), 0)
def test_any_bytes_are_an_ip_packet_or_a_wire_error(data: bytes, before: int) -> None:
    whole = bytes(before) + data
    try:
        packet = ip.parse(whole, before)
    except WireError:
        return
    header = 20 if packet.version == 4 else 40
    assert packet.version in (4, 6)
    assert before + header <= packet.start <= packet.end <= len(whole)
    assert before + header <= packet.unfragmentable_end <= packet.start
    assert len(packet.src) == len(packet.dst) == (4 if packet.version == 4 else 16)
    assert 0 <= packet.problem_pointer < packet.end - before
    assert packet.problem_code in (ip.NO_PROBLEM, ip.DISCARD_SILENTLY, 0, 1, 2)
    if packet.version == 4:
        assert packet.fragment_offset + packet.end - packet.start <= 65535


@given(packets)
def test_any_packet_is_a_segment_or_a_wire_error(data: bytes) -> None:
    try:
        packet = ip.parse(data)
        segment = tcp.parse(packet, True)
    except WireError:
        return
    assert packet.start + 20 <= segment.start <= segment.end == packet.end
    assert 0 <= segment.seq < 2**32
    assert -1 <= segment.wscale <= 14
    assert segment.sack is None or (len(segment.sack) % 2 == 0 and len(segment.sack) <= 8)
    assert tcp.options_text(segment) is not None
    assert tcp.options_length(segment) <= 4 * 40  # known ones and unknown ones, each padded on its own
    assert len(tcp.flow_key(packet)) == (12 if packet.version == 4 else 36)


@given(packets)
def test_any_packet_is_an_icmp_message_or_a_wire_error(data: bytes) -> None:
    try:
        packet = ip.parse(data)
    except WireError:
        return
    icmp.is_error(packet)
    try:
        message = icmp.parse(packet, True)
    except WireError:
        return
    assert message.version == packet.version
    if isinstance(message, icmp.Error):
        assert -1 <= message.quoted.sport <= 65535
        assert -1 <= message.quoted.seq < 2**32
    src, dst = packet.src, packet.dst
    if packet.version == 4 or not isinstance(message, icmp.Error):
        icmp.emit(message, src, dst)


@given(packets)
def test_any_packet_is_a_datagram_or_a_wire_error(data: bytes) -> None:
    try:
        packet = ip.parse(data)
        datagram = udp.parse(packet, True)
    except WireError:
        return
    assert packet.start + 8 == datagram.start <= datagram.end <= packet.end


@given(packets)
def test_any_bytes_are_a_quote_or_a_wire_error(data: bytes) -> None:
    try:
        quoted = icmp.parse_quoted(data)
    except WireError:
        return
    assert len(quoted.src) == len(quoted.dst) == (4 if quoted.version == 4 else 16)


@given(packets | noise.map(lambda data: bytes.fromhex("0001080006040001") + data))
def test_any_bytes_are_an_arp_message_and_a_frame_or_a_wire_error(data: bytes) -> None:
    for parse in (arp.parse, ethernet.parse):
        try:
            parse(data)
        except WireError:
            continue


@given(packets | noise, st.booleans())
def test_any_bytes_are_a_virtio_header_or_a_wire_error(data: bytes, has_buffers: bool) -> None:
    try:
        read = offload.parse(data, has_buffers)
    except WireError:
        return
    if read.is_partial_checksum():
        assert (12 if has_buffers else 10) + read.checksum_start + read.checksum_offset + 2 <= len(data)


@given(packets, st.integers(1, 50), st.integers(0, 2000))
def test_an_edge_cuts_finishes_and_describes_any_packet(data: bytes, room: int, size: int) -> None:
    try:
        ip.parse(data)
    except WireError:
        return
    try:
        cut = offload.split(data, room)
    except WireError:
        cut = []
    for piece in cut:
        ip.parse(piece)
    assert ip.parse(offload.finish_checksum(data)).end == ip.parse(data).end
    offload.for_packet(data, size, True)


@given(packets, st.integers(76, 200))
def test_a_router_passes_any_packet_on(data: bytes, mtu: int) -> None:
    try:
        packet = ip.parse(data)
    except WireError:
        return
    if packet.ttl > 1:
        assert ip.parse(ip.forwarded(packet)).ttl == packet.ttl - 1
    assert ip.parse(ip.set_ecn_ce(packet)).tos & 3 == 3
    if packet.version == 4 and packet.end > mtu:
        pieces = [ip.parse(piece) for piece in fragment.split(packet, mtu, 0)]
        assert sum(piece.end - piece.start for piece in pieces) == packet.end - packet.start


@given(packets, st.binary(max_size=70), st.integers(120, 200))
def test_a_host_joins_any_first_fragment_and_cuts_any_packet(data: bytes, payload: bytes, mtu: int) -> None:
    try:
        packet = ip.parse(data)
    except WireError:
        return
    if ip.is_fragment(packet):
        joined = fragment.join(packet, payload)
        assert joined.endswith(payload)
        try:
            again = ip.parse(joined)  # its extension headers may be wrong: they were never looked at
        except WireError:
            return
        assert again.header_start == 0
    elif packet.unfragmentable_end <= 64:
        pieces = fragment.split(packet, mtu, 1)
        assert all(len(piece) <= mtu for piece in pieces)
