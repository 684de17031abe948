"""What ``estab top`` makes of readings: rates, history, verdicts, order, filters and lines."""

from __future__ import annotations

import pytest

from estab.abi import CLOSE_WAIT, ESTABLISHED, LISTEN
from estab.doctor.machine import Reading
from estab.native.sockdiag import Row
from estab.observe.text import plain_text
from estab.sockets.socket.tcp_info import FIELDS, LAYOUT
from estab.top.board import HISTORY, Board, Entry, View
from estab.top.lines import clip_end, detail, heads, overview, row_line, sparkline
from estab.top.order import COLUMNS, Filter, ordered, short

HERE, THERE = bytes((10, 0, 0, 1)), bytes((192, 168, 100, 200))


def connection(port: int, state: int = ESTABLISHED, recv_q: int = 0, **info: int) -> Row:
    row = Row(state, 0, 0, HERE, port, THERE, 443, 0, 0, recv_q, 0, 0, port)
    row.info_bytes = LAYOUT.pack(*(info.get(name, 0) for name in FIELDS))
    return row


def listener(port: int, waiting: int = 0, limit: int = 16) -> Row:
    return Row(LISTEN, 0, 0, bytes(4), port, bytes(4), 0, 0, 0, waiting, limit, 0, port)


def readings(*rows: list[Row]) -> View:
    """Take readings one second after another; the last view."""
    board = Board()
    for at_s, several in enumerate(rows):
        reading = Reading(float(at_s), [row for row in several if not row.is_listener],
                          [row for row in several if row.is_listener])
        board.take(reading, {})
    return board.view


def test_rates_are_what_grew_between_two_readings_a_second() -> None:
    view = readings([connection(1, bytes_received=100, bytes_sent=10)],
                    [connection(1, bytes_received=1100, bytes_sent=510, total_retrans=2, rtt=1500)])
    now = view.entries[0].now
    assert (now.in_rate, now.out_rate, now.again_rate, now.rtt_us) == (1000, 500, 2, 1500)
    assert (view.total.in_rate, view.total.out_rate) == (1000, 500)


def test_a_new_socket_has_no_rate_and_one_that_took_its_ports_none_below_zero() -> None:
    view = readings([], [connection(1, bytes_received=10_000)])
    assert view.entries[0].now.in_rate == 0
    view = readings([connection(1, bytes_received=10_000)], [connection(1, bytes_received=10)])
    assert view.entries[0].now.in_rate == 0


def test_the_history_is_bounded_and_goes_with_its_socket() -> None:
    rows = [[connection(1, bytes_received=1000 * at)] for at in range(HISTORY + 10)]
    view = readings(*rows)
    assert len(view.entries[0].history) == len(view.history) == HISTORY
    assert readings(*rows, [], rows[0]).entries[0].history == (view.entries[0].history[0].__class__(),)


def test_the_doctor_judges_each_socket_and_says_for_how_long() -> None:
    stuck = connection(1, CLOSE_WAIT, last_ack_recv=5000)
    view = readings([stuck, connection(2), listener(80, 3, 1)], [stuck, connection(2), listener(80, 3, 1)],
                    [stuck, connection(2), listener(80, 3, 1)])
    found = {entry.local: [one.name for one in entry.findings] for entry in view.entries}
    assert found == {"10.0.0.1:1": ["close-wait"], "10.0.0.1:2": [], "0.0.0.0:80": ["accept-queue-full"]}
    assert [entry.gravity for entry in view.entries] == [2, 2, 0]
    assert view.entries[0].findings[0].from_s == -2.0
    assert view.accept_queues == (3, 1)


@pytest.fixture
def view() -> View:
    before = [connection(1), connection(2), connection(3, CLOSE_WAIT), listener(80)]
    after = [connection(1, bytes_received=500, rtt=60_000), connection(2, bytes_sent=2_000_000, rtt=1_000, flags=1,
                                                                           data_segs_out=20),
             connection(3, CLOSE_WAIT, recv_q=7, last_ack_recv=9000), listener(80, 2)]
    return readings(before, after)


def ports(entries: list[Entry]) -> list[int]:
    return [entry.row.sport for entry in entries]


@pytest.mark.parametrize(("name", "expected"), [
    ("found", [3, 2, 1, 80]), ("in", [1, 2, 80, 3]), ("out", [2, 1, 80, 3]), ("rtt", [1, 2, 80, 3]),
    ("recvq", [3, 80, 2, 1]), ("local", [80, 1, 2, 3]),
])
def test_lines_are_ordered_by_a_column_the_largest_number_first(view: View, name: str, expected: list[int]) -> None:
    assert ports(ordered(view.entries, name)) == expected
    last = ports(ordered(view.entries, name, is_reversed=True))
    assert last[-1] == expected[0]


@pytest.mark.parametrize(("text", "expected"), [
    ("", {1, 2, 3, 80}), (":80", {80}), (":443", {1, 2, 3}), ("rtt>50", {1}), ("out>=1.5M", {2}), ("close-wait", {3}),
    ("bad", {3}), ("found !bad", {2}), ("!:443", {80}), ("192.168 rtt<50", {2, 3}), ("LISTEN", {80}),
    ("recvq=7", {3}), ("application-limited", {2}), ("path-silent", set()),
])
def test_a_filter_matches_all_of_its_words(view: View, text: str, expected: set[int]) -> None:
    assert {entry.row.sport for entry in view.entries if Filter(text)(entry)} == expected


@pytest.mark.parametrize("text", ["zork>3", "rtt>", "state>3", "rtt>1.2.3", "rtt=>5"])
def test_a_filter_that_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="filter:"):
        Filter(text)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 130, 200])
def test_every_line_fits_its_width(view: View, width: int) -> None:
    lines = [heads(width, "rtt", False), *(row_line(entry, width) for entry in view.entries),
             *overview(view, "this machine", "", width)[:1]]
    if width >= 80:
        lines += [*overview(view, "this machine", "", width),
                  *(line for entry in view.entries for line in detail(entry, width))]
    assert max(len(plain_text(line)) for line in lines) <= width
    assert "RTTm▼" in plain_text(heads(80, "rtt", False))


@pytest.mark.parametrize("width", [79, 80])
def test_columns_that_80_columns_need_are_there(width: int) -> None:  # 79: beside a scrollbar
    line = plain_text(heads(width, "found", False))
    assert line.split() == ["▼", "STATE", "LOCAL", "PEER", "RECVQ", "SENDQ", "IN/s", "OUT/s", "RTTms", "RTX/s"]
    assert len(line) <= width
    assert set(COLUMNS) >= {"state", "recvq", "sendq", "in", "out", "rtt", "again"}


def test_a_listener_s_queue_is_written_as_it_is() -> None:
    entry = readings([listener(80, 1, 4096)]).entries[0]
    assert (COLUMNS["recvq"].text(entry), COLUMNS["sendq"].text(entry)) == ("1", "4096")


def test_an_end_is_shortened_so_that_its_port_stays() -> None:
    assert clip_end("192.168.100.200:53582", 16) == "192.168.1…:53582"
    assert clip_end("10.0.0.1:80", 16) == "10.0.0.1:80"


def test_a_sparkline_shows_the_newest_at_the_right() -> None:
    assert sparkline([0, 1, 2, 4, 8], 4) == "▂▃▅█"
    assert sparkline([0, 0], 4) == "  ▁▁"
    assert sparkline([], 3) == "   "


@pytest.mark.parametrize(("number", "text"), [
    (0, ""), (0.3, "<1"), (999, "999"), (999.6, "1.0K"), (1234, "1.2K"), (99_600, "100K"), (4.5e6, "4.5M"),
    (2e9, "2.0G"), (999.7e9, "1T"),
])
def test_numbers_take_five_characters(number: float, text: str) -> None:
    assert short(number) == text
