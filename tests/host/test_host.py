"""The host as a whole: lo, what ``ss`` shows, hostile bytes, bounds, determinism."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.errors import DropReason
from estab.events import FrameReceived, FrameSent
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket
from estab.units import NEVER
from estab.wire import ip, tcp, udp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.kit.engines import MS, SECOND, Net, Wire, drops, mac, pair

A4, B4 = parse_address("10.0.0.1"), parse_address("10.0.0.2")


def stream(net: Net, host: Engine, family: int = AF_INET) -> StreamSocket:
    made = host.socket(family, SOCK_STREAM, net.now_ns)
    assert isinstance(made, StreamSocket)
    return made


def loop(net: Net, host: Engine, address: str) -> tuple[StreamSocket, StreamSocket, StreamSocket]:
    """A listener, a client and a server on one host."""
    family = AF_INET if "." in address else AF_INET6
    listener = stream(net, host, family)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    client = stream(net, host, family)
    with pytest.raises(BlockingIOError):
        client.connect((address, 80), net.now_ns)
    net.flush()
    return listener, client, listener.accept(net.now_ns)


# --- lo


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "10.0.0.1", "fd00::1", ""])
def test_connection_to_ourselves_needs_no_link_and_no_time(address: str) -> None:
    net, a, _, wire = pair()
    _, client, server = loop(net, a, address or "127.0.0.1")
    assert client.send(b"x" * 100_000, 0, net.now_ns) > 0
    net.flush()
    assert server.recv(1, 0, net.now_ns) == b"x"
    assert client.getpeername()[0] == (address or "127.0.0.1")
    assert not wire.passed


def test_stream_over_lo_moves_megabytes_in_one_instant() -> None:
    net, a, _, _ = pair()
    _, client, server = loop(net, a, "127.0.0.1")
    sent = got = 0
    for _ in range(300):
        with contextlib.suppress(BlockingIOError):
            sent += client.send(bytes(200_000), 0, net.now_ns)
        net.flush()
        while server.readable_bytes:
            got += len(server.recv(10**6, 0, net.now_ns))
            net.flush()
    assert sent == got + client.outq_bytes
    assert got > 5_000_000


def test_lo_queue_is_bounded() -> None:
    net, a, _, _ = pair()
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    for _ in range(2000):
        one.sendto(b"x", ("127.0.0.1", 9), 0, net.now_ns)
    assert drops(a, DropReason.FULL_RING) == 2000 - 1024
    net.flush()
    assert drops(a, DropReason.NO_SOCKET) == 1024


def test_work_on_lo_is_given_in_portions() -> None:
    net, a, _, _ = pair()
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    for _ in range(1024):
        one.sendto(b"x", ("127.0.0.1", 9), 0, net.now_ns)
    assert a.next_deadline_ns() == net.now_ns
    assert a.poll_frame(net.now_ns) is None
    assert a.outputs.looped
    assert a.next_deadline_ns() == net.now_ns
    net.run(0)
    assert not a.outputs.looped


@pytest.mark.parametrize(("src", "dst"), [
    ("127.0.0.1", "10.0.0.1"), ("10.0.0.2", "127.0.0.1"), ("10.0.0.1", "10.0.0.1"),
])
def test_addresses_of_lo_and_our_own_never_come_from_a_link(src: str, dst: str) -> None:
    net, a, _, wire = pair(is_ethernet=False)
    a.on_frame(1, udp.emit_packet(5, 9, b"", IpHeader(parse_address(src), parse_address(dst))), net.now_ns)
    net.flush()
    assert sum(value for name, value in a.counters().items() if name.startswith("drop:")) == 1
    assert not wire.passed


def test_hosts_with_the_same_address_have_networks_of_their_own_sizes() -> None:
    hosts = [Engine("a", bytes(16)) for _ in range(3)]
    for host, prefix in zip(hosts, ("10.0.0.1/24", "10.0.0.1/16", "10.0.0.1/24"), strict=True):
        host.add_address(host.add_interface("tun0"), prefix)
    networks = [host.interfaces[1].addresses[0] for host in hosts]
    assert [(one.prefix_bits, one.broadcast) for one in networks] == [
        (24, bytes((10, 0, 0, 255))), (16, bytes((10, 0, 255, 255))), (24, bytes((10, 0, 0, 255)))]


def test_what_holds_for_one_packet_is_forgotten_when_addresses_change() -> None:
    host = Engine("a", bytes(16))
    interface = host.add_interface("tun0")
    host.add_address(interface, "10.0.0.1/24")
    packet = udp.emit_packet(5, 9, b"", IpHeader(B4, A4))

    def taken() -> int:
        host.on_frame(interface.index, packet, 0)
        return host.context.counters.v4.ip_in_delivers

    assert (taken(), taken()) == (1, 2)
    host.remove_address(interface, "10.0.0.1")
    assert taken() == 2
    host.add_address(interface, "10.0.0.1/24")
    assert taken() == 3
    host.add_address(interface, "10.0.0.2/24")  # the sender is ourselves now
    assert taken() == 3


# --- what ss shows


def test_rows_show_every_kind_of_socket() -> None:
    net, a, b, wire = pair()
    listener = stream(net, b)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    clients = [stream(net, a) for _ in range(3)]
    for client in clients:
        with pytest.raises(BlockingIOError):
            client.connect(("10.0.0.2", 80), net.now_ns)
    net.run(100 * MS)
    server = listener.accept(net.now_ns)
    clients[0].send(b"12345", 0, net.now_ns)
    net.run(100 * MS)
    datagrams = b.socket(AF_INET6, SOCK_DGRAM, net.now_ns)
    datagrams.bind(("::", 53), net.now_ns)
    segment = tcp.Segment(5, 80, Seq(7), Seq(0), tcp.SYN, 500)
    packet = tcp.emit_packet(segment, IpHeader(parse_address("10.0.0.9"), B4, dont_fragment=True))
    b.on_frame(1, b.interfaces[1].mac + mac(9) + b"\x08\0" + packet, net.now_ns)
    rows = b.sockets(net.now_ns)
    assert [(row.netid, row.state, row.recv_q, row.send_q, row.local, row.fd, row.detail) for row in rows] == [
        ("tcp", "LISTEN", 2, 5, "*:80", 3, ""),
        ("tcp", "ESTAB", 5, 0, "10.0.0.2:80", server.fd, ""),
        ("udp6", "UNCONN", 0, 0, "*:53", datagrams.fd, ""),
        ("tcp", "ESTAB", 0, 0, "10.0.0.2:80", -1, "in the accept queue"),
        ("tcp", "ESTAB", 0, 0, "10.0.0.2:80", -1, "in the accept queue"),
        ("tcp", "SYN-RECV", 0, 0, "10.0.0.2:80", -1, "half-open"),
    ]
    assert rows[-1].timer == "on"
    clients[1].send(b"never acknowledged", 0, net.now_ns)
    wire.filter = lambda _data: False
    net.run(10 * MS)
    clients[1].close(net.now_ns)
    net.run(10 * MS)
    orphan = a.sockets(net.now_ns)[-1]
    assert (orphan.state, orphan.fd, orphan.detail, orphan.timer) == ("FIN-WAIT-1", -1, "orphan", "on")
    assert orphan.send_q >= 18
    fresh = stream(net, a)
    assert [row.state for row in a.sockets(net.now_ns) if row.fd == fresh.fd] == ["CLOSED"]


# --- frames


def test_frames_are_told_with_their_checksums_even_where_the_link_fills_them_in() -> None:
    net = Net()
    wire = Wire()
    a = net.host("a", is_observed=True)
    b = net.host("b", is_observed=True)
    net.join(wire, a, "10.0.0.1/24", segment_bytes_max=65000, has_checksum_offload=True)
    net.join(wire, b, "10.0.0.2/24", segment_bytes_max=65000, has_checksum_offload=True)
    listener = stream(net, b)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    client = stream(net, a)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.0.2", 80), net.now_ns)
    net.run(100 * MS)
    a.config.tcp_min_tso_segs = 7
    client.send(b"x" * 10_000, 0, net.now_ns)
    net.run(100 * MS)
    sent = [event for event in net.events if isinstance(event, FrameSent)]
    assert any(len(event.data) > 1514 for event in sent)
    for event in sent:
        if event.data[12:14] == b"\x08\0":
            tcp.parse(ip.parse(event.data, 14), False)
    assert [event.interface for event in net.events if isinstance(event, FrameReceived)] == ["eth0"] * len(sent)
    assert len(listener.accept(net.now_ns).recv(99_999, 0, net.now_ns)) == 10_000


def test_super_segment_says_the_size_to_cut_it_into() -> None:
    net = Net()
    wire = Wire()
    a, b = net.host("a"), net.host("b")
    net.join(wire, a, "10.0.0.1/24", is_ethernet=False, segment_bytes_max=65000, has_checksum_offload=True)
    net.join(wire, b, "10.0.0.2/24", is_ethernet=False)
    listener = stream(net, b)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    client = stream(net, a)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.0.2", 80), net.now_ns)
    net.run(100 * MS)
    client.send(b"x" * 10_000, 0, net.now_ns)
    frames = []
    while (outbound := a.poll_frame(net.now_ns)) is not None:
        frames.append((len(outbound.data), outbound.segment_bytes, outbound.is_partial_checksum))
    assert frames[0] == (5 * 1448 + 52, 1448, True), "half of the first window"


def test_output_queue_of_an_interface_is_bounded() -> None:
    net, a, _b, wire = pair(is_ethernet=False)
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    for _ in range(1100):
        one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    assert drops(a, DropReason.FULL_RING) == 100
    net.flush()
    assert len(wire.passed) == 1000
    one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    assert drops(a, DropReason.FULL_RING) == 100


def test_interface_that_is_down_neither_sends_nor_hears() -> None:
    net, a, _b, wire = pair(is_ethernet=False)
    one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    a.set_link(a.interfaces[1], False, net.now_ns)
    net.flush()
    assert not wire.passed
    a.on_frame(1, udp.emit_packet(5, 9, b"", IpHeader(B4, A4)), net.now_ns)
    assert drops(a, DropReason.DEV_DOWN) == 2


@pytest.mark.parametrize(("data", "reason"), [
    (b"", DropReason.PKT_TOO_SMALL),
    (b"x" * 13, DropReason.PKT_TOO_SMALL),
    (mac(1) + mac(2) + b"\x88\xcc" + bytes(50), DropReason.UNHANDLED_PROTO),
    (mac(1) + mac(2) + b"\x81\0" + bytes(50), DropReason.UNHANDLED_PROTO),
    (mac(7) + mac(2) + b"\x08\0" + bytes(50), DropReason.OTHERHOST),
    (mac(1) + mac(2) + b"\x08\0" + b"\x45" + bytes(10), DropReason.PKT_TOO_SMALL),
    (mac(1) + mac(2) + b"\x08\0" + b"\x45" + bytes(40), DropReason.IP_INHDR),
    (mac(1) + mac(2) + b"\x08\x06" + bytes(10), DropReason.PKT_TOO_SMALL),
    (mac(1) + mac(2) + b"\x86\xdd" + b"\x60" + bytes(10), DropReason.PKT_TOO_SMALL),
    (mac(1) + mac(2) + b"\x08\0", DropReason.PKT_TOO_SMALL),
])
def test_useless_frames_are_dropped_with_their_reason(data: bytes, reason: DropReason) -> None:
    net, a, _, wire = pair()
    a.on_frame(1, data, net.now_ns)
    net.run(SECOND)
    assert drops(a, reason) == 1
    assert not wire.passed


def test_segment_to_a_broadcast_address_is_never_answered() -> None:
    # RFC 9293 MUST-57
    net, a, _, wire = pair(is_ethernet=False)
    listener = stream(net, a)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    for dst in ("10.0.0.255", "255.255.255.255", "224.0.0.1"):
        for flags in (tcp.SYN, tcp.ACK, tcp.RST):
            segment = tcp.Segment(5, 80, Seq(1), Seq(1), flags, 10)
            a.on_frame(1, tcp.emit_packet(segment, IpHeader(B4, parse_address(dst), dont_fragment=True)), net.now_ns)
    net.run(SECOND)
    assert drops(a, DropReason.TCP_INVALID_SYN) == 9
    assert not wire.passed


def mutated(data: st.DataObject, frame: bytes) -> bytes:
    """A frame with some bytes changed, and maybe cut or made longer."""
    changed = bytearray(frame)
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(frame) - 1), st.integers(0, 255)), max_size=6)):
        changed[place] = value
    cut = data.draw(st.integers(0, len(frame)))
    return bytes(changed) if data.draw(st.booleans()) else bytes(changed[:cut])


@given(data=st.data())
def test_no_frame_makes_a_host_raise(data: st.DataObject) -> None:
    net, a, b, wire = pair()
    a.is_forwarding = True
    _, _client, _ = loop(net, b, "10.0.0.2")
    far = stream(net, a)
    with pytest.raises(BlockingIOError):
        far.connect(("10.0.0.2", 80), net.now_ns)
    one = a.socket(AF_INET6, SOCK_DGRAM, net.now_ns)
    one.bind(("::", 53), net.now_ns)
    one.sendto(b"x" * 3000, ("fd00::2", 9), 0, net.now_ns)
    a.ping("10.0.0.2", b"x" * 2000, net.now_ns)
    net.run(50 * MS)
    far.send(b"x" * 3000, 0, net.now_ns)
    net.run(50 * MS)
    for _, _, frame in data.draw(st.lists(st.sampled_from(wire.passed), max_size=12)):
        for host in (a, b):
            host.on_frame(1, mutated(data, frame), net.now_ns)
    net.run(200 * SECOND)


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_noise_is_only_dropped(frames: list[bytes]) -> None:
    net, a, _, _wire = pair(is_ethernet=False)
    for frame in frames:
        a.on_frame(1, frame, net.now_ns)
    net.run(200 * SECOND)
    assert sum(value for name, value in a.counters().items() if name.startswith("drop:")) == len(frames)
    assert a.next_deadline_ns() == NEVER


# --- configuration


@pytest.mark.parametrize(("arguments", "named"), [
    ({"mtu": 67}, "mtu"), ({"mtu": 65537}, "mtu"), ({"mac": b"x"}, "mac"), ({"mac": b"\x01" * 6}, "mac"),
    ({"mac": bytes(6)}, "mac"), ({"segment_bytes_max": 65536}, "segment_bytes_max"),
    ({"name": "lo"}, "name"), ({"name": ""}, "name"),
])
def test_impossible_interfaces_are_refused_by_name(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Net().host("a").add_interface(**{"name": "eth0", **arguments})  # type: ignore[arg-type]


def test_secret_must_be_long_enough() -> None:
    with pytest.raises(ValueError, match="secret"):
        Engine("a", b"short")


def test_an_engine_that_is_refused_is_released() -> None:
    refused: list[tuple[object, ...]] = [("a", b"short"), ("a",), ()]
    for arguments in refused:
        with pytest.raises((TypeError, ValueError)):
            Engine(*arguments)  # type: ignore[arg-type]
    gc.collect()


def test_deadline_called_early_does_nothing() -> None:
    net, a, _, wire = pair()
    a.on_deadline(net.now_ns)
    net.flush()
    assert not wire.passed
    assert a.next_deadline_ns() == NEVER


# --- determinism

STORY = """
import hashlib, sys
from tests.host.test_host import story
print(hashlib.sha256(story()).hexdigest())
"""


def story() -> bytes:
    """Everything that two hosts put on a wire while they do a little of everything."""
    net, a, b, wire = pair()
    loop(net, b, "::1")
    for number in range(10):
        client = stream(net, a)
        with contextlib.suppress(BlockingIOError):
            client.connect(("10.0.0.2", 80), net.now_ns)
        one = a.socket(AF_INET6, SOCK_DGRAM, net.now_ns)
        one.sendto(b"x" * 1000 * number, ("fd00::2", 9), 0, net.now_ns)
        a.ping("10.0.0.2", b"x" * 500 * number, net.now_ns)
        net.run(300 * MS)
        client.close(net.now_ns)
    net.run(300 * SECOND)
    return b"".join(at_ns.to_bytes(8, "big") + name.encode() + data for at_ns, name, data in wire.passed)


def test_same_inputs_give_the_same_bytes_in_any_process() -> None:
    digests = set()
    for seed in ("1", "2"):
        run = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=True,
                             env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)})
        digests.add(run.stdout)
    assert len(digests) == 1
    assert story() == story()


def test_identifications_of_one_peer_say_nothing_of_what_others_are_sent() -> None:
    """Six peers are each sent a SYN-ACK without DF, then one is sent six more."""
    net, wire = Net(), Wire()
    a = net.host("a")
    net.join(wire, a, "10.0.0.1/24", is_ethernet=False)
    a.config.ip_no_pmtu_disc = True
    one = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    one.bind(("", 80), net.now_ns)
    one.listen(99, net.now_ns)
    for last, port in [(number, 5000) for number in range(2, 8)] + [(2, 5001 + number) for number in range(6)]:
        segment = tcp.Segment(port, 80, Seq(1), Seq(0), tcp.SYN, 100)
        source = bytes([10, 0, 0, last])
        a.on_frame(1, tcp.emit_packet(segment, IpHeader(source, bytes([10, 0, 0, 1]), dont_fragment=True)), net.now_ns)
        net.flush()
    sent = [ip.parse(data, 0) for _, _, data in wire.passed]
    others, same = [packet.ident for packet in sent[:6]], [packet.ident for packet in (sent[0], *sent[6:])]
    assert all(abs(after - before) > 8 for before, after in pairwise(others))
    steps = [(after - before) & 0xFFFF for before, after in pairwise(same)]
    assert all(1 <= step <= 8 for step in steps)
    assert len(set(steps)) > 1
