"""A host as a router: hops, sizes, martians, routes."""

from __future__ import annotations

import errno
import struct

import pytest

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.errors import DropReason
from estab.host.engine import Engine
from estab.host.ip.paths import PATHS_MAX
from estab.host.ip.routes import ROUTES_MAX, Route, Routes
from estab.wire import fragment, icmp, ip, tcp, udp
from estab.wire.address import BROADCAST_MAC, network_of, parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.kit.engines import MS, SECOND, Net, Wire, drops, errors, mac, packets

A4, B4 = parse_address("10.0.1.2"), parse_address("10.0.2.2")
A6, B6 = parse_address("fd00:1::2"), parse_address("fd00:2::2")
FAR = ["10.0.2.2", "fd00:2::2"]


def routed(mtu: int = 1500, is_ethernet: bool = True) -> tuple[Net, Engine, Engine, Engine, Wire, Wire]:
    """``a`` and ``b`` with router ``r`` between them; the far wire has that MTU."""
    net = Net()
    near, far = Wire(), Wire()
    a, r, b = net.host("a"), net.host("r"), net.host("b")
    r.is_forwarding = True
    net.join(near, a, "10.0.1.2/24", "fd00:1::2/64", is_ethernet=is_ethernet)
    net.join(near, r, "10.0.1.1/24", "fd00:1::1/64", is_ethernet=is_ethernet)
    has_v6 = mtu >= 1280
    net.join(far, r, "10.0.2.1/24", *["fd00:2::1/64"] * has_v6, mtu=mtu, is_ethernet=is_ethernet)
    net.join(far, b, "10.0.2.2/24", *["fd00:2::2/64"] * has_v6, mtu=mtu, is_ethernet=is_ethernet)
    a.add_route("0.0.0.0/0", a.interfaces[1], "10.0.1.1")
    a.add_route("::/0", a.interfaces[1], "fd00:1::1")
    b.add_route("0.0.0.0/0", b.interfaces[1], "10.0.2.1")
    if has_v6:
        b.add_route("::/0", b.interfaces[1], "fd00:2::1")
    return net, a, r, b, near, far


@pytest.mark.parametrize("address", FAR)
def test_packet_goes_through_with_one_hop_less(address: str) -> None:
    net, a, r, _, _, far = routed()
    pinger = a.ping(address, b"p" * 100, net.now_ns)
    net.run(100 * MS)
    result = pinger.receive()
    assert (result.source, result.ttl) == (address, 63)
    assert all(packet.ttl == 63 for packet in packets(far.passed, "r") if packet.ttl != 255)
    assert r.counters()["IpForwDatagrams" if "." in address else "Ip6OutForwDatagrams"] == 2


@pytest.mark.parametrize("address", FAR)
def test_last_hop_is_told_to_the_sender(address: str) -> None:
    net, a, r, _, _, _ = routed()
    pinger = a.ping(address, b"", net.now_ns)
    net.run(100 * MS)
    pinger.receive()
    pinger.ttl = 1
    pinger.send(b"", net.now_ns)
    net.run(100 * MS)
    result = pinger.receive()
    assert (result.sequence, result.errno) == (2, errno.EHOSTUNREACH)
    assert "time exceeded" in result.text
    assert drops(r, DropReason.IP_TTL_EXPIRED) == 1


def test_host_that_is_no_router_drops_packets_for_others() -> None:
    net, a, r, _, _, far = routed()
    r.is_forwarding = False
    a.ping("10.0.2.2", b"", net.now_ns)
    a.ping("fd00:2::2", b"", net.now_ns)
    net.run(100 * MS)
    assert drops(r, DropReason.IP_INADDRERRORS) == 2
    assert not far.passed


@pytest.mark.parametrize(("address", "text"), [("192.0.2.1", "network unreachable"), ("2001:db8::1", "no route")])
def test_no_route_is_told_to_the_sender(address: str, text: str) -> None:
    net, a, r, _, _, _ = routed()
    pinger = a.ping(address, b"", net.now_ns)
    net.run(100 * MS)
    assert text in pinger.receive().text
    assert drops(r, DropReason.IP_INNOROUTES) == 1


@pytest.mark.parametrize("address", ["10.0.2.99", "fd00:2::99"])
def test_router_tells_the_sender_when_the_last_host_does_not_answer(address: str) -> None:
    net, a, _, _, _, _ = routed()
    client = a.socket(AF_INET if "." in address else AF_INET6, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        client.connect((address, 80), net.now_ns)
    net.run(4 * SECOND)
    with pytest.raises(OSError, match=r"no route to host: (10.0.1.1|fd00:2?:?:?1?.*) reports") as caught:
        client.connect((address, 80), net.now_ns)
    assert caught.value.errno == errno.EHOSTUNREACH


@pytest.mark.parametrize("address", FAR)
def test_tcp_finds_the_smaller_mtu_behind_the_router(address: str) -> None:
    net, a, r, b, _, far = routed(mtu=1300)
    listener = b.socket(AF_INET if "." in address else AF_INET6, SOCK_STREAM, net.now_ns)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    # The far end's MSS would tell: let it promise more.
    listener.maxseg = 1460
    client = a.socket(AF_INET if "." in address else AF_INET6, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        client.connect((address, 80), net.now_ns)
    net.run(100 * MS)
    client.send(b"x" * 15000, 0, net.now_ns)
    net.run(SECOND)
    server = listener.accept(net.now_ns)
    assert len(server.recv(99999, 0, net.now_ns)) == 15000
    assert max(len(data) for _, _, data in far.passed) <= 1314
    assert r.counters().get("drop:PKT_TOO_BIG", 0) <= 10


def test_ipv4_without_df_is_cut_and_with_df_refused_with_the_mtu() -> None:
    net, _a, r, b, near, far = routed(mtu=600, is_ethernet=False)
    server = b.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    server.bind(("", 9), net.now_ns)
    whole = udp.emit_packet(5, 9, b"x" * 1400, IpHeader(A4, B4, ident=77))
    r.on_frame(1, whole, net.now_ns)
    net.run(100 * MS)
    assert server.readable_bytes == 1400
    assert [packet.ident for packet in packets(far.passed)] == [77] * 3
    assert all(len(data) <= 600 for _, _, data in far.passed)
    r.on_frame(1, udp.emit_packet(5, 9, b"x" * 1400, IpHeader(A4, B4, ident=77, dont_fragment=True)), net.now_ns)
    net.run(100 * MS)
    assert [error.mtu for error in errors(near.passed, icmp.PACKET_TOO_BIG)] == [600]
    assert (drops(r, DropReason.PKT_TOO_BIG), r.counters()["IpFragFails"]) == (1, 1)


def test_ipv6_is_never_cut_on_the_way() -> None:
    net, _, r, _, near, far = routed(mtu=1300, is_ethernet=False)
    r.on_frame(1, udp.emit_packet(5, 9, b"x" * 1400, IpHeader(A6, B6)), net.now_ns)
    net.run(100 * MS)
    assert [error.mtu for error in errors(near.passed, icmp.PACKET_TOO_BIG)] == [1300]
    assert not far.passed


def test_sender_learns_the_path_from_the_router_and_sends_fragments() -> None:
    net, a, _, b, _, _ = routed(mtu=1300)
    server, client = b.socket(AF_INET6, SOCK_DGRAM, net.now_ns), a.socket(AF_INET6, SOCK_DGRAM, net.now_ns)
    server.bind(("", 9), net.now_ns)
    client.sendto(b"x" * 1400, ("fd00:2::2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert not server.queue
    assert a.paths.mtu_of(B6) == 1300
    client.sendto(b"x" * 1400, ("fd00:2::2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert server.readable_bytes == 1400


def test_fragments_go_through_a_router_as_they_are() -> None:
    net, a, _, b, _, _ = routed(mtu=700)
    server, client = b.socket(AF_INET, SOCK_DGRAM, net.now_ns), a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    server.bind(("", 9), net.now_ns)
    client.sendto(bytes(range(250)) * 20, ("10.0.2.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert server.recvfrom(9999, 0)[0] == bytes(range(250)) * 20


def udp4(src: str, dst: str) -> bytes:
    return udp.emit_packet(5, 9, b"", IpHeader(parse_address(src), parse_address(dst)))


@pytest.mark.parametrize(("packet", "reason"), [
    (udp4("127.0.0.1", "10.0.2.2"), DropReason.IP_LOCAL_SOURCE),
    (udp4("10.0.1.2", "127.0.0.1"), DropReason.IP_INVALID_DEST),
    (udp4("224.0.0.5", "10.0.2.2"), DropReason.IP_INVALID_SOURCE),
    (udp4("255.255.255.255", "10.0.2.2"), DropReason.IP_INVALID_SOURCE),
    (udp4("0.0.0.0", "10.0.2.2"), DropReason.IP_INVALID_DEST),
    (udp4("0.1.2.3", "10.0.2.2"), DropReason.IP_INVALID_SOURCE),
    (udp4("240.0.0.1", "10.0.2.2"), DropReason.IP_INVALID_SOURCE),
    (udp4("10.0.1.2", "240.0.0.1"), DropReason.IP_INVALID_DEST),
    (udp4("10.0.1.2", "239.1.2.3"), DropReason.IP_INADDRERRORS),
    (udp4("10.0.1.2", "10.0.2.255"), DropReason.IP_INVALID_DEST),
    (udp4("10.0.1.1", "10.0.2.2"), DropReason.IP_LOCAL_SOURCE),
    (udp4("fe80::9", "fd00:2::2"), DropReason.IP_INVALID_DEST),
    (udp4("fd00:1::2", "fe80::9"), DropReason.IP_INVALID_DEST),
    (udp4("::1", "fd00:2::2"), DropReason.IP_LOCAL_SOURCE),
    (udp4("fd00:1::2", "ff0e::1"), DropReason.IP_INADDRERRORS),
])
def test_martians_are_not_forwarded(packet: bytes, reason: DropReason) -> None:
    net, _, r, _, near, far = routed(is_ethernet=False)
    r.on_frame(1, packet, net.now_ns)
    net.run(SECOND)
    assert drops(r, reason) == 1
    assert not near.passed
    assert not far.passed


def test_what_came_to_a_link_layer_broadcast_is_not_forwarded() -> None:
    net, _, r, _, _, far = routed()
    r.on_frame(1, BROADCAST_MAC + mac(9) + b"\x08\0" + udp4("10.0.1.2", "10.0.2.2"), net.now_ns)
    net.run(SECOND)
    assert drops(r, DropReason.IP_INVALID_DEST) == 1
    assert not far.passed


def test_source_routes_are_refused() -> None:
    net, _, r, _, _, far = routed(is_ethernet=False)
    for dst in (B4, parse_address("10.0.1.1")):
        for kind in (131, 137):
            r.on_frame(1, ip.emit(A4, dst, ip.UDP, bytes(8), options=bytes([1, kind, 7, 4, 10, 0, 2, 2])), net.now_ns)
    net.run(SECOND)
    assert drops(r, DropReason.IP_INHDR) == 4
    assert not far.passed


def super_segment(source: bytes, destination: bytes, size: int, *, has_df: bool = True) -> tuple[bytes, bytes]:
    """A TCP packet with that much text, its checksum left to the device; and the text."""
    segment = tcp.Segment(5, 80, Seq(100), Seq(0), tcp.ACK | tcp.PSH, 500)
    segment.data = (bytes(range(250)) * (size // 250 + 1))[:size]
    segment.end = size
    header = IpHeader(source, destination, ident=7, dont_fragment=has_df)
    return tcp.emit_packet(segment, header, is_checksum_partial=True), segment.data


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
@pytest.mark.parametrize("segment_bytes", [536, 1200, 1440])
def test_a_super_segment_is_forwarded_as_the_segments_that_its_sender_made_it_of(
    source: bytes, destination: bytes, segment_bytes: int,
) -> None:
    net, _, r, _b, _, far = routed(is_ethernet=False)
    packet, text = super_segment(source, destination, 10_000)
    r.on_frame(1, packet, net.now_ns, True, segment_bytes=segment_bytes)
    net.flush()
    parsed = [tcp.parse(packet, False) for packet in packets(far.passed)]
    assert [one.end - one.start for one in parsed][:-1] == [segment_bytes] * (10_000 // segment_bytes)
    assert b"".join(one.data[one.start : one.end] for one in parsed) == text
    assert [one.flags for one in parsed[-2:]] == [tcp.ACK, tcp.ACK | tcp.PSH]


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
def test_a_super_segment_that_would_fit_whole_is_cut_too(source: bytes, destination: bytes) -> None:
    net, _, r, _b, _, far = routed(is_ethernet=False)
    packet, _ = super_segment(source, destination, 1072)
    r.on_frame(1, packet, net.now_ns, True, segment_bytes=536)
    net.flush()
    assert [one.end - one.start for one in (tcp.parse(part, False) for part in packets(far.passed))] == [536, 536]


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
def test_segments_too_large_for_the_next_link_are_refused_with_its_mtu(source: bytes, destination: bytes) -> None:
    net, _, r, _b, near, far = routed(mtu=1280, is_ethernet=False)
    packet, _ = super_segment(source, destination, 10_000)
    r.on_frame(1, packet, net.now_ns, True, segment_bytes=1440)
    net.flush()
    assert [error.mtu for error in errors(near.passed, icmp.PACKET_TOO_BIG)] == [1280]
    assert not far.passed


def test_segments_too_large_for_the_next_link_are_cut_into_fragments_if_they_may_be() -> None:
    net, _, r, _b, near, far = routed(mtu=1280, is_ethernet=False)
    packet, text = super_segment(A4, B4, 2880, has_df=False)
    r.on_frame(1, packet, net.now_ns, True, segment_bytes=1440)
    net.flush()
    cut = packets(far.passed)
    assert [(one.fragment_offset > 0, one.more_fragments) for one in cut] == [(False, True), (True, False)] * 2
    for number in range(2):
        first, second = cut[2 * number : 2 * number + 2]
        payload = first.data[first.start : first.end] + second.data[second.start : second.end]
        segment = tcp.parse(ip.parse(fragment.join(first, payload)), False)
        assert segment.data[segment.start : segment.end] == text[1440 * number : 1440 * number + 1440]
    assert not near.passed


def test_a_datagram_that_is_cut_has_its_checksum_filled_in_before() -> None:
    net, _, r, b, _, _ = routed(mtu=1280, is_ethernet=False)
    one = b.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    one.bind(("", 9), net.now_ns)
    packet = udp.emit_packet(5, 9, bytes(1400), IpHeader(A4, B4, ident=7))
    r.on_frame(1, packet[:26] + b"\0\0" + packet[28:], net.now_ns, True)
    net.run(SECOND)
    assert len(one.recvfrom(2000, 0)[0]) == 1400


def broken_super_segments() -> list[bytes]:
    header = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 0x20, 16, 100, 0, 0)
    options = bytes([6, 255]) + b"\x01\xfe" + bytes(254) + bytes(2048 - 258)
    whole = header[:12] + b"\x50" + header[13:]
    long = header[:12] + b"\xf0" + header[13:]
    return [
        ip.emit(A4, B4, ip.TCP, header + bytes(3000), dont_fragment=True),
        ip.emit(A6, B6, ip.TCP, header + bytes(3000)),
        ip.emit(A4, B4, ip.TCP, long, dont_fragment=True),
        ip.emit(A4, B4, ip.TCP, b"", dont_fragment=True),
        ip.emit(A6, B6, ip.DESTINATION_OPTIONS, options + whole + bytes(500)),
        ip.emit(A4, B4, ip.TCP, bytes(3000), ident=1, fragment_offset=800, more_fragments=True),
        ip.emit(A6, B6, ip.TCP, whole + bytes(2996), ident=1, fragment_offset=800, more_fragments=True),
    ]


@pytest.mark.parametrize("packet", broken_super_segments())
@pytest.mark.parametrize("segment_bytes", [0, 1, 536, 65_535])
def test_no_frame_of_a_device_with_offload_makes_a_router_raise(packet: bytes, segment_bytes: int) -> None:
    net, _, r, _b, _, far = routed(is_ethernet=False)
    r.on_frame(1, packet, net.now_ns, True, segment_bytes=segment_bytes)
    net.run(SECOND)
    assert all(len(data) <= 1500 for _, _, data in far.passed)


def test_partial_checksum_is_finished_before_it_goes_on() -> None:
    net, _, r, _, _, far = routed(is_ethernet=False)
    segment = tcp.Segment(5, 80, Seq(100), Seq(0), tcp.ACK, 500)
    packet = tcp.emit_packet(segment, IpHeader(A4, B4, dont_fragment=True), is_checksum_partial=True)
    r.on_frame(1, packet, net.now_ns, True)
    net.flush()
    tcp.parse(packets(far.passed)[0], False)


# --- the routing table


def test_longest_prefix_wins_and_a_link_that_is_down_is_passed_over() -> None:
    net, a, _, _, _, _ = routed()
    eth0 = a.interfaces[1]
    eth1 = net.join(Wire(), a, "10.9.0.1/16")
    routes = a.routes
    a.add_route("10.9.9.0/24", eth0)
    a.add_route("10.9.9.9/32", eth1)
    for address, interface in (("10.9.9.9", eth1), ("10.9.9.8", eth0), ("10.9.8.8", eth1), ("192.0.2.1", eth0)):
        route = routes.lookup(parse_address(address), None)
        assert route is not None
        assert route.interface is interface
    a.set_link(eth1, False, net.now_ns)
    route = routes.lookup(parse_address("10.9.9.9"), None)
    assert route is not None
    assert route.text() == "10.9.9.0/24 dev eth0"
    assert a.paths.source_for(parse_address("10.9.9.9")) == parse_address("10.0.1.2")


def test_lookup_agrees_with_trying_every_route() -> None:
    net = Net()
    a = net.host("a")
    interface = net.join(Wire(), a)
    routes = Routes()
    chosen = []
    for number in range(300):
        bits = number * 7 % 33
        address = bytes([10, number % 5, number * 37 % 256, number * 91 % 256])
        network = network_of(address, bits)
        if (network, bits) not in chosen:
            routes.add(Route(network, bits, interface, b"", 0))
            chosen.append((network, bits))
    for number in range(500):
        address = bytes([10, number % 6, number * 53 % 256, number * 17 % 256])
        fits = [bits for network, bits in chosen if network_of(address, bits) == network]
        route = routes.lookup(address, None)
        assert (None if route is None else route.prefix_bits) == max(fits, default=None)
    for network, bits in chosen:
        routes.remove(network, bits, None)
    assert routes.all() == []
    assert routes.count == 0
    assert routes.lookup(A4, None) is None


def test_route_errors() -> None:
    _net, a, _, _, _, _ = routed()
    eth0 = a.interfaces[1]
    for prefix, gateway, number in (
        ("0.0.0.0/0", "10.0.1.1", errno.EEXIST), ("192.0.2.0/24", "10.5.5.5", errno.ENETUNREACH),
    ):
        with pytest.raises(OSError, match=r".") as caught:
            a.add_route(prefix, eth0, gateway)
        assert caught.value.errno == number
    with pytest.raises(ProcessLookupError):
        a.remove_route("192.0.2.0/24")
    for gateway in ("fd00::1", "10.0.1.2"):
        with pytest.raises(ValueError, match="gateway"):
            a.add_route("192.0.2.0/24", eth0, gateway)
    with pytest.raises(ValueError, match="mtu"):
        a.add_route("192.0.2.0/24", eth0, mtu=5)


def test_change_of_routes_moves_what_was_cached() -> None:
    net, a, _, _, _, _ = routed()
    eth1 = net.join(Wire(), a, "10.7.0.1/16")
    assert a.paths.source_for(B4) == A4
    a.add_route("10.0.2.0/24", eth1, mtu=1000)
    assert (a.paths.source_for(B4), a.paths.mtu_of(B4)) == (parse_address("10.7.0.1"), 1000)
    a.remove_route("10.0.2.0/24")
    assert (a.paths.source_for(B4), a.paths.mtu_of(B4)) == (A4, 1500)
    a.remove_route("0.0.0.0/0")
    assert a.paths.source_for(B4) == b""


def test_tables_are_bounded() -> None:
    _net, a, _, _, _, _ = routed()
    for number in range(PATHS_MAX + 100):
        a.paths.find(bytes([172, 16, number >> 8, number & 255]))
    assert len(a.paths._paths) <= PATHS_MAX
    a.routes.count = ROUTES_MAX
    with pytest.raises(OSError, match="routing table is full"):
        a.add_route("192.0.2.0/24", a.interfaces[1])


@pytest.mark.parametrize(("destination", "source"), [
    ("fd00:1::9", "fd00:1::2"), ("2001:db8::1", "fd00:1::2"), ("fe80::9", "fe80::ff:fe00:1"), ("::1", "::1"),
    ("fd00:1::2", "fd00:1::2"), ("10.0.1.9", "10.0.1.2"), ("127.5.5.5", "127.5.5.5"), ("192.0.2.1", "10.0.1.2"),
])
def test_source_address_fits_the_destination(destination: str, source: str) -> None:
    # RFC 6724 section 5
    _, a, _, _, _, _ = routed()
    assert a.paths.source_for(parse_address(destination)) == parse_address(source)


def test_removed_address_is_gone_with_its_route() -> None:
    _net, a, _, _, _, _ = routed()
    a.remove_address(a.interfaces[1], "10.0.1.2")
    assert not a.paths.is_local(A4)
    assert a.routes.lookup(parse_address("10.0.1.9"), None) is not None  # the default route is left
    a.remove_route("0.0.0.0/0")
    assert a.routes.lookup(parse_address("10.0.1.9"), None) is None
    with pytest.raises(ValueError, match="is not on eth0"):
        a.remove_address(a.interfaces[1], "10.0.1.2")


@pytest.mark.parametrize("prefix", [
    "0.0.0.0/0", "224.0.0.1/24", "ff02::1/64", "255.255.255.255/32", "10.0.1.2/24", "::/64",
])
def test_addresses_that_no_host_can_have_are_refused(prefix: str) -> None:
    _, a, _, _, _, _ = routed()
    with pytest.raises(ValueError, match="address"):
        a.add_address(a.interfaces[1], prefix)
