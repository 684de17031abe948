"""ICMP and ICMPv6: echo, errors and what they quote, neighbour discovery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason, WireError
from estab.wire import address, icmp, ip, nd, tcp, udp
from estab.wire.icmp_message import build
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.wire.vectors import (
    A4,
    A6,
    B4,
    B6,
    LINUX_PORT_UNREACHABLE_V4,
    LINUX_PORT_UNREACHABLE_V6,
    LINUX_UDP_V4,
    LINUX_UDP_V6,
    LO4,
    LO6,
    address_pairs,
    u8s,
    u16s,
    u32s,
)

ROUTER = address.parse_address("fe80::1")
ALL_NODES = address.parse_address("ff02::1")
MAC = bytes.fromhex("020000000001")


def packet_of(message: bytes, src: bytes, dst: bytes, ttl: int = 255) -> ip.Packet:
    return ip.parse(ip.emit(src, dst, ip.ICMP if len(src) == 4 else ip.ICMPV6, message, ttl))


def around(message: icmp.Message, src: bytes, dst: bytes) -> icmp.Message:
    """Emit and parse again."""
    return icmp.parse(packet_of(icmp.emit(message, src, dst), src, dst))


def reason_of(packet: ip.Packet) -> DropReason:
    with pytest.raises(WireError) as caught:
        icmp.parse(packet)
    return caught.value.reason


@given(address_pairs, st.booleans(), u16s, u16s, st.binary(max_size=60))
def test_an_echo_comes_out_as_it_went_in(
    pair: tuple[bytes, bytes], is_reply: bool, ident: int, sequence: int, payload: bytes
) -> None:
    version = 4 if len(pair[0]) == 4 else 6
    read = around(icmp.Echo(version, is_reply, ident, sequence, payload), *pair)
    assert isinstance(read, icmp.Echo)
    assert (read.version, read.is_reply, read.ident, read.sequence, read.payload) == (
        version, is_reply, ident, sequence, payload)


@pytest.mark.parametrize(("version", "is_reply", "kind"), [
    (4, False, 8), (4, True, 0), (6, False, 128), (6, True, 129),
])
def test_echoes_have_the_rfcs_types(version: int, is_reply: bool, kind: int) -> None:
    assert icmp.Echo(version, is_reply, 0, 0, b"").type == kind


@pytest.mark.parametrize(("data", "quote", "src", "code"), [
    (LINUX_PORT_UNREACHABLE_V4, LINUX_UDP_V4, LO4, icmp.PORT_UNREACHABLE_V4),
    (LINUX_PORT_UNREACHABLE_V6, LINUX_UDP_V6, LO6, icmp.PORT_UNREACHABLE_V6),
])
def test_linuxs_port_unreachable_is_ours_to_the_byte(data: bytes, quote: bytes, src: bytes, code: int) -> None:
    packet = ip.parse(data)
    error = icmp.parse(packet)
    assert isinstance(error, icmp.Error)
    assert (error.problem, error.code, error.quote) == (icmp.UNREACHABLE, code, quote)
    assert (error.quoted.src, error.quoted.dst, error.quoted.protocol, error.quoted.dport) == (src, src, ip.UDP, 9)
    assert error.quoted.total_bytes == len(quote)
    assert icmp.emit(icmp.Error(packet.version, icmp.UNREACHABLE, code, quote), src, src) == data[packet.start :]


@pytest.mark.parametrize(("version", "problem", "kind"), [
    (4, icmp.UNREACHABLE, 3), (4, icmp.PACKET_TOO_BIG, 3), (4, icmp.TIME_EXCEEDED, 11), (4, icmp.PARAMETER_PROBLEM, 12),
    (4, icmp.REDIRECT, 5), (6, icmp.UNREACHABLE, 1), (6, icmp.PACKET_TOO_BIG, 2), (6, icmp.TIME_EXCEEDED, 3),
    (6, icmp.PARAMETER_PROBLEM, 4),
])
def test_each_error_comes_out_as_it_went_in(version: int, problem: int, kind: int) -> None:
    src, dst = (A4, B4) if version == 4 else (A6, B6)
    quote = udp.emit_packet(5, 6, b"what it is about", IpHeader(dst, src, ident=1, dont_fragment=True))
    code = 4 if problem == icmp.PACKET_TOO_BIG and version == 4 else 1
    mtu = 1400 if problem == icmp.PACKET_TOO_BIG else 0
    pointer = 40 if problem == icmp.PARAMETER_PROBLEM else 0
    gateway = b"\x0a\0\0\xfe" if problem == icmp.REDIRECT else b""
    error = icmp.Error(version, problem, code, quote, mtu, pointer, gateway)
    assert error.type == kind
    packet = packet_of(icmp.emit(error, src, dst), src, dst)
    assert icmp.is_error(packet)
    read = icmp.parse(packet)
    assert isinstance(read, icmp.Error)
    assert (read.problem, read.code, read.mtu, read.pointer, read.gateway, read.quote) == (
        problem, code, mtu, pointer, gateway, quote)
    assert (read.quoted.src, read.quoted.dst, read.quoted.sport, read.quoted.dport) == (dst, src, 5, 6)


@pytest.mark.parametrize(("src", "dst", "limit"), [(A4, B4, 576), (A6, B6, 1280)])
def test_an_error_is_never_longer_than_the_rfc_allows(src: bytes, dst: bytes, limit: int) -> None:
    quote = udp.emit_packet(5, 6, bytes(3000), IpHeader(dst, src, ident=1))
    error = icmp.Error(4 if len(src) == 4 else 6, icmp.TIME_EXCEEDED, 0, quote)
    packet = packet_of(icmp.emit(error, src, dst), src, dst)
    assert packet.end == limit
    read = icmp.parse(packet)
    assert isinstance(read, icmp.Error)
    assert read.quoted.total_bytes == len(quote)


@given(address_pairs, st.integers(0, 100), u16s, u16s, u32s)
def test_a_quote_cut_anywhere_tells_what_is_left(
    pair: tuple[bytes, bytes], cut: int, sport: int, dport: int, seq: int
) -> None:
    whole = tcp.emit_packet(tcp.Segment(sport, dport, Seq(seq), Seq(0), 0, 0), IpHeader(*pair, dont_fragment=True))
    header = 20 if len(pair[0]) == 4 else 40
    if cut < header:
        with pytest.raises(WireError):
            icmp.parse_quoted(whole[:cut])
        return
    quoted = icmp.parse_quoted(whole[:cut])
    assert (quoted.src, quoted.dst, quoted.protocol, quoted.total_bytes) == (*pair, ip.TCP, len(whole))
    assert (quoted.sport, quoted.dport) == ((sport, dport) if cut >= header + 4 else (-1, -1))
    assert quoted.seq == (seq if cut >= header + 8 else -1)


def test_a_quote_is_read_although_its_checksum_and_ttl_changed_on_the_way() -> None:
    quote = bytearray(LINUX_UDP_V4)
    quote[8], quote[10] = 0, 0x55
    assert icmp.parse_quoted(bytes(quote)).dport == 9


def test_a_quoted_echo_gives_its_ident() -> None:
    for src, dst in ((A4, B4), (A6, B6)):
        version, protocol = (4, ip.ICMP) if len(src) == 4 else (6, ip.ICMPV6)
        quote = ip.emit(src, dst, protocol, icmp.emit(icmp.Echo(version, False, 77, 3, b""), src, dst))
        quoted = icmp.parse_quoted(quote)
        assert (quoted.ident, quoted.sequence, quoted.sport) == (77, 3, -1)


def test_later_fragments_quote_no_ports() -> None:
    assert icmp.parse_quoted(ip.emit(A4, B4, 17, bytes(16), fragment_offset=8)).sport == -1
    assert icmp.parse_quoted(ip.emit(A6, B6, 17, bytes(16), fragment_offset=8)).sport == -1
    first = ip.emit(A6, B6, 17, b"\0\x05\0\x06" + bytes(12), more_fragments=True)
    assert icmp.parse_quoted(first).dport == 6


def test_extension_headers_of_a_quote_are_walked() -> None:
    quote = ip.emit(A6, B6, ip.DESTINATION_OPTIONS, bytes([17, 0, 1, 4, 0, 0, 0, 0]) + b"\0\x05\0\x06")
    quoted = icmp.parse_quoted(quote)
    assert (quoted.protocol, quoted.sport, quoted.dport) == (17, 5, 6)
    for end in range(40, 52):
        assert icmp.parse_quoted(quote[:end]).sport == -1


@given(address_pairs, u8s, u8s, u32s, st.binary(max_size=40))
def test_other_types_are_kept_whole(
    pair: tuple[bytes, bytes], kind: int, code: int, word: int, body: bytes
) -> None:
    known = (0, 3, 5, 8, 11, 12) if len(pair[0]) == 4 else (1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 137)
    if kind in known:
        return
    read = around(icmp.Unknown(4 if len(pair[0]) == 4 else 6, kind, code, word, body), *pair)
    assert isinstance(read, icmp.Unknown)
    assert (read.type, read.code, read.word, read.body) == (kind, code, word, body)


def test_each_broken_message_has_its_reason() -> None:
    good = icmp.emit(icmp.Echo(6, False, 1, 2, b"data"), A6, B6)
    assert reason_of(packet_of(good[:7], A6, B6)) == DropReason.ICMP_INVALID
    assert reason_of(packet_of(good[:-1] + b"!", A6, B6)) == DropReason.ICMP_CSUM
    assert reason_of(packet_of(good, A6, A6)) == DropReason.ICMP_CSUM
    assert reason_of(packet_of(build(A4, B4, 3, 1, 0, b"no packet"), A4, B4)) == DropReason.ICMP_INVALID


def test_what_is_an_error_and_what_is_not() -> None:
    echo4, echo6 = icmp.Echo(4, False, 1, 2, b""), icmp.Echo(6, False, 1, 2, b"")
    assert not icmp.is_error(packet_of(icmp.emit(echo4, A4, B4), A4, B4))
    assert not icmp.is_error(packet_of(icmp.emit(echo6, A6, B6), A6, B6))
    assert not icmp.is_error(ip.parse(LINUX_UDP_V4))
    assert not icmp.is_error(ip.parse(LINUX_UDP_V6))
    assert icmp.is_error(packet_of(b"", A4, B4))
    assert icmp.is_error(packet_of(b"", A6, B6))
    assert icmp.is_error(packet_of(build(A4, B4, 4, 0, 0, b""), A4, B4))
    assert icmp.is_error(packet_of(build(A6, B6, 127, 0, 0, b""), A6, B6))


# --- neighbour discovery


def test_neighbour_solicitations_come_out_as_they_went_in() -> None:
    for link_address in (b"", MAC):
        read = around(nd.NeighborSolicitation(B6, link_address), A6, address.solicited_node(B6))
        assert isinstance(read, nd.NeighborSolicitation)
        assert (read.target, read.link_address) == (B6, link_address)


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([b"", MAC]))
def test_neighbour_advertisements_come_out_as_they_went_in(
    is_router: bool, is_solicited: bool, is_override: bool, mac: bytes
) -> None:
    read = around(nd.NeighborAdvertisement(A6, is_router, is_solicited, is_override, mac), A6, B6)
    assert isinstance(read, nd.NeighborAdvertisement)
    assert (read.target, read.is_router, read.is_solicited, read.is_override, read.link_address) == (
        A6, is_router, is_solicited, is_override, mac)


def test_router_messages_come_out_as_they_went_in() -> None:
    asked = around(nd.RouterSolicitation(MAC), A6, address.parse_address("ff02::2"))
    assert isinstance(asked, nd.RouterSolicitation)
    assert asked.link_address == MAC
    prefixes = [nd.Prefix(address.parse_address("fd00::"), 64, True, False, 0xFFFFFFFF, 600)]
    told = around(nd.RouterAdvertisement(64, False, True, 1800, 30000, 1000, MAC, 1400, prefixes), ROUTER, ALL_NODES)
    assert isinstance(told, nd.RouterAdvertisement)
    assert (told.hop_limit, told.is_managed, told.has_other, told.lifetime_s, told.reachable_ms, told.retransmit_ms,
            told.link_address, told.mtu) == (64, False, True, 1800, 30000, 1000, MAC, 1400)
    one, = told.prefixes
    assert (one.prefix, one.bits, one.is_on_link, one.is_autonomous, one.valid_s, one.preferred_s) == (
        address.parse_address("fd00::"), 64, True, False, 0xFFFFFFFF, 600)
    moved = around(nd.Redirect(address.parse_address("fe80::2"), B6, MAC, b"quotation of 8n."), ROUTER, A6)
    assert isinstance(moved, nd.Redirect)
    assert (moved.target, moved.destination, moved.link_address, moved.quote) == (
        address.parse_address("fe80::2"), B6, MAC, b"quotation of 8n.")


def test_a_redirect_fits_into_the_smallest_mtu() -> None:
    assert len(nd.emit(nd.Redirect(ROUTER, B6, MAC, bytes(3000)), ROUTER, A6)) == 1280 - 40


def test_a_solicitation_is_laid_out_as_rfc_4861_says() -> None:
    message = icmp.emit(nd.NeighborSolicitation(B6, MAC), A6, B6)
    assert message[:2].hex() == "8700"
    assert message[4:].hex() == "00000000" + B6.hex() + "0101" + MAC.hex()


def solicitation(options: bytes = b"", target: bytes = B6, src: bytes = A6, dst: bytes = B6, code: int = 0,
                 ttl: int = 255) -> ip.Packet:
    return packet_of(build(src, dst, 135, code, 0, target + options), src, dst, ttl)


def advertisement(flags: int, target: bytes, dst: bytes) -> ip.Packet:
    return packet_of(build(A6, dst, 136, 0, flags << 24, target), A6, dst)


def redirect(target: bytes, destination: bytes, src: bytes) -> ip.Packet:
    return packet_of(build(src, A6, 137, 0, 0, target + destination), src, A6)


@pytest.mark.parametrize("packet", [
    solicitation(ttl=254), solicitation(code=1), solicitation(target=bytes(15)), solicitation(target=ALL_NODES),
    solicitation(b"\x01\x00"), solicitation(b"\x0e\x00" + bytes(6)),
    solicitation(b"\x01"), solicitation(b"\x01\x02" + MAC),
    solicitation(b"\x01\x02" + bytes(14)), solicitation(src=bytes(16)),
    solicitation(b"\x01\x01" + MAC, src=bytes(16), dst=address.solicited_node(B6)),
    advertisement(0, ALL_NODES, B6), advertisement(0x40, A6, ALL_NODES),
    packet_of(build(bytes(16), B6, 133, 0, 0, b"\x01\x01" + MAC), bytes(16), B6),
    packet_of(build(A6, B6, 134, 0, 0, bytes(8)), A6, B6),
    redirect(ROUTER, B6, A6), redirect(ROUTER, ALL_NODES, ROUTER), redirect(A6, B6, ROUTER),
])
def test_each_check_of_rfc_4861_drops(packet: ip.Packet) -> None:
    assert reason_of(packet) == DropReason.NDISC_INVALID


def test_duplicate_address_detection_is_valid() -> None:
    read = icmp.parse(solicitation(src=bytes(16), dst=address.solicited_node(B6)))
    assert isinstance(read, nd.NeighborSolicitation)
    assert read.link_address == b""


def test_unknown_options_are_skipped() -> None:
    read = icmp.parse(solicitation(b"\x0e\x01\1\2\3\4\5\6" + b"\x01\x01" + MAC))
    assert isinstance(read, nd.NeighborSolicitation)
    assert read.link_address == MAC


def test_emitting_what_is_no_message_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="message"):
        nd.emit(icmp.Message(6, 1, 2), A6, B6)
