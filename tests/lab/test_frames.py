"""Frames on links: a segment without its checksum, which nobody sees; and the one place in the agenda of many."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from estab.errors import DropReason, WireError
from estab.events import Event, FrameReceived, LinkDropped
from estab.lab.links.frame import Frame, Receiver
from estab.lab.links.way import Way
from estab.lab.network import Network
from estab.lab.packets.view import PacketView
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions, read_conditions
from estab.lab.rules.verdicts import Verdict, duplicate, ok
from estab.units import MS, NEVER
from estab.wire import ip, tcp
from estab.wire.seq import Seq

TEXT = bytes(range(256)) * 40


class Tap(Receiver):
    """Passes frames on to whom they are for, and notes whether each lacked its checksum."""

    def __init__(self, way: Way) -> None:
        self.lacked: list[bool] = []
        self._end = way.end
        way.end = self

    def arrive(self, frame: Frame) -> None:
        self.lacked.append(frame.lacks_checksum)
        self._end.arrive(frame)


def transfer(net: Network, times: int = 1) -> bytes:
    """Send ``TEXT`` from host a to host b, so many times; returns what came."""

    def read() -> bytes:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def write() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(TEXT * times)

    reading = net.hosts["b"].run(read)
    net.hosts["a"].run(write)
    net.run()
    return reading.result()


def is_right(octets: bytes) -> bool:
    """Tell whether the TCP checksum of a packet is right."""
    try:
        tcp.parse(ip.parse(octets, 0), False)
    except WireError:
        return False
    return True


def routed(net: Network, **last: Any) -> list[Tap]:
    """Hosts a and b with a router between them; what arrives is tapped on both links."""
    a, router, b = net.host("a"), net.host("router", forwarding=True), net.host("b")
    links = [net.link(a, router, delay="1ms"), net.link(router, b, delay="1ms", **last)]
    return [Tap(link.there) for link in links]


# --- the checksum that nobody needs


def test_a_plain_link_carries_segments_without_their_checksum_also_over_a_router() -> None:
    with Network(seed=1) as net:
        taps = routed(net)
        assert transfer(net) == TEXT
        for tap in taps:
            assert len(tap.lacked) > 5
            assert all(tap.lacked)


def test_a_rule_sees_every_segment_with_its_checksum() -> None:
    with Network(seed=1) as net:
        routed(net)
        seen: list[bool] = []

        def look(packet: PacketView) -> Verdict:
            seen.append(is_right(packet.data))
            return duplicate if len(seen) % 5 == 0 else ok

        net.rule(look)
        assert transfer(net) == TEXT
        assert len(seen) > 20
        assert all(seen)


def test_what_an_observer_is_told_has_its_checksum_on_both_ends() -> None:
    with Network(seed=1) as net:
        routed(net)
        facts: list[Event] = []
        net.observe(facts.append)
        assert transfer(net) == TEXT
        frames = [fact.data for fact in facts if isinstance(fact, FrameReceived)]
        assert len(frames) > 20
        assert all(is_right(octets) for octets in frames)


def test_an_observer_that_comes_while_segments_fly_is_told_of_whole_ones() -> None:
    with Network(seed=1) as net:
        taps = routed(net)
        facts: list[Event] = []
        net.at(1.5 * MS / 1e9, net.observe, facts.append)
        assert transfer(net) == TEXT
        assert True in taps[0].lacked
        frames = [fact.data for fact in facts if isinstance(fact, FrameReceived)]
        assert frames
        assert all(is_right(octets) for octets in frames)


def test_a_segment_that_is_damaged_does_not_pass_for_a_good_one() -> None:
    with Network(seed=1) as net:
        routed(net, corrupt="20%")
        assert transfer(net, 20) == TEXT * 20
        assert net.hosts["b"].engine.counters()["TcpInCsumErrors"] > 0


def test_a_dropped_segment_is_told_with_its_checksum() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        link = net.link(a, b, delay="1ms", loss="20%")
        facts: list[Event] = []
        link.observe(facts.append)
        assert transfer(net) == TEXT
        lost = [fact.data for fact in facts if isinstance(fact, LinkDropped)]
        assert lost
        assert all(is_right(octets) for octets in lost)


def test_a_translator_of_addresses_sends_segments_on_with_right_checksums() -> None:
    with Network(seed=1) as net:
        a, gateway, b = net.host("a"), net.host("gateway"), net.host("b")
        inside, outside = net.link(a, gateway, delay="1ms"), net.link(gateway, b, delay="1ms")
        net.nat(inside, outside)
        assert transfer(net) == TEXT
        assert net.hosts["b"].engine.counters().get("TcpInCsumErrors", 0) == 0


def narrow(net: Network) -> None:
    """Hosts a and b, and two routers between them with a link of a small MTU."""
    a, router, other, b = (net.host(name, forwarding=name[0] == "r") for name in ("a", "r1", "r2", "b"))
    net.link(a, router, delay="1ms")
    net.link(router, other, delay="1ms", mtu=600)
    net.link(other, b, delay="1ms")


def test_an_icmp_error_quotes_a_segment_with_the_checksum_that_its_sender_gave_it() -> None:
    quotes: list[bytes] = []

    def look(packet: PacketView) -> Verdict:
        if packet.icmp is not None and packet.packet is not None:
            found = packet.packet
            quotes.append(found.data[found.start + 8 : found.end])
        return ok

    with Network(seed=1) as net:
        narrow(net)
        net.links[0].rule(look, sender="r1")  # of the way back alone: nothing looks at what will be quoted
        assert transfer(net) == TEXT
    assert quotes
    facts: list[Event] = []
    with Network(seed=1) as net:
        narrow(net)
        net.observe(facts.append)
        assert transfer(net) == TEXT
    arrived = [fact.data for fact in facts if isinstance(fact, FrameReceived) and fact.host == "r1"]
    for quote in quotes:
        assert any(octets.startswith(quote) for octets in arrived)


# --- the agenda


class Cable(Receiver):
    """A way of its own, and what arrives on it."""

    def __init__(self, agenda: Agenda, arrived: list[Any], **words: Any) -> None:
        self._agenda, self._arrived = agenda, arrived
        conditions = read_conditions(Conditions(), "a", True, words)
        self.way = Way("cable", "a", conditions, 0, agenda, Chance(5), self)

    def arrive(self, frame: Frame) -> None:
        self._arrived.append((self._agenda.now_ns, frame.data))


def run(agenda: Agenda) -> None:
    while agenda.next_due_ns() < NEVER:
        agenda.take()


def test_a_thousand_frames_on_a_way_have_one_place_in_the_agenda() -> None:
    agenda = Agenda()
    arrived: list[Any] = []
    cable = Cable(agenda, arrived, delay="1ms")
    for number in range(1000):
        cable.way.carry(number.to_bytes(2, "big"))
    assert len(agenda._entries) == 1
    assert agenda.frames_under_way == cable.way.in_flight_frames == 1000
    run(agenda)
    assert arrived == [(MS, number.to_bytes(2, "big")) for number in range(1000)]
    assert (agenda.frames_under_way, agenda.steps) == (0, 1000)


def test_frames_of_two_ways_and_other_entries_of_one_instant_keep_their_order() -> None:
    agenda = Agenda()
    fallen: list[Any] = []
    one, other = Cable(agenda, fallen, delay="1ms"), Cable(agenda, fallen, delay="1ms")
    expected: list[Any] = []
    for number in range(300):
        if number % 3 == 2:
            agenda.at(MS, fallen.append, number)
            expected.append(number)
        else:
            (one, other)[number % 3].way.carry(number.to_bytes(2, "big"))
            expected.append((MS, number.to_bytes(2, "big")))
    run(agenda)
    assert fallen == expected


def test_a_frame_that_a_shorter_delay_lets_overtake_arrives_first_if_jitter_may_reorder() -> None:
    agenda = Agenda()
    arrived: list[Any] = []
    cable = Cable(agenda, arrived, delay="10ms", jitter="1ns normal reorder")
    for octets in (b"1", b"2"):
        cable.way.carry(octets)
    cable.way.set(read_conditions(cable.way.conditions, "a", True, {"delay": "2ms"}))
    for octets in (b"3", b"4"):
        cable.way.carry(octets)
    run(agenda)
    assert sorted(octets for _, octets in arrived[:2]) == [b"3", b"4"]
    assert sorted(octets for _, octets in arrived[2:]) == [b"1", b"2"]


def test_a_cut_loses_all_that_flies_oldest_first_and_what_is_sent_later_arrives() -> None:
    agenda = Agenda()
    arrived: list[Any] = []
    cable = Cable(agenda, arrived, delay="10ms", jitter="8ms normal reorder")
    facts: list[Event] = []
    cable.way.observer = facts.append
    frames = [number.to_bytes(2, "big") for number in range(50)]
    for octets in frames:
        cable.way.carry(octets)
    cable.way.cut()
    assert [fact.data for fact in facts if isinstance(fact, LinkDropped)] == frames
    assert agenda.frames_under_way == 0
    cable.way.heal()
    cable.way.carry(b"later")
    run(agenda)
    assert [octets for _, octets in arrived] == [b"later"]
    assert cable.way.drops == {DropReason.LINK_DOWN: 50}


def test_places_of_frames_that_arrived_are_given_back_on_a_way_that_is_never_empty() -> None:
    agenda = Agenda()
    arrived: list[Any] = []
    cable = Cable(agenda, arrived, delay="1ms")
    delay: Any = cable.way._last_first()[1]
    for number in range(5000):
        cable.way.carry(number.to_bytes(2, "big"))
        if number >= 10:
            agenda.take()
        agenda.now_ns += 1
    assert len(delay._flights._frames) < 200
    run(agenda)
    assert [octets for _, octets in arrived] == [number.to_bytes(2, "big") for number in range(5000)]


@pytest.mark.parametrize("version", [4, 6])
def test_a_frame_is_completed_once_and_a_copy_is_its_own(version: int) -> None:
    src, dst = (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])) if version == 4 else (bytes(15) + b"\1", bytes(15) + b"\2")
    segment = tcp.Segment(1, 2, Seq(3), Seq(4), tcp.ACK, 5)
    segment.data, segment.end = b"text", 4
    partial = tcp.emit_packet(segment, ip.IpHeader(src, dst), True)
    frame = Frame(partial, True)
    copied = frame.copy()
    assert is_right(frame.octets())
    assert (frame.lacks_checksum, copied.lacks_checksum) == (False, True)
    assert frame.octets() == tcp.emit_packet(segment, ip.IpHeader(src, dst)) == copied.octets()
