"""SYN-RECEIVED of a passive open: its times, and what a half-open entry does with segments (RFC 9293, 3.10.7.4)."""

from __future__ import annotations

import pytest

from estab.events import StateChanged
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.listening import depths
from tests.kit.peer import Peer

# --- time


def test_a_syn_ack_is_repeated_after_1_3_7_15_31_seconds_and_given_up_after_63() -> None:
    peer = Peer()
    listener = peer.listen()
    start = peer.now_ns
    peer.syn()
    repeats = peer.wait(63 * SECOND - 1)
    assert [(s.at_ns - start) / SECOND for s in repeats] == [1, 3, 7, 15, 31]
    assert {s.flags for s in repeats} == {"S."}
    assert depths(listener) == (1, 0)
    assert peer.wait(SECOND) == []
    assert depths(listener) == (0, 0)
    assert peer.demux.table == {}
    assert peer.counters.TcpAttemptFails == 1


def test_a_repeated_syn_gets_the_same_syn_ack_again() -> None:
    peer = Peer()
    listener = peer.listen()
    (first,) = peer.syn()
    peer.wait(500 * MS)
    (again,) = peer.syn()
    assert (again.flags, again.segment.seq) == ("S.", first.segment.seq)
    assert depths(listener) == (1, 0)


def test_a_repeated_syn_does_not_shorten_the_life_of_its_entry() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    for _ in range(12):
        peer.wait(600 * MS)
        peer.syn()
    peer.wait(50 * SECOND)
    assert depths(listener) == (1, 0)


def test_a_repeated_syns_timestamp_is_the_one_that_is_echoed() -> None:
    peer = Peer()
    peer.listen()
    peer.syn(timestamps=True)
    peer.wait(900 * MS)
    again = peer.ts_now()
    (syn_ack,) = peer.syn(timestamps=True)
    assert syn_ack.segment.ts_ecr == again


def test_a_storm_of_repeated_syns_is_not_answered_one_by_one() -> None:
    peer = Peer()
    peer.listen()
    peer.syn()
    answers = [len(peer.syn()) for _ in range(20)]
    assert sum(answers) <= 1


# --- what half-open entries do with other segments (RFC 9293 section 3.10.7.4)


def test_a_reset_of_a_half_open_entry_goes_back_to_listen_and_no_program_hears_of_it() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    assert peer.send(RST, seq=1) == []
    assert depths(listener) == (0, 0)
    assert peer.demux.table == {}
    assert peer.take_woken() == []
    assert peer.counters.TcpExtEmbryonicRsts == 1
    assert [(e.old, e.new) for e in peer.side.events if isinstance(e, StateChanged)][-1] == ("SYN-RECEIVED", "LISTEN")


@pytest.mark.parametrize("seq", [2, 1000, 60_000])
def test_a_reset_in_the_window_but_not_exact_is_challenged(seq: int) -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    (challenge,) = peer.send(RST, seq=seq)
    assert (challenge.flags, challenge.seq, challenge.ack) == (".", 1, 1)
    assert depths(listener) == (1, 0)
    assert peer.drops() == {"TCP_RESET": 1}


def test_the_window_of_a_half_open_entrys_challenge_is_scaled_as_its_syn_ack_said() -> None:
    peer = Peer()
    peer.listen()
    (syn_ack,) = peer.syn(wscale=0)
    (challenge,) = peer.send(RST, seq=1000)
    assert syn_ack.segment.wscale == 7
    assert challenge.segment.wnd == 65535 >> 7


@pytest.mark.parametrize("seq", [0, -1, -5000, 70_000, 1 << 31])
def test_a_reset_outside_of_the_window_is_ignored(seq: int) -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    assert peer.send(RST, seq=seq) == []
    assert depths(listener) == (1, 0)
    assert peer.drops() == {"TCP_INVALID_SEQUENCE": 1}


@pytest.mark.parametrize("ack", [0, -1, 2, 3000])
def test_an_ack_of_what_was_not_sent_is_reset_and_the_entry_kept(ack: int) -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    (reset,) = peer.send(ACK, ack=ack)
    assert (reset.flags, reset.seq) == ("R", ack)
    assert depths(listener) == (1, 0)


@pytest.mark.parametrize(
    ("flags", "seq", "reason"), [(0, 1, "TCP_NO_ACK"), (PSH, 1, "TCP_NO_ACK"), (ACK, 70_000, "TCP_INVALID_SEQUENCE"),
                                 (SYN, 70_000, "TCP_INVALID_SEQUENCE"), (RST, 65_536, "TCP_INVALID_SEQUENCE")],
)
def test_other_segments_leave_the_entry_alone_and_are_counted(flags: int, seq: int, reason: str) -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    peer.send(flags, seq=seq)
    assert depths(listener) == (1, 0)
    assert peer.drops() == {reason: 1}


@pytest.mark.parametrize("flags", [SYN, SYN | ACK])
def test_a_new_syn_in_the_window_returns_to_listen_and_the_next_opens(flags: int) -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    assert peer.send(flags, seq=1000) == []
    assert depths(listener) == (0, 0)
    assert peer.drops() == {"TCP_SYN_IN_WINDOW": 1}
    (syn_ack,) = peer.send(SYN, seq=1000, ack=0, mss=1460)
    assert (syn_ack.flags, syn_ack.ack) == ("S.", 1001)


def test_a_syn_with_fin_is_dropped() -> None:
    peer = Peer()
    listener = peer.listen()
    assert peer.send(SYN | FIN, seq=0, ack=0, mss=1460) == []
    assert depths(listener) == (0, 0)
    assert peer.drops() == {"TCP_FLAGS": 1}


def test_an_old_timestamp_does_not_complete_a_handshake() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn(timestamps=True)
    peer.send(ACK, ts_val=peer.ts_now() - 5)
    assert depths(listener) == (1, 0)
    assert peer.drops() == {"TCP_RFC7323_PAWS": 1}


@pytest.mark.parametrize("seq", [1, 2, 30_000, 65_535, 65_536])
@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_whatever_completes_a_handshake_makes_an_established_connection(seq: int, data: bytes) -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    peer.send(ACK, seq=seq, data=data)
    for child in listener.ready:
        assert child.state == State.ESTABLISHED
