"""ARP and Neighbor Discovery: the states of an entry, who waits, who is told."""

from __future__ import annotations

import errno

import pytest

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.errors import DropReason
from estab.events import NeighborChanged
from estab.host.engine import Engine
from estab.host.ip.neighbors import NEIGHBORS_MAX, WAITING_MAX, state_name
from estab.host.sockets.udp import DatagramSocket
from estab.units import NEVER
from estab.wire import arp, ethernet, icmp, ip, nd
from estab.wire.address import BROADCAST_MAC, parse_address, solicited_node
from tests.kit.engines import MS, SECOND, Net, Wire, arps, drops, mac, packets, pair

PEERS = ["10.0.0.2", "fd00::2"]


def sender(host: Engine, net: Net, peer: str) -> DatagramSocket:
    made = host.socket(AF_INET if "." in peer else AF_INET6, SOCK_DGRAM, net.now_ns)
    assert isinstance(made, DatagramSocket)
    return made


def state_of(host: Engine, address: str) -> str:
    for neighbor in host.neighbors.all():
        if neighbor.address == parse_address(address):
            return state_name(neighbor.state)
    return "none"


def asked(wire: Wire, name: str) -> int:
    """How many requests a host sent: ARP's and Neighbor Solicitations."""
    solicitations = [packet for packet in packets(wire.passed, name)
                     if packet.protocol == ip.ICMPV6 and packet.data[packet.start] == nd.NEIGHBOR_SOLICITATION]
    mine = [frame for frame in wire.passed if frame[1] == name]
    return len(solicitations) + len(arps(mine, arp.REQUEST))


@pytest.mark.parametrize("peer", PEERS)
def test_first_packet_asks_waits_and_goes_once_the_neighbour_answers(peer: str) -> None:
    net, a, b, wire = pair()
    one = sender(a, net, peer)
    one.sendto(b"x", (peer, 9), 0, net.now_ns)
    assert state_of(a, peer) == "INCOMPLETE"
    net.run(10 * MS)
    assert state_of(a, peer) == "REACHABLE"
    assert asked(wire, "a") == 1
    assert drops(b, DropReason.NO_SOCKET) == 1


def test_requests_go_to_all_and_to_the_solicited_node_group() -> None:
    net, a, _, wire = pair()
    for peer in PEERS:
        sender(a, net, peer).sendto(b"x", (peer, 9), 0, net.now_ns)
    net.flush()
    assert [data[:6] for _, _, data in wire.passed] == [BROADCAST_MAC, b"\x33\x33\xff\0\0\x02"]
    assert packets(wire.passed)[0].dst == solicited_node(parse_address("fd00::2"))


@pytest.mark.parametrize("peer", PEERS)
def test_all_waiting_packets_go_in_order_and_the_oldest_is_dropped_when_too_many_wait(peer: str) -> None:
    net, a, b, _ = pair()
    receiver = sender(b, net, peer)
    receiver.bind(("", 9), net.now_ns)
    one = sender(a, net, peer)
    for number in range(WAITING_MAX + 3):
        one.sendto(b"%d" % number, (peer, 9), 0, net.now_ns)
    net.run(10 * MS)
    heard = [receiver.recvfrom(9, 0)[0] for _ in range(WAITING_MAX)]
    assert heard == [b"%d" % number for number in range(3, WAITING_MAX + 3)]
    assert drops(a, DropReason.NEIGH_QUEUEFULL) == 3
    assert a.counters()["EstabNeighborQueueDrops"] == 3


@pytest.mark.parametrize("peer", PEERS)
def test_three_requests_without_answer_fail_and_tell_the_socket_that_waited(peer: str) -> None:
    net, a, _, wire = pair()
    wire.filter = lambda _data: False
    one = sender(a, net, peer)
    one.connect((peer, 9), net.now_ns)
    one.send(b"x", 0, net.now_ns)
    net.run(2900 * MS)
    assert (asked(wire, "a"), one.error) == (3, 0)
    net.run(200 * MS)
    assert state_of(a, peer) == "FAILED"
    assert drops(a, DropReason.NEIGH_FAILED) == 1
    # Soft to UDP, as on Linux: the socket goes on.
    assert one.error == 0
    assert a.next_deadline_ns() == NEVER


@pytest.mark.parametrize("peer", PEERS)
def test_connect_to_a_host_that_is_not_there_is_ehostunreach(peer: str) -> None:
    net, a, _, wire = pair()
    wire.filter = lambda _data: False
    one = a.socket(AF_INET if "." in peer else AF_INET6, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        one.connect((peer, 80), net.now_ns)
    net.run(4 * SECOND)
    assert net.woken["a", one.fd] & 0x1C == 0x1C
    with pytest.raises(OSError, match=r"no route to host: a reports .*unreachable") as caught:
        one.connect((peer, 80), net.now_ns)
    assert caught.value.errno == errno.EHOSTUNREACH


@pytest.mark.parametrize("peer", PEERS)
def test_failed_neighbour_is_asked_again_by_the_next_packet(peer: str) -> None:
    net, a, _, wire = pair()
    wire.filter = lambda _data: False
    one = sender(a, net, peer)
    one.sendto(b"x", (peer, 9), 0, net.now_ns)
    net.run(5 * SECOND)
    wire.filter = lambda _data: True
    one.sendto(b"x", (peer, 9), 0, net.now_ns)
    net.run(10 * MS)
    assert state_of(a, peer) == "REACHABLE"


@pytest.mark.parametrize("peer", PEERS)
def test_reachable_grows_stale_then_a_packet_delays_and_probes_the_neighbour_itself(peer: str) -> None:
    net, a, _, wire = pair()
    one = sender(a, net, peer)
    one.sendto(b"x", (peer, 9), 0, net.now_ns)
    net.run(60 * SECOND)
    wire.passed.clear()
    one.sendto(b"x", (peer, 9), 0, net.now_ns)
    net.run(4 * SECOND)
    assert state_of(a, peer) == "DELAY"
    assert asked(wire, "a") == 0
    net.run(2 * SECOND)
    assert state_of(a, peer) == "REACHABLE"
    assert asked(wire, "a") == 1
    assert {data[:6] for _, name, data in wire.passed if name == "a"} == {mac(2)}


def test_probes_without_answer_fail() -> None:
    net, a, _, wire = pair()
    one = sender(a, net, "10.0.0.2")
    one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(60 * SECOND)
    wire.filter = lambda _data: False
    one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(5 * SECOND + 2900 * MS)
    assert state_of(a, "10.0.0.2") == "PROBE"
    net.run(200 * MS)
    assert state_of(a, "10.0.0.2") == "FAILED"


def test_states_are_told_to_the_observer() -> None:
    net, a, _, _ = pair(is_observed=True)
    sender(a, net, "10.0.0.2").sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(10 * MS)
    told = [(e.host, e.address, e.state, e.link_address) for e in net.events if isinstance(e, NeighborChanged)]
    assert told == [
        ("a", "10.0.0.2", "INCOMPLETE", ""), ("b", "10.0.0.1", "STALE", "02:00:00:00:00:01"),
        ("a", "10.0.0.2", "REACHABLE", "02:00:00:00:00:02"), ("b", "10.0.0.1", "DELAY", "02:00:00:00:00:01"),
    ]


def test_who_is_asked_learns_the_asker_and_need_not_ask_back() -> None:
    net, a, _b, wire = pair()
    pinger = a.ping("10.0.0.2", b"", net.now_ns)
    net.run(10 * MS)
    assert pinger.receive().rtt_ns == 4 * MS
    assert asked(wire, "b") == 0


def test_permanent_entry_never_asks_and_never_changes() -> None:
    net, a, b, wire = pair()
    a.add_neighbor(a.interfaces[1], "10.0.0.2", mac(2))
    b.add_neighbor(b.interfaces[1], "10.0.0.1", mac(1))
    a.ping("10.0.0.2", b"", net.now_ns)
    forged = arp.Arp(arp.REPLY, mac(9), parse_address("10.0.0.2"), mac(1), parse_address("10.0.0.1"))
    a.on_frame(1, ethernet.emit(mac(1), mac(9), ethernet.ARP, arp.emit(forged)), net.now_ns)
    net.run(100 * SECOND)
    assert state_of(a, "10.0.0.2") == "PERMANENT"
    assert a.neighbors.all()[0].mac == mac(2)
    assert not arps(wire.passed, arp.REQUEST)


def test_unasked_replies_make_no_entries() -> None:
    net, a, _, _ = pair()
    for last in range(100):
        forged = arp.Arp(arp.REPLY, mac(9), bytes([10, 0, 0, 100 + last]), BROADCAST_MAC, bytes([10, 0, 0, 100 + last]))
        a.on_frame(1, ethernet.emit(BROADCAST_MAC, mac(9), ethernet.ARP, arp.emit(forged)), net.now_ns)
    assert a.neighbors.all() == []


@pytest.mark.parametrize(("sender_mac", "sender_address"), [
    (b"\xff" * 6, "10.0.0.9"), (b"\0" * 6, "10.0.0.9"), (mac(9), "10.0.0.1"), (mac(9), "224.0.0.1"),
    (mac(9), "255.255.255.255"),
])
def test_arp_from_impossible_senders_is_dropped(sender_mac: bytes, sender_address: str) -> None:
    net, a, _, wire = pair()
    forged = arp.Arp(arp.REQUEST, sender_mac, parse_address(sender_address), b"\0" * 6, parse_address("10.0.0.1"))
    a.on_frame(1, ethernet.emit(BROADCAST_MAC, mac(9), ethernet.ARP, arp.emit(forged)), net.now_ns)
    net.flush()
    assert drops(a, DropReason.ARP_INVALID) == 1
    assert not wire.passed


def test_probe_of_rfc_5227_is_answered_and_teaches_nothing() -> None:
    net, a, _, wire = pair()
    probe = arp.Arp(arp.REQUEST, mac(9), b"\0" * 4, b"\0" * 6, parse_address("10.0.0.1"))
    a.on_frame(1, ethernet.emit(BROADCAST_MAC, mac(9), ethernet.ARP, arp.emit(probe)), net.now_ns)
    net.flush()
    assert len(arps(wire.passed, arp.REPLY)) == 1
    assert a.neighbors.all() == []


def test_solicitation_from_the_unspecified_address_is_answered_to_all_nodes() -> None:
    net, a, _, wire = pair()
    target = parse_address("fd00::1")
    group = solicited_node(target)
    body = nd.emit(nd.NeighborSolicitation(target), bytes(16), group)
    packet = ip.emit(bytes(16), group, ip.ICMPV6, body, 255)
    frame = ethernet.emit(b"\x33\x33" + group[12:], mac(9), ethernet.IPV6, packet)
    a.on_frame(1, frame, net.now_ns)
    net.flush()
    assert [packet.dst for packet in packets(wire.passed)] == [parse_address("ff02::1")]


def test_advertisement_of_our_own_address_is_a_conflict() -> None:
    net, a, _, _ = pair()
    body = nd.emit(nd.NeighborAdvertisement(parse_address("fd00::1"), False, False, True, mac(9)),
                   parse_address("fd00::9"), parse_address("ff02::1"))
    packet = ip.emit(parse_address("fd00::9"), parse_address("ff02::1"), ip.ICMPV6, body, 255)
    a.on_frame(1, ethernet.emit(b"\x33\x33\0\0\0\x01", mac(9), ethernet.IPV6, packet), net.now_ns)
    assert drops(a, DropReason.NDISC_INVALID) == 1


def test_table_forgets_the_entry_used_longest_ago() -> None:
    net = Net()
    wire = Wire(filter=lambda _data: False)
    a = net.host("a")
    net.join(wire, a, "10.0.0.1/8")
    one = sender(a, net, "10.0.0.2")
    for number in range(2, NEIGHBORS_MAX + 2):
        one.sendto(b"x", (f"10.0.{number // 256}.{number % 256}", 9), 0, net.now_ns)
        net.run(MS)
    assert len(a.neighbors.all()) == NEIGHBORS_MAX
    # Something waits for every entry: the table is full.
    one.sendto(b"x", ("10.1.0.1", 9), 0, net.now_ns)
    assert drops(a, DropReason.NEIGH_TABLE_FULL) == 1
    net.run(10 * SECOND)
    one.sendto(b"x", ("10.1.0.1", 9), 0, net.now_ns)
    assert len(a.neighbors.all()) == NEIGHBORS_MAX
    assert state_of(a, "10.0.0.2") == "none"


def test_interface_that_goes_down_forgets_what_it_learnt() -> None:
    net, a, _, _ = pair()
    one = sender(a, net, "10.0.0.2")
    one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(10 * MS)
    one.sendto(b"x", ("10.0.0.9", 9), 0, net.now_ns)
    a.set_link(a.interfaces[1], False, net.now_ns)
    assert a.neighbors.all() == []
    assert drops(a, DropReason.DEV_DOWN) == 1
    with pytest.raises(OSError, match="network is unreachable"):
        one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    a.set_link(a.interfaces[1], True, net.now_ns)
    one.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(10 * MS)
    assert state_of(a, "10.0.0.2") == "REACHABLE"


def test_entries_set_by_hand_fill_the_table_at_most() -> None:
    net, a, _, _ = pair()
    for number in range(NEIGHBORS_MAX):
        a.add_neighbor(a.interfaces[1], f"10.0.{number // 200}.{number % 200 + 9}", mac(9))
    with pytest.raises(OSError, match=f"{NEIGHBORS_MAX} neighbours are in use") as caught:
        a.add_neighbor(a.interfaces[1], "10.0.9.9", mac(9))
    assert caught.value.errno == errno.ENOBUFS
    sender(a, net, "10.0.0.2").sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    assert drops(a, DropReason.NEIGH_TABLE_FULL) == 1


# --- held against attack (RFC 6583)


def hostile_pings(a: Engine, net: Net, count: int, first: int = 0) -> None:
    """Echo requests from addresses of the network that nobody has: each answer needs a neighbour."""
    here = parse_address("fd00::1")
    for number in range(first, first + count):
        source = parse_address("fd00::6:0:0")[:8] + (0x600000000 + number).to_bytes(8, "big")
        body = icmp.emit(icmp.Echo(6, False, 1, 1, b"x"), source, here)
        a.on_frame(1, ethernet.emit(mac(1), mac(9), ethernet.IPV6, ip.emit(source, here, ip.ICMPV6, body)), net.now_ns)


def test_neighbours_that_never_answer_do_not_push_out_those_in_use() -> None:
    net, a, b, _ = pair()
    pinger = b.ping("fd00::1", b"", net.now_ns)
    net.run(SECOND)
    assert pinger.receive().errno == 0
    for second in range(6):
        hostile_pings(a, net, 1000, second * 1000)
        pinger.send(b"", net.now_ns)
        net.run(SECOND)
        assert pinger.receive().errno == 0
        assert state_of(a, "fd00::2") in ("REACHABLE", "STALE", "DELAY", "PROBE")
    assert len(a.neighbors.all()) <= NEIGHBORS_MAX
    assert a.counters()["EstabNeighborEvicted"] > 3000


def test_a_new_neighbour_is_found_while_the_table_is_full_of_made_up_ones() -> None:
    net, a, _, _ = pair()
    hostile_pings(a, net, 5 * NEIGHBORS_MAX)
    net.flush()
    pinger = a.ping("fd00::2", b"", net.now_ns)
    net.run(10 * MS)
    assert pinger.receive().errno == 0


def test_what_waited_for_an_evicted_neighbour_is_dropped_with_a_reason() -> None:
    net, a, _, _ = pair()
    hostile_pings(a, net, NEIGHBORS_MAX + 10)
    assert drops(a, DropReason.NEIGH_TABLE_FULL) == 10
    net.run(10 * SECOND)
    assert drops(a, DropReason.NEIGH_TABLE_FULL) + drops(a, DropReason.NEIGH_FAILED) == NEIGHBORS_MAX + 10


def test_a_flood_of_solicitations_does_not_push_out_a_neighbour_in_use() -> None:
    net, a, b, _ = pair()
    pinger = b.ping("fd00::1", b"", net.now_ns)
    net.run(SECOND)
    pinger.receive()
    here = parse_address("fd00::1")
    for second in range(5):
        for number in range(500):
            source = parse_address("fd00::6:0:0")[:8] + (second * 500 + number + 1).to_bytes(8, "big")
            if source == parse_address("fd00::2"):
                continue
            body = nd.emit(nd.NeighborSolicitation(here, mac(9)), source, here)
            a.on_frame(1, ethernet.emit(mac(1), mac(9), ethernet.IPV6, ip.emit(source, here, ip.ICMPV6, body, 255)),
                       net.now_ns)
        before = a.counters().get("Icmp6OutNeighborSolicits", 0)
        pinger.send(b"", net.now_ns)
        net.run(SECOND // 2)
        assert pinger.receive().errno == 0
        assert a.counters().get("Icmp6OutNeighborSolicits", 0) - before <= 1


@pytest.mark.parametrize(("dead", "live"), [("10.0.0.77", "10.0.0.2"), ("fd00::77", "fd00::2")])
def test_a_neighbour_that_does_not_answer_holds_up_no_question_for_another(dead: str, live: str) -> None:
    net, a, _, _ = pair()
    family = AF_INET if "." in dead else AF_INET6
    for peer in (dead, live):
        client = a.socket(family, SOCK_STREAM, net.now_ns)
        with pytest.raises(BlockingIOError):
            client.connect((peer, 80), net.now_ns)
    net.run(10 * MS)
    assert (state_of(a, dead), state_of(a, live)) == ("INCOMPLETE", "REACHABLE")


def test_neighbours_set_by_hand_never_make_room() -> None:
    net, a, _, _ = pair()
    for number in range(NEIGHBORS_MAX):
        a.add_neighbor(a.interfaces[1], f"10.0.{number // 200 + 1}.{number % 200 + 1}", mac(7))
    with pytest.raises(OSError, match="1024 neighbours are in use"):
        a.add_neighbor(a.interfaces[1], "10.0.0.77", mac(7))
    hostile_pings(a, net, 1)
    assert drops(a, DropReason.NEIGH_TABLE_FULL) == 1
