"""The facts that the engine tells: states take the diagram's edges, a drop has its reason, a segment its why."""

from __future__ import annotations

import random

import pytest

from estab.counters import COUNTER_NAMES, Counters
from estab.errors import DropReason
from estab.events import (
    BufferChanged,
    ErrorReported,
    Event,
    PacketDropped,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TcbReleased,
    TimerFired,
    TimeWaitEnded,
)
from estab.tcp.context import endpoint_text, flow_text
from estab.tcp.state import EDGES, State, is_synchronized, state_text
from estab.units import MS, SECOND
from estab.wire.address import parse_address
from estab.wire.tcp import ACK, FIN, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer

TEXTS = {str(state): state for state in State}


def edges_of(events: list[Event]) -> list[tuple[State, State]]:
    """Give the edges that were taken."""
    return [(TEXTS[e.old], TEXTS[e.new]) for e in events if isinstance(e, StateChanged)]


def watched() -> Pair:
    """Make a pair of which both sides are observed."""
    pair = Pair()
    pair.a.observe()
    pair.b.observe()
    return pair


def test_states_are_written_as_the_rfc_does() -> None:
    assert [str(s) for s in State] == [
        "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
        "LAST-ACK", "LISTEN", "CLOSING",
    ]
    assert state_text(State.SYN_RECEIVED) == f"{State.SYN_RECEIVED}" == "SYN-RECEIVED"


def test_the_synchronized_states_are_those_of_group_3() -> None:
    others = {State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED}
    assert {s for s in State if not is_synchronized(s)} == others


def test_every_state_can_be_reached_and_left_by_the_edges() -> None:
    assert {new for _, new in EDGES} == {old for old, _ in EDGES} == set(State)


def test_a_whole_life_takes_the_edges_of_the_diagram_in_order() -> None:
    pair = watched()
    client, server = pair.established()
    pair.close(client)
    pair.run_for(20 * MS)
    pair.close(server)
    pair.run_for(100 * SECOND)
    assert [str(new) for _, new in edges_of(pair.a.events)] == [
        "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
    ]
    assert [str(new) for _, new in edges_of(pair.b.events)] == [
        "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED",
    ]
    assert [type(e) for e in pair.a.events if isinstance(e, TcbCreated | TcbReleased | TimeWaitEnded)] == [
        TcbCreated, TcbReleased, TimeWaitEnded,
    ]


@pytest.mark.parametrize("seed", range(30))
def test_under_loss_and_random_closing_states_take_only_the_diagrams_edges_one_after_the_other(seed: int) -> None:
    pair = watched()
    chance = random.Random(seed)
    pair.filter = lambda p: chance.random() > 0.25
    listener = pair.listen()
    client = pair.connect()
    pair.run_for(5 * SECOND)
    ends = [client, listener.accept()]
    for end in ends:
        if end is not None:
            pair.write(end, b"x" * chance.randrange(3000))
    for end in chance.sample(ends, 2):
        if end is not None:
            chance.choice([pair.close, pair.abort, pair.shutdown])(end)
        pair.run_for(chance.randrange(3 * SECOND))
    pair.run_for(400 * SECOND)
    for side in (pair.a, pair.b):
        last: dict[str, State] = {}
        for event in side.events:
            if isinstance(event, StateChanged):
                old, new = TEXTS[event.old], TEXTS[event.new]
                assert (old, new) in EDGES
                if event.connection in last and old not in (State.LISTEN, State.CLOSED):
                    assert last[event.connection] == old
                last[event.connection] = new


def test_sequence_numbers_of_facts_count_from_the_syn() -> None:
    pair = watched()
    client, server = pair.established()
    pair.write(client, b"hello")
    pair.run_for(100 * MS)
    pair.write(server, b"world!")
    pair.run_for(100 * MS)
    sent = [(e.flags, e.seq, e.ack, e.length) for e in pair.a.events if isinstance(e, SegmentSent)]
    assert sent[:4] == [("S", 0, 0, 0), (".", 1, 1, 0), ("P.", 1, 1, 5), (".", 6, 7, 0)]
    received = [(e.flags, e.seq, e.ack, e.length) for e in pair.b.events if isinstance(e, SegmentReceived)]
    assert received[:4] == sent[:4]
    answered = [(e.flags, e.seq, e.ack, e.length) for e in pair.b.events if isinstance(e, SegmentSent)]
    heard = [(e.flags, e.seq, e.ack, e.length) for e in pair.a.events if isinstance(e, SegmentReceived)]
    assert answered == heard
    assert answered[0] == ("S.", 0, 1, 0)


def test_every_segment_that_crossed_was_told_at_both_ends() -> None:
    pair = watched()
    client, server = pair.established()
    pair.write(client, b"x" * 20_000)
    pair.run_for(SECOND)
    pair.close(client)
    pair.run_for(SECOND)
    pair.abort(server)
    pair.run_for(100 * SECOND)
    for sender, receiver, name in ((pair.a, pair.b, "a"), (pair.b, pair.a, "b")):
        count = sum(1 for p in pair.passed if p.sender == name)
        assert sum(isinstance(e, SegmentSent) for e in sender.events) == count
        assert sum(isinstance(e, SegmentReceived) for e in receiver.events) == count


def test_every_segment_says_which_rule_sent_it() -> None:
    peer = Peer()
    peer.accept(sack=True, wnd=3000, keep_idle_ns=10 * SECOND)
    peer.write(b"x" * 5000)
    peer.wait(300 * MS)
    peer.send(ACK, wnd=0)
    peer.wait(300 * MS)
    peer.send(ACK, seq=10, data=b"gap", wnd=0)
    peer.send(SYN)
    peer.send(ACK, wnd=60_000)
    peer.send(ACK, wnd=60_000)
    peer.connection.set_keepalive(peer.now_ns, is_on=True)
    peer.touch()
    peer.wait(11 * SECOND)
    peer.shutdown()
    whys = {e.why for e in peer.side.events if isinstance(e, SegmentSent)}
    assert whys >= {
        "connection accepted", "new data", "retransmission: timeout 1", "zero-window probe", "duplicate acknowledgment",
        "acknowledgment", "keepalive probe", "no more data",
    }


@pytest.mark.parametrize(
    ("flags", "fields", "reason"),
    [
        (ACK, {"seq": 0, "data": b"x"}, DropReason.TCP_OLD_SEQUENCE),
        (ACK, {"seq": 1_000_000, "data": b"x"}, DropReason.TCP_INVALID_SEQUENCE),
        (4, {"seq": 5}, DropReason.TCP_RESET),
        (SYN, {}, DropReason.TCP_SYN_IN_WINDOW),
        (0, {}, DropReason.TCP_NO_ACK),
        (ACK, {"ack": 1000}, DropReason.TCP_ACK_UNSENT_DATA),
        (ACK, {"ack": -(1 << 20)}, DropReason.TCP_TOO_OLD_ACK),
    ],
)
def test_a_dropped_segment_is_told_and_counted_with_its_reason(
    flags: int, fields: dict[str, object], reason: DropReason,
) -> None:
    peer = Peer()
    peer.accept()
    peer.send(flags, **fields)  # type: ignore[arg-type]
    (told,) = [e for e in peer.side.events if isinstance(e, PacketDropped)]
    assert told.reason == reason
    assert told.connection == "10.0.0.1:80>10.0.0.2:5000"
    assert peer.counters.drops == {reason: 1}


def test_timers_that_run_out_and_errors_are_told() -> None:
    peer = Peer()
    peer.accept()
    peer.write(b"x")
    peer.wait(3600 * SECOND)
    fired = [e.timer for e in peer.side.events if isinstance(e, TimerFired)]
    assert fired == ["retransmit"] * 16
    errors = [(e.is_soft, e.text) for e in peer.side.events if isinstance(e, ErrorReported)]
    assert [soft for soft, _ in errors] == [True, False]
    assert "16 transmissions unanswered" in errors[-1][1]


def test_buffers_are_told_with_their_limit() -> None:
    peer = Peer()
    peer.accept()
    peer.write(b"x" * 100)
    peer.text(b"y" * 50)
    peer.read()
    told = [(e.which, e.size_bytes) for e in peer.side.events if isinstance(e, BufferChanged)]
    assert told == [("send", 100), ("receive", 50), ("receive", 0)]


def test_without_an_observer_the_same_segments_cross() -> None:
    traces = []
    for is_observed in (False, True):
        pair = Pair()
        if is_observed:
            pair.a.observe()
            pair.b.observe()
        client, server = pair.established()
        chance = random.Random(5)
        pair.filter = lambda p, chance=chance: chance.random() > 0.2  # type: ignore[misc]
        pair.write(client, b"x" * 16_000)
        pair.run_for(10 * SECOND)
        pair.close(server)
        pair.run_for(100 * SECOND)
        traces.append([(p.at_ns, p.data) for p in pair.passed])
    assert traces[0] == traces[1]


def test_names_are_written_with_brackets_around_ipv6() -> None:
    v4, v6 = parse_address("10.0.0.1"), parse_address("fd00::1")
    assert flow_text(v4, 1, v4, 2) == "10.0.0.1:1>10.0.0.1:2"
    assert flow_text(v6, 1, v6, 2) == "[fd00::1]:1>[fd00::1]:2"
    assert endpoint_text(b"", 80) == "*:80"


def test_info_tells_what_tcp_info_does() -> None:
    peer = Peer()
    peer.accept(timestamps=True, sack=True, wscale=3)
    peer.write(b"x" * 5000)
    peer.text(b"y" * 70, ack=1)
    peer.send(ACK, seq=100, data=b"later", ack=1)
    info = peer.connection.info(peer.now_ns)
    assert (info.state, info.ca_state, info.congestion) == ("ESTABLISHED", "Open", "reno")
    assert info.options == ("timestamps", "sack", "wscale")
    assert (info.snd_wscale, info.rcv_wscale) == (3, 7)
    assert (info.snd_mss_bytes, info.advmss_bytes, info.pmtu_bytes) == (1448, 1448, 1500)
    assert (info.unacked_segments, info.outq_bytes, info.notsent_bytes) == (4, 5000, 0)
    assert (info.inq_bytes, info.out_of_order_bytes) == (70, 5)
    assert (info.timer, info.retransmits, info.backoff, info.lost_segments) == ("on", 0, 0, 0)
    assert 0 < info.timer_ns <= info.rto_ns
    assert info.snd_ssthresh_bytes is None
    peer.wait(SECOND)
    later = peer.connection.info(peer.now_ns)
    assert (later.ca_state, later.retransmits) == ("Loss", 2)
    assert later.total_retrans_segments >= 2
    assert later.snd_ssthresh_bytes is not None


def test_outq_counts_text_only_and_neither_syn_nor_fin() -> None:
    peer = Peer()
    peer.connect()
    assert peer.connection.outq_bytes() == 0
    peer.send(SYN | ACK, seq=0, ack=1)
    peer.write(b"x" * 10)
    peer.shutdown()
    assert peer.connection.outq_bytes() == 10
    peer.send(ACK | FIN, ack=11)
    assert peer.connection.outq_bytes() == 0


def test_every_counter_is_listed_by_name() -> None:
    counters = Counters()
    for record in (counters, counters.v4, counters.v6):
        for field in dir(record):
            if not field.startswith("_") and isinstance(getattr(record, field), int):
                setattr(record, field, 1)
    assert set(counters.as_dict()) == set(COUNTER_NAMES)
    assert len(COUNTER_NAMES) == len(set(COUNTER_NAMES))


def test_each_count_of_an_ip_version_goes_to_that_versions_name() -> None:
    counters = Counters()
    counters.of(4).udp_no_ports, counters.of_address(bytes(16)).udp_no_ports = 4, 6
    assert counters.as_dict() == {"UdpNoPorts": 4, "Udp6NoPorts": 6}
