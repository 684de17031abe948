"""Segments to a connection that is open, step by step (RFC 9293 section 3.10.7.4, RFC 5961, RFC 7323)."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN, URG
from tests.kit.established import NXT, established
from tests.kit.peer import Peer

WINDOW = 8192


def shut(peer: Peer) -> int:
    """Fill the window to the brim; returns what is expected next."""
    c = peer.connection
    while c.rcv_adv > c.rcv_nxt:
        peer.text(b"f" * min(1000, c.rcv_adv - c.rcv_nxt))
    peer.side.counters.drops.clear()
    peer.wait(SECOND)
    return int(c.rcv_nxt - c.irs)


# --- first: the sequence number (table 6)


@pytest.mark.parametrize(
    ("seq", "length", "is_acceptable"),
    [
        # an empty segment: RCV.NXT =< SEG.SEQ < RCV.NXT + RCV.WND
        (NXT - 1, 0, False), (NXT, 0, True), (NXT + 1, 0, True), (NXT + WINDOW - 11, 0, True),
        (NXT + WINDOW + 1, 0, False),
        (NXT - 10_000, 0, False), (NXT + (1 << 31), 0, False),
        # text: its first or its last octet in the window
        (NXT, 1, True), (NXT - 1, 1, False), (NXT - 1, 2, True), (NXT - 10, 10, False), (NXT - 10, 11, True),
        (NXT + WINDOW - 11, 1, True), (NXT + WINDOW - 11, 100, True), (NXT + WINDOW + 1, 1, False),
        (NXT + 100_000, 1, False),
        (NXT - 100_000, 1, False), (NXT + (1 << 31), 1, False),
    ],
)
def test_a_segment_is_acceptable_as_table_6_says(seq: int, length: int, is_acceptable: bool) -> None:
    peer = established()
    answers = peer.send(ACK, seq=seq, data=b"x" * length)
    refused = peer.drops().get("TCP_OLD_SEQUENCE", 0) + peer.drops().get("TCP_INVALID_SEQUENCE", 0)
    assert refused == (0 if is_acceptable else 1)
    if not is_acceptable:
        assert [(s.flags, s.ack) for s in answers] == [(".", NXT)]  # "send an acknowledgment … and drop"


@pytest.mark.parametrize(
    ("offset", "length", "is_acceptable"), [(0, 0, True), (1, 0, False), (-1, 0, False), (1, 1, False), (-1, 1, False)],
)
def test_with_a_window_of_zero_only_an_empty_segment_at_rcv_nxt_is_acceptable(
    offset: int, length: int, is_acceptable: bool,
) -> None:
    peer = established()
    at = shut(peer)
    peer.send(ACK, seq=at + offset, data=b"x" * length)
    refused = peer.drops().get("TCP_OLD_SEQUENCE", 0) + peer.drops().get("TCP_INVALID_SEQUENCE", 0)
    assert refused == (0 if is_acceptable else 1)


def test_text_at_a_window_of_zero_is_dropped_but_its_acknowledgment_counts() -> None:
    peer = established()
    at = shut(peer)
    peer.write(b"outstanding")
    (answer,) = peer.send(ACK, seq=at, ack=12, data=b"x")
    assert (answer.flags, answer.ack, answer.wnd) == (".", at, 0)
    assert peer.drops() == {"TCP_ZEROWINDOW": 1}
    assert peer.counters.TcpExtTCPZeroWindowDrop == 1
    assert peer.connection.in_flight_count() == 0


def test_a_reset_is_taken_while_the_window_is_zero() -> None:
    peer = established()
    at = shut(peer)
    peer.send(RST, seq=at)
    assert peer.connection.state == State.CLOSED


def test_urgent_is_taken_while_the_window_is_zero() -> None:
    peer = established()
    at = shut(peer)
    peer.send(ACK | URG, seq=at, urg=1)
    assert peer.connection.is_urgent_new


def test_a_fin_is_taken_while_the_window_is_zero() -> None:
    peer = established()
    at = shut(peer)
    (ack,) = peer.send(ACK | FIN, seq=at)
    assert ack.ack == at + 1
    assert peer.connection.state == State.CLOSE_WAIT


def test_unacceptable_empty_segments_are_answered_at_a_bounded_rate() -> None:
    peer = established()
    assert sum(len(peer.send(ACK, seq=NXT - 1)) for _ in range(50)) == 1
    peer.wait(500 * MS)
    assert len(peer.send(ACK, seq=NXT - 1)) == 1
    assert peer.counters.TcpExtTCPACKSkippedSeq == 49


def test_repeated_text_is_acknowledged_each_time() -> None:
    peer = established()
    assert sum(len(peer.send(ACK, seq=1, data=b"0123456789")) for _ in range(20)) == 20


def test_two_ends_out_of_step_do_not_acknowledge_each_other_for_ever() -> None:
    peer = established()
    c = peer.connection
    answers = 0
    for _ in range(100):  # the other end answers each with one of its own, out of the window too
        answers += len(peer.send(ACK, seq=NXT + 50_000, ack=int(c.snd_nxt - c.iss)))
    assert answers == 1


# --- PAWS (RFC 7323 section 5)


def test_a_timestamp_older_than_the_last_drops_the_segment_and_is_acknowledged() -> None:
    peer = established(timestamps=True)
    (ack,) = peer.send(ACK, data=b"old", ts_val=peer.ts_now() - 1)
    assert (ack.flags, ack.ack) == (".", NXT)
    assert peer.drops() == {"TCP_RFC7323_PAWS": 1}
    assert peer.counters.TcpExtPAWSEstab == 1
    assert peer.connection.readable_bytes() == 0


def test_timestamps_may_wrap() -> None:
    peer = Peer()
    peer.ts_offset = (1 << 32) - peer.now_ns // MS - 5
    peer.accept(timestamps=True)
    for _ in range(4):
        peer.wait(3 * MS)
        peer.text(b"x")
    assert peer.connection.readable_bytes() == 4


def test_a_reset_is_not_held_to_its_timestamp() -> None:
    peer = established(timestamps=True)
    peer.send(RST, ts_val=peer.ts_now() - 1000)
    assert peer.connection.state == State.CLOSED


def test_after_24_days_of_silence_an_older_timestamp_is_taken() -> None:
    peer = established(timestamps=True)
    peer.wait(24 * 24 * 3600 * SECOND + SECOND)
    old = peer.connection.ts_recent - 10
    peer.send(ACK, data=b"x", ts_val=old)
    assert peer.connection.readable_bytes() == 1
    assert peer.connection.ts_recent == old & 0xFFFFFFFF
    peer.send(ACK, data=b"y", ts_val=old + 1)
    assert peer.connection.readable_bytes() == 2


def test_a_segment_without_timestamp_is_taken_though_timestamps_were_agreed_on() -> None:
    peer = established(timestamps=True)
    peer.has_timestamps = False
    peer.text(b"bare")
    assert peer.read() == b"bare"


def test_the_echo_is_the_timestamp_of_the_oldest_segment_not_yet_acknowledged() -> None:
    peer = established(timestamps=True)
    peer.connection.quick_acks = 0
    first = peer.ts_now()
    assert peer.text(b"a" * 100) == []
    peer.wait(5 * MS)
    peer.text(b"b" * 100)
    (ack,) = peer.wait(SECOND)
    assert ack.segment.ts_ecr == first


def test_an_out_of_order_segment_does_not_change_the_echo() -> None:
    peer = established(timestamps=True)
    before = peer.connection.ts_recent
    peer.wait(10 * MS)
    (ack,) = peer.send(ACK, seq=NXT + 100, data=b"ahead")
    assert ack.segment.ts_ecr == before


@pytest.mark.parametrize("seq", [NXT - 20_000, NXT - 5, NXT + 100_000])
def test_an_unacceptable_segment_can_not_poison_the_timestamp(seq: int) -> None:
    peer = established(timestamps=True)
    peer.send(ACK, seq=seq, data=b"xx", ts_val=peer.ts_now() + 1_000_000)
    peer.seq = NXT
    peer.text(b"good")
    assert peer.read() == b"good"


def test_an_acknowledgment_of_what_was_never_sent_can_not_poison_the_timestamp() -> None:
    peer = established(timestamps=True)
    peer.send(ACK, ack=1_000_000, ts_val=peer.ts_now() + 1_000_000)
    peer.text(b"good")
    assert peer.read() == b"good"


# --- second: the RST bit (RFC 5961 section 3)


def test_an_exact_reset_ends_the_connection_with_an_error() -> None:
    peer = established()
    assert peer.send(RST) == []
    assert peer.connection.state == State.CLOSED
    assert peer.counters.TcpEstabResets == 1
    assert peer.counters.TcpCurrEstab == 0
    assert peer.demux.table == {}
    with pytest.raises(ConnectionResetError, match="reset by peer"):
        peer.connection.raise_error()
    assert peer.connection.is_eof()


def test_a_reset_may_carry_text() -> None:
    peer = established()
    peer.send(RST, data=b"because of this")
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == errno.ECONNRESET


@pytest.mark.parametrize("offset", [1, 100, WINDOW - 20])
def test_a_reset_in_the_window_but_not_exact_gets_a_challenge(offset: int) -> None:
    peer = established()
    (challenge,) = peer.send(RST, seq=NXT + offset)
    assert (challenge.flags, challenge.seq, challenge.ack) == (".", 1, NXT)
    assert peer.connection.state == State.ESTABLISHED
    assert peer.counters.TcpExtTCPChallengeACK == 1
    assert peer.drops() == {"TCP_RESET": 1}


@pytest.mark.parametrize("offset", [-1, -5000, WINDOW + 1, 1_000_000, 1 << 31])
def test_a_reset_outside_of_the_window_is_ignored(offset: int) -> None:
    peer = established()
    assert peer.send(RST, seq=NXT + offset) == []
    assert peer.connection.state == State.ESTABLISHED


def test_what_was_received_before_a_reset_can_still_be_read() -> None:
    peer = established()
    peer.text(b"last words")
    peer.send(RST)
    assert peer.read() == b"last words"
    assert peer.connection.is_eof()


def test_a_reset_after_the_peers_fin_is_a_broken_pipe() -> None:
    peer = established()
    peer.send(ACK | FIN)
    peer.send(RST)
    assert peer.connection.take_error() == errno.EPIPE


# --- fourth: the SYN bit (RFC 5961 section 4)


@pytest.mark.parametrize("seq", [NXT, NXT + 1, NXT + 5000, 0, -100_000, 1 << 30])
@pytest.mark.parametrize("flags", [SYN, SYN | ACK, SYN | FIN, SYN | PSH | ACK])
def test_a_syn_on_a_synchronized_connection_gets_a_challenge_wherever_it_is(seq: int, flags: int) -> None:
    peer = established()
    (challenge,) = peer.send(flags, seq=seq)
    assert (challenge.flags, challenge.seq, challenge.ack) == (".", 1, NXT)
    assert peer.connection.state == State.ESTABLISHED


def test_a_peer_that_rebooted_is_told_by_a_challenge_and_resets_the_old_connection() -> None:
    peer = established()
    (challenge,) = peer.send(SYN, seq=555_555)
    peer.send(RST, seq=challenge.ack)  # what a host without the connection answers to an ACK
    assert peer.connection.take_error() == errno.ECONNRESET


def test_challenges_are_limited_by_the_second() -> None:
    peer = established()
    peer.config.tcp_challenge_ack_limit = 10
    sent = sum(len(peer.send(SYN, seq=NXT)) for _ in range(100))
    assert 5 <= sent <= 15
    assert peer.counters.TcpExtTCPACKSkippedChallenge == 100 - sent
    peer.wait(SECOND)
    assert len(peer.send(SYN, seq=NXT)) == 1


def test_the_number_of_challenges_can_not_be_guessed() -> None:
    counts = set()
    for second in range(12):
        peer = established()
        peer.config.tcp_challenge_ack_limit = 50
        peer.wait(second * SECOND)
        counts.add(sum(len(peer.send(SYN, seq=NXT)) for _ in range(100)))
    assert len(counts) > 3


# --- fifth: the ACK field (RFC 5961 section 5)


@pytest.mark.parametrize("flags", [0, PSH, FIN, URG])
def test_a_segment_without_ack_is_dropped(flags: int) -> None:
    peer = established()
    assert peer.send(flags, data=b"x", ack=0) == []
    assert peer.connection.readable_bytes() == 0
    assert peer.connection.state == State.ESTABLISHED
    assert peer.drops() == {"TCP_NO_ACK": 1}


@pytest.mark.parametrize("ack", [2, 1000, 1 << 30])
def test_an_acknowledgment_of_what_was_not_sent_gets_a_challenge_and_its_text_is_dropped(ack: int) -> None:
    peer = established()
    (challenge,) = peer.send(ACK, ack=ack, data=b"x")
    assert (challenge.flags, challenge.ack) == (".", NXT)
    assert peer.connection.readable_bytes() == 0
    assert peer.drops() == {"TCP_ACK_UNSENT_DATA": 1}


def test_an_acknowledgment_older_than_the_largest_window_gets_a_challenge_and_its_text_is_dropped() -> None:
    peer = established()  # whose largest window was 65535
    (challenge,) = peer.send(ACK, ack=1 - 65_536, data=b"x")
    assert challenge.flags == "."
    assert peer.connection.readable_bytes() == 0
    assert peer.drops() == {"TCP_TOO_OLD_ACK": 1}


def test_an_old_acknowledgment_within_the_largest_window_is_ignored_but_its_text_taken() -> None:
    peer = established(wnd=5000)
    peer.write(b"y" * 100)
    peer.send(ACK, ack=101, wnd=5000)
    peer.send(ACK, ack=1, data=b"x", wnd=77)
    assert peer.read() == b"x"
    assert peer.connection.snd_wnd == 5000


@pytest.mark.parametrize("distance", [1, 1000, 65_000])
def test_text_with_an_acknowledgment_from_before_our_syn_is_not_taken(distance: int) -> None:
    peer = established(wnd=65_535)
    peer.send(ACK, ack=-distance, data=b"evil")
    assert peer.read() == b""
    assert peer.drops() == {"TCP_TOO_OLD_ACK": 1}


def test_only_a_newer_segment_moves_the_send_window() -> None:
    peer = established()
    peer.send(ACK, seq=NXT, data=b"a", wnd=4000)
    peer.send(ACK, seq=NXT + 1, data=b"b", wnd=4000)
    assert peer.connection.snd_wnd == 4000
    peer.send(ACK, seq=NXT, data=b"ab", wnd=100)  # sent before, arrives after
    assert peer.connection.snd_wnd == 4000
    peer.send(ACK, seq=NXT + 2, wnd=3000)
    assert peer.connection.snd_wnd == 3000


def test_pure_acknowledgments_are_counted_and_no_others() -> None:
    peer = established()
    before = peer.counters.TcpExtTCPPureAcks
    peer.write(b"y")
    peer.send(ACK)
    peer.write(b"y")
    peer.send(ACK, data=b"x")
    assert peer.counters.TcpExtTCPPureAcks == before + 1


# --- text beyond the window


def test_text_beyond_the_window_is_cut_off() -> None:
    peer = established()
    room = int(peer.connection.rcv_adv - peer.connection.rcv_nxt)
    (ack,) = peer.text(b"z" * (room + 500))
    assert ack.ack == NXT + room
    assert peer.connection.readable_bytes() == room


def test_text_partly_received_before_is_taken_from_where_it_is_new() -> None:
    peer = established()
    peer.send(ACK, seq=NXT - 4, data=b"6789abc")
    assert peer.read() == b"abc"
