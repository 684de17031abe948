"""What the lab and TCP tell of links, queues and senders: enough that nobody has to sample."""

from __future__ import annotations

import socket

import estab
from estab.events import Event, LinkConditions, LinkQueueChanged, RttMeasured, SegmentReceived, SegmentSent
from estab.tcp.connection import Connection
from estab.units import MS


def transfer(net: estab.Network, size: int, **conditions: object) -> estab.lab.link.Link:
    """Send ``size`` bytes from a client to a server over one link."""
    client, server = net.host("client"), net.host("server")
    link = net.link(client, server, name="cable", **conditions)

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            while connection.recv(65536):
                pass

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(bytes(size))

    return link


def test_a_link_tells_its_conditions_when_laid_and_upon_each_change() -> None:
    facts: list[Event] = []
    net = estab.Network(observer=facts.append)
    link = net.link(net.host("a"), net.host("b"), delay=("10ms", "20ms"), rate="8Mbit", queue=30)
    link.set(loss="2%")
    link.cut()
    told = [fact for fact in facts if isinstance(fact, LinkConditions)]
    assert [(fact.host, fact.receiver, fact.delay_ns, fact.loss, fact.is_cut) for fact in told] == [
        ("a", "b", 10 * MS, 0, False), ("b", "a", 20 * MS, 0, False),
        ("a", "b", 10 * MS, 0.02, False), ("b", "a", 20 * MS, 0.02, False),
        ("a", "b", 10 * MS, 0.02, True), ("b", "a", 20 * MS, 0.02, True),
    ]
    assert {(fact.rate_bps, fact.queue_frames, fact.interface) for fact in told} == {(8_000_000, 30, "eth0")}


def test_who_observes_later_is_told_what_the_links_are_and_nobody_twice() -> None:
    first: list[Event] = []
    second: list[Event] = []
    net = estab.Network(observer=first.append)
    net.link(net.host("a"), net.host("b"), delay="10ms")
    net.observe(second.append)
    assert first == second != []


def test_the_queue_of_a_link_is_told_at_every_change_as_it_is() -> None:
    facts: list[Event] = []
    seen: list[tuple[int, int]] = []
    net = estab.Network(seed=3)

    def look(fact: Event) -> None:
        if isinstance(fact, LinkQueueChanged):
            facts.append(fact)
            way = link.there if fact.host == "client" else link.back
            seen.append((way.queue.waiting_frames, way.queue.waiting_bytes))

    link = transfer(net, 200_000, rate="8Mbit", delay="5ms", queue=20)
    net.observe(look)
    net.run()
    told = [(fact.waiting_frames, fact.waiting_bytes) for fact in facts if isinstance(fact, LinkQueueChanged)]
    assert told == seen
    assert max(frames for frames, _ in told) == 20
    steps = [1 if fact.what == "added" else -1 for fact in facts if isinstance(fact, LinkQueueChanged)]
    assert sum(steps) == 0


def test_every_round_trip_is_told_and_srtt_follows_from_it() -> None:
    facts: list[Event] = []
    net = estab.Network(seed=3, observer=facts.append)
    transfer(net, 100_000, delay="20ms")
    net.run()
    measured = [fact for fact in facts if isinstance(fact, RttMeasured) and fact.host == "client"]
    assert measured[0].srtt_ns == measured[0].rtt_ns == 40 * MS
    for before, after in zip(measured, measured[1:], strict=False):
        step = after.rtt_ns - before.srtt_ns
        assert after.srtt_ns in {before.srtt_ns + step // 8, before.srtt_ns - -step // 8}


def test_a_tcb_tells_what_tcp_info_tells() -> None:
    net = estab.Network(seed=5)
    states: set[str] = set()

    def look(fact: Event) -> None:
        if not isinstance(fact, (SegmentSent, SegmentReceived)) or fact.tcb is None or fact.host != "client":
            return
        for end in net.hosts["client"].engine.demux.table.values():
            if isinstance(end, Connection):
                info, tcb = end.info(fact.at_ns), fact.tcb
                states.add(tcb.ca_state)
                assert (tcb.ca_state, tcb.rttvar_ns, tcb.min_rtt_ns, tcb.retries, tcb.mss_bytes, tcb.timer) == (
                    info.ca_state, info.rttvar_ns, info.min_rtt_ns, info.retransmits, info.snd_mss_bytes, info.timer)
                assert (tcb.delivery_rate, tcb.is_app_limited, tcb.pacing_rate, tcb.timer_due_ns) == (
                    info.delivery_rate, info.is_delivery_rate_app_limited, info.pacing_rate,
                    fact.at_ns + info.timer_ns if info.timer else 0)
                assert (tcb.send_buffer_limit, tcb.receive_buffer_limit) == (
                    info.send_buffer_bytes, info.receive_buffer_bytes)
                assert tcb.limited_by in ("idle", "busy", "peer window", "send buffer", "pacing")

    net.observe(look)
    transfer(net, 400_000, delay="20ms", loss="3%", rate="8Mbit", queue=20)
    net.run()
    assert {"Open", "Recovery"} <= states
