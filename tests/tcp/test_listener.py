"""LISTEN and its two queues: three policies of what backlog limits, and what each does when one is full."""

from __future__ import annotations

import pytest

from estab import abi
from estab.events import QueueChanged, StateChanged
from estab.tcp.connection import Connection
from estab.tcp.context import Owner
from estab.tcp.listening.listener import HalfOpen, Listener
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.address import map_v4, parse_address
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer, Seen


def syn_from(peer: Peer, port: int) -> list[Seen]:
    """Send a SYN from another port of the peer."""
    peer.peer_port = port
    return peer.syn()


def open_from(peer: Peer, port: int) -> None:
    """Do a whole handshake from another port of the peer."""
    assert [s.flags for s in syn_from(peer, port)] == ["S."]
    peer.send(ACK)


def depths(listener: Listener) -> tuple[int, int]:
    """Give how many wait in the half-open and in the accept queue."""
    return len(listener.half_open), len(listener.ready)


# --- the two queues


def test_a_syn_makes_a_half_open_entry_and_the_third_segment_moves_it_to_the_accept_queue() -> None:
    peer = Peer()
    listener = peer.listen()
    (syn_ack,) = peer.syn()
    assert (syn_ack.flags, syn_ack.seq, syn_ack.ack) == ("S.", 0, 1)
    assert depths(listener) == (1, 0)
    assert isinstance(peer.endpoint(), HalfOpen)
    assert peer.send(ACK) == []
    assert depths(listener) == (0, 1)
    assert isinstance(peer.endpoint(), Connection)
    assert peer.counters.TcpPassiveOpens == 1


def test_accept_takes_the_oldest_and_nothing_where_none_waits() -> None:
    peer = Peer()
    listener = peer.listen()
    assert listener.accept() is None
    open_from(peer, 5001)
    open_from(peer, 5002)
    first, second = listener.accept(), listener.accept()
    assert first is not None
    assert second is not None
    assert (first.remote_port, second.remote_port) == (5001, 5002)
    assert listener.accept() is None


def test_the_owner_is_woken_when_a_connection_waits_and_not_by_a_mere_syn() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    assert peer.side.context.woken == []
    peer.send(ACK)
    assert peer.side.context.woken == [listener.owner]


def test_both_queues_can_be_looked_at_with_depth_limit_and_age() -> None:
    peer = Peer()
    listener = peer.listen(backlog=7)
    open_from(peer, 5001)
    peer.send(ACK, data=b"early")
    peer.wait(300 * MS)
    syn_from(peer, 5002)
    peer.wait(200 * MS)
    queues = listener.queues(peer.now_ns)
    assert (queues.policy, queues.backlog, queues.half_open_limit, queues.accept_limit) == ("accept", 7, 7, 8)
    assert [(row.peer, row.age_ns, row.retransmissions) for row in queues.half_open] == [("10.0.0.2:5002", 200 * MS, 0)]
    assert [(row.peer, row.age_ns, row.unread_bytes) for row in queues.accept] == [("10.0.0.2:5001", 500 * MS, 5)]


def test_queue_changes_are_told_with_their_depth() -> None:
    peer = Peer()
    listener = peer.listen(backlog=3)
    peer.syn()
    peer.send(ACK)
    listener.accept()
    told = [(e.queue, e.depth, e.limit, e.what) for e in peer.side.events if isinstance(e, QueueChanged)]
    assert told == [
        ("half-open", 1, 3, "added"), ("half-open", 0, 3, "completed"),
        ("accept", 1, 4, "added"), ("accept", 0, 4, "taken"),
    ]


def test_the_states_of_a_passive_open_are_told() -> None:
    peer = Peer()
    peer.listen()
    peer.syn()
    peer.send(ACK)
    told = [(e.old, e.new) for e in peer.side.events if isinstance(e, StateChanged)]
    assert told == [("LISTEN", "SYN-RECEIVED"), ("SYN-RECEIVED", "ESTABLISHED")]


def test_text_on_the_third_segment_is_taken() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    peer.send(ACK | PSH, data=b"at once")
    connection = listener.accept()
    assert connection is not None
    assert connection.read(100, False, peer.now_ns) == b"at once"


def test_a_fin_on_the_third_segment_is_taken() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    peer.send(ACK | FIN, data=b"all")
    connection = listener.accept()
    assert connection is not None
    assert connection.state == State.CLOSE_WAIT
    assert connection.read(100, False, peer.now_ns) == b"all"


def test_text_on_a_syn_is_not_taken_and_not_acknowledged() -> None:
    peer = Peer()
    peer.listen()
    (syn_ack,) = peer.send(SYN, seq=0, data=b"early", mss=1460)
    assert int(syn_ack.segment.ack) == peer.iss + 1


def test_a_connection_that_dies_while_it_waits_is_handed_out_dead() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    peer.send(ACK)
    peer.send(RST)
    connection = listener.accept()
    assert connection is not None
    assert connection.state == State.CLOSED
    with pytest.raises(ConnectionResetError):
        connection.raise_error()
    assert peer.demux.table == {}


# --- backlog


@pytest.mark.parametrize(
    ("policy", "backlog", "half_open", "ready"),
    [
        ("accept", 0, 1, 1), ("accept", 1, 1, 2), ("accept", 8, 8, 9),
        ("sum", 0, 1, 1), ("sum", 1, 2, 2), ("sum", 8, 13, 13),
        ("syn", 0, 1, 4096), ("syn", 1, 1, 4096), ("syn", 8, 8, 4096),
    ],
)
def test_each_policy_reads_the_backlog_in_its_own_way(policy: str, backlog: int, half_open: int, ready: int) -> None:
    peer = Peer()
    peer.config.backlog_policy = policy
    listener = peer.listen(backlog=backlog)
    assert (listener.half_open_limit(), listener.accept_limit()) == (half_open, ready)


@pytest.mark.parametrize(("policy", "limit"), [("accept", 4), ("sum", 7), ("syn", 4)])
def test_the_half_open_queue_holds_just_its_limit(policy: str, limit: int) -> None:
    peer = Peer()
    peer.config.backlog_policy = policy
    peer.config.tcp_syncookies = "never"
    listener = peer.listen(backlog=4)
    answers = [len(syn_from(peer, 5000 + n)) for n in range(20)]
    assert answers == [1] * limit + [0] * (20 - limit)
    assert depths(listener) == (limit, 0)
    assert listener.half_open_drops == 20 - limit
    assert peer.counters.TcpExtTCPReqQFullDrop == 20 - limit
    assert peer.counters.TcpExtListenDrops == 20 - limit
    assert peer.drops() == {"TCP_REQ_QUEUE_FULL": 20 - limit}


@pytest.mark.parametrize(("policy", "limit"), [("accept", 5), ("sum", 7)])
def test_a_full_accept_queue_drops_the_next_syn(policy: str, limit: int) -> None:
    peer = Peer()
    peer.config.backlog_policy = policy
    listener = peer.listen(backlog=4)
    for n in range(limit):
        open_from(peer, 5000 + n)
    assert depths(listener) == (0, limit)
    assert syn_from(peer, 6000) == []
    assert listener.accept_drops == 1
    assert peer.counters.TcpExtListenOverflows == 1
    assert peer.counters.TcpExtListenDrops == 1
    assert peer.drops() == {"TCP_LISTEN_OVERFLOW": 1}
    listener.accept()
    assert [s.flags for s in syn_from(peer, 6000)] == ["S."]


def test_the_syn_policy_does_not_limit_the_accept_queue_by_the_backlog() -> None:
    peer = Peer()
    peer.config.backlog_policy = "syn"
    listener = peer.listen(backlog=1)
    for n in range(50):
        open_from(peer, 5000 + n)
    assert depths(listener) == (0, 50)


def test_the_syn_policy_limits_the_accept_queue_by_somaxconn() -> None:
    peer = Peer()
    peer.config.backlog_policy = "syn"
    peer.config.somaxconn = 3
    listener = peer.listen(backlog=1)
    for n in range(3):
        open_from(peer, 5000 + n)
    assert [s.flags for s in syn_from(peer, 6000)] == ["S."]  # the SYN is taken …
    assert peer.send(ACK) == []
    assert depths(listener) == (1, 3)  # … but waits half-open
    assert listener.accept_drops == 1


def test_the_sum_policy_counts_both_queues_together() -> None:
    peer = Peer()
    peer.config.backlog_policy = "sum"
    peer.config.tcp_syncookies = "never"
    listener = peer.listen(backlog=2)  # 3 * 2 // 2 + 1 = 4
    open_from(peer, 5000)
    open_from(peer, 5001)
    assert listener.half_open_limit() == 2
    assert [len(syn_from(peer, 6000 + n)) for n in range(4)] == [1, 1, 0, 0]
    assert depths(listener) == (2, 2)


def test_the_backlog_is_cut_to_somaxconn_and_tcp_max_syn_backlog() -> None:
    peer = Peer()
    peer.config.somaxconn = 10
    peer.config.tcp_max_syn_backlog = 4
    listener = peer.listen(backlog=1000)
    assert (listener.accept_limit(), listener.half_open_limit()) == (11, 4)


def test_a_negative_backlog_is_none() -> None:
    assert Peer().listen(backlog=-5).accept_limit() == 1


def test_a_second_listen_changes_the_limit_and_keeps_what_is_queued() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "never"
    listener = peer.listen(backlog=4)
    for n in range(3):
        open_from(peer, 5000 + n)
    syn_from(peer, 5100)
    listener.set_backlog(1)
    assert depths(listener) == (1, 3)
    assert syn_from(peer, 5200) == []  # over both limits now
    listener.set_backlog(8)
    assert [s.flags for s in syn_from(peer, 5200)] == ["S."]
    assert [listener.accept() is not None for _ in range(4)] == [True, True, True, False]


# --- the third segment meets a full accept queue


def fill(peer: Peer, backlog: int = 1) -> Listener:
    """Fill the accept queue while one handshake is under way (from port 6000)."""
    listener = peer.listen(backlog=backlog)
    for n in range(backlog):
        open_from(peer, 5000 + n)
    syn_from(peer, 6000)
    waiting = peer.irs, peer.seq
    open_from(peer, 5999)
    peer.peer_port = 6000
    peer.irs, peer.seq = waiting
    peer.ack = 1
    assert depths(listener) == (1, backlog + 1) or backlog == 1
    return listener


def test_a_third_segment_that_finds_the_accept_queue_full_is_ignored_and_the_entry_kept() -> None:
    peer = Peer()
    peer.config.tcp_max_syn_backlog = 10
    listener = fill(peer, backlog=3)
    assert peer.send(ACK) == []
    assert depths(listener) == (1, 4)
    assert peer.counters.TcpExtListenOverflows == 1
    assert peer.drops()["TCP_LISTEN_OVERFLOW"] == 1


def test_an_ignored_third_segment_is_made_good_when_the_syn_ack_is_repeated() -> None:
    peer = Peer()
    listener = fill(peer, backlog=3)
    peer.send(ACK)
    listener.accept()
    (syn_ack,) = peer.wait(SECOND)
    assert syn_ack.flags == "S."
    assert peer.send(ACK) == []
    assert depths(listener) == (0, 4)


def test_text_sent_after_an_ignored_third_segment_is_dropped_until_there_is_room_and_then_completes() -> None:
    peer = Peer()
    listener = fill(peer, backlog=3)
    peer.send(ACK)
    assert peer.send(ACK, data=b"request", seq=1) == []
    listener.accept()
    peer.send(ACK, data=b"request", seq=1)
    assert depths(listener) == (0, 4)
    assert listener.ready[-1].readable_bytes() == 7


def test_tcp_abort_on_overflow_resets_instead() -> None:
    peer = Peer()
    peer.config.tcp_abort_on_overflow = True
    listener = fill(peer, backlog=3)
    (reset,) = peer.send(ACK)
    assert (reset.flags, reset.seq) == ("R", 1)
    assert depths(listener) == (0, 4)
    assert len(peer.demux.table) == 4


# --- a SYN flood, without cookies


def test_recycling_gives_up_the_oldest_entry_for_the_newest() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "never"
    peer.config.tcp_syn_recycle = True
    listener = peer.listen(backlog=3)
    for n in range(10):
        assert [s.flags for s in syn_from(peer, 5000 + n)] == ["S."]
    assert [entry.ends.remote_port for entry in listener.half_open.values()] == [5007, 5008, 5009]
    assert listener.half_open_evictions == 7
    assert peer.counters.EstabListenEvicted == 7
    assert len(peer.demux.table) == 3
    assert peer.demux.port_users == {80: 3}
    assert peer.drops() == {"TCP_REQ_EVICTED": 7}


def test_a_flood_leaves_nothing_behind_when_its_entries_expire() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "never"
    listener = peer.listen(backlog=50)
    for n in range(500):
        syn_from(peer, 1000 + n)
    peer.wait(64 * SECOND)
    assert depths(listener) == (0, 0)
    assert peer.demux.table == {}
    assert peer.demux.port_users == {}
    assert peer.demux.next_deadline_ns() > 1 << 61


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
    assert peer.side.context.woken == []
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


# --- segments to a listener without an entry (RFC 9293 section 3.10.7.2)


def test_a_listener_ignores_a_reset() -> None:
    peer = Peer()
    peer.listen()
    assert peer.send(RST, seq=0) == []
    assert peer.send(RST | ACK, seq=0) == []
    assert peer.drops() == {"TCP_RESET_INVALID": 2}


@pytest.mark.parametrize("flags", [ACK, ACK | FIN, SYN | ACK, ACK | PSH])
def test_a_listener_resets_an_acknowledgment(flags: int) -> None:
    peer = Peer()
    peer.listen()
    (reset,) = peer.send(flags, seq=0, ack=4711)
    assert (reset.flags, reset.seq) == ("R", 4711)


@pytest.mark.parametrize("flags", [0, FIN, PSH, FIN | PSH])
def test_a_listener_ignores_what_is_neither_syn_nor_ack_nor_rst(flags: int) -> None:
    peer = Peer()
    peer.listen()
    assert peer.send(flags, seq=0) == []
    assert peer.drops() == {"TCP_FLAGS": 1}


@pytest.mark.parametrize("source", ["224.0.0.1", "255.255.255.255", "0.0.0.0"])
def test_a_syn_from_an_address_that_can_have_no_connection_is_ignored(source: str) -> None:
    peer = Peer()
    listener = peer.listen()
    assert peer.inject(peer.packet(SYN, seq=0, source=parse_address(source))) == []
    assert depths(listener) == (0, 0)
    assert peer.drops() == {"TCP_INVALID_SYN": 1}


@pytest.mark.parametrize("destination", ["224.0.0.1", "239.255.0.1", "255.255.255.255"])
def test_a_syn_to_a_multicast_or_broadcast_address_is_ignored(destination: str) -> None:
    peer = Peer()
    listener = peer.listen()
    assert peer.inject(peer.packet(SYN, seq=0, destination=parse_address(destination))) == []
    assert depths(listener) == (0, 0)
    assert peer.drops() == {"TCP_INVALID_SYN": 1}


def test_an_ipv6_syn_from_or_to_a_multicast_address_is_ignored() -> None:
    peer = Peer(is_v6=True)
    listener = peer.listen()
    assert peer.inject(peer.packet(SYN, seq=0, source=parse_address("ff02::1"))) == []
    assert peer.inject(peer.packet(SYN, seq=0, destination=parse_address("ff02::1"))) == []
    assert peer.inject(peer.packet(SYN, seq=0, source=parse_address("::"))) == []
    assert depths(listener) == (0, 0)


def test_a_multicast_segment_to_a_closed_port_is_not_even_reset() -> None:
    peer = Peer()
    assert peer.inject(peer.packet(SYN, seq=0, destination=parse_address("224.0.0.1"))) == []
    assert peer.inject(peer.packet(ACK, source=parse_address("224.0.0.1"))) == []
    assert peer.drops() == {"NO_SOCKET": 2}


# --- CLOSED (RFC 9293 section 3.10.7.1)


def test_a_closed_port_answers_a_segment_with_ack_by_a_reset_at_its_acknowledgment() -> None:
    peer = Peer()
    (reset,) = peer.send(ACK, seq=9, ack=777, data=b"hello")
    assert (reset.flags, reset.seq) == ("R", 777)


def test_a_closed_port_answers_a_segment_without_ack_by_a_reset_that_acknowledges_it() -> None:
    peer = Peer()
    (reset,) = peer.send(SYN | FIN, seq=9, data=b"hello")
    assert (reset.flags, int(reset.segment.seq), reset.ack) == ("R.", 0, 9 + 5 + 2)


def test_a_closed_port_answers_no_reset() -> None:
    peer = Peer()
    assert peer.send(RST, seq=9) == []
    assert peer.send(RST | ACK, seq=9, ack=10) == []


# --- which listener


def test_a_listener_on_the_address_goes_before_one_on_any() -> None:
    peer = Peer()
    anywhere = peer.listen()
    here = Listener(
        peer.side.context, peer.side.address, 80, 5, peer.demux.new_options(), False, False,
    )
    peer.demux.listen(here)
    open_from(peer, 5000)
    assert (len(here.ready), len(anywhere.ready)) == (1, 0)
    elsewhere = Listener(
        peer.side.context, parse_address("10.9.9.9"), 81, 5, peer.demux.new_options(), False,
        False,
    )
    peer.demux.listen(elsewhere)
    peer.port = 81
    assert [s.flags for s in syn_from(peer, 5001)] == ["R."]


def test_listeners_that_share_a_port_share_its_connections_by_a_hash_of_the_four_tuple() -> None:
    peer = Peer()
    listeners = [peer.listen(backlog=1000) for _ in range(4)]
    for n in range(200):
        open_from(peer, 5000 + n)
    counts = [len(listener.ready) for listener in listeners]
    assert sum(counts) == 200
    assert min(counts) > 20
    for n in range(20):
        peer.peer_port = 5000 + n
        key = next(c.key for one in listeners for c in one.ready if c.remote_port == 5000 + n)
        chosen = peer.demux.find_listener(peer.side.address, 80, key)
        assert chosen is not None
        assert any(c.remote_port == 5000 + n for c in chosen.ready)


def test_a_dual_stack_listener_takes_ipv4_too_and_an_ipv6_only_one_does_not() -> None:
    for is_only, answer in ((False, "S."), (True, "R.")):
        peer = Peer()
        both = Listener(
            peer.side.context, b"", 80, 5, peer.demux.new_options(), is_only, True,
        )
        peer.demux.listen(both)
        assert [s.flags for s in peer.syn()] == [answer]


def test_a_listener_on_a_mapped_address_takes_ipv4_to_it() -> None:
    peer = Peer()
    mapped = Listener(
        peer.side.context, map_v4(peer.side.address), 80, 5, peer.demux.new_options(), False,
        True,
    )
    peer.demux.listen(mapped)
    open_from(peer, 5000)
    assert len(mapped.ready) == 1


def test_an_ipv4_listener_takes_no_ipv6() -> None:
    peer = Peer(is_v6=True)
    peer.demux.listen(Listener(
        peer.side.context, b"", 80, 5, peer.demux.new_options(), False, False,
    ))
    assert [s.flags for s in peer.syn()] == ["R."]


def test_one_may_listen_on_the_port_of_a_connection_that_is_opening() -> None:
    pair = Pair()
    pair.filter = lambda p: False
    opening = pair.connect(local_port=7000)
    assert opening.state == State.SYN_SENT
    listener = pair.listen(side=pair.a, port=7000)
    pair.filter = None
    client = pair.connect(side=pair.b, port=7000, local_port=1234)
    pair.run_for(20 * MS)
    assert client.state == State.ESTABLISHED
    assert len(listener.ready) == 1
    assert opening.state == State.SYN_SENT


def test_a_passive_open_does_not_disturb_connections_on_its_port() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.listen()  # again, on the same port
    pair.write(client, b"still here")
    pair.run_for(20 * MS)
    assert pair.read(server) == b"still here"


# --- closing a listener


def test_closing_a_listener_forgets_half_open_entries_and_resets_what_nobody_accepted() -> None:
    pair = Pair()
    listener = pair.listen()
    waiting = pair.connect()
    pair.run_for(20 * MS)
    pair.filter = lambda p: p.segment.flags != ACK
    pair.connect()
    pair.run_for(20 * MS)
    assert depths(listener) == (1, 1)
    pair.filter = None
    pair.b.demux.close_listener(listener)
    pair.flush()
    assert pair.b.demux.table == {}
    assert pair.b.demux.listeners == {}
    assert pair.b.demux.port_users == {}
    pair.run_for(20 * MS)
    with pytest.raises(ConnectionResetError):
        waiting.raise_error()
    assert [s.flags for s in pair.sent_by(pair.b)][-1] & RST


def test_closing_a_listener_twice_is_closing_it_once() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.demux.close_listener(listener)
    peer.demux.close_listener(listener)
    assert [s.flags for s in peer.syn()] == ["R."]


def test_connections_accepted_before_outlive_their_listener() -> None:
    pair = Pair()
    client, server = pair.established()
    (listener,) = pair.b.demux.listeners[80]
    pair.b.demux.close_listener(listener)
    pair.write(client, b"x")
    pair.run_for(20 * MS)
    assert pair.read(server) == b"x"


# --- what a connection inherits


def test_a_connection_shares_the_options_of_its_listener() -> None:
    peer = Peer()
    listener = peer.listen(
        nodelay=True, keepalive=True, keep_idle_ns=5 * SECOND, tos=0x28, ttl=9, send_buffer_bytes=9999,
        is_send_buffer_fixed=True, receive_buffer_bytes=8888, is_receive_buffer_fixed=True,
    )
    connection = peer.accept(listener=listener)
    assert connection.options is listener.options
    assert (connection.send_buffer_bytes, connection.receive_buffer_bytes) == (9999, 8888)
    assert connection.keepalive_ns == peer.now_ns + 5 * SECOND
    (sent,) = peer.write(b"x")
    assert (sent.segment.tos, sent.ttl) == (0x28, 9)


def test_the_syn_ack_bears_the_listeners_traffic_class_and_hop_limit() -> None:
    peer = Peer()
    peer.listen(tos=0x28, ttl=9)
    (syn_ack,) = peer.syn()
    assert (syn_ack.segment.tos, syn_ack.ttl) == (0x28, 9)


def test_the_state_of_a_queued_connection_is_established() -> None:
    peer = Peer()
    listener = peer.listen()
    open_from(peer, 5000)
    child = listener.accept()
    assert child is not None
    child.owner = Owner()
    assert child.state == abi.ESTABLISHED
    assert child.is_passive


# --- TCP_DEFER_ACCEPT


def deferring(timeouts: int) -> tuple[Peer, Listener]:
    """Listen for connections with text only, and have a peer open one without."""
    peer = Peer()
    listener = peer.listen()
    listener.defer_accept = timeouts
    open_from(peer, 5001)
    return peer, listener


def test_a_deferred_connection_is_none_until_text_comes() -> None:
    peer, listener = deferring(3)
    assert depths(listener) == (1, 0)
    assert peer.counters.TcpExtTCPDeferAcceptDrop == 1
    assert peer.drops()["TCP_DEFER_ACCEPT"] == 1
    assert [s.flags for s in peer.text(b"request")] == ["."]
    assert depths(listener) == (0, 1)
    assert listener.ready[0].readable_bytes() == 7


def test_a_fin_is_enough_for_a_deferred_connection() -> None:
    peer, listener = deferring(3)
    peer.send(FIN | ACK)
    assert depths(listener) == (0, 1)
    assert listener.ready[0].is_fin_received


def test_a_peer_that_answered_is_left_alone_until_the_last_timeout_and_may_then_answer_without_text() -> None:
    peer, listener = deferring(3)
    assert peer.wait(1 * SECOND) == []
    assert peer.wait(2 * SECOND - MS) == []
    (syn_ack,) = peer.wait(5 * SECOND)
    assert syn_ack.flags == "S."
    peer.send(ACK)
    assert depths(listener) == (0, 1)
    assert peer.counters.TcpExtTCPDeferAcceptDrop == 1


def test_one_timeout_is_the_least_that_can_be_deferred() -> None:
    peer, listener = deferring(1)
    (syn_ack,) = peer.wait(SECOND)
    assert syn_ack.flags == "S."
    peer.send(ACK)
    assert depths(listener) == (0, 1)


def test_a_peer_that_never_answers_is_given_up_as_ever() -> None:
    peer = Peer()
    listener = peer.listen()
    listener.defer_accept = 20
    syn_from(peer, 5001)
    times = [s.at_ns for s in peer.wait(200 * SECOND)]
    assert [(at - times[0]) // SECOND for at in times] == [0, 2, 6, 14, 30]
    assert depths(listener) == (0, 0)
    assert peer.counters.TcpAttemptFails == 1


def test_one_that_answered_is_kept_for_as_long_as_was_asked_for_and_given_up_if_it_stays_silent() -> None:
    peer, listener = deferring(8)
    assert peer.wait(247 * SECOND - MS) == []  # 1 + 2 + 4 + 8 + 16 + 32 + 64 + 120
    assert [s.flags for s in peer.wait(MS)] == ["S."]
    assert depths(listener) == (1, 0)
    peer.wait(130 * SECOND)
    assert depths(listener) == (0, 0)
    assert peer.counters.TcpAttemptFails == 1


def test_a_connection_from_a_cookie_is_not_deferred() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "always"
    listener = peer.listen()
    listener.defer_accept = 3
    open_from(peer, 5001)
    assert depths(listener) == (0, 1)
