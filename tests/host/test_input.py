"""The way in: which frames and packets go on, and the reason of each that does not."""

from __future__ import annotations

import pytest

from estab.abi import AF_INET, AF_INET6, SOCK_STREAM
from estab.errors import DropReason
from estab.host.engine import Engine
from estab.wire import arp, ethernet, icmp, ip, nd, tcp, udp
from estab.wire.address import BROADCAST_MAC, map_v4, parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.kit.engines import SECOND, Net, Wire, arps, drops, errors, mac, packets

A4, B4 = parse_address("10.0.0.1"), parse_address("10.0.0.2")
A6, B6 = parse_address("fd00::1"), parse_address("fd00::2")


def listening(*, is_ethernet: bool) -> tuple[Net, Engine, Wire]:
    """A host that listens at port 80 of both versions."""
    net, wire = Net(), Wire()
    a = net.host("a")
    net.join(wire, a, "10.0.0.1/24", "fd00::1/64", is_ethernet=is_ethernet)
    for family in (AF_INET, AF_INET6):
        one = a.socket(family, SOCK_STREAM, net.now_ns)
        if family == AF_INET6:
            one.v6only = True
        one.bind(("", 80), net.now_ns)
        one.listen(5, net.now_ns)
    if is_ethernet:
        a.add_neighbor(a.interfaces[1], "10.0.0.2", mac(2))
        a.add_neighbor(a.interfaces[1], "fd00::2", mac(2))
    return net, a, wire


def syn(source: bytes, destination: bytes) -> bytes:
    segment = tcp.Segment(5000, 80, Seq(1), Seq(0), tcp.SYN, 1000)
    return tcp.emit_packet(segment, IpHeader(source, destination, dont_fragment=True))


def answers(wire: Wire) -> list[ip.Packet]:
    return [packet for packet in packets(wire.passed, "a") if packet.protocol == ip.TCP]


# --- Ethernet


@pytest.mark.parametrize(("source", "destination"), [(B4, A4), (B6, A6)])
def test_a_priority_tag_of_number_0_is_taken_off(source: bytes, destination: bytes) -> None:
    net, a, wire = listening(is_ethernet=True)
    ethertype = b"\x08\x00" if len(source) == 4 else b"\x86\xdd"
    a.on_frame(1, mac(1) + mac(2) + b"\x81\x00\xa0\x00" + ethertype + syn(source, destination), net.now_ns)
    net.flush()
    assert len(answers(wire)) == 1


def test_a_tagged_arp_request_is_answered() -> None:
    net, a, wire = listening(is_ethernet=True)
    question = arp.emit(arp.Arp(arp.REQUEST, mac(2), B4, bytes(6), A4))
    a.on_frame(1, BROADCAST_MAC + mac(2) + b"\x81\x00\xa0\x00\x08\x06" + question, net.now_ns)
    net.flush()
    assert len(arps(wire.passed, arp.REPLY)) == 1


@pytest.mark.parametrize(("tag", "reason"), [
    (b"\x81\x00\xa0\x05\x08\x00", DropReason.OTHERHOST),
    (b"\x81\x00\x0f\xff\x08\x00", DropReason.OTHERHOST),
    (b"\x81\x00\xa0", DropReason.UNHANDLED_PROTO),
    (b"\x81\x00\x00\x00\x81\x00\x00\x00\x08\x00", DropReason.UNHANDLED_PROTO),
])
def test_other_tags_are_dropped(tag: bytes, reason: DropReason) -> None:
    net, a, wire = listening(is_ethernet=True)
    a.on_frame(1, mac(1) + mac(2) + tag + (syn(B4, A4) if len(tag) > 3 else b""), net.now_ns)
    net.flush()
    assert drops(a, reason) == 1
    assert not answers(wire)


@pytest.mark.parametrize(("ethertype", "source", "destination", "counter"), [
    (ethernet.IPV4, B6, A6, "IpInHdrErrors"), (ethernet.IPV6, B4, A4, "Ip6InHdrErrors"),
])
def test_a_packet_of_another_version_than_its_ethertype_is_dropped(
    ethertype: int, source: bytes, destination: bytes, counter: str,
) -> None:
    net, a, wire = listening(is_ethernet=True)
    a.on_frame(1, ethernet.emit(mac(1), mac(2), ethertype, syn(source, destination)), net.now_ns)
    net.run(SECOND)
    assert not wire.passed
    assert drops(a, DropReason.IP_INHDR) == 1
    assert a.counters()[counter] == 1


# --- who may send


@pytest.mark.parametrize("source", [
    "10.0.0.255", "255.255.255.255", "240.0.0.1", "224.0.0.1", "0.0.0.1", "127.0.0.2", "ff02::1", "::1",
])
@pytest.mark.parametrize("kind", ["echo", "syn", "closed port"])
def test_nothing_is_answered_to_an_address_that_is_no_single_host(source: str, kind: str) -> None:
    net, a, wire = listening(is_ethernet=False)
    origin = parse_address(source)
    here = A4 if len(origin) == 4 else A6
    if kind == "echo":
        version = 4 if len(origin) == 4 else 6
        body = icmp.emit(icmp.Echo(version, False, 1, 1, b"x"), origin, here)
        packet = ip.emit(origin, here, ip.ICMP if version == 4 else ip.ICMPV6, body)
    elif kind == "syn":
        packet = syn(origin, here)
    else:
        packet = udp.emit_packet(5, 9, b"", IpHeader(origin, here))
    a.on_frame(1, packet, net.now_ns)
    net.run(60 * SECOND)
    assert not wire.passed
    assert drops(a, DropReason.IP_INVALID_SOURCE) + drops(a, DropReason.IP_LOCAL_SOURCE) == 1


def test_a_v4_mapped_address_is_no_source_on_the_wire() -> None:
    net, a, wire = listening(is_ethernet=False)
    a.on_frame(1, syn(map_v4(B4), A6), net.now_ns)
    net.run(SECOND)
    assert drops(a, DropReason.IP_INVALID_SOURCE) == 1
    assert not wire.passed


def test_a_broadcast_address_is_one_no_more_when_the_last_address_of_its_network_is_gone() -> None:
    net, a, wire = listening(is_ethernet=False)
    a.add_address(a.interfaces[1], "10.0.0.3/24")
    a.remove_address(a.interfaces[1], "10.0.0.3")
    a.on_frame(1, syn(parse_address("10.0.0.255"), A4), net.now_ns)
    assert drops(a, DropReason.IP_INVALID_SOURCE) == 1
    a.add_address(a.interfaces[1], "10.0.0.5/16")
    a.remove_address(a.interfaces[1], "10.0.0.1")
    a.on_frame(1, syn(parse_address("10.0.0.255"), parse_address("10.0.0.5")), net.now_ns)
    net.flush()
    assert len(answers(wire)) == 1


# --- IPv6 headers


def test_an_authentication_header_that_nobody_verifies_is_refused() -> None:
    net, a, wire = listening(is_ethernet=False)
    syn = tcp.Segment(5000, 80, Seq(1), Seq(0), tcp.SYN, 1000)
    body = tcp.emit_packet(syn, IpHeader(B6, A6, dont_fragment=True))[40:]
    a.on_frame(1, ip.emit(B6, A6, ip.AH, bytes([ip.TCP, 4, 0, 0]) + bytes(20) + body), net.now_ns)
    net.flush()
    assert [(error.code, error.pointer) for error in errors(wire.passed, icmp.PARAMETER_PROBLEM)] == [(1, 6)]
    assert not answers(wire)


@pytest.mark.parametrize(("chain", "pointer"), [
    ([], 6), ([ip.HOP_BY_HOP], 40), ([ip.DESTINATION_OPTIONS], 40), ([ip.HOP_BY_HOP, ip.DESTINATION_OPTIONS], 48),
])
def test_the_error_points_at_the_octet_that_names_the_unknown_header(chain: list[int], pointer: int) -> None:
    net, a, wire = listening(is_ethernet=False)
    numbers = [*chain, 200]
    headers = b"".join(bytes([after, 0, 1, 4, 0, 0, 0, 0]) for after in numbers[1:])
    a.on_frame(1, ip.emit(B6, A6, numbers[0], headers + bytes(20)), net.now_ns)
    net.flush()
    assert [(error.code, error.pointer) for error in errors(wire.passed, icmp.PARAMETER_PROBLEM)] == [(1, pointer)]


# --- every drop has a reason


def neighbor_message(kind: str) -> bytes:
    if kind == "advertisement":
        body = nd.emit(nd.NeighborAdvertisement(parse_address("fd00::9"), False, True, True, mac(9)), B6, A6)
    else:
        body = nd.emit(nd.NeighborSolicitation(parse_address("fd00::9"), mac(9)), B6, A6)
    return ip.emit(B6, A6, ip.ICMPV6, body, 255)


@pytest.mark.parametrize("kind", ["advertisement", "solicitation"])
def test_discovery_of_strangers_is_dropped_with_a_reason(kind: str) -> None:
    net, a, wire = listening(is_ethernet=True)
    a.on_frame(1, ethernet.emit(mac(1), mac(2), ethernet.IPV6, neighbor_message(kind)), net.now_ns)
    net.flush()
    assert drops(a, DropReason.NDISC_OTHERHOST) == 1
    assert not wire.passed


@pytest.mark.parametrize("kind", ["advertisement", "solicitation"])
def test_discovery_without_ethernet_is_dropped_and_makes_no_neighbour(kind: str) -> None:
    net, a, wire = listening(is_ethernet=False)
    a.on_frame(1, neighbor_message(kind), net.now_ns)
    body = nd.emit(nd.NeighborSolicitation(A6, b"\x60\0\0\0\0\0"), B6, A6)
    a.on_frame(1, ip.emit(B6, A6, ip.ICMPV6, body, 255), net.now_ns)
    net.run(10 * SECOND)
    assert drops(a, DropReason.NDISC_INVALID) == 2
    assert not wire.passed
    assert not a.neighbors.all()


def test_no_next_header_is_dropped_with_a_reason_and_without_an_error() -> None:
    net, a, wire = listening(is_ethernet=False)
    a.on_frame(1, ip.emit(B6, A6, ip.NO_NEXT_HEADER, b""), net.now_ns)
    net.flush()
    assert drops(a, DropReason.IP_NOPROTO) == 1
    assert not wire.passed
