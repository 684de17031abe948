"""Packets with other ends: their checksums stay right, all else stays as it is, and changing back gives what was."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab import Network
from estab.lab.packets.rewrite import Ends, ends_of, quoted_ends, with_ends, with_quoted_ends
from estab.wire import icmp, ip, tcp, udp
from estab.wire.seq import Seq

PORTS = st.integers(1, 65_535)
TEXT = st.binary(max_size=60)


def addresses(version: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=4, max_size=4) if version == 4 else st.binary(min_size=16, max_size=16)


@st.composite
def packets(draw: st.DrawFn) -> tuple[ip.Packet, Ends]:
    """Draw a packet of TCP, UDP or an ICMP echo, and other ends for it."""
    version = draw(st.sampled_from([4, 6]))
    src, dst, other_src, other_dst = (draw(addresses(version)) for _ in range(4))
    sport, dport, other_sport, other_dport = (draw(PORTS) for _ in range(4))
    text, kind = draw(TEXT), draw(st.sampled_from(["tcp", "udp", "echo"]))
    if kind == "tcp":
        segment = tcp.Segment(sport, dport, Seq(draw(st.integers(0, 2**32 - 1))), Seq(7), tcp.ACK, 100)
        segment.data, segment.end = text, len(text)
        data = tcp.emit_packet(segment, ip.IpHeader(src, dst))
        protocol = ip.TCP
    elif kind == "udp":
        data = udp.emit_packet(sport, dport, text, ip.IpHeader(src, dst))
        protocol = ip.UDP
    else:
        echo = icmp.Echo(version, draw(st.booleans()), sport, 3, text)
        protocol = ip.ICMP if version == 4 else ip.ICMPV6
        data = ip.emit(src, dst, protocol, icmp.emit(echo, src, dst))
        other_dport = other_sport
    return ip.parse(data, 0), Ends(protocol, other_src, other_sport, other_dst, other_dport)


def is_whole(packet: ip.Packet) -> bool:
    """Tell whether all checksums are right: else parsing raises."""
    parsed = ip.parse(packet.data, 0)
    if parsed.protocol == ip.TCP:
        tcp.parse(parsed, False)
    elif parsed.protocol == ip.UDP:
        udp.parse(parsed, False)
    else:
        icmp.parse(parsed, False)
    return True


@given(packets())
def test_a_packet_gets_other_ends_with_right_checksums_and_its_own_back(drawn: tuple[ip.Packet, Ends]) -> None:
    packet, wanted = drawn
    before = ends_of(packet)
    assert before is not None
    changed = with_ends(packet, wanted)
    assert ends_of(changed) == wanted
    assert is_whole(changed)
    text_at = packet.start + (20 if packet.protocol == ip.TCP else 8)
    assert changed.data[text_at:] == packet.data[text_at:]
    back = with_ends(changed, before)
    if packet.protocol != ip.UDP:  # a checksum of 0 is written as 0xFFFF
        assert back.data == packet.data
    assert ends_of(back) == before


@given(packets(), st.integers(28, 100))
def test_an_error_about_a_packet_is_changed_with_what_it_quotes(
    drawn: tuple[ip.Packet, Ends], quoted_bytes: int,
) -> None:
    packet, wanted = drawn
    header_bytes = packet.start - packet.header_start
    quote = packet.data[: max(header_bytes + 8, quoted_bytes)]
    reporter = packet.dst
    error = icmp.Error(packet.version, icmp.UNREACHABLE, 1, quote)
    protocol = ip.ICMP if packet.version == 4 else ip.ICMPV6
    whole = ip.parse(ip.emit(reporter, packet.src, protocol, icmp.emit(error, reporter, packet.src)), 0)
    assert quoted_ends(whole) == ends_of(packet)
    assert ends_of(whole) is None
    changed = with_quoted_ends(whole, wanted.dst, wanted.src, wanted)
    assert quoted_ends(changed) == wanted
    assert (changed.src, changed.dst) == (wanted.dst, wanted.src)
    assert is_whole(changed)


def test_a_datagram_without_a_checksum_keeps_none() -> None:
    data = bytearray(udp.emit_packet(1, 2, b"text", ip.IpHeader(b"\x0a\0\0\1", b"\x0a\0\0\2")))
    data[26:28] = b"\0\0"
    changed = with_ends(ip.parse(bytes(data), 0), Ends(ip.UDP, b"\x0a\0\0\5", 9, b"\x0a\0\0\6", 8))
    assert changed.data[26:28] == b"\0\0"


@pytest.mark.parametrize("seed", range(5))
def test_no_segment_of_a_connection_in_bad_weather_is_invalid(seed: int) -> None:
    words: dict[str, Any] = {"delay": "5ms", "loss": "3%", "reorder": "5%", "duplicate": "3%",
                             "jitter": "3ms normal reorder"}
    with Network(seed) as net:
        phone, gateway, server = net.host("phone"), net.host("gateway"), net.host("server")
        nat = net.nat(net.link(phone, gateway, **words), net.link(gateway, server, **words), invalid="drop")

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                while text := sock.recv(50_000):
                    sock.sendall(text)

        @phone.run
        def call() -> int:
            size = 0
            with socket.create_connection(("10.0.1.2", 80)) as sock:
                for _ in range(20):
                    sock.sendall(bytes(20_000))
                    size += len(sock.recv(20_000, socket.MSG_WAITALL))
            return size

        net.run()
        assert call.result() == 400_000
        assert nat.invalid_count == 0
