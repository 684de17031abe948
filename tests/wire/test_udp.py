"""UDP over IPv4 and IPv6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason, WireError
from estab.wire import ip, offload, udp
from estab.wire.ip import IpHeader
from tests.wire.vectors import A4, A6, B4, B6, LINUX_UDP_V4, LINUX_UDP_V6, address_pairs, u8s, u16s


@given(address_pairs, u16s, u16s, st.binary(max_size=60), u8s, u8s, u16s, st.booleans(), st.integers(0, 0xFFFFF))
def test_what_is_emitted_is_parsed_again(
    pair: tuple[bytes, bytes], sport: int, dport: int, payload: bytes, ttl: int, tos: int, ident: int, df: bool,
    label: int,
) -> None:
    header = IpHeader(*pair, ttl=ttl, ident=ident, dont_fragment=df, flow_label=label)
    packet = ip.parse(udp.emit_packet(sport, dport, payload, header, tos))
    datagram = udp.parse(packet)
    assert (datagram.sport, datagram.dport, datagram.data[datagram.start : datagram.end]) == (sport, dport, payload)
    assert (packet.ttl, packet.tos) == (ttl, tos)


@pytest.mark.parametrize("data", [LINUX_UDP_V4, LINUX_UDP_V6])
def test_linuxs_datagrams_come_out_as_they_went_in(data: bytes) -> None:
    packet = ip.parse(data)
    read = udp.parse(packet, True)
    assert data[read.start : read.end] == b"udp to a closed port"
    header = IpHeader(packet.src, packet.dst, packet.ttl, packet.ident, packet.dont_fragment, packet.flow_label)
    again = udp.emit_packet(read.sport, read.dport, data[read.start : read.end], header, packet.tos)
    assert again == offload.finish_checksum(data)
    udp.parse(ip.parse(again))


def test_a_checksum_that_computes_to_zero_is_sent_as_ones() -> None:
    found = [port for port in range(65536) if udp.emit(port, 0, b"", A4, B4)[6:8] == b"\xff\xff"]
    assert len(found) == 1
    assert udp.parse(ip.parse(ip.emit(A4, B4, 17, udp.emit(found[0], 0, b"", A4, B4)))).sport == found[0]


def reason_of(data: bytes) -> DropReason:
    with pytest.raises(WireError) as caught:
        udp.parse(ip.parse(data))
    return caught.value.reason


def test_no_checksum_is_good_over_ipv4_and_bad_over_ipv6() -> None:
    datagram = udp.emit(1, 2, b"text", A4, B4)[:6] + b"\0\0text"
    assert udp.parse(ip.parse(ip.emit(A4, B4, 17, datagram))).dport == 2
    assert reason_of(ip.emit(A6, B6, 17, datagram)) == DropReason.UDP_CSUM


def test_each_broken_datagram_has_its_reason() -> None:
    good = udp.emit(1, 2, b"text", A4, B4)
    assert reason_of(ip.emit(A4, B4, 17, good[:7])) == DropReason.UDP_INVALID
    assert reason_of(ip.emit(A4, B4, 17, good[:-1])) == DropReason.UDP_INVALID
    assert reason_of(ip.emit(A4, B4, 17, good[:4] + b"\0\x07" + good[6:])) == DropReason.UDP_INVALID
    assert reason_of(ip.emit(A4, B4, 17, good[:-1] + b"!")) == DropReason.UDP_CSUM


def test_what_lies_behind_the_length_is_not_payload() -> None:
    datagram = udp.parse(ip.parse(ip.emit(A4, B4, 17, udp.emit(1, 2, b"text", A4, B4) + b"more")))
    assert datagram.data[datagram.start : datagram.end] == b"text"


def test_a_payload_that_no_datagram_holds_is_refused() -> None:
    assert len(udp.emit(1, 2, bytes(65527), A6, B6)) == 65535
    with pytest.raises(ValueError, match="payload: 65528 bytes"):
        udp.emit(1, 2, bytes(65528), A6, B6)
