"""ICMP: echo, errors made within limits, errors obeyed when they can be believed."""

from __future__ import annotations

import errno

import pytest

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.errors import DropReason
from estab.events import PathMtuChanged
from estab.host.arriving.ping import RESULTS_MAX
from estab.host.engine import Engine
from estab.host.ip.paths import PATH_MTUS_MAX
from estab.host.sockets.udp import DatagramSocket
from estab.wire import icmp, ip, tcp, udp
from estab.wire.address import parse_address
from estab.wire.icmp_message import build
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.kit.engines import MS, SECOND, Net, Wire, drops, errors, packets, pair

A4, B4, R4 = (parse_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.0.254"))
A6, B6 = parse_address("fd00::1"), parse_address("fd00::2")
PEERS = ["10.0.0.2", "fd00::2"]


def one_host() -> tuple[Net, Engine, Wire]:
    net = Net()
    wire = Wire()
    a = net.host("a", is_observed=True)
    net.join(wire, a, "10.0.0.1/24", "fd00::1/64", is_ethernet=False)
    return net, a, wire


def report(problem: int, quote: bytes, code: int = 0, mtu: int = 0) -> bytes:
    """An ICMP error from a router to whoever sent ``quote``."""
    is_v4 = quote[0] >> 4 == 4
    to = quote[12:16] if is_v4 else quote[8:24]
    source = R4 if is_v4 else parse_address("fd00::fe")
    error = icmp.Error(4 if is_v4 else 6, problem, code, quote, mtu=mtu)
    return ip.emit(source, to, ip.ICMP if is_v4 else ip.ICMPV6, icmp.emit(error, source, to))


# --- echo


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("size", [0, 1, 56, 1452, 60000])
def test_ping_comes_back_with_its_payload(peer: str, size: int) -> None:
    net, a, b, _ = pair()
    pinger = a.ping(peer, b"p" * size, net.now_ns)
    net.run(100 * MS)
    result = pinger.receive()
    assert (result.source, result.payload, result.sequence, result.errno) == (peer, b"p" * size, 1, 0)
    assert result.ttl == 64
    pinger.send(b"again", net.now_ns)
    net.run(100 * MS)
    assert (result := pinger.receive()).rtt_ns == 2 * MS
    assert result.sequence == 2
    with pytest.raises(BlockingIOError):
        pinger.receive()
    pinger.close(net.now_ns)
    assert a.files.open_count == 0
    assert not b.counters().get("drop:NO_SOCKET")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "fd00::1", "127.9.9.9"])
def test_ping_of_ourselves_needs_no_link(address: str) -> None:
    net, a, wire = one_host()
    pinger = a.ping(address, b"p", net.now_ns)
    net.flush()
    assert pinger.receive().source == address
    assert not wire.passed


def test_ping_without_a_route_is_enetunreach_and_keeps_no_descriptor() -> None:
    net, a, _ = one_host()
    for address in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(OSError, match=f"no route to {address}") as caught:
            a.ping(address, b"", net.now_ns)
        assert caught.value.errno == errno.ENETUNREACH
    assert a.files.open_count == 0


def test_results_that_nobody_takes_are_bounded() -> None:
    net, a, _ = one_host()
    pinger = a.ping("10.0.0.1", b"", net.now_ns)
    for _ in range(RESULTS_MAX + 10):
        pinger.send(b"", net.now_ns)
        net.flush()
    assert len(pinger.results) == RESULTS_MAX
    assert drops(a, DropReason.SOCKET_RCVBUFF) == 11


def test_two_pings_get_their_own_replies() -> None:
    net, a, _, _ = pair()
    first, second = a.ping("10.0.0.2", b"1", net.now_ns), a.ping("10.0.0.2", b"2", net.now_ns)
    net.run(100 * MS)
    assert (first.receive().payload, second.receive().payload) == (b"1", b"2")
    assert not first.results
    assert not second.results


def test_broadcast_echo_is_not_answered_but_multicast_of_ipv6_is() -> None:
    net, a, wire = one_host()
    echo = icmp.Echo(4, False, 1, 1, b"")
    to = parse_address("10.0.0.255")
    a.on_frame(1, ip.emit(B4, to, ip.ICMP, icmp.emit(echo, B4, to)), net.now_ns)
    net.flush()
    assert not wire.passed
    all_nodes = parse_address("ff02::1")
    body = icmp.emit(icmp.Echo(6, False, 1, 1, b""), B6, all_nodes)
    a.on_frame(1, ip.emit(B6, all_nodes, ip.ICMPV6, body), net.now_ns)
    net.flush()
    assert [(packet.src, packet.dst) for packet in packets(wire.passed)] == [(A6, B6)]


def test_bad_checksum_is_counted_and_dropped() -> None:
    net, a, wire = one_host()
    body = bytearray(icmp.emit(icmp.Echo(4, False, 1, 1, b"abc"), B4, A4))
    body[2] ^= 1
    a.on_frame(1, ip.emit(B4, A4, ip.ICMP, bytes(body)), net.now_ns)
    net.flush()
    assert not wire.passed
    assert (drops(a, DropReason.ICMP_CSUM), a.counters()["IcmpInCsumErrors"]) == (1, 1)


# --- errors made


@pytest.mark.parametrize(("src", "dst", "code"), [(B4, A4, 3), (B6, A6, 4)])
def test_datagram_for_no_socket_is_port_unreachable(src: bytes, dst: bytes, code: int) -> None:
    net, a, wire = one_host()
    datagram = udp.emit_packet(5, 9, b"x" * 100, IpHeader(src, dst))
    a.on_frame(1, datagram, net.now_ns)
    net.flush()
    (error,) = errors(wire.passed, icmp.UNREACHABLE)
    assert (error.code, error.quoted.sport, error.quoted.dport) == (code, 5, 9)
    assert error.quote == datagram
    assert packets(wire.passed)[0].src == dst


def test_unknown_protocol_is_told() -> None:
    net, a, wire = one_host()
    a.on_frame(1, ip.emit(B4, A4, 200, b"x" * 8), net.now_ns)
    a.on_frame(1, ip.emit(B6, A6, 200, b"x" * 8), net.now_ns)
    net.flush()
    assert [error.code for error in errors(wire.passed, icmp.UNREACHABLE)] == [2]
    assert [(error.code, error.pointer) for error in errors(wire.passed, icmp.PARAMETER_PROBLEM)] == [(1, 6)]
    assert drops(a, DropReason.IP_NOPROTO) == 2


NEVER_ANSWERED = {
    "an ICMP error": ip.emit(B4, A4, ip.ICMP, icmp.emit(
        icmp.Error(4, icmp.UNREACHABLE, 3, ip.emit(A4, B4, 17, b"x" * 8)), B4, A4)),
    "to a broadcast": udp.emit_packet(5, 9, b"", IpHeader(B4, parse_address("10.0.0.255"))),
    "to the limited broadcast": udp.emit_packet(5, 9, b"", IpHeader(B4, b"\xff" * 4)),
    "to a group": udp.emit_packet(5, 9, b"", IpHeader(B4, parse_address("224.0.0.1"))),
    "to all nodes": udp.emit_packet(5, 9, b"", IpHeader(B6, parse_address("ff02::1"))),
    "from nobody": udp.emit_packet(5, 9, b"", IpHeader(b"\0" * 4, A4)),
    "from network zero": udp.emit_packet(5, 9, b"", IpHeader(b"\0\1\2\3", A4)),
    "from class E": udp.emit_packet(5, 9, b"", IpHeader(b"\xf0\1\2\3", A4)),
    "from a directed broadcast": udp.emit_packet(5, 9, b"", IpHeader(parse_address("10.0.0.255"), A4)),
    "from a group": udp.emit_packet(5, 9, b"", IpHeader(parse_address("224.0.0.9"), A4)),
    "from loopback": udp.emit_packet(5, 9, b"", IpHeader(parse_address("127.0.0.1"), A4)),
}


@pytest.mark.parametrize("what", NEVER_ANSWERED)
def test_no_error_is_sent_about(what: str) -> None:
    # RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)
    net, a, wire = one_host()
    a.on_frame(1, NEVER_ANSWERED[what], net.now_ns)
    net.run(SECOND)
    assert not wire.passed
    assert sum(count for name, count in a.counters().items() if name.startswith("drop:")) == 1


def test_errors_to_one_host_are_limited_to_six_and_then_one_a_second() -> None:
    net, a, wire = one_host()
    for _ in range(20):
        a.on_frame(1, udp.emit_packet(5, 9, b"", IpHeader(B4, A4)), net.now_ns)
    net.flush()
    assert len(wire.passed) == 6
    assert drops(a, DropReason.ICMP_RATE_LIMITED) == 14
    assert a.counters()["IcmpOutRateLimitHost"] == 14
    net.run(3 * SECOND)
    for _ in range(20):
        a.on_frame(1, udp.emit_packet(5, 9, b"", IpHeader(B4, A4)), net.now_ns)
    net.flush()
    assert len(wire.passed) == 9


def test_errors_to_all_hosts_together_are_limited() -> None:
    net, a, wire = one_host()
    for last in range(2, 202):
        a.on_frame(1, udp.emit_packet(5, 9, b"", IpHeader(bytes([10, 0, 0, last]), A4)), net.now_ns)
    net.flush()
    assert 30 < len(wire.passed) < 80
    assert drops(a, DropReason.ICMP_RATE_LIMITED) == 200 - len(wire.passed)


def test_how_many_errors_all_hosts_get_is_noisy_by_key() -> None:
    """A stranger who counts errors learns nothing of what others got (CVE-2020-25705)."""
    counts = set()
    for number in range(8):
        net, wire = Net(), Wire()
        a = net.host(f"host {number}")
        net.join(wire, a, "10.0.0.1/24", is_ethernet=False)
        for last in range(2, 202):
            a.on_frame(1, udp.emit_packet(5, 9, b"", IpHeader(bytes([10, 0, 0, last]), A4)), net.now_ns)
        net.flush()
        counts.add(len(wire.passed))
    assert len(counts) > 3


def test_errors_over_lo_are_not_limited() -> None:
    net, a, _ = one_host()
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    one.connect(("127.0.0.1", 9), net.now_ns)
    for _ in range(20):
        one.send(b"", 0, net.now_ns)
        net.flush()
        assert one.take_error() == errno.ECONNREFUSED


# --- errors obeyed


@pytest.mark.parametrize("peer", PEERS)
def test_connected_socket_hears_port_unreachable_and_an_unconnected_one_does_not(peer: str) -> None:
    net, a, _, _ = pair()
    family = AF_INET if "." in peer else AF_INET6
    connected, loose = a.socket(family, SOCK_DGRAM, net.now_ns), a.socket(family, SOCK_DGRAM, net.now_ns)
    connected.connect((peer, 9), net.now_ns)
    connected.send(b"x", 0, net.now_ns)
    loose.sendto(b"x", (peer, 9), 0, net.now_ns)
    net.run(100 * MS)
    assert net.woken["a", connected.fd] & 8
    with pytest.raises(ConnectionRefusedError, match=r"connection refused: .* reports port unreachable"):
        connected.recvfrom(9, 0)
    with pytest.raises(BlockingIOError):
        connected.recvfrom(9, 0)
    with pytest.raises(BlockingIOError):
        loose.recvfrom(9, 0)


@pytest.mark.parametrize("quote", [
    udp.emit_packet(1234, 9, b"", IpHeader(A4, B4)),
    ip.emit(A4, B4, ip.ICMP, icmp.emit(icmp.Echo(4, False, 77, 1, b""), A4, B4)),
    tcp.emit_packet(tcp.Segment(1, 2, Seq(3), Seq(4), 2, 5), IpHeader(A4, B4, dont_fragment=True)),
    ip.emit(A4, B4, 200, b"12345678"),
])
def test_error_about_what_we_never_sent_is_dropped(quote: bytes) -> None:
    net, a, _ = one_host()
    a.on_frame(1, report(icmp.UNREACHABLE, quote, 3), net.now_ns)
    assert drops(a, DropReason.ICMP_INVALID) == 1
    assert a.counters()["IcmpInErrors"] == 1


def test_error_about_a_packet_of_another_host_is_dropped() -> None:
    net, a, _ = one_host()
    error = icmp.Error(4, icmp.UNREACHABLE, 3, udp.emit_packet(1234, 9, b"", IpHeader(B4, R4)))
    a.on_frame(1, ip.emit(R4, A4, ip.ICMP, icmp.emit(error, R4, A4)), net.now_ns)
    assert drops(a, DropReason.ICMP_INVALID) == 1


def test_source_quench_and_redirect_change_nothing() -> None:
    # RFC 9293 MUST-55, RFC 6633
    net, a, _ = one_host()
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    one.connect(("10.0.0.2", 9), net.now_ns)
    quote = udp.emit_packet(one.getsockname()[1], 9, b"", IpHeader(A4, B4))
    a.on_frame(1, ip.emit(B4, A4, ip.ICMP, build(B4, A4, 4, 0, 0, quote)), net.now_ns)
    redirect = icmp.Error(4, icmp.REDIRECT, 1, quote, gateway=R4)
    a.on_frame(1, ip.emit(R4, A4, ip.ICMP, icmp.emit(redirect, R4, A4)), net.now_ns)
    assert one.error == 0
    assert (a.counters()["IcmpInSrcQuenchs"], a.counters()["IcmpInRedirects"]) == (1, 1)
    assert drops(a, DropReason.ICMP_INVALID) == 2


def test_ping_hears_of_errors_with_their_sequence_number() -> None:
    net, a, _ = one_host()
    a.add_route("0.0.0.0/0", a.interfaces[1])
    pinger = a.ping("192.0.2.9", b"", net.now_ns)
    pinger.send(b"", net.now_ns)
    sent = a.poll_frame(net.now_ns)
    assert sent is not None
    a.on_frame(1, report(icmp.TIME_EXCEEDED, sent.data), net.now_ns + 5 * MS)
    result = pinger.receive()
    assert (result.sequence, result.errno, result.rtt_ns) == (1, errno.EHOSTUNREACH, 5 * MS)
    assert "10.0.0.254 reports time exceeded" in result.text


# --- path MTU


def connected(net: Net, a: Engine) -> tuple[DatagramSocket, bytes]:
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    assert isinstance(one, DatagramSocket)
    one.connect(("10.0.0.2", 9), net.now_ns)
    one.send(b"x" * 1400, 0, net.now_ns)
    sent = a.poll_frame(net.now_ns)
    assert sent is not None
    return one, sent.data


def test_packet_too_big_lowers_the_path_and_ages_after_ten_minutes() -> None:
    net, a, _ = one_host()
    one, sent = connected(net, a)
    assert ip.parse(sent).dont_fragment
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, sent, mtu=1000), net.now_ns)
    assert a.paths.mtu_of(B4) == 1000
    assert one.take_error() == errno.EMSGSIZE
    changed = [event for event in net.events if isinstance(event, PathMtuChanged)]
    assert [(event.destination, event.mtu) for event in changed] == [("10.0.0.2", 1000)]
    one.send(b"x" * 1400, 0, net.now_ns)
    again = [a.poll_frame(net.now_ns) for _ in range(2)]
    assert all(frame is not None and len(frame.data) <= 1000 for frame in again)
    a.on_deadline(net.now_ns + 599 * SECOND)
    assert a.paths.mtu_of(B4) == 1000
    a.on_deadline(net.now_ns + 600 * SECOND)
    assert a.paths.mtu_of(B4) == 1500


@pytest.mark.parametrize(("mtu", "believed", "has_df"), [
    (1428, 1500, True), (2000, 1500, True), (1427, 1427, True), (552, 552, True), (551, 552, False), (68, 552, False),
    (67, 1500, True), (0, 1006, True),
])
def test_report_is_believed_only_where_it_can_be_true(mtu: int, believed: int, has_df: bool) -> None:
    # RFC 1191 section 5, RFC 5927 section 7.2; 0 comes from old routers and means the next plateau below.
    net, a, _ = one_host()
    one, sent = connected(net, a)
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, sent, mtu=mtu), net.now_ns)
    assert a.paths.mtu_of(B4) == believed
    one.take_error()
    one.send(b"x" * 100, 0, net.now_ns)
    after = a.poll_frame(net.now_ns)
    assert after is not None
    assert ip.parse(after.data).dont_fragment is has_df


def test_ipv6_never_goes_below_1280() -> None:
    net, a, _ = one_host()
    one = a.socket(AF_INET6, SOCK_DGRAM, net.now_ns)
    one.connect(("fd00::2", 9), net.now_ns)
    one.send(b"x" * 1400, 0, net.now_ns)
    sent = a.poll_frame(net.now_ns)
    assert sent is not None
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, sent.data, mtu=1279), net.now_ns)
    assert a.paths.mtu_of(B6) == 1500
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, sent.data, mtu=1280), net.now_ns)
    assert a.paths.mtu_of(B6) == 1280


def test_report_never_raises_the_estimate() -> None:
    net, a, _ = one_host()
    _, sent = connected(net, a)
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, sent, mtu=1000), net.now_ns)
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, sent, mtu=1200), net.now_ns)
    assert a.paths.mtu_of(B4) == 1000


def test_forged_report_about_a_datagram_of_no_socket_changes_nothing() -> None:
    net, a, _ = one_host()
    quote = udp.emit_packet(7, 9, b"x" * 1400, IpHeader(A4, B4, dont_fragment=True))
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, quote, mtu=600), net.now_ns)
    assert a.paths.mtu_of(B4) == 1500


def test_tcp_believes_a_report_only_about_what_is_in_flight() -> None:
    net, a, b, wire = pair(is_ethernet=False)
    listener = b.socket(AF_INET, SOCK_STREAM, net.now_ns)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    client = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.0.2", 80), net.now_ns)
    net.run(100 * MS)
    wire.filter = lambda data: len(data) <= 1000
    client.send(b"x" * 20000, 0, net.now_ns)
    net.flush()
    (big, *_) = [packet for packet in packets(wire.passed, "a") if packet.end > 1000]
    segment = tcp.parse(big, False)
    segment.seq = Seq((segment.seq + 10**6) & 0xFFFFFFFF)
    forged = tcp.emit_packet(segment, IpHeader(A4, B4, dont_fragment=True))
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, forged, mtu=1000), net.now_ns)
    assert a.paths.mtu_of(B4) == 1500
    assert a.counters()["TcpExtOutOfWindowIcmps"] == 1
    a.on_frame(1, report(icmp.PACKET_TOO_BIG, big.data, mtu=1000), net.now_ns)
    assert a.paths.mtu_of(B4) == 1000
    net.run(100 * MS)
    server = listener.accept(net.now_ns)
    assert len(server.recv(20000, 0, net.now_ns)) == 20000


def test_learnt_mtus_are_bounded() -> None:
    _net, a, _ = one_host()
    a.add_route("0.0.0.0/0", a.interfaces[1])
    for number in range(PATH_MTUS_MAX + 5):
        assert a.paths.learn_mtu(bytes([192, 0, number >> 8, number & 255]), 1000, "test")
    assert len(a.paths.learnt_mtus()) == PATH_MTUS_MAX
    assert a.counters()["EstabPathMtuTableFull"] == 5


def test_time_exceeded_of_a_reassembly_does_not_end_a_connect() -> None:
    """Linux's icmp_unreach ignores it, and RFC 1122 section 4.2.3.9 calls it soft."""
    net, a, wire = one_host()
    sock = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        sock.connect(("10.0.0.2", 80), net.now_ns)
    net.flush()
    syn = wire.passed[-1][2]
    for code, error in ((1, 0), (0, errno.EHOSTUNREACH)):
        told = icmp.Error(4, icmp.TIME_EXCEEDED, code, syn)
        a.on_frame(1, ip.emit(B4, A4, ip.ICMP, icmp.emit(told, B4, A4)), net.now_ns)
        assert sock.take_error() == error
