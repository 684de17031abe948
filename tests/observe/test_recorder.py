"""The recorder: order, bounds, and which call did what."""

from __future__ import annotations

import json
import socket
from dataclasses import MISSING, FrozenInstanceError, fields, is_dataclass, replace

import pytest

import estab.events as events_module
from estab import Network
from estab.events import (
    CallReturned,
    CallStarted,
    FdAllocated,
    FrameReceived,
    FrameSent,
    QueueChanged,
    StateChanged,
    TimerFired,
)
from estab.observe.facts import event_json, plain
from estab.observe.recorder import FieldChange, Recorder, call_records, calls_among, episodes, flow
from estab.sockets.history import PastCall
from estab.units import MS

from .made_up import BACK, LISTENER, OUT, handshake


def record(events: list) -> Recorder:
    recorder = Recorder()
    for event in events:
        recorder(event)
    return recorder


@pytest.mark.parametrize("kind", [kind for kind in vars(events_module).values() if is_dataclass(kind)])
def test_every_fact_is_made_as_a_frozen_dataclass_is(kind: type) -> None:
    values = {one.name: f"a {one.name}" for one in fields(kind)}
    needed = {one.name: values[one.name] for one in fields(kind) if one.default is MISSING}
    fact = kind(**values)
    assert {name: getattr(fact, name) for name in values} == values
    assert kind(*values.values()) == fact == replace(kind(**needed), **values)
    assert all(getattr(kind(**needed), one.name) == one.default for one in fields(kind) if one.name not in needed)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        kind(**values, colour="red")
    with pytest.raises(FrozenInstanceError):
        setattr(fact, next(iter(values)), 1)


def test_calls_alone_are_those_of_the_episodes() -> None:
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(10)

    def ask() -> None:
        with socket.create_connection(("server", 80)) as connection:
            connection.sendall(b"x")

    with Network(seed=1) as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client, delay="1ms")
        seen = net.record()
        server.run(serve)
        client.run(ask)
        net.run()
    facts = seen.facts
    whole = {(one.host, one.call): replace(one, facts=[]) for one in calls_among(episodes(facts, has_changes=False))}
    assert call_records(facts) == whole
    assert whole


def test_facts_stay_in_order() -> None:
    events = handshake()
    assert record(events).facts == events


def test_facts_beyond_the_limit_are_counted_and_the_first_stay() -> None:
    recorder = Recorder(facts_max=5)
    events = handshake()
    for event in events:
        recorder(event)
    assert recorder.facts == events[:5]
    assert recorder.not_kept == len(events) - 5


def test_frames_beyond_their_bytes_are_counted_while_small_facts_still_fit() -> None:
    recorder = Recorder(frame_bytes_max=100)
    recorder(FrameSent(0, "a", "eth0", bytes(80)))
    recorder(FrameSent(1, "a", "eth0", bytes(80)))
    recorder(TimerFired(2, "a", OUT, "retransmit", ""))
    assert [type(fact) for fact in recorder.facts] == [FrameSent, TimerFired]
    assert recorder.not_kept == 1


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="facts_max: 0"):
        Recorder(facts_max=0)


def test_clear_forgets_facts_and_counts() -> None:
    recorder = Recorder(facts_max=1)
    for event in handshake():
        recorder(event)
    recorder.clear()
    assert (len(recorder), recorder.not_kept) == (0, 0)


def test_hosts_and_connections_come_in_order_of_first_mention() -> None:
    recorder = record(handshake())
    assert recorder.hosts() == ["server", "client"]
    assert recorder.connections() == [LISTENER, OUT, BACK]
    assert recorder.connections("client") == [OUT]


def test_both_ends_name_one_flow() -> None:
    assert flow(OUT) == flow(BACK)
    recorder = record(handshake())
    both = recorder.of_connection(OUT)
    assert {fact.host for fact in both} == {"client", "server"}
    assert {fact.host for fact in recorder.of_connection(OUT, "client")} == {"client"}


def test_a_call_owns_the_facts_until_it_blocks() -> None:
    connect, = record(handshake()).calls("client")
    assert [segment.flags for segment in connect.segments] == ["S"]
    assert [type(fact).__name__ for fact in connect.tcbs] == ["TcbCreated", "StateChanged"]
    assert connect.waits[0].waits_for == "the handshake"
    assert (connect.waits[0].since_ns, connect.waits[0].until_ns) == (0, 20 * MS)
    assert (connect.returned_ns, connect.result, connect.error) == (20 * MS, "None", "")


def test_a_call_owns_the_facts_again_after_it_resumed() -> None:
    accept, = record(handshake()).calls("server", name="accept")
    assert [queue.what for queue in accept.queues] == ["taken"]
    assert accept.fds == [FdAllocated(30 * MS, "server", 4, "tcp", "accept")]


def test_what_a_frame_caused_belongs_to_no_call() -> None:
    recorder = record(handshake())
    of_calls = [fact for call in recorder.calls() for fact in call.facts]
    added = [fact for fact in recorder.facts if isinstance(fact, QueueChanged) and fact.what == "added"]
    assert added
    assert not any(fact in of_calls for fact in added)


def test_a_call_shows_the_fields_of_its_tcb_before_and_after() -> None:
    connect, = record(handshake()).calls("client")
    assert FieldChange(OUT, "snd_nxt", None, 1) in connect.tcb_changes
    assert FieldChange(OUT, "state", None, "SYN-SENT") in connect.tcb_changes


def test_a_field_that_comes_back_to_its_value_has_not_changed() -> None:
    events = [
        CallStarted(0, "a", 1, 3, "x", ""),
        StateChanged(0, "a", OUT, "CLOSED", "SYN-SENT", ""),
        StateChanged(0, "a", OUT, "SYN-SENT", "CLOSED", ""),
        CallReturned(0, "a", 1, 3, "x", "None", ""),
    ]
    call, = record(events).calls()
    assert call.tcb_changes == []


def test_calls_of_two_threads_on_a_host_do_not_mix() -> None:
    recorder = record(handshake())
    listen, accept = recorder.calls("server")
    assert (listen.name, accept.name) == ("listen", "accept")
    assert [type(fact).__name__ for fact in listen.facts] == ["TcbCreated", "StateChanged"]


def test_a_call_that_never_returns_says_so() -> None:
    call, = record([CallStarted(5, "a", 1, 3, "recv", "100")]).calls()
    assert call.returned_ns is None


def test_every_fact_stands_in_exactly_one_episode() -> None:
    recorder = record(handshake())
    found = [fact for episode in recorder.episodes() for fact in episode.facts]
    assert sorted(map(id, found)) == sorted(map(id, recorder.facts))


def test_episodes_name_their_cause() -> None:
    causes = [(episode.host, episode.cause) for episode in record(handshake()).episodes()]
    assert causes == [
        ("server", "call"), ("server", "call"), ("client", "call"), ("server", "frame"), ("client", "frame"),
        ("client", "call"), ("server", "frame"), ("server", "call"),
    ]


def test_a_timer_begins_an_episode() -> None:
    events = [*handshake(), TimerFired(31 * MS, "client", OUT, "keepalive", "")]
    assert record(events).episodes()[-1].cause == "timer"


def test_the_record_of_a_call_is_plain_data() -> None:
    connect, = record(handshake()).calls("client")
    document = connect.to_json()
    assert json.loads(json.dumps(document)) == document
    assert list(document) == ["host", "call", "fd", "name", "arguments", "started_ns", "returned_ns", "result", "error",
                              "waits", "fds", "tcbs", "tcb_changes", "queues", "buffers", "segments"]


def test_facts_become_plain_data_in_their_own_order() -> None:
    assert event_json(FrameSent(7, "a", "eth0", b"\x01\xff")) == {
        "fact": "FrameSent", "at_ns": 7, "host": "a", "interface": "eth0", "data": "01ff",
    }
    with pytest.raises(TypeError, match="no plain form for object"):
        plain(object())


def test_a_recorder_and_a_sockets_history_put_the_same_facts_to_a_call() -> None:
    net = Network(seed=5)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="5ms")
    a.keep_history()
    seen = a.record()
    kept: list[PastCall] = []

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            sock.sendall(sock.recv(100))

    @a.run
    def call() -> None:
        with socket.create_connection(("b", 80)) as sock:
            sock.sendall(b"hello")
            sock.recv(10)
            kept.extend(sock.history())  # type: ignore[attr-defined]

    net.run()
    records = seen.calls()[: len(kept)]
    untold = (FrameSent, FrameReceived)
    assert [(past.name, past.waited_for) for past in kept] == [
        (record.name, [wait.waits_for for wait in record.waits]) for record in records]
    assert [past.changes for past in kept] == [
        [fact for fact in record.facts if not isinstance(fact, untold)] for record in records]
    assert sum(len(past.changes) for past in kept) > 5
