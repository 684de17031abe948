"""The virtio header, segmentation and checksum completion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason, WireError
from estab.wire import icmp, ip, offload, tcp, udp
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.wire.vectors import A4, A6, B4, B6, address_pairs, segments, u8s, u16s, u32s


def super_segment(src: bytes, dst: bytes, size: int, flags: int = tcp.ACK | tcp.PSH, seq: int = 0xFFFFFF00) -> bytes:
    segment = tcp.Segment(1000, 80, Seq(seq), Seq(7), flags, 500)
    segment.has_timestamps, segment.ts_val, segment.ts_ecr = True, 5, 6
    segment.data = bytes(index * 7 & 0xFF for index in range(size))
    segment.end = size
    header = IpHeader(src, dst, ident=0xFFFE, dont_fragment=True, flow_label=3)
    return tcp.emit_packet(segment, header, is_checksum_partial=True)


@given(address_pairs, st.integers(1, 700), st.integers(1, 200), st.integers(0, 0x1FF), u32s, u16s, st.booleans(),
       st.sampled_from([b"", b"fourteen bytes"]))
def test_segments_add_up_to_the_super_segment(
    pair: tuple[bytes, bytes], size: int, room: int, flags: int, seq: int, urg: int, is_finished: bool, before: bytes
) -> None:
    whole = super_segment(*pair, size, flags, seq)
    parsed = ip.parse(whole)
    whole = whole[: parsed.start + 18] + urg.to_bytes(2, "big") + whole[parsed.start + 20 :]
    if is_finished:
        whole = offload.finish_checksum(whole)
    original = tcp.parse(ip.parse(whole), True)
    cut = offload.split(before + whole + b"padding", room, len(before))
    packets = [ip.parse(frame, len(before)) for frame in cut]
    read = [tcp.parse(packet, False) for packet in packets]
    assert all(frame.startswith(before) for frame in cut)
    assert b"".join(one.data[one.start : one.end] for one in read) == whole[original.start :]
    assert [one.seq for one in read] == [(seq + at) & 0xFFFFFFFF for at in range(0, size, room)]
    assert all(tcp.text_length(one) == room for one in read[:-1])
    for index, one in enumerate(read):
        expected = flags
        if index != 0:
            expected &= ~tcp.CWR
        if index != len(read) - 1:
            expected &= ~(tcp.FIN | tcp.PSH)
        if flags & tcp.URG and index != 0:
            left = urg - index * room
            expected &= -1 if left > 0 else ~tcp.URG
            assert one.urg == max(left, 0)
        else:
            assert one.urg == urg
        assert one.flags == expected
        assert (one.ack, one.wnd, one.ts_val, one.ts_ecr, one.sport, one.dport) == (7, 500, 5, 6, 1000, 80)
    if len(pair[0]) == 4:
        assert [packet.ident for packet in packets] == [(0xFFFE + index) & 0xFFFF for index in range(len(packets))]
        assert all(packet.dont_fragment for packet in packets)
    else:
        assert all(packet.flow_label == 3 for packet in packets)


def test_a_super_segment_of_64_kib_is_cut_at_the_mss() -> None:
    cut = offload.split(super_segment(A4, B4, 65000), 1448)
    assert [len(packet) for packet in cut] == [1500] * 44 + [65000 - 44 * 1448 + 52]


@pytest.mark.parametrize(("src", "dst"), [(A4, B4), (A6, B6)])
def test_what_needs_no_cutting_comes_back_alone_and_finished(src: bytes, dst: bytes) -> None:
    whole = super_segment(src, dst, 100)
    assert offload.split(whole, 100) == [offload.finish_checksum(whole)]
    datagram = udp.emit_packet(1, 2, bytes(300), IpHeader(src, dst))
    assert offload.split(datagram, 100) == [datagram]
    part = ip.emit(src, dst, ip.TCP, bytes(300), more_fragments=True)
    assert offload.split(part, 100) == [part]


def test_a_super_segment_whose_header_ends_inside_itself_is_a_wire_error() -> None:
    whole = super_segment(A4, B4, 300)
    with pytest.raises(WireError) as caught:
        offload.split(whole[:32] + b"\x40" + whole[33:], 100)
    assert caught.value.reason == DropReason.TCP_INVALID_HEADER


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="segment_bytes"):
        offload.split(super_segment(A4, B4, 100), 0)


@given(segments(), address_pairs, st.sampled_from([b"", b"fourteen bytes"]))
def test_finishing_a_checksum_gives_the_whole_one(
    segment: tcp.Segment, pair: tuple[bytes, bytes], before: bytes
) -> None:
    whole = before + tcp.emit_packet(segment, IpHeader(*pair, ident=1, dont_fragment=True))
    partial = before + tcp.emit_packet(segment, IpHeader(*pair, ident=1, dont_fragment=True), is_checksum_partial=True)
    assert offload.finish_checksum(partial, len(before)) == whole
    assert offload.finish_checksum(whole + b"pad", len(before)) == whole + b"pad"


def test_finishing_leaves_other_packets_alone() -> None:
    for data in (ip.emit(A4, B4, ip.ICMP, icmp.emit(icmp.Echo(4, False, 1, 2, b"x"), A4, B4)),
                 ip.emit(A4, B4, ip.TCP, bytes(19)), ip.emit(A6, B6, ip.UDP, bytes(40), more_fragments=True)):
        assert offload.finish_checksum(data) == data


# --- the header


@given(u8s, st.sampled_from([0, 1, 3, 4, 5]), st.booleans(), u16s, st.integers(1, 0xFFFF), st.integers(0, 60),
       st.integers(0, 30), st.booleans())
def test_a_header_comes_out_as_it_went_in(
    flags: int, gso: int, has_cwr: bool, header: int, size: int, start: int, offset: int, has_buffers: bool
) -> None:
    raw = offload.emit(offload.Offload(flags, gso, has_cwr, header, size, start, offset), has_buffers)
    assert len(raw) == (12 if has_buffers else 10)
    read = offload.parse(raw + bytes(100), has_buffers)
    assert (read.flags, read.gso_type, read.has_cwr, read.header_bytes, read.segment_bytes, read.checksum_start,
            read.checksum_offset) == (flags, gso, has_cwr, header, size, start, offset)
    assert read.is_partial_checksum() == bool(flags & 1)
    assert read.is_checksum_known_good() == bool(flags & 3)


def test_the_header_is_little_endian_as_virtio_says() -> None:
    described = offload.for_packet(super_segment(A4, B4, 3000, tcp.ACK | tcp.CWR), 1448, True)
    assert offload.emit(described).hex() == "01" "81" "3400" "a805" "1400" "1000"
    assert offload.emit(described, True).hex()[-4:] == "0100"


def test_a_packet_is_described_by_what_is_left_to_do() -> None:
    def described(packet: bytes, size: int, is_partial: bool, start: int = 0) -> tuple[int, ...]:
        one = offload.for_packet(packet, size, is_partial, start)
        return one.flags, one.gso_type, one.header_bytes, one.segment_bytes, one.checksum_start, one.checksum_offset

    big4, big6 = super_segment(A4, B4, 3000), super_segment(A6, B6, 3000)
    assert described(big4, 1448, True) == (1, offload.GSO_TCPV4, 52, 1448, 20, 16)
    assert described(bytes(14) + big6, 1428, True, 14) == (1, offload.GSO_TCPV6, 14 + 72, 1428, 54, 16)
    assert described(big4, 3000, True) == (1, 0, 0, 0, 20, 16)
    assert described(big4, 0, True) == (1, 0, 0, 0, 20, 16)
    assert described(big4, 1448, False) == (0, 0, 0, 0, 0, 0)
    datagram = udp.emit_packet(1, 2, b"x", IpHeader(A4, B4))
    assert described(datagram, 0, True) == (1, 0, 0, 0, 20, 6)
    assert described(ip.emit(A4, B4, 1, bytes(8)), 0, True) == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("raw", "reason"), [
    ("000000000000000000", DropReason.PKT_TOO_SMALL),
    ("00020000640000000000" + "00" * 40, DropReason.DEV_HDR),
    ("00010000000000000000" + "00" * 40, DropReason.DEV_HDR),
    ("01000000000014001000" + "00" * 37, DropReason.DEV_HDR),
])
def test_each_broken_header_has_its_reason(raw: str, reason: DropReason) -> None:
    with pytest.raises(WireError) as caught:
        offload.parse(bytes.fromhex(raw))
    assert caught.value.reason == reason


def test_a_checksum_field_at_the_very_end_is_in_bounds() -> None:
    assert offload.parse(bytes.fromhex("01000000000014001000" + "00" * 38)).checksum_start == 20
