"""The story: steps in order, each with what it changed, and nothing that no fact says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason
from estab.events import CallReturned, CallStarted, Event, LinkChanged, PacketDropped, SegmentSent, TimerFired
from estab.observe.story import story
from estab.observe.text import gauge, plain_text
from estab.units import MS

from .made_up import OUT, handshake, sent


def told(events: list[Event], width: int = 100) -> str:
    return "\n".join(plain_text(line) for line in story(events, width=width))


def test_a_call_is_told_with_what_it_changed_and_sent() -> None:
    text = told(handshake())
    connect = text[text.index("▸ fd 3: connect"):text.index("server  arrives S")]
    assert "sleeps: the handshake" in connect
    assert "CLOSED → SYN-SENT" in connect
    assert "sends    S seq=0" in connect


def test_what_a_segment_did_is_told_at_its_arrival() -> None:
    text = told(handshake())
    arrival = text[text.index("server  arrives S seq=0"):text.index("client  arrives")]
    assert "half-open ■ 1/1: added 10.0.0.1:40000" in arrival
    assert "sends    S. seq=0 ack=1" in arrival


def test_a_call_that_waited_says_how_long() -> None:
    assert "◂ fd 3: connect → None  after waiting 20ms" in told(handshake())


def test_a_call_that_failed_says_with_what() -> None:
    events = [CallStarted(0, "a", 1, 3, "connect", "x"),
              CallReturned(0, "a", 1, 3, "connect", "", "ECONNREFUSED: connection refused")]
    assert "▸ fd 3: connect(x) → ECONNREFUSED: connection refused" in told(events)


def test_timers_drops_and_cables_are_told() -> None:
    events = [
        *handshake(),
        TimerFired(40 * MS, "client", OUT, "keepalive", "probe 1 of 9"),
        *sent(40 * MS, "client", OUT, ".", 0, 1, why="keepalive probe"),
        PacketDropped(50 * MS, "server", "", DropReason.NO_SOCKET, "port 81"),
        LinkChanged(60 * MS, "", "wifi", "cut"),
    ]
    text = told(events)
    assert "keepalive timer runs out  probe 1 of 9" in text
    assert f"dropped  {DropReason.NO_SOCKET.value} (port 81)" in text
    assert "link wifi: cut" in text


def test_only_the_hosts_that_were_asked_for_are_told() -> None:
    text = "\n".join(plain_text(line) for line in story(handshake(), hosts=["client"]))
    assert "server" not in text
    assert "connect" in text


def test_what_was_before_a_time_is_counted() -> None:
    text = "\n".join(plain_text(line) for line in story(handshake(), since_ns=20 * MS))
    assert text.splitlines()[0].strip() == "⋮ 4 steps before: the connection opens"
    assert "▸ fd 3: listen" not in text
    assert "◂ fd 3: connect" in text


def test_what_syns_offer_is_told_once() -> None:
    events: list[Event] = []
    for number in range(2):
        events += [SegmentSent(number, "a", OUT, "S", 0, 0, 0, 65535, "mss 1460,TS val 7 ecr 0", "", None)]
    assert told(events).count("mss 1460") == 1
    assert "TS val" not in told(events)


def test_a_gauge_shows_depth_and_limit() -> None:
    assert gauge(2, 3) == "■■□ 2/3"
    assert gauge(4, 3) == "■■■■ 4/3"
    assert gauge(50, 4096) == "50/4096"


@given(st.integers(80, 160))
def test_no_line_is_wider_than_asked(width: int) -> None:
    assert max(map(len, told(handshake(), width).splitlines())) <= width


@given(st.integers(-20, 160), st.integers(1, 63))
def test_narrow_windows_and_long_names_of_hosts_are_told_to_their_end(width: int, length: int) -> None:
    events = [replace(event, host="h" * length) for event in handshake()]
    lines = told(events, width).splitlines()
    assert any("tcb" in line for line in lines)
    assert max(map(len, lines)) <= max(width, length + 14, 15)
