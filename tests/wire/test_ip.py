"""IPv4 and IPv6 packets, extension headers, forwarding and fragments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason, WireError
from estab.wire import checksum, fragment, ip
from tests.wire.vectors import A4, A6, B4, B6, LINUX_TCP_V4, LINUX_TCP_V6, address_pairs, u8s, u16s, u32s


def reason_of(data: bytes, start: int = 0) -> DropReason:
    with pytest.raises(WireError) as caught:
        ip.parse(data, start)
    return caught.value.reason


def v6(next_header: int, payload: bytes, dst: bytes = B6) -> bytes:
    return ip.emit(A6, dst, next_header, payload)


@given(address_pairs, u8s, st.binary(max_size=100), u8s, u8s, u16s, st.booleans(), st.integers(0, 0xFFFFF))
def test_what_is_emitted_is_parsed_again(
    pair: tuple[bytes, bytes], protocol: int, payload: bytes, ttl: int, tos: int, ident: int, df: bool, label: int
) -> None:
    src, dst = pair
    if len(src) == 16 and ip.is_extension(protocol):
        protocol = ip.TCP
    data = ip.emit(src, dst, protocol, payload, ttl, tos, ident, df, label)
    packet = ip.parse(b"frame" + data + b"padding", 5)
    assert (packet.src, packet.dst, packet.protocol, packet.ttl, packet.tos) == (src, dst, protocol, ttl, tos)
    assert packet.data[packet.start : packet.end] == payload
    assert (packet.header_start, packet.fragment_offset, packet.more_fragments) == (5, 0, False)
    assert not ip.is_fragment(packet)
    if len(src) == 4:
        assert (packet.version, packet.ident, packet.dont_fragment, packet.flow_label) == (4, ident, df, 0)
    else:
        assert (packet.version, packet.ident, packet.dont_fragment, packet.flow_label) == (6, 0, False, label)


@pytest.mark.parametrize("data", LINUX_TCP_V4 + LINUX_TCP_V6)
def test_linuxs_headers_come_out_as_they_went_in(data: bytes) -> None:
    packet = ip.parse(data)
    again = ip.emit(packet.src, packet.dst, packet.protocol, data[packet.start : packet.end], packet.ttl, packet.tos,
                    packet.ident, packet.dont_fragment, packet.flow_label)
    assert again == data


@pytest.mark.parametrize(("src", "dst"), [(A4, B4), (A6, B6)])
def test_header_alone_is_the_header_of_the_whole(src: bytes, dst: bytes) -> None:
    writer = ip.Writer()
    ip.emit_header(writer, ip.IpHeader(src, dst, 63, 0x1234, True, 0x54321), 0xB8, 6, 33)
    assert writer.getvalue() + bytes(33) == ip.emit(src, dst, 6, bytes(33), 63, 0xB8, 0x1234, True, 0x54321)


def test_packets_with_the_same_addresses_share_them_and_others_have_their_own() -> None:
    ends = ip.Ends()
    first, second = (ip.parse(ip.emit(A4, B4, ip.TCP, bytes(n)), 0, ends) for n in (1, 2))
    assert first.src is second.src
    assert first.dst is second.dst
    back = ip.parse(ip.emit(B4, A4, ip.TCP, b""), 0, ends)
    assert (first.src, first.dst, back.src, back.dst) == (A4, B4, B4, A4)
    assert ip.parse(ip.emit(bytes(4), B4, ip.TCP, b""), 0, ip.Ends()).src == bytes(4)


def test_options_are_tolerated_and_kept() -> None:
    packet = ip.parse(ip.emit(A4, B4, 17, b"data", options=b"\x94\x04\0\0\x01"))
    assert packet.options == b"\x94\x04\0\0\x01\0\0\0"
    assert packet.start == 28
    assert packet.data[packet.start : packet.end] == b"data"


def fixed(header: bytes) -> bytes:
    """Set the IPv4 header's checksum right."""
    end = (header[0] & 15) * 4
    cleared = header[:10] + b"\0\0" + header[12:]
    return header[:10] + checksum.checksum(cleared, 0, min(end, len(header))).to_bytes(2, "big") + header[12:]


def test_each_broken_ipv4_header_has_its_reason() -> None:
    good = ip.emit(A4, B4, 6, b"1234567890")
    assert reason_of(b"") == DropReason.PKT_TOO_SMALL
    assert reason_of(good, len(good)) == DropReason.PKT_TOO_SMALL
    assert reason_of(good[:19]) == DropReason.PKT_TOO_SMALL
    assert reason_of(good[:-1]) == DropReason.PKT_TOO_SMALL
    assert reason_of(b"\x50" + good[1:]) == DropReason.UNHANDLED_PROTO
    assert reason_of(b"\x44" + good[1:]) == DropReason.IP_INHDR
    assert reason_of(fixed(good[:2] + b"\0\x13" + good[4:])) == DropReason.IP_INHDR
    assert reason_of(good[:8] + bytes([good[8] ^ 1]) + good[9:]) == DropReason.IP_CSUM
    assert reason_of(fixed(good[:6] + b"\x1f\xff" + good[8:])) == DropReason.FRAG_TOO_FAR


def test_each_broken_ipv6_header_has_its_reason() -> None:
    good = v6(6, b"1234567890")
    assert reason_of(good[:39]) == DropReason.PKT_TOO_SMALL
    assert reason_of(good[:-1]) == DropReason.PKT_TOO_SMALL
    assert reason_of(v6(ip.HOP_BY_HOP, b"\x06\x00\x01\x04")) == DropReason.IPV6_BAD_EXTHDR
    assert reason_of(v6(ip.HOP_BY_HOP, b"\x06\x01" + bytes(6))) == DropReason.IPV6_BAD_EXTHDR
    assert reason_of(v6(ip.HOP_BY_HOP, b"\x06\x00\x01\x05" + bytes(4))) == DropReason.IPV6_BAD_EXTHDR
    assert reason_of(v6(ip.HOP_BY_HOP, b"\x06\x00\x01\x03\0\0\0\x05")) == DropReason.IPV6_BAD_EXTHDR
    assert reason_of(v6(ip.DESTINATION_OPTIONS, b"\x3c\0\x01\x04\0\0\0\0" * 17)) == DropReason.IPV6_BAD_EXTHDR


def test_extension_headers_are_walked_to_the_transport() -> None:
    hop = bytes([ip.DESTINATION_OPTIONS, 0, 5, 2, 0, 0, 1, 0])
    before = bytes([ip.ROUTING, 0, 0, 0, 0, 0, 0, 0])
    routing = bytes([ip.DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0])
    after = bytes([ip.TCP, 0, 1, 4, 0, 0, 0, 0])
    packet = ip.parse(v6(ip.HOP_BY_HOP, hop + before + routing + after + b"text"))
    assert packet.protocol == ip.TCP
    assert packet.data[packet.start : packet.end] == b"text"
    assert packet.unfragmentable_end == 40 + 24
    assert packet.problem_code == ip.NO_PROBLEM


@pytest.mark.parametrize("protocol", [ip.NO_NEXT_HEADER, ip.ESP, ip.AH, 135, 255])
def test_the_walk_stops_at_what_is_no_extension_header(protocol: int) -> None:
    packet = ip.parse(v6(ip.DESTINATION_OPTIONS, bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + b"rest"))
    assert packet.protocol == protocol
    assert packet.data[packet.start : packet.end] == b"rest"


@pytest.mark.parametrize(("kind", "dst", "code"), [
    (0x1E, B6, ip.NO_PROBLEM), (0x5E, B6, ip.DISCARD_SILENTLY), (0x9E, B6, 2), (0xDE, B6, 2),
    (0x9E, b"\xff\x02" + bytes(14), 2), (0xDE, b"\xff\x02" + bytes(14), ip.DISCARD_SILENTLY),
])
def test_an_unknown_option_does_what_its_two_high_bits_say(kind: int, dst: bytes, code: int) -> None:
    packet = ip.parse(v6(ip.DESTINATION_OPTIONS, bytes([6, 0, 0, kind, 3, 0, 0, 0]) + b"text", dst))
    assert packet.problem_code == code
    assert packet.problem_pointer == (0 if code == ip.NO_PROBLEM else 43)


def test_a_routing_header_with_segments_left_is_the_destinations_problem() -> None:
    packet = ip.parse(v6(ip.ROUTING, bytes([6, 0, 99, 1, 0, 0, 0, 0]) + b"text"))
    assert (packet.problem_code, packet.problem_pointer, packet.protocol) == (0, 42, 6)


def test_hop_by_hop_options_elsewhere_are_an_unknown_header() -> None:
    packet = ip.parse(v6(ip.DESTINATION_OPTIONS, bytes([0, 0, 1, 4, 0, 0, 0, 0]) + bytes([6, 0, 1, 4, 0, 0, 0, 0])))
    assert (packet.problem_code, packet.problem_pointer) == (1, 40)


def test_a_real_fragment_ends_the_walk_and_an_atomic_one_does_not() -> None:
    options = bytes([6, 0, 1, 4, 0, 0, 0, 0])
    first = ip.parse(v6(ip.FRAGMENT, bytes([60, 0, 0, 1, 0, 0, 0, 9]) + options))
    assert ip.is_fragment(first)
    assert (first.protocol, first.ident, first.more_fragments, first.start) == (60, 9, True, 48)
    last = ip.parse(v6(ip.FRAGMENT, bytes([60, 0, 0, 8, 0, 0, 0, 9]) + options))
    assert (last.fragment_offset, last.more_fragments, last.protocol) == (8, False, 60)
    atomic = ip.parse(v6(ip.FRAGMENT, bytes([60, 0, 0, 0, 0, 0, 0, 9]) + options))
    assert not ip.is_fragment(atomic)
    assert (atomic.protocol, atomic.start) == (6, 56)


def test_an_ipv6_fragment_of_impossible_length_is_the_destinations_problem() -> None:
    odd = ip.parse(v6(ip.FRAGMENT, bytes([6, 0, 0, 1, 0, 0, 0, 9]) + bytes(9)))
    assert (odd.problem_code, odd.problem_pointer) == (0, 4)
    far = ip.parse(v6(ip.FRAGMENT, bytes([6, 0, 0xFF, 0xF8, 0, 0, 0, 9]) + bytes(8)))
    assert (far.problem_code, far.problem_pointer) == (0, 42)


@given(address_pairs, st.integers(2, 255), u8s, u16s, st.binary(max_size=30))
def test_forwarding_takes_one_hop_and_nothing_else(
    pair: tuple[bytes, bytes], ttl: int, tos: int, ident: int, payload: bytes
) -> None:
    src, dst = pair
    packet = ip.parse(b"xy" + ip.emit(src, dst, 6, payload, ttl, tos, ident) + b"pad", 2)
    assert ip.forwarded(packet) == ip.emit(src, dst, 6, payload, ttl - 1, tos, ident)


@given(address_pairs, u8s, u16s, st.binary(max_size=30))
def test_marking_congestion_sets_both_ecn_bits_and_nothing_else(
    pair: tuple[bytes, bytes], tos: int, ident: int, payload: bytes
) -> None:
    src, dst = pair
    packet = ip.parse(b"xy" + ip.emit(src, dst, 6, payload, 64, tos, ident) + b"pad", 2)
    assert ip.set_ecn_ce(packet) == ip.emit(src, dst, 6, payload, 64, tos | 3, ident)


@pytest.mark.parametrize("wrong", [
    lambda: ip.emit(A4, B6, 6, b""), lambda: ip.emit(b"", b"", 6, b""), lambda: ip.emit(A4, B4, 6, bytes(65516)),
    lambda: ip.emit(A6, B6, 6, bytes(65536)), lambda: ip.emit(A4, B4, 6, b"", options=bytes(41)),
    lambda: ip.emit(A6, B6, 6, b"", options=b"\x01"), lambda: ip.emit(A4, B4, 6, b"", fragment_offset=7),
    lambda: ip.emit(A4, B4, 6, b"", fragment_offset=65536),
])
def test_what_no_packet_can_hold_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"bytes|fragment_offset"):
        wrong()  # type: ignore[operator]


# --- fragments


@given(address_pairs, st.binary(min_size=1, max_size=400), st.integers(60, 200), u32s, st.binary(max_size=12))
def test_fragments_fit_the_mtu_and_join_to_the_whole(
    pair: tuple[bytes, bytes], payload: bytes, mtu: int, ident: int, options: bytes
) -> None:
    src, dst = pair
    data = ip.emit(src, dst, 17, payload, 9, 5, ident & 0xFFFF, options=options if len(src) == 4 else b"")
    whole = ip.parse(data)
    pieces = fragment.split(whole, mtu, ident)
    assert all(len(piece) <= mtu for piece in pieces)
    parsed = [ip.parse(piece) for piece in pieces]
    assert [piece.more_fragments for piece in parsed] == [True] * (len(parsed) - 1) + [False]
    assert len({(piece.ident, piece.src, piece.dst, piece.protocol) for piece in parsed}) == 1
    at = 0
    for piece in parsed:
        assert piece.fragment_offset == at
        at += piece.end - piece.start
    assert fragment.join(parsed[0], b"".join(piece.data[piece.start : piece.end] for piece in parsed)) == data


def test_an_ipv4_fragment_can_be_cut_again() -> None:
    whole = ip.parse(ip.emit(A4, B4, 17, bytes(range(200)), ident=7))
    outer = [ip.parse(piece) for piece in fragment.split(whole, 120, 0)]
    inner = [ip.parse(piece) for one in outer for piece in fragment.split(one, 60, 0)]
    assert [piece.fragment_offset for piece in inner] == [0, 40, 80, 96, 136, 176, 192]
    assert b"".join(piece.data[piece.start : piece.end] for piece in inner) == bytes(range(200))
    assert [piece.more_fragments for piece in inner] == [True] * (len(inner) - 1) + [False]


def test_only_options_with_the_copied_flag_go_into_later_fragments() -> None:
    timestamp, alert = b"\x44\x04\x05\x00", b"\x94\x04\x00\x00"
    whole = ip.parse(ip.emit(A4, B4, 17, bytes(64), options=timestamp + alert))
    assert [ip.parse(piece).options for piece in fragment.split(whole, 68, 0)] == [timestamp + alert, alert]


def test_ipv6_keeps_the_unfragmentable_part_in_every_fragment() -> None:
    hop, after = bytes([60, 0, 5, 2, 0, 0, 1, 0]), bytes([17, 0, 1, 4, 0, 0, 0, 0])
    data = v6(ip.HOP_BY_HOP, hop + after + bytes(range(100)))
    pieces = [ip.parse(piece) for piece in fragment.split(ip.parse(data), 120, 0xABCDEF01)]
    assert [(piece.data[6], piece.data[40:41], piece.protocol) for piece in pieces] == [(0, b"\x2c", 60)] * len(pieces)
    assert {piece.ident for piece in pieces} == {0xABCDEF01}
    assert fragment.join(pieces[0], b"".join(piece.data[piece.start : piece.end] for piece in pieces)) == data
    with pytest.raises(ValueError, match="never cut again"):
        fragment.split(pieces[0], 100, 1)


def test_an_mtu_without_room_is_refused() -> None:
    for data, mtu in ((ip.emit(A4, B4, 17, bytes(64)), 27), (v6(17, bytes(64)), 55)):
        with pytest.raises(ValueError, match="mtu"):
            fragment.split(ip.parse(data), mtu, 1)


def test_a_whole_longer_than_a_packet_is_too_far() -> None:
    for data in (ip.emit(A4, B4, 17, b"", more_fragments=True), ip.emit(A6, B6, 17, b"", more_fragments=True)):
        with pytest.raises(WireError) as caught:
            fragment.join(ip.parse(data), bytes(65536))
        assert caught.value.reason == DropReason.FRAG_TOO_FAR
