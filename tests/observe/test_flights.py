"""Frames are followed from sender to fate, and read whatever they hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason
from estab.events import Event, FrameReceived, FrameSent, LinkDropped, PacketDropped, SegmentSent, TimerFired
from estab.observe.dissect import dissect, is_ethernet
from estab.observe.flights import flights
from estab.wire import arp, ethernet

from .made_up import BACK, OUT, handshake, packet, received, sent


def test_every_frame_of_a_handshake_arrives() -> None:
    found = flights(handshake())
    assert [(item.sender, item.receiver, item.fate) for item in found] == [
        ("client", "server", "arrived"), ("server", "client", "arrived"), ("client", "server", "arrived"),
    ]
    assert [item.segment.flags for item in found if item.segment is not None] == ["S", "S.", "."]


def test_a_frame_that_a_link_took_is_lost_for_its_reason() -> None:
    data = packet(OUT, "S", 0, 0)
    item, = flights([*sent(0, "client", OUT, "S", 0, 0), LinkDropped(0, "client", "wifi", DropReason.LINK_LOSS, data)])
    assert (item.fate, item.reason, item.received_ns) == ("lost", DropReason.LINK_LOSS, None)


def test_a_frame_that_a_host_dropped_arrived_there() -> None:
    events = [
        *sent(0, "client", OUT, "S", 0, 0),
        *received(5, "server", BACK, "S", 0, 0),
        PacketDropped(5, "server", "", DropReason.TCP_LISTEN_OVERFLOW, "2 of 2"),
    ]
    item, = flights(events)
    assert (item.fate, item.reason, item.detail) == ("dropped", DropReason.TCP_LISTEN_OVERFLOW, "2 of 2")
    assert (item.receiver, item.received_ns) == ("server", 5)


def test_a_later_drop_is_not_blamed_on_a_frame_that_came_before_a_timer() -> None:
    events = [
        *sent(0, "client", OUT, "S", 0, 0),
        *received(5, "server", BACK, "S", 0, 0),
        TimerFired(5, "server", BACK, "retransmit", ""),
        PacketDropped(5, "server", "", DropReason.IP_OUTNOROUTES, ""),
    ]
    assert flights(events)[0].fate == "arrived"


def test_a_segment_sent_twice_is_a_retransmission_even_with_the_same_bytes() -> None:
    again = sent(9, "client", OUT, "P.", 1, 1, b"hello", why="retransmission: timeout 1")
    first, second = flights([*sent(0, "client", OUT, "P.", 1, 1, b"hello"), *again,
                             *received(12, "server", BACK, "P.", 1, 1, b"hello")])
    assert (first.is_retransmission, second.is_retransmission) == (False, True)
    assert (first.fate, second.fate) == ("arrived", "under way")


def test_new_text_and_bare_acknowledgments_are_no_retransmissions() -> None:
    events: list[Event] = []
    segments = [("S", 0, b""), (".", 1, b""), ("P.", 1, b"a"), (".", 2, b""), (".", 2, b"")]
    for at, (flags, seq, text) in enumerate(segments):
        events += sent(at, "client", OUT, flags, seq, 1, text)
    assert not any(item.is_retransmission for item in flights(events))


def test_a_new_connection_on_the_same_ports_is_no_retransmission() -> None:
    events = [*sent(0, "client", OUT, "S", 0, 0), *sent(1, "client", OUT, "P.", 1, 1, b"bye"),
              *sent(60, "client", OUT, "S", 0, 0)]
    assert not flights(events)[-1].is_retransmission


def test_a_frame_that_tcp_told_nothing_of_is_a_copy_where_the_same_was_sent_before() -> None:
    events = sent(0, "client", OUT, "P.", 1, 1, b"old")
    original, copy, other = flights([*events, FrameSent(99, "client", "eth0", packet(OUT, "P.", 1, 1, b"old")),
                                     FrameSent(99, "client", "eth0", packet(OUT, "P.", 1, 1, b"new"))])
    assert (original.is_copy, copy.is_copy, other.is_copy) == (False, True, False)
    assert copy.segment == original.segment
    assert other.segment is None


def test_a_frame_from_outside_has_no_sender() -> None:
    item, = flights([FrameReceived(3, "server", "tun0", packet(OUT, "S", 0, 0))])
    assert (item.sender, item.receiver, item.sent_ns) == ("", "server", 3)


def test_a_host_that_talks_to_itself_receives_its_own_frame() -> None:
    data = packet("127.0.0.1:40000>127.0.0.1:80", "S", 0, 0)
    item, = flights([FrameSent(0, "a", "lo", data), FrameReceived(0, "a", "lo", data)])
    assert (item.sender, item.receiver, item.fate) == ("a", "a", "arrived")


def test_the_facts_of_tcp_win_over_the_numbers_on_the_wire() -> None:
    item, = flights(sent(0, "client", OUT, "P.", 5, 7, b"xyz"))
    assert isinstance(item.segment, SegmentSent)
    assert (item.segment.seq, item.summary.seq) == (5, 1005)


def test_frames_begin_with_the_header_that_fits_their_length() -> None:
    data = packet(OUT, "S", 0, 0)
    assert not is_ethernet(data)
    assert is_ethernet(ethernet.emit(b"\x45" * 6, b"\x02" * 6, ethernet.IPV4, data))


def test_arp_and_ethernet_are_read() -> None:
    question = arp.Arp(arp.REQUEST, b"\2" * 6, b"\x0a\0\0\1", b"\0" * 6, b"\x0a\0\0\2")
    frame = ethernet.emit(b"\xff" * 6, b"\2" * 6, ethernet.ARP, arp.emit(question))
    assert (dissect(frame).protocol, dissect(frame).text) == ("arp", "who has 10.0.0.2")
    inside = dissect(ethernet.emit(b"\2" * 6, b"\4" * 6, ethernet.IPV4, packet(OUT, "S", 0, 0)))
    assert (inside.connection, inside.flags) == (OUT, "S")


@given(st.binary(max_size=120))
def test_any_bytes_have_a_summary(data: bytes) -> None:
    assert dissect(data).text


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_segment_has_a_summary(at: int, value: int) -> None:
    data = bytearray(packet(OUT, "S", 0, 0))
    data[at % len(data)] = value
    assert dissect(bytes(data)).text
