"""TCP segments and their options, layouts compared with Linux's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason, WireError
from estab.wire import ip, offload, tcp
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.wire.vectors import (
    A4,
    A6,
    B4,
    B6,
    LINUX_TCP_V4,
    LINUX_TCP_V6,
    address_pairs,
    facts,
    naive_sum,
    segments,
    u16s,
    u32s,
)


def emit(segment: tcp.Segment, src: bytes = A4, dst: bytes = B4) -> bytes:
    return tcp.emit_packet(segment, IpHeader(src, dst, dont_fragment=True))


def options_of(change: Callable[[tcp.Segment], None], flags: int = tcp.SYN) -> str:
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), flags, 5)
    change(segment)
    return emit(segment)[40:].hex(" ")


@given(segments(), address_pairs, st.integers(1, 255), u16s, st.booleans(), st.integers(0, 0xFFFFF))
def test_what_is_emitted_is_parsed_again(
    segment: tcp.Segment, pair: tuple[bytes, bytes], ttl: int, ident: int, df: bool, label: int
) -> None:
    data = tcp.emit_packet(segment, IpHeader(*pair, ttl=ttl, ident=ident, dont_fragment=df, flow_label=label))
    packet = ip.parse(data)
    assert facts(tcp.parse(packet, False)) == facts(segment)
    assert (packet.src, packet.dst, packet.ttl, packet.protocol) == (*pair, ttl, ip.TCP)
    assert tcp.emit(segment, *pair) == data[packet.start :]
    assert len(data) - packet.start - 20 - tcp.text_length(segment) == tcp.options_length(segment)


@given(segments(), address_pairs)
def test_a_partial_checksum_is_the_pseudo_headers_sum_and_can_be_finished(
    segment: tcp.Segment, pair: tuple[bytes, bytes]
) -> None:
    whole = tcp.emit_packet(segment, IpHeader(*pair, ident=1, dont_fragment=True))
    partial = tcp.emit_packet(segment, IpHeader(*pair, ident=1, dont_fragment=True), is_checksum_partial=True)
    start = ip.parse(whole).start
    assert partial[: start + 16] + partial[start + 18 :] == whole[: start + 16] + whole[start + 18 :]
    zeros = bytes(3) if len(pair[0]) == 16 else b""
    written = pair[0] + pair[1] + zeros + b"\0\6" + (len(whole) - start).to_bytes(4 if zeros else 2, "big")
    if zeros:
        written = pair[0] + pair[1] + (len(whole) - start).to_bytes(4, "big") + b"\0\0\0\6"
    assert int.from_bytes(partial[start + 16 : start + 18], "big") == naive_sum(written)
    assert offload.finish_checksum(partial) == whole
    tcp.parse(ip.parse(partial), True)


@pytest.mark.parametrize("data", LINUX_TCP_V4 + LINUX_TCP_V6)
def test_linuxs_segments_are_ours_to_the_byte(data: bytes) -> None:
    packet = ip.parse(data)
    segment = tcp.parse(packet, True)
    header = IpHeader(packet.src, packet.dst, packet.ttl, packet.ident, packet.dont_fragment, packet.flow_label)
    again = tcp.emit_packet(segment, header, is_checksum_partial=True)
    assert again == data
    tcp.parse(ip.parse(offload.finish_checksum(data)), False)
    with pytest.raises(WireError) as caught:
        tcp.parse(packet, False)
    assert caught.value.reason == DropReason.TCP_CSUM


def test_options_stand_in_linuxs_order_and_padding() -> None:
    def mss(segment: tcp.Segment) -> None:
        segment.mss = 1460

    def wscale(segment: tcp.Segment) -> None:
        mss(segment)
        segment.wscale = 7

    def sack(segment: tcp.Segment) -> None:
        mss(segment)
        segment.sack_permitted = True

    def sack_wscale(segment: tcp.Segment) -> None:
        wscale(segment)
        segment.sack_permitted = True

    def stamps(segment: tcp.Segment) -> None:
        segment.has_timestamps, segment.ts_val, segment.ts_ecr = True, 1, 2

    def stamps_wscale(segment: tcp.Segment) -> None:
        wscale(segment)
        stamps(segment)

    def everything(segment: tcp.Segment) -> None:
        sack_wscale(segment)
        stamps(segment)

    def sack_stamps(segment: tcp.Segment) -> None:
        stamps(segment)
        segment.sack_permitted = True

    def blocks(segment: tcp.Segment) -> None:
        stamps(segment)
        segment.sack = [1, 2, 3, 4]

    def cookie(segment: tcp.Segment) -> None:
        mss(segment)
        segment.fast_open = b"12345678"

    assert options_of(mss) == "02 04 05 b4"
    assert options_of(sack_stamps) == "04 02 08 0a 00 00 00 01 00 00 00 02"
    assert options_of(wscale) == "02 04 05 b4 01 03 03 07"
    assert options_of(sack) == "02 04 05 b4 01 01 04 02"
    assert options_of(sack_wscale) == "02 04 05 b4 01 01 04 02 01 03 03 07"
    assert options_of(stamps_wscale) == "02 04 05 b4 01 01 08 0a 00 00 00 01 00 00 00 02 01 03 03 07"
    assert options_of(everything) == "02 04 05 b4 04 02 08 0a 00 00 00 01 00 00 00 02 01 03 03 07"
    assert options_of(stamps, tcp.ACK) == "01 01 08 0a 00 00 00 01 00 00 00 02"
    assert options_of(blocks, tcp.ACK) == (
        "01 01 08 0a 00 00 00 01 00 00 00 02 01 01 05 12 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04")
    assert options_of(cookie) == "02 04 05 b4 22 0a 31 32 33 34 35 36 37 38 01 01"


def parse_options(text: str) -> tcp.Segment:
    """Parse a SYN with these option bytes, padded with zeros."""
    options = bytes.fromhex(text)
    options += bytes(-len(options) & 3)
    header = bytearray(tcp.emit(tcp.Segment(1, 2, Seq(3), Seq(4), tcp.SYN, 5), A4, B4))
    header[12] = (20 + len(options)) << 2
    return tcp.parse(ip.parse(ip.emit(A4, B4, ip.TCP, bytes(header) + options + b"text")), True)


def test_no_operation_may_stand_anywhere_and_end_of_list_ends() -> None:
    segment = parse_options("01 01 02 04 05 b4 01 04 02 00 03 03 07")
    assert (segment.mss, segment.sack_permitted, segment.wscale, segment.unknown) == (1460, True, -1, None)
    assert segment.data[segment.start : segment.end] == b"text"


@pytest.mark.parametrize("text", [
    "01 01 01 01 02 00", "02 00 05 b4", "02 01 05 b4", "08 1b 00 00", "ff 0f 00 00", "01 02 14 05",
])
def test_an_impossible_option_length_ends_the_list_and_what_stands_before_counts(text: str) -> None:  # MUST-7
    segment = parse_options("04 02 01 01" + text + "03 03 07")
    assert (segment.sack_permitted, segment.mss, segment.wscale) == (True, 0, -1)
    assert segment.data[segment.start : segment.end] == b"text"


@pytest.mark.parametrize(("text", "kind"), [
    ("02 03 05", 2), ("03 04 01 02", 3), ("04 03 00", 4), ("05 02", 5), ("05 0b 000000000000000000", 5),
    ("05 0e" + "00" * 12, 5), ("08 06 00000000", 8), ("22 04 0102", 34), ("22 09 01020304050607", 34),
    ("13 12 " + "00" * 16, 19), ("fd 02", 253), ("1e 04 0102", 30),
])
def test_unknown_options_and_known_ones_of_strange_length_are_kept_as_bytes(text: str, kind: int) -> None:
    segment = parse_options(text)
    raw = bytes.fromhex(text)
    assert segment.unknown == [(kind, raw[2:])]
    assert (segment.mss, segment.wscale, segment.sack_permitted, segment.has_timestamps) == (0, -1, False, False)
    assert (segment.sack, segment.fast_open) == (None, None)


def test_a_window_scale_above_14_counts_as_14() -> None:  # RFC 7323 section 2.3
    assert parse_options("03 03 0e").wscale == 14
    assert parse_options("03 03 0f").wscale == 14
    assert parse_options("03 03 ff").wscale == 14


def test_a_fast_open_request_is_an_empty_cookie() -> None:
    assert parse_options("22 02").fast_open == b""
    assert parse_options("22 06 01020304").fast_open == bytes([1, 2, 3, 4])


def test_timestamps_are_read_at_any_place() -> None:
    for text in ("01 01 08 0a 80000001 ffffffff", "08 0a 80000001 ffffffff 01 01", "04 02 08 0a 80000001 ffffffff"):
        segment = parse_options(text)
        assert (segment.has_timestamps, segment.ts_val, segment.ts_ecr) == (True, 0x80000001, 0xFFFFFFFF)


def reason_of(payload: bytes) -> DropReason:
    with pytest.raises(WireError) as caught:
        tcp.parse(ip.parse(ip.emit(A6, B6, ip.TCP, payload)), False)
    return caught.value.reason


def test_each_broken_header_has_its_reason() -> None:
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.ACK, 5)
    good = tcp.emit(segment, A6, B6)
    assert reason_of(b"") == DropReason.TCP_INVALID_HEADER
    assert reason_of(good[:19]) == DropReason.TCP_INVALID_HEADER
    assert reason_of(good[:12] + b"\x40" + good[13:]) == DropReason.TCP_INVALID_HEADER
    assert reason_of(good[:12] + b"\x60" + good[13:]) == DropReason.TCP_INVALID_HEADER
    assert reason_of(good[:15] + b"\x06" + good[16:]) == DropReason.TCP_CSUM


def test_reserved_bits_are_ignored_and_the_ninth_flag_is_not() -> None:
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.AE | tcp.CWR | tcp.ECE | tcp.SYN, 5)
    data = bytearray(emit(segment))
    data[32] |= 0x0E
    assert tcp.parse(ip.parse(bytes(data)), True).flags == segment.flags


def test_flags_are_written_as_tcpdump_writes_them() -> None:
    assert [tcp.flags_text(flags) for flags in (
        tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.PSH | tcp.ACK, tcp.FIN | tcp.ACK, tcp.RST, tcp.FIN | tcp.PSH | tcp.ACK,
        tcp.SYN | tcp.ECE | tcp.CWR, tcp.ACK | tcp.URG, tcp.AE, 0)
    ] == ["S", "S.", ".", "P.", "F.", "R", "FP.", "SEW", ".U", "e", "none"]


def test_options_are_written_for_people() -> None:
    segment = tcp.parse(ip.parse(LINUX_TCP_V4[1]), True)
    assert tcp.options_text(segment) == "mss 65495,sackOK,TS val 3834730862 ecr 555574651,wscale 10"
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.ACK, 5)
    assert tcp.options_text(segment) == ""
    segment.sack, segment.fast_open, segment.unknown = [1, 2, 3, 4], b"\xab\xcd\xef\x01", [(253, b"\x12"), (9, b"")]
    assert tcp.options_text(segment) == "sack 2 {1:2}{3:4},tfo cookie abcdef01,unknown-253 0x12,unknown-9"
    segment.fast_open = b""
    assert "tfo cookiereq" in repr(segment)


@given(segments())
def test_segment_length_counts_text_syn_and_fin(segment: tcp.Segment) -> None:
    assert tcp.text_length(segment) == segment.end - segment.start
    syn, fin = bool(segment.flags & tcp.SYN), bool(segment.flags & tcp.FIN)
    assert tcp.segment_length(segment) == tcp.text_length(segment) + syn + fin


@given(address_pairs, u16s, u16s)
def test_the_key_of_a_received_packet_is_the_key_we_make(pair: tuple[bytes, bytes], sport: int, dport: int) -> None:
    data = emit(tcp.Segment(sport, dport, Seq(0), Seq(0), 0, 0), *pair)
    key = tcp.make_key(*pair, sport, dport)
    assert tcp.flow_key(ip.parse(b"frame" + data, 5)) == key
    assert len(key) == (12 if len(pair[0]) == 4 else 36)


def test_options_and_extension_headers_do_not_change_the_key() -> None:
    text = tcp.emit(tcp.Segment(7, 8, Seq(0), Seq(0), 0, 0), A4, B4)
    assert tcp.flow_key(ip.parse(ip.emit(A4, B4, 6, text, options=b"\x01"))) == tcp.make_key(A4, B4, 7, 8)
    headed = ip.emit(A6, B6, ip.DESTINATION_OPTIONS, bytes([6, 0, 1, 4, 0, 0, 0, 0]) + text)
    assert tcp.flow_key(ip.parse(headed)) == tcp.make_key(A6, B6, 7, 8)


@given(u32s, u32s)
def test_numbers_above_two_to_the_31_stay_positive(seq: int, ack: int) -> None:
    segment = tcp.parse(ip.parse(emit(tcp.Segment(0xFFFF, 0xFFFE, Seq(seq), Seq(ack), tcp.ACK, 0xFFFF))), False)
    assert (segment.sport, segment.dport, segment.seq, segment.ack, segment.wnd) == (0xFFFF, 0xFFFE, seq, ack, 0xFFFF)


def test_more_than_a_header_or_a_packet_holds_is_our_bug() -> None:
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.ACK, 5)
    segment.sack = list(range(10))
    with pytest.raises(AssertionError):
        emit(segment)
    segment.sack = None
    segment.data, segment.end = bytes(65496), 65496
    with pytest.raises(AssertionError):
        emit(segment)
    assert len(emit(segment, A6, B6)) == 40 + 20 + 65496
