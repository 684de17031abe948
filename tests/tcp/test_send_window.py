"""The peer's window: kept to, silly, shrunk, shut and probed (RFC 9293 section 3.8.6)."""

from __future__ import annotations

import pytest

from estab.tcp.state import State
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK
from tests.kit.peer import Peer
from tests.kit.sending import established, lengths

# --- the peer's window


def test_no_more_is_sent_than_the_window_allows() -> None:
    peer = established(wnd=4000)
    seen = peer.write(b"x" * 10_000)
    assert sum(lengths(seen)) <= 4000
    assert lengths(seen) == [1460, 1460]  # and no silly third


def test_the_silly_window_is_avoided_unless_half_of_the_largest_window_is_free() -> None:
    peer = established(wnd=8000)
    peer.write(b"x" * 20_000)
    peer.send(ACK, ack=7301, wnd=1000)
    assert peer.connection.in_flight_count() == 0
    before = len(peer.seen)
    assert peer.send(ACK, ack=7301, wnd=1400) == []  # less than a segment and less than half of 8000
    assert lengths(peer.send(ACK, ack=7301, wnd=1460)) == [1460]
    assert len(peer.seen) == before + 1


def test_half_of_a_small_peers_window_is_worth_sending() -> None:
    peer = established(wnd=1000)
    assert lengths(peer.write(b"x" * 5000)) == [1000]
    assert lengths(peer.send(ACK, ack=1001, wnd=500)) == [500]
    assert lengths(peer.send(ACK, ack=1501, wnd=499)) == []


def test_what_a_silly_window_holds_back_goes_after_the_override_timeout() -> None:
    peer = established(wnd=8000)
    peer.write(b"x" * 20_000)
    assert peer.send(ACK, ack=7301, wnd=1000) == []
    late = peer.wait(2 * SECOND)
    assert lengths(late)[0] == 1000


def test_a_window_that_shrinks_stops_new_text_and_keeps_old() -> None:
    peer = established(wnd=20_000)
    sent = peer.write(b"x" * 14_600)
    assert sum(lengths(sent)) == 14_600
    assert peer.send(ACK, ack=1461, wnd=3000) == []  # 1461 + 3000 is far left of what was sent
    assert peer.write(b"new") == []
    repeats = peer.wait(3 * SECOND)
    assert {s.seq for s in repeats} == {1461}  # retransmission within the new window, and nothing beyond
    peer.send(ACK, ack=14_601, wnd=20_000)
    assert peer.connection.outq_bytes() == 0 or peer.seen[-1].text == b"new"


def test_old_text_inside_a_shrunk_window_is_repeated_and_none_beyond_it() -> None:
    peer = established(wnd=20_000)
    peer.write(b"x" * 14_600)
    peer.send(ACK, ack=1, wnd=5000)
    repeats = peer.wait(300 * MS)
    repeats += peer.send(ACK, ack=1461, wnd=3540)
    repeats += peer.send(ACK, ack=2921, wnd=2080)
    assert [(s.seq, s.end) for s in repeats] == [(1, 1461), (1461, 2921), (2921, 4381), (4381, 5001)]
    assert peer.send(ACK, ack=4381, wnd=620) == []


def test_text_beyond_a_window_that_shut_does_not_time_out_while_the_peer_answers() -> None:
    peer = established(wnd=20_000)
    peer.write(b"x" * 2000)
    peer.send(ACK, ack=1, wnd=0)
    for _ in range(60):
        for s in peer.wait(60 * SECOND):
            assert s.seq in (0, 1)
            peer.send(ACK, ack=1, wnd=0)
    assert peer.connection.state == State.ESTABLISHED
    peer.send(ACK, ack=1, wnd=20_000)
    repeats = peer.wait(121 * SECOND)
    assert repeats[0].seq == 1
    peer.send(ACK, ack=2001)
    assert peer.connection.outq_bytes() == 0


def shut_out(**options: object) -> Peer:
    """Write into a window of zero."""
    peer = established(wnd=1000, **options)
    peer.write(b"x" * 5000)
    assert peer.send(ACK, ack=1001, wnd=0) == []
    return peer


# --- a window of zero (RFC 9293 section 3.8.6.1)


def test_a_shut_window_is_probed_after_one_timeout_and_then_ever_more_rarely() -> None:
    peer = shut_out()
    rto = peer.connection.rto_ns
    start = peer.now_ns
    probes = peer.wait(rto * 64)
    assert [s.at_ns - start for s in probes] == [rto * (2**n - 1) for n in range(1, 7)]
    for s in probes:
        assert (s.flags, s.seq, s.text) == (".", 1000, b"")  # an old number, which must be answered
    assert peer.counters.TcpExtTCPWinProbe == 6


def test_the_time_between_probes_is_bounded() -> None:
    peer = shut_out()
    times: list[int] = []
    for _ in range(30):
        for s in peer.wait(60 * SECOND):
            times.append(s.at_ns)
            peer.send(ACK, ack=1001, wnd=0)
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert max(gaps) == peer.config.tcp_rto_max_ns


def test_the_connection_stays_open_as_long_as_its_probes_are_answered() -> None:
    peer = shut_out()
    for _ in range(24):
        for _ in peer.wait(3600 * SECOND // 10):
            peer.send(ACK, ack=1001, wnd=0)
    assert peer.connection.state == State.ESTABLISHED
    assert peer.connection.probes_out == 0


def test_probes_that_nobody_answers_end_the_connection() -> None:
    peer = shut_out()
    peer.wait(3600 * SECOND)
    assert peer.connection.state == State.CLOSED
    with pytest.raises(TimeoutError, match="15 zero-window probes unanswered"):
        peer.connection.raise_error()


def test_the_window_update_that_opens_it_lets_text_go_and_ends_the_probing() -> None:
    peer = shut_out()
    peer.wait(SECOND)
    seen = peer.send(ACK, ack=1001, wnd=10_000)
    assert lengths(seen) == [1460, 1460, 1080]
    assert peer.connection.persist_ns == NEVER
    assert peer.connection.backoff == 0


def test_a_fin_waits_behind_text_that_a_shut_window_holds_back() -> None:
    peer = shut_out()
    assert peer.shutdown() == []
    assert peer.connection.state == State.FIN_WAIT_1
    seen = peer.send(ACK, ack=1001, wnd=10_000)
    assert [(len(s.text), s.flags) for s in seen] == [(1460, "P."), (1460, "P."), (1080, "FP.")]


def test_an_orphan_does_not_probe_a_shut_window_for_ever() -> None:
    peer = shut_out()
    peer.close()
    for _ in range(100):
        for _ in peer.wait(60 * SECOND):
            peer.send(ACK, ack=1001, wnd=0)
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}


def test_a_persist_timer_runs_whenever_text_waits_and_nothing_is_in_flight() -> None:
    peer = established(wnd=0, wnd_ack=0)
    peer.write(b"x")
    assert peer.connection.persist_ns != NEVER
    peer.send(ACK, wnd=100)
    assert peer.seen[-1].text == b"x"
