"""Columns say what the facts say: frames and their fates as in flights, who held a sender up as TCP_INFO counts it."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

import pytest

import estab
from estab.cli.chapters import CHAPTERS
from estab.cli.chapters.chapter import Chapter
from estab.cli.perform import perform
from estab.events import (
    CallBlocked,
    CallResumed,
    Event,
    HostChanged,
    LinkQueueChanged,
    RttMeasured,
    SegmentReceived,
    SegmentSent,
)
from estab.observe.flights import flights
from estab.report.columns import Columns
from estab.report.marks import marks, question
from estab.report.tables import HELD, NUMBER_MAX, Tables
from tests.report.conftest import Run, transfer


def filled(facts: list[Event]) -> Columns:
    columns = Columns()
    for fact in facts:
        columns(fact)
    return columns


def frames(columns: Columns) -> list[tuple[object, ...]]:
    """Give the frames in the words of flights."""
    table = columns.columns["frame"]
    words = {kind: list(words) for kind, words in columns.words.items()}
    rows = []
    for row in range(columns.count("frame")):
        fate = words["fate"][table["fate"][row]] or "under way"
        landed = table["t"][row] + table["wait"][row] + table["fly"][row] if table["fly"][row] >= 0 else None
        rows.append((table["t"][row], fate, None if fate.startswith("lost") else landed, bool(table["bits"][row] & 1)))
    return rows


def expected(facts: list[Event]) -> list[tuple[object, ...]]:
    rows = []
    for flight in flights(facts):
        detail = f" ({flight.detail})" if flight.detail else ""
        fate = f"{flight.fate}: {flight.reason.value}{detail}" if flight.reason is not None else flight.fate
        rows.append((flight.sent_ns, fate, flight.received_ns, flight.is_retransmission))
    return rows


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_frame_of_the_tour_is_there_with_its_fate(chapter: Chapter) -> None:
    for played in perform(chapter, 1):
        assert frames(filled(played.recorder.facts)) == expected(played.recorder.facts)


def test_a_frame_waits_as_long_as_the_link_kept_it(run: Run) -> None:
    table = run.columns.columns["frame"]
    assert max(table["wait"]) > 0
    for row in range(run.columns.count("frame")):
        fate = list(run.columns.words["fate"])[table["fate"][row]]
        if fate == "arrived" and table["way"][row] == 0:
            sending_ns = -(-table["size"][row] * 8 * 10**9 // 10_000_000)
            assert table["fly"][row] in (20_000_000 + sending_ns, 20_000_000 + sending_ns - table["wait"][row])


def test_queues_and_round_trips_are_those_of_the_facts(run: Run) -> None:
    queue = run.columns.columns["queue"]
    told = {(fact.at_ns, fact.host): fact.waiting_frames for fact in run.of(LinkQueueChanged)}
    sources = {number: run.columns.hosts[way.source] for number, way in enumerate(run.columns.ways)}
    rows = zip(queue["t"], queue["way"], queue["frames"], strict=True)
    assert {(t, sources[way]): depth for t, way, depth in rows} == told
    rtt = run.columns.columns["rtt"]
    measured = [(fact.at_ns, fact.rtt_ns) for fact in run.of(RttMeasured)]
    assert list(zip(rtt["t"], rtt["sample"], strict=True)) == measured


def test_waits_of_calls_are_those_of_the_facts(run: Run) -> None:
    blocked: dict[tuple[str, int], int] = {}
    spans = []
    for fact in run.facts:
        if isinstance(fact, CallBlocked):
            blocked[fact.host, fact.call] = fact.at_ns
        elif isinstance(fact, CallResumed) and (since := blocked.pop((fact.host, fact.call), fact.at_ns)) < fact.at_ns:
            spans.append((since, fact.at_ns, fact.host, fact.call))
    wait = run.columns.columns["wait"]
    rows = zip(wait["t"], wait["until"], wait["host"], wait["call"], strict=True)
    assert sorted((a, b, run.columns.hosts[host], call) for a, b, host, call in rows) == sorted(spans)


def held_ns(columns: Columns, end: int, kinds: set[str]) -> int:
    """Sum the time that an end was held up by some of the kinds."""
    held = columns.columns["held"]
    rows = [(t, HELD[kind]) for t, own, kind in zip(held["t"], held["end"], held["kind"], strict=True) if own == end]
    edges = [*(t for t, _ in rows[1:]), columns.end_ns]
    return sum(until - since for (since, kind), until in zip(rows, edges, strict=True) if kind in kinds)


def test_time_on_the_peers_window_is_what_tcp_counts_and_names_a_reader_that_rests() -> None:
    run = transfer(300_000, loss=0, rate=None, cut=None, pause_s=2)
    limited = [(fact.at_ns, fact.tcb.limited_by) for fact in run.facts
               if isinstance(fact, (SegmentSent, SegmentReceived)) and fact.host == "client" and fact.tcb is not None]
    spent = sum(after - at for (at, by), (after, _) in zip(limited, limited[1:], strict=False) if by == "peer window")
    ours = held_ns(run.columns, 0, {"peer's window", "program not reading"})
    assert spent == ours > 1_500_000_000
    assert held_ns(run.columns, 0, {"program not reading"}) > 1_500_000_000  # the program, not its window


def test_a_cut_cable_is_a_dead_path_and_after_it_the_timer_is_waited_for(run: Run) -> None:
    assert held_ns(run.columns, 0, {"path dead"}) == pytest.approx(600_000_000, abs=1_000_000)
    assert held_ns(run.columns, 0, {"waits for the timer"}) > 0


def test_bookmarks_name_the_first_loss_the_cut_and_the_longest_stall(run: Run) -> None:
    found = {mark.name.partition(",")[0]: mark for mark in marks(run.columns)}
    assert {"first loss", "cable cut", "longest stall", "first timeout"} <= set(found)
    cut = found["cable cut"]
    assert cut.from_ns < 900_000_000 < 1_500_000_000 < cut.until_ns
    lost = next(row for row in expected(run.facts) if str(row[1]).startswith("lost"))
    assert isinstance(lost[0], int)
    assert found["first loss"].from_ns <= lost[0] <= found["first loss"].until_ns


def test_the_same_ports_used_again_are_another_connection() -> None:
    played = perform(next(chapter for chapter in CHAPTERS if chapter.name == "time-wait"), 1)
    assert Counter(len(filled(item.recorder.facts).conns) for item in played)[2] == 1


def test_the_connection_in_question_is_the_one_that_carried_most_and_was_opened_by_somebody() -> None:
    for played in perform(next(chapter for chapter in CHAPTERS if chapter.name == "flood"), 1):
        columns = filled(played.recorder.facts)
        assert columns.hosts[columns.conns[question(columns)].hosts[0]] == "client"


def test_a_damaged_and_a_doubled_frame_arrive_and_say_so() -> None:
    run = transfer(100_000, loss=0, corrupt="2%", duplicate="2%", reorder="2%", cut=None)
    bits = run.columns.columns["frame"]["bits"]
    assert any(bit & 8 for bit in bits)
    assert any(bit & 16 for bit in bits)
    assert any(bit & 2 for bit in bits)
    fates = {list(run.columns.words["fate"])[fate] for fate in run.columns.columns["frame"]["fate"]}
    assert "" not in fates


def test_a_host_that_sleeps_is_a_band_until_it_wakes_up_or_loses_its_power() -> None:
    told = ((1, "suspended"), (3, "resumed"), (4, "paused"), (6, "power off"), (9, "power on"), (10, "SIGTERM to app"))
    columns = filled([HostChanged(at_ns, "a", what) for at_ns, what in told])
    assert [(band.link, band.text, band.from_ns, band.until_ns) for band in columns.bands] == [
        ("a", "suspended", 1, 3), ("a", "paused", 4, 6), ("a", "power off", 6, 9), ("a", "SIGTERM to app", 10, 10)]


def test_a_number_that_a_column_cannot_hold_is_the_largest_that_it_can() -> None:
    tables = Tables()
    tables.add("held", 1, 2, 3)
    assert tables.add("held", 5, 2**80, -2**80) == 1
    tables.put("held", 5, NUMBER_MAX, 2**63)
    assert [list(cell) for cell in tables.columns["held"].values()] == [[1, 5], [2, NUMBER_MAX], [3, NUMBER_MAX]]


def lan(*names: str, **conditions: Any) -> Columns:
    """Put hosts on a switch; the first asks the second for ten bytes, after a look for its address."""
    columns = Columns()
    net = estab.Network(seed=1)
    net.observe(columns)
    hosts = [net.host(name) for name in names]
    net.switch("lan", *hosts, **conditions)

    @hosts[1].run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            sock.sendall(bytes(10))

    @hosts[0].run(start="100ms")
    def ask() -> None:
        with socket.create_connection((names[1], 80)) as sock:
            while sock.recv(100):
                pass

    net.run()
    return columns


def test_a_frame_over_a_switch_goes_to_the_host_that_it_arrives_at() -> None:
    columns = lan("asker", "server", "third", "fourth", delay="1ms")
    frame = columns.columns["frame"]
    ways = [columns.ways[way] for way in frame["way"]]
    names = [(columns.hosts[way.source], columns.hosts[way.target]) for way in ways]
    assert {name for name, conn in zip(names, frame["conn"], strict=True) if conn >= 0} == {
        ("asker", "server"), ("server", "asker")}
    assert names[0] == ("asker", "server")  # the broadcast that looks for the server
    assert {("lan", "third"), ("lan", "fourth")} <= set(names)  # its copies
    assert all(way.source >= 0 for way in ways)
    assert [columns.hosts[host] for host in columns.switches] == ["lan"]


def test_a_frame_that_is_lost_after_a_switch_is_lost() -> None:
    columns = lan("asker", "server", delay="1ms", loss=(0, "30%"))
    fates = Counter(list(columns.words["fate"])[fate] for fate in columns.columns["frame"]["fate"])
    assert fates["lost: lost on the link by chance"] > 0
    assert fates[""] == 0


def test_each_cable_of_a_switch_has_its_own_queue() -> None:
    columns = lan("asker", "server", "third", delay="1ms", rate="1Mbit")
    sources = [way.source for way in columns.ways if way.conditions]
    assert Counter(columns.hosts[source] for source in sources)["lan"] == 3


def test_text_that_nagles_rule_holds_back_is_held_up_by_it_although_no_segment_tells_of_it() -> None:
    columns = Columns()
    net = estab.Network(seed=1)
    net.observe(columns)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="5ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock, sock.makefile("rb") as lines:
            while lines.readline() and lines.readline():
                sock.sendall(b"ok\n")

    @client.run
    def ask() -> None:
        with socket.create_connection(("server", 80)) as sock, sock.makefile("rb") as lines:
            for _ in range(20):
                sock.sendall(b"head\n")
                sock.sendall(b"body\n")  # waits for the acknowledgment of the head, which is delayed by 40 ms
                lines.readline()

    net.run()
    assert held_ns(columns, 0, {"Nagle's rule"}) > 19 * 40_000_000
    assert columns.conns[0].bytes == [200, 60]  # neither FIN is text
