"""The urgent mechanism (RFC 9293 section 3.8.5, RFC 6093)."""

from __future__ import annotations

from estab.units import SECOND
from estab.wire.tcp import ACK, URG
from tests.kit.established import NXT, established


def test_the_urgent_pointer_tells_the_octet_after_the_urgent_one() -> None:
    peer = established()
    peer.connection.write_urgent(b"abc", peer.now_ns)
    (sent,) = peer.touch()
    assert sent.segment.flags & URG
    assert sent.segment.urg == 3
    assert sent.text == b"abc"


def test_urgent_text_of_any_length_is_marked_in_every_segment_up_to_its_end() -> None:
    peer = established(wnd=65_535)
    peer.connection.send_buffer_bytes = 100_000
    peer.write(b"n" * 2000)
    peer.connection.write_urgent(b"u" * 5000, peer.now_ns)
    seen = peer.touch()
    end = 1 + 2000 + 5000
    for s in seen:
        assert s.segment.flags & URG
        assert s.seq + s.segment.urg == end
    peer.send(ACK, ack=end)
    (after,) = peer.write(b"normal again")
    assert not after.segment.flags & URG


def test_what_follows_the_urgent_text_is_not_marked() -> None:
    peer = established(nodelay=True)
    peer.connection.write_urgent(b"!", peer.now_ns)
    peer.touch()
    (after,) = peer.write(b"normal")
    assert (after.flags, after.segment.urg) == ("P.", 0)


def test_an_urgent_end_further_than_the_field_can_tell_is_told_as_far_as_it_can() -> None:
    peer = established(wnd=65_535, wscale=4)
    c = peer.connection
    c.send_buffer_bytes = 1_000_000
    c.cwnd_bytes = 1_000_000
    c.write_urgent(b"u" * 200_000, peer.now_ns)
    seen = peer.touch()
    assert seen[0].segment.urg == 0xFFFF
    assert seen[-1].seq + seen[-1].segment.urg == 200_001


def test_the_program_is_told_when_the_urgent_pointer_arrives_and_when_it_advances() -> None:
    peer = established()
    c = peer.connection
    assert c.owner is not None
    peer.take_woken()
    peer.send(ACK | URG, urg=5)  # before the text itself
    assert c.is_urgent_new
    assert peer.take_woken() == [c.owner]
    c.is_urgent_new = False
    peer.send(ACK | URG, urg=5)
    assert not c.is_urgent_new
    peer.send(ACK | URG, urg=9)
    assert c.is_urgent_new


def test_the_urgent_octet_is_read_out_of_band_and_not_in_line() -> None:
    peer = established()
    peer.send(ACK | URG, data=b"abcdef", urg=3)
    c = peer.connection
    assert c.readable_bytes() == 5
    assert c.read_urgent(True) == ord("c")
    assert c.read_urgent(False) == ord("c")
    assert c.read_urgent(False) == -2
    assert peer.read() == b"ab"
    assert peer.read() == b"def"


def test_reading_stops_at_the_urgent_mark_and_then_the_mark_can_be_told() -> None:
    from estab.tcp.receiving import receive

    peer = established()
    peer.send(ACK | URG, data=b"abcdef", urg=3)
    assert not receive.is_at_urgent_mark(peer.connection)
    assert peer.read(100) == b"ab"
    assert receive.is_at_urgent_mark(peer.connection)
    assert peer.read(100) == b"def"
    assert not receive.is_at_urgent_mark(peer.connection)


def test_in_line_the_urgent_octet_is_part_of_the_text() -> None:
    peer = established(is_oob_inline=True)
    peer.send(ACK | URG, data=b"abcdef", urg=3)
    assert peer.connection.read_urgent(False) == -2
    assert peer.connection.readable_bytes() == 6
    assert peer.read() == b"ab"
    assert peer.read() == b"cdef"


def test_the_urgent_octet_that_has_not_come_yet_is_told_apart_from_none() -> None:
    peer = established()
    assert peer.connection.read_urgent(False) == -2
    peer.send(ACK | URG, urg=5)
    assert peer.connection.read_urgent(False) == -1
    peer.text(b"12345")
    assert peer.connection.read_urgent(False) == ord("5")


def test_the_urgent_octet_has_come_with_its_segment_not_with_the_pointer() -> None:
    peer = established()
    c = peer.connection
    assert c.owner is not None
    peer.send(ACK | URG, urg=5)
    assert not c.has_urgent_byte
    peer.take_woken()
    peer.send(ACK, seq=NXT + 2, data=b"345")  # out of order, and without the flag
    assert c.has_urgent_byte
    assert c.owner in peer.take_woken()
    peer.send(ACK | URG, seq=NXT, data=b"12", urg=9)
    assert not c.has_urgent_byte
    peer.send(ACK, seq=NXT + 5, data=b"6789ab")
    assert c.has_urgent_byte
    assert peer.read(100) == b"12345678"
    assert peer.read(100) == b"ab"
    assert not c.has_urgent_byte


def test_peeking_at_the_mark_sees_what_follows_the_urgent_octet() -> None:
    peer = established()
    peer.send(ACK | URG, data=b"Xabc", urg=1)
    assert peer.connection.read(10, True, peer.now_ns) == b"abc"
    assert peer.read() == b"abc"


def test_an_urgent_pointer_of_zero_or_behind_what_was_read_is_ignored() -> None:
    peer = established()
    peer.send(ACK | URG, data=b"abc", urg=0)
    assert not peer.connection.is_urgent_new
    assert peer.read() == b"abc"
    peer.send(ACK | URG, seq=NXT, data=b"abc", urg=2)
    assert not peer.connection.is_urgent_new


def test_urgent_text_crosses_between_two_engines() -> None:
    from tests.kit.pair import Pair

    pair = Pair()
    client, server = pair.established()
    pair.write(client, b"before")
    client.write_urgent(b"!", pair.now_ns)
    pair.touch(client)
    pair.write(client, b"after")
    pair.run_for(SECOND)
    assert server.read_urgent(False) == ord("!")
    assert pair.read(server) == b"before"
    assert pair.read(server) == b"after"
    pair.close(client)
    pair.run_for(SECOND)
    assert server.is_eof()
