"""The two queues of a passive open: how they fill, what limits them, what happens when they are full."""

from __future__ import annotations

import pytest

from estab.events import QueueChanged, StateChanged
from estab.tcp.connection import Connection
from estab.tcp.listening.listener import HalfOpen, Listener
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.listening import depths, open_from, syn_from
from tests.kit.peer import Peer

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
    assert peer.take_woken() == []
    peer.send(ACK)
    assert peer.take_woken() == [listener.owner]


def test_both_queues_can_be_looked_at_with_depth_limit_and_age() -> None:
    peer = Peer()
    listener = peer.listen(backlog=7)
    open_from(peer, 5001)
    peer.send(ACK, data=b"early")
    peer.wait(300 * MS)
    syn_from(peer, 5002)
    peer.wait(200 * MS)
    queues = listener.queues(peer.now_ns)
    assert (queues.policy, queues.backlog, queues.half_open_limit, queues.accept_limit) == ("accept", 7, 8, 8)
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
        ("half-open", 1, 4, "added"), ("half-open", 0, 4, "completed"),
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
        ("accept", 0, 1, 1), ("accept", 1, 2, 2), ("accept", 8, 9, 9),
        ("sum", 0, 1, 1), ("sum", 1, 2, 2), ("sum", 8, 13, 13),
        ("syn", 0, 1, 4096), ("syn", 1, 1, 4096), ("syn", 8, 8, 4096),
    ],
)
def test_each_policy_reads_the_backlog_in_its_own_way(policy: str, backlog: int, half_open: int, ready: int) -> None:
    peer = Peer()
    peer.config.backlog_policy = policy
    listener = peer.listen(backlog=backlog)
    assert (listener.half_open_limit(), listener.accept_limit()) == (half_open, ready)


@pytest.mark.parametrize(("policy", "limit"), [("accept", 5), ("sum", 7), ("syn", 4)])
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


# --- the third segment meets a full accept queue


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
    assert [entry.ends.remote_port for entry in listener.half_open.values()] == [5006, 5007, 5008, 5009]
    assert listener.half_open_evictions == 6
    assert peer.counters.EstabListenEvicted == 6
    assert len(peer.demux.table) == 4
    assert peer.demux.port_users.as_dict() == {80: 4}
    assert peer.drops() == {"TCP_REQ_EVICTED": 6}


def test_a_flood_leaves_nothing_behind_when_its_entries_expire() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "never"
    listener = peer.listen(backlog=50)
    for n in range(500):
        syn_from(peer, 1000 + n)
    peer.wait(64 * SECOND)
    assert depths(listener) == (0, 0)
    assert peer.demux.table == {}
    assert peer.demux.port_users.as_dict() == {}
    assert peer.demux.next_deadline_ns() > 1 << 61
