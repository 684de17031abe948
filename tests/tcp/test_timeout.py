"""The retransmission timeout (RFC 6298): when it comes, how often, what it does to the windows, when all is over."""

from __future__ import annotations

import errno

import pytest

from estab.events import ErrorReported
from estab.tcp.record.tcb import CA_LOSS, CA_OPEN
from estab.tcp.state import State
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK
from tests.kit.peer import set_options
from tests.kit.retransmit import MSS, ack_to, established, places

# --- the timeout (RFC 6298)


def test_the_first_timeout_is_srtt_plus_the_larger_of_four_variances_and_the_floor() -> None:
    for rtt_ns, rto_ns in ((10 * MS, 210 * MS), (100 * MS, 300 * MS), (400 * MS, 1200 * MS)):
        c = established(rtt_ns=rtt_ns).connection
        assert (c.srtt_ns, c.rttvar_ns, c.rto_ns) == (rtt_ns, rtt_ns // 2, rto_ns)


def test_later_measurements_are_smoothed_with_an_eighth_and_a_quarter() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x")
    peer.wait(180 * MS)
    peer.send(ACK)
    c = peer.connection
    assert c.srtt_ns == 110 * MS  # 7/8 · 100 + 1/8 · 180
    assert c.rttvar_ns == 50 * MS + (80 * MS - 50 * MS) // 4  # 3/4 · 50 + 1/4 · 80
    assert c.rto_ns == 110 * MS + 4 * c.rttvar_ns


def test_the_timer_starts_with_the_first_segment_and_starts_again_with_each_acknowledgment() -> None:
    peer = established(rtt_ns=100 * MS)
    c = peer.connection
    assert c.retransmit_ns == NEVER
    peer.write(b"x" * 3 * MSS)
    assert c.retransmit_ns == peer.now_ns + 300 * MS
    peer.wait(100 * MS)
    ack_to(peer, 1)
    assert c.retransmit_ns == peer.now_ns + c.rto_ns
    peer.wait(20 * MS)
    ack_to(peer, 3)
    assert c.retransmit_ns == NEVER


def test_a_segment_sent_while_the_timer_runs_does_not_restart_it() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x" * MSS)
    due = peer.connection.retransmit_ns
    peer.wait(50 * MS)
    peer.write(b"x" * MSS)
    assert peer.connection.retransmit_ns == due


def test_each_timeout_doubles_the_next_up_to_the_limit() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x")
    start = peer.now_ns
    times = [(s.at_ns - start) // MS for s in peer.wait(600 * SECOND)]
    assert times[:9] == [300 * (2**n - 1) for n in range(1, 10)]
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert max(gaps) == 120_000


def test_the_oldest_segment_is_repeated_and_with_its_text_unchanged() -> None:
    peer = established()
    peer.write(bytes(range(250)) * 20)
    (again,) = peer.wait(300 * MS)
    assert again.seq == 1
    assert again.text == (bytes(range(250)) * 20)[:MSS]


def test_a_repeated_segment_does_not_measure_the_round_trip_without_timestamps() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x")
    peer.wait(310 * MS)
    peer.send(ACK)
    assert peer.connection.srtt_ns == 100 * MS
    assert peer.connection.backoff == 1  # Karn: the back-off stays until something can be measured
    peer.write(b"y")
    assert peer.connection.retransmit_ns == peer.now_ns + 600 * MS
    peer.wait(100 * MS)
    peer.send(ACK)
    assert peer.connection.backoff == 0


def test_a_repeated_segment_measures_the_round_trip_by_its_timestamp() -> None:
    peer = established(rtt_ns=100 * MS, timestamps=True)
    peer.write(b"x")
    peer.wait(310 * MS)
    peer.wait(100 * MS)
    peer.send(ACK)
    assert 100 * MS <= peer.connection.srtt_ns <= 102 * MS
    assert peer.connection.backoff == 0


def test_a_repeated_segment_bears_a_fresh_timestamp_and_acknowledgment() -> None:
    peer = established(timestamps=True)
    (first,) = peer.write(b"x")
    peer.text(b"yy", ack=1)
    (again,) = [s for s in peer.wait(300 * MS) if s.text]
    assert again.segment.ts_val > first.segment.ts_val
    assert again.ack == 3


# --- giving up (R1 and R2)


def test_after_r1_ip_is_advised_and_a_soft_error_noted_and_the_connection_goes_on() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x")
    peer.wait(300 * 7 * MS - 1)
    assert peer.side.paths.suspected == []
    peer.wait(1)
    assert peer.side.paths.suspected == [peer.address]
    assert peer.connection.soft_error == errno.ETIMEDOUT
    assert [e.is_soft for e in peer.side.events if isinstance(e, ErrorReported)] == [True]
    assert peer.connection.error == 0
    peer.send(ACK)
    assert peer.connection.soft_error == 0
    assert peer.connection.state == State.ESTABLISHED


def test_after_fifteen_retransmissions_the_connection_is_given_up() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x")
    start = peer.now_ns
    repeats = peer.wait(3600 * SECOND)
    assert len(repeats) == 15
    assert peer.connection.state == State.CLOSED
    told = [e for e in peer.side.events if isinstance(e, ErrorReported) and not e.is_soft]
    assert told[0].at_ns - start == 300 * MS * 511 + 120 * SECOND * 7  # nine doublings, then the limit
    with pytest.raises(TimeoutError, match="16 transmissions unanswered in 16min"):
        peer.connection.raise_error()
    assert peer.counters.TcpExtTCPAbortOnTimeout == 1
    assert peer.demux.table == {}


def test_r2_is_at_least_100_seconds() -> None:
    peer = established()
    peer.write(b"x")
    peer.wait(100 * SECOND)
    assert peer.connection.state == State.ESTABLISHED


def test_an_acknowledgment_resets_the_count_towards_r2() -> None:
    peer = established()
    peer.write(b"x" * 2 * MSS)
    peer.wait(60 * SECOND)
    retries = peer.connection.retries
    assert retries > 5
    ack_to(peer, 1)
    assert peer.connection.retries == 0


def test_the_user_timeout_replaces_r2_to_the_nanosecond() -> None:
    peer = established(rtt_ns=100 * MS)
    set_options(peer.connection, user_timeout_ns=5 * SECOND)
    peer.write(b"x")
    peer.wait(5 * SECOND - 1)
    assert peer.connection.state == State.ESTABLISHED
    peer.wait(1)
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == errno.ETIMEDOUT


def test_a_user_timeout_shorter_than_the_timer_still_lets_one_retransmission_try() -> None:
    peer = established(rtt_ns=100 * MS)
    set_options(peer.connection, user_timeout_ns=50 * MS)
    peer.write(b"x")
    assert len(peer.wait(300 * MS)) == 1
    assert peer.connection.state == State.ESTABLISHED
    peer.wait(SECOND)
    assert peer.connection.state == State.CLOSED


def test_a_longer_user_timeout_keeps_the_connection_longer_than_r2() -> None:
    peer = established()
    set_options(peer.connection, user_timeout_ns=7200 * SECOND)
    peer.write(b"x")
    peer.wait(7100 * SECOND)
    assert peer.connection.state == State.ESTABLISHED
    peer.send(ACK)
    assert peer.connection.outq_bytes() == 0


def test_the_user_timeout_counts_from_the_oldest_unanswered_segment() -> None:
    peer = established(rtt_ns=100 * MS)
    set_options(peer.connection, user_timeout_ns=5 * SECOND)
    peer.write(b"x" * 2 * MSS)
    peer.wait(4 * SECOND)
    ack_to(peer, 1)
    peer.wait(4 * SECOND)
    assert peer.connection.state == State.ESTABLISHED


# --- what a timeout does to the windows


def test_a_timeout_sets_cwnd_to_one_segment_and_ssthresh_to_half_the_flight() -> None:
    peer = established()
    peer.write(b"x" * 20 * MSS)
    peer.wait(300 * MS)
    c = peer.connection
    assert (c.cwnd_bytes, c.ssthresh_bytes, c.ca_state) == (MSS, 10 * MSS, CA_LOSS)


def test_ssthresh_is_at_least_two_segments() -> None:
    peer = established()
    peer.write(b"x" * MSS)
    peer.wait(300 * MS)
    assert peer.connection.ssthresh_bytes == 2 * MSS


def test_a_second_timeout_of_the_same_flight_does_not_halve_ssthresh_again() -> None:
    peer = established()
    peer.write(b"x" * 20 * MSS)
    peer.wait(3 * SECOND)
    assert peer.connection.retries > 1
    assert peer.connection.ssthresh_bytes == 10 * MSS


def test_after_a_timeout_what_was_lost_goes_again_in_slow_start() -> None:
    peer = established()
    peer.write(b"x" * 20 * MSS)
    assert places(peer.wait(300 * MS)) == [0]
    assert places(ack_to(peer, 1)) == [1, 2]
    assert places(ack_to(peer, 2)) == [3, 4]
    assert places(ack_to(peer, 3)) == [5, 6]
    assert places(ack_to(peer, 20)) == []
    c = peer.connection
    assert (c.ca_state, c.in_flight_count(), c.pipe_bytes, c.lost_count) == (CA_OPEN, 0, 0, 0)


def test_new_text_waits_until_what_was_lost_has_gone_again() -> None:
    peer = established()
    peer.config.tcp_frto = 0  # F-RTO sends new text first
    peer.write(b"x" * 5 * MSS)
    peer.wait(300 * MS)
    assert peer.write(b"y" * MSS) == []
    assert places(ack_to(peer, 1)) == [1, 2]
    assert places(ack_to(peer, 3)) == [3, 4, 5]
