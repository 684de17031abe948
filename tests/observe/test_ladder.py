"""Ladders: rows from facts, and how they are drawn."""

from __future__ import annotations

import json
import re
import socket

import pytest

from estab import Network
from estab.errors import DropReason
from estab.events import Event, LinkChanged, LinkDropped, PacketDropped, StateChanged, TimerFired
from estab.observe.ladder import Arrow, Note, Skip, ladder
from estab.observe.ladder_text import WIDTH_MIN, render, render_plain
from estab.observe.text import plain_text
from estab.units import MS, SECOND

from .made_up import BACK, OUT, handshake, packet, received, sent

LANES = ["client", "server"]


def arrows(events: list[Event]) -> list[Arrow]:
    return [row for row in ladder(events, hosts=LANES).rows if isinstance(row, Arrow)]


def test_arrows_are_in_the_order_of_sending_with_both_times() -> None:
    assert [(row.sender, row.flags, row.sent_ns, row.received_ns) for row in arrows(handshake())] == [
        ("client", "S", 0, 10 * MS), ("server", "S.", 10 * MS, 20 * MS), ("client", ".", 20 * MS, 30 * MS),
    ]


def test_states_stand_beside_the_arrows_as_they_were_once_the_host_was_done() -> None:
    assert [(row.sender_state, row.receiver_state) for row in arrows(handshake())] == [
        ("SYN-SENT", "SYN-RECEIVED"), ("SYN-RECEIVED", "ESTABLISHED"), ("ESTABLISHED", "ESTABLISHED"),
    ]


def test_states_stand_beside_calls_as_they_were_when_these_were_made_or_returned() -> None:
    net = Network(seed=1)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="10ms")
    facts: list[Event] = []
    net.observe(facts.append)

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            sock.recv(10)

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as sock:
            sock.sendall(b"x")

    net.run()
    notes = [(row.text.partition("(")[0], row.state) for row in ladder(facts).rows
             if isinstance(row, Note) and row.host == "client" and row.kind in ("call", "return")]
    assert notes == [
        ("socket", ""), ("fd 3: connect", "CLOSED"), ("fd 3: connect → None", "ESTABLISHED"),
        ("fd 3: sendall", "ESTABLISHED"), ("fd 3: close", "FIN-WAIT-1"),
    ]


def test_calls_timers_and_queues_stand_where_they_happened() -> None:
    notes = [(row.host, row.text) for row in ladder(handshake(), hosts=LANES).rows if isinstance(row, Note)]
    assert ("client", "fd 3: connect(('10.0.0.2', 80))") in notes
    assert ("client", "fd 3: connect → None") in notes
    assert ("server", "fd 3: listen(1) → None") in notes
    assert [text for _, text in notes if text.startswith("half-open")] == [
        "half-open ■ 1/1: added", "half-open □ 0/1  accept □ 0/1: completed, added, taken",
    ]


def test_lanes_come_in_the_order_of_first_mention() -> None:
    assert ladder(handshake()).lanes == ["server", "client"]


def test_kinds_and_protocols_choose_what_is_drawn() -> None:
    assert not arrows_only(ladder(handshake(), protocols=()).rows)
    rows = ladder(handshake(), kinds=("queue",)).rows
    assert {row.kind for row in rows if isinstance(row, Note)} == {"queue"}


def arrows_only(rows: list) -> list[Arrow]:
    return [row for row in rows if isinstance(row, Arrow)]


def lost() -> list[Event]:
    data = packet(OUT, "P.", 1, 1, b"hello")
    return [
        *sent(0, "client", OUT, "P.", 1, 1, b"hello"),
        LinkDropped(0, "client", "cable", DropReason.LINK_RULE, data),
        TimerFired(SECOND, "client", OUT, "retransmit", "1 of 15"),
        *sent(SECOND, "client", OUT, "P.", 1, 1, b"hello", why="retransmission: timeout 1"),
        *received(SECOND + 5, "server", BACK, "P.", 1, 1, b"hello"),
    ]


def test_a_lost_segment_points_where_it_was_going_and_never_gets_there() -> None:
    first, second = arrows(lost())
    assert (first.fate, first.receiver, first.received_ns) == ("lost", "server", None)
    assert second.is_retransmission
    text = render_plain(ladder(lost(), hosts=LANES))
    lines = text.splitlines()
    assert "×" in lines[1]
    assert "▶" not in lines[1]
    assert DropReason.LINK_RULE.value in lines[2]
    assert "══" in next(line for line in lines if "1000.00" in line and "len=5" in line)
    assert "never arrived" in lines[-1]
    assert "sent again" in lines[-1]


def test_a_dropped_segment_arrives_and_says_why_it_went_no_further() -> None:
    events = [
        *sent(0, "client", OUT, "S", 0, 0),
        *received(5, "server", BACK, "S", 0, 0),
        PacketDropped(5, "server", "", DropReason.TCP_LISTEN_OVERFLOW, ""),
    ]
    row, = arrows(events)
    assert (row.fate, row.received_ns) == ("dropped", 5)
    text = render_plain(ladder(events, hosts=LANES))
    assert "×│" in text
    assert f"dropped by server: {DropReason.TCP_LISTEN_OVERFLOW.value}" in text


def test_frames_that_pass_each_other_are_marked() -> None:
    events = [
        *sent(0, "client", OUT, "S", 0, 0), *sent(0, "server", BACK, "S", 0, 0),
        *received(10, "client", OUT, "S", 0, 0), *received(10, "server", BACK, "S", 0, 0),
    ]
    assert [row.is_crossing for row in arrows(events)] == [True, True]
    assert not any(row.is_crossing for row in arrows(handshake()))
    assert "passed each other" in render_plain(ladder(events, hosts=LANES))


def test_a_cut_cable_is_drawn_across_all_lanes() -> None:
    events = [*handshake(), LinkChanged(40 * MS, "", "wifi", "cut")]
    text = render_plain(ladder(events, hosts=LANES))
    assert "╌ wifi: cut ╌" in text.splitlines()[-1]


def test_what_is_under_way_at_the_end_says_so() -> None:
    assert "still under way" in render_plain(ladder(sent(0, "client", OUT, "S", 0, 0), hosts=LANES))


def test_a_state_that_changes_alone_gets_a_row() -> None:
    events = [StateChanged(90 * SECOND, "client", OUT, "TIME-WAIT", "CLOSED", "2 MSL")]
    assert "TIME-WAIT → CLOSED" in render_plain(ladder(events, hosts=LANES))


def test_connections_are_told_apart_by_the_port_that_differs() -> None:
    other = OUT.replace("40000", "40001")
    assert [row.tag for row in arrows([*sent(0, "client", OUT, "S", 0, 0), *sent(1, "client", other, "S", 0, 0)])] == [
        "40000", "40001",
    ]
    assert [row.tag for row in arrows(sent(0, "client", OUT, "S", 0, 0))] == [""]


def test_repetitions_are_folded_into_a_count() -> None:
    events: list[Event] = []
    for number in range(20):
        port = OUT.replace("40000", str(40000 + number))
        events += sent(number, "client", port, "S", 0, 0)
    folded = ladder(events, hosts=LANES).folded()
    assert [type(row) for row in folded.rows] == [Arrow, Skip]
    assert isinstance(folded.rows[1], Skip)
    assert folded.rows[1].count == 19
    assert "the same row 19 times more" in render_plain(folded)


def test_what_was_before_a_time_is_counted() -> None:
    rows = ladder(handshake(), hosts=LANES).since(20 * MS).rows
    assert isinstance(rows[0], Skip)
    assert rows[0].count == len(ladder(handshake(), hosts=LANES).rows) - len(rows) + 1
    assert ladder(handshake(), hosts=LANES).since(0).rows == ladder(handshake(), hosts=LANES).rows


def test_three_lanes_are_drawn_with_arrows_across_the_middle() -> None:
    far = "10.0.0.9:5>10.0.0.2:80"
    attack = [*sent(50 * MS, "attacker", far, "S", 0, 0), *received(60 * MS, "server", _turned(far), "S", 0, 0)]
    events = [*handshake(), *attack]
    text = render_plain(ladder(events, hosts=["attacker", "client", "server"]))
    head, *lines = text.splitlines()
    assert [head.index(name) for name in ("attacker", "client", "server")] == sorted(
        head.index(name) for name in ("attacker", "client", "server"))
    assert any("5 S seq=0" in line and line.count("│") < 3 for line in lines)


def _turned(connection: str) -> str:
    near, _, far = connection.partition(">")
    return f"{far}>{near}"


@pytest.mark.parametrize("width", [WIDTH_MIN, 60, 71, 72, 80, 100, 120, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    for lanes in (LANES, ["server", "client", "third"]):
        for line in render(ladder([*handshake(), *lost()], hosts=lanes), width):
            assert len(plain_text(line)) <= width


def test_without_room_for_sides_states_are_notes_and_the_time_of_sending_stands_left() -> None:
    text = render_plain(ladder(handshake(), hosts=LANES), 60)
    assert re.search(r"^ +10\.00 │ +● new: SYN-RECEIVED; the listener stays in LI… │$", text, re.M)
    assert re.search(r"^ +20\.00 │──\. seq=1 ack=1 len=0 wnd=\d+─+▶│$", text, re.M)


@pytest.mark.parametrize("room", range(20))
def test_the_mark_of_a_crossing_leaves_the_label_whole(room: int) -> None:
    label = "P. seq=1 ack=1 len=4 wnd=65535"
    there = [*sent(0, "client", OUT, "P.", 1, 1, b"text"), *sent(0, "server", BACK, "P.", 1, 1, b"text")]
    back = [*received(10, "client", OUT, "P.", 1, 1, b"text"), *received(10, "server", BACK, "P.", 1, 1, b"text")]
    text = render_plain(ladder([*there, *back], hosts=LANES), 72 + room)
    arrows_drawn = [line for line in text.splitlines() if "▶│" in line or "│◀" in line]
    assert len(arrows_drawn) == 2
    for line in arrows_drawn:
        shaft = line[line.index("│") + 1:line.rindex("│")]
        assert re.fullmatch(r"──[^─]+─*⤨──▶|◀──⤨─*[^─]+──", shaft)
        assert shaft.strip("─▶◀⤨") in (label, label.partition(" wnd=")[0], "P. 1 1 4")


def test_a_width_that_holds_no_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match="width: 39 is too narrow"):
        render(ladder(handshake()), 39)


def test_rows_are_plain_data_on_demand() -> None:
    document = ladder(handshake(), hosts=LANES).to_json()
    assert json.loads(json.dumps(document)) == document
    rows = document["rows"]
    assert isinstance(rows, list)
    assert {row["row"] for row in rows if isinstance(row, dict)} == {"arrow", "note"}


def test_an_empty_run_is_an_empty_ladder() -> None:
    assert ladder([]).rows == []
    assert render_plain(ladder([]))
