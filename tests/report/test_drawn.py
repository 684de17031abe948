"""What the page draws is what the facts say: every mark of a view, by its data and by its place on the canvas."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

import estab
from estab.events import (
    CallBlocked,
    CallResumed,
    Event,
    FrameSent,
    LinkDropped,
    LinkQueueChanged,
    RttMeasured,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TimerFired,
)
from estab.observe.dissect import dissect
from estab.observe.flights import flights
from estab.report.columns import Columns
from estab.report.tables import HELD
from tests.report.conftest import Run, Shown

Show = Callable[..., Shown]
NS = 1_000_000_000


def ns(seconds: float) -> int:
    return round(seconds * NS)


def changes(rows: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Keep the last of each instant, then those that differ from the one before."""
    last = dict(rows)
    kept: list[tuple[int, Any]] = []
    for at, value in last.items():
        if not kept or kept[-1][1] != value:
            kept.append((at, value))
    return kept


def tcb_changes(run: Run, host: str, field: Callable[[Any], Any]) -> list[tuple[int, Any]]:
    return changes([(fact.at_ns, field(fact.tcb)) for fact in run.facts
                    if isinstance(fact, (SegmentSent, SegmentReceived)) and fact.host == host and fact.tcb is not None])


def assert_in_place(shown: Shown, view: str, points: list[tuple[float, float, float, float]]) -> None:
    """Compare the pixels of marks with where their data belong, to half a pixel."""
    box = shown.box(view)
    for seconds, value, x, y in points:
        right = (seconds - box["x0"]) * box["width"] / (box["x1"] - box["x0"])
        assert x == pytest.approx(box["left"] + right, abs=0.51)
        below = (value - box["y0"]) * box["height"] / (box["y1"] - box["y0"])
        assert y == pytest.approx(box["top"] + box["height"] - below, abs=0.51)


def test_sequence_has_a_bar_for_each_segment_in_the_colour_of_its_rule(run: Run, show: Show) -> None:
    shown = show(run.columns)
    marks = [mark for mark in shown.marks("sequence") if mark[0] == "segment"]
    table = run.columns.columns["frame"]
    sent = [fact for fact in run.of(SegmentSent, "client") if fact.length or set(fact.flags) & set("SFR")]
    drawn = sorted((ns(t), table["seq"][row], table["len"][row]) for _, t, row, *_ in marks)
    assert drawn == sorted((fact.at_ns, fact.seq, fact.length) for fact in sent)
    kinds = {(table["t"][row], table["seq"][row]): kind for _, _, row, *_, kind in marks}
    for fact in sent:
        wanted = ("probe" if "probe" in fact.why else "timeout" if "timeout" in fact.why
                  else "fast" if "fast" in fact.why else "again" if "retransmission" in fact.why
                  else "control" if set(fact.flags) & set("SFR") else "data")
        assert kinds[fact.at_ns, fact.seq] == wanted
    assert_in_place(shown, "sequence", [(t, table["seq"][row], x, y) for _, t, row, x, y, *_ in marks])


def test_sequence_is_painted_where_the_segments_are(run: Run, show: Show) -> None:
    shown = show(run.columns, fragment="#t=0,0.3")
    marks = [mark for mark in shown.marks("sequence") if mark[0] == "segment" and mark[6] == "data"][:40]
    painted = shown.ask("""marks => {
        const context = estab.panels.sequence.plot.ctx;
        const wanted = getComputedStyle(document.documentElement).getPropertyValue("--seg");
        const ink = wanted.match(/[0-9a-f]{2}/gi).map(part => parseInt(part, 16));
        return marks.map(([, , , x, y]) => {
            const { data } = context.getImageData(Math.round(x) - 3, Math.round(y) - 6, 7, 8);
            for (let i = 0; i < data.length; i += 4)
                if (ink.reduce((sum, part, n) => sum + Math.abs(data[i + n] - part), 0) < 120) return true;
            return false;
        });
    }""", marks)
    assert len(painted) > 5
    assert all(painted)


def test_sequence_has_the_edges_the_losses_and_the_sacks(run: Run, show: Show) -> None:
    shown = show(run.columns)
    marks = shown.marks("sequence")
    una = [(ns(mark[1]), mark[2]) for mark in marks if mark[0] == "una"]
    assert changes(una) == tcb_changes(run, "client", lambda tcb: tcb.snd_una)
    edge = [(ns(mark[1]), mark[2]) for mark in marks if mark[0] == "edge"]
    assert changes(edge) == tcb_changes(run, "client", lambda tcb: tcb.snd_una + tcb.snd_wnd)
    lost = [flight.sent_ns for flight in flights(run.facts) if flight.sender == "client" and flight.fate == "lost"
            and flight.segment is not None and (flight.segment.length or set(flight.segment.flags) & set("SFR"))]
    assert sorted(ns(mark[1]) for mark in marks if mark[0] == "lost") == sorted(lost)
    blocks = sum(fact.options.partition("sack ")[2].count(":") for fact in run.of(SegmentReceived, "client"))
    assert len([mark for mark in marks if mark[0] == "sack"]) == blocks > 0


def test_ladder_has_every_frame_from_its_sending_to_its_fate(run: Run, show: Show) -> None:
    shown = show(run.columns)
    marks = shown.marks("ladder")
    all_flights = flights(run.facts)
    assert len(marks) == len(all_flights)
    assert len([mark for mark in marks if mark[0] == "lost"]) == sum(item.fate == "lost" for item in all_flights)
    box = shown.box("ladder")
    pixels = box["width"] / (box["x1"] - box["x0"])
    for _, row, _, x, _, end, _ in marks:
        flight = all_flights[row]
        assert x == pytest.approx(box["left"] + flight.sent_ns / NS * pixels, abs=0.51)
        if flight.received_ns is not None:
            assert end == pytest.approx(box["left"] + flight.received_ns / NS * pixels, abs=0.51)


def test_flight_and_windows_are_those_of_the_tcb(run: Run, show: Show) -> None:
    shown = show(run.columns)
    marks = shown.marks("flight")
    fields: dict[str, Callable[[Any], Any]] = {
        "flight": lambda tcb: tcb.snd_nxt - tcb.snd_una, "cwnd": lambda tcb: tcb.cwnd_bytes,
        "pipe": lambda tcb: tcb.pipe_bytes, "wnd": lambda tcb: tcb.snd_wnd,
        "ssthresh": lambda tcb: -1 if tcb.ssthresh_bytes is None else tcb.ssthresh_bytes,
    }
    for name, field in fields.items():
        drawn = changes([(ns(mark[1]), mark[2]) for mark in marks if mark[0] == name])
        assert drawn == [row for row in tcb_changes(run, "client", field) if row[1] >= 0], name
    assert_in_place(shown, "flight", [(mark[1], mark[2], mark[3], mark[4]) for mark in marks if mark[0] == "cwnd"])


def test_round_trips_are_the_samples_and_what_tcp_made_of_them(run: Run, show: Show) -> None:
    marks = show(run.columns).marks("rtt")
    samples = [(ns(mark[1]), ns(mark[2])) for mark in marks if mark[0] == "sample"]
    assert samples == [(fact.at_ns, fact.rtt_ns) for fact in run.of(RttMeasured, "client")]
    srtt = changes([(ns(mark[1]), ns(mark[2])) for mark in marks if mark[0] == "srtt"])
    assert srtt == [row for row in tcb_changes(run, "client", lambda tcb: tcb.srtt_ns) if row[1] is not None]
    rto = changes([(ns(mark[1]), ns(mark[2])) for mark in marks if mark[0] == "rto"])
    assert rto == tcb_changes(run, "client", lambda tcb: tcb.rto_ns)


def test_rates_add_up_to_what_was_sent_and_acknowledged(run: Run, show: Show) -> None:
    shown = show(run.columns)
    marks = shown.marks("rates")
    width = shown.ask("() => estab.panels.rates.view.binned(...estab.timeline.window).width")
    sent = sum(mark[2] * width for mark in marks if mark[0] == "thru")
    assert round(sent) == sum(fact.length for fact in run.of(SegmentSent, "client"))
    good = sum(mark[2] * width for mark in marks if mark[0] == "good")
    last = tcb_changes(run, "client", lambda tcb: tcb.snd_una)[-1][1]
    assert round(good) == last


def test_states_and_timers_are_those_of_the_facts(run: Run, show: Show) -> None:
    marks = show(run.columns).marks("states")
    told: list[Event] = [fact for fact in run.facts if isinstance(fact, (StateChanged, TcbCreated))
                         and not fact.connection.endswith("*") and fact.connection]
    names = [fact.new if isinstance(fact, StateChanged) else fact.state for fact in told
             if isinstance(fact, (StateChanged, TcbCreated))]
    drawn = {(ns(mark[1]), mark[2]) for mark in marks if mark[0] == "block"}
    wanted = {(fact.at_ns, name) for fact, name in zip(told, names, strict=True)}
    # What lasted no time has no block.
    assert drawn - {row for row in drawn if row[1] in ("Recovery", "Loss", "Disorder", "CWR")} <= wanted
    assert {name for _, name in drawn} >= {"ESTABLISHED", "FIN-WAIT-1", "SYN-SENT", "Loss", "Recovery"}
    timers = sorted((ns(mark[1]), mark[2]) for mark in marks if mark[0] == "timer")
    assert timers == sorted((fact.at_ns, fact.timer + (f": {fact.detail}" if fact.detail else ""))
                            for fact in run.of(TimerFired))


def test_buffers_and_queues_are_those_of_the_facts(run: Run, show: Show) -> None:
    marks = show(run.columns).marks("buffers")
    queue = {(ns(mark[1]), mark[2]) for mark in marks if mark[0] == "frames"}
    last = {(fact.at_ns, fact.host): fact.waiting_frames for fact in run.of(LinkQueueChanged)}
    assert queue == {(at, depth) for (at, _), depth in last.items()}
    unread = changes([(ns(mark[1]), mark[2]) for mark in marks if mark[0] == "ooo"])
    assert unread == tcb_changes(run, "server", lambda tcb: tcb.out_of_order_bytes)


def test_calls_show_every_wait_from_its_beginning_to_its_end(run: Run, show: Show) -> None:
    marks = show(run.columns).marks("calls")
    blocked: dict[tuple[str, int], int] = {}
    spans = []
    for fact in run.facts:
        if isinstance(fact, CallBlocked):
            blocked[fact.host, fact.call] = fact.at_ns
        elif isinstance(fact, CallResumed) and (since := blocked.pop((fact.host, fact.call))) < fact.at_ns:
            spans.append((since, fact.at_ns))
    assert sorted((ns(mark[1]), ns(mark[2])) for mark in marks if mark[0] == "wait") == sorted(spans)


def test_weather_has_each_loss_with_its_cause_and_the_cut(run: Run, show: Show) -> None:
    marks = show(run.columns).marks("weather")
    drops = [fact.reason.name for fact in run.of(LinkDropped)]
    kinds = {"LINK_LOSS": "lost", "LINK_DOWN": "cut", "LINK_QUEUE_FULL": "full"}
    assert set(drops) == set(kinds)
    for reason, kind in kinds.items():
        assert len([mark for mark in marks if mark[0] == kind]) == drops.count(reason)
    bands = {(ns(mark[1]), ns(mark[2])) for mark in marks if mark[0] == "band"}
    assert bands == {(900_000_000, 1_500_000_000)}


def test_the_shares_of_who_held_it_up_are_those_of_the_columns(run: Run, show: Show) -> None:
    shown = show(run.columns)
    held = run.columns.columns["held"]
    rows = [(t, kind) for t, end, kind in zip(held["t"], held["end"], held["kind"], strict=True) if end == 0]
    sums: dict[str, int] = {}
    for (since, kind), until in zip(rows, [*(t for t, _ in rows[1:]), run.columns.end_ns], strict=True):
        sums[HELD[kind]] = sums.get(HELD[kind], 0) + until - since
    drawn = shown.ask("""() => estab.store.held(0).map(([from, until, kind]) =>
        [estab.store.meta.held[kind], until - from])""")
    told: dict[str, int] = {}
    for name, seconds in drawn:
        told[name] = told.get(name, 0) + ns(seconds)
    assert {name: pytest.approx(value, abs=1000) for name, value in sums.items() if value} == told
    bar, share = shown.page.locator(".shares").bounding_box(), shown.page.locator(".share").first.bounding_box()
    assert bar is not None
    assert share is not None
    assert share["width"] / bar["width"] == pytest.approx(max(sums.values()) / run.columns.end_ns, abs=0.01)


def test_behind_a_router_a_segment_is_one_bar_two_arrows_and_lost_where_it_was_lost(show: Show) -> None:
    net = estab.Network(seed=5)
    facts: list[Event] = []
    columns = Columns()
    net.observe(facts.append)
    net.observe(columns)
    client, router, server = net.host("client"), net.host("router", forwarding=True), net.host("server")
    net.link(client, router, delay="5ms")
    net.link(router, server, delay="20ms", rate="5Mbit", queue=20, loss="1%")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            while connection.recv(65536):
                pass

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(bytes(200_000))

    with net:
        net.run()
        columns.is_recording = False
    shown = show(columns)
    lost = [fact for fact in facts if isinstance(fact, LinkDropped)]
    assert {fact.host for fact in lost} == {"router"}
    marks = shown.marks("sequence")
    sent = sum(isinstance(fact, SegmentSent) and fact.host == "client" and fact.length > 0 for fact in facts)
    data = [mark for mark in marks if mark[0] == "segment" and columns.columns["frame"]["len"][mark[2]] > 0]
    assert len(data) == sent
    to_server = [fact for fact in lost if dissect(fact.data).destination.endswith(":80")]
    assert len([mark for mark in marks if mark[0] == "lost"]) == len(to_server) > 0
    ladder = shown.marks("ladder")
    assert len(ladder) == sum(isinstance(fact, FrameSent) for fact in facts)
    hops = shown.ask("() => [...estab.store.tables.frame.from].filter(row => row >= 0).length")
    assert hops == sum(isinstance(fact, FrameSent) and fact.host == "router" for fact in facts)
