"""What each chapter shows, asserted on the facts of its run: with the default seed, and with another."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from estab.cli.chapters import close_wait, find
from estab.cli.chapters.chapter import Played, when
from estab.cli.perform import perform
from estab.errors import DropReason
from estab.events import (
    CookieChecked,
    Event,
    LinkDropped,
    PacketDropped,
    QueueChanged,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TimeWaitEnded,
)
from estab.observe.flights import flights
from estab.observe.recorder import CallRecord
from estab.units import MS, SECOND

F = TypeVar("F", bound=Event)

pytestmark = pytest.mark.parametrize("seed", [1, 8])


@cache
def played(chapter: str, seed: int) -> tuple[Played, ...]:
    found = find(chapter)
    assert found is not None
    return tuple(perform(found, seed))


def scene(chapter: str, number: int, seed: int) -> Played:
    return played(chapter, seed)[number]


def facts(item: Played, kind: type[F], host: str = "") -> list[F]:
    return [fact for fact in item.recorder.facts if isinstance(fact, kind) and host in ("", fact.host)]


def calls(item: Played, host: str, name: str) -> list[CallRecord]:
    return item.recorder.calls(host, name=name)


def path(item: Played, host: str) -> list[str]:
    """Give the states of the first connection of a host."""
    edges = [edge for edge in facts(item, StateChanged, host) if edge.new != "LISTEN"]
    return [edge.new for edge in edges if edge.connection == edges[0].connection]


def sizes(item: Played, host: str) -> list[int]:
    """Give how many bytes each ``recv`` of a host's programs gave."""
    texts = [record.result for record in calls(item, host, "recv")]
    return [int(text[1:].split()[0]) if text.startswith("<") else len(text) - 3 for text in texts]


# --- handshake


def test_three_segments_open_a_connection_and_connect_returns_after_two(seed: int) -> None:
    item = scene("handshake", 0, seed)
    assert [(fact.host, fact.flags) for fact in facts(item, SegmentSent)] == [
        ("client", "S"), ("server", "S."), ("client", "."),
    ]
    connect, = calls(item, "client", "connect")
    accept, = calls(item, "server", "accept")
    assert (connect.returned_ns, accept.returned_ns) == (20 * MS, 30 * MS)
    assert [(fact.queue, fact.what) for fact in facts(item, QueueChanged)] == [
        ("half-open", "added"), ("half-open", "completed"), ("accept", "added"), ("accept", "taken"),
    ]


def test_socket_gives_a_descriptor_and_a_tcb_and_accept_another_descriptor(seed: int) -> None:
    item = scene("handshake", 0, seed)
    for record in item.recorder.calls(name="socket"):
        assert [(fact.fd, fact.state) for fact in record.tcbs if isinstance(fact, TcbCreated)] == [(3, "CLOSED")]
    fds = [record.fds[0].fd for name in ("socket", "accept") for record in calls(item, "server", name)]
    assert fds == [3, 4]


def test_a_port_without_a_listener_answers_with_a_reset(seed: int) -> None:
    item = scene("handshake", 1, seed)
    assert [fact.flags for fact in facts(item, SegmentSent)] == ["S", "R."]
    assert [fact.reason for fact in facts(item, PacketDropped)] == [DropReason.NO_SOCKET]
    assert calls(item, "client", "connect_ex")[0].result == "111"


def test_a_lost_syn_is_sent_again_after_a_second(seed: int) -> None:
    item = scene("handshake", 2, seed)
    assert [fact.reason for fact in facts(item, LinkDropped)] == [DropReason.LINK_RULE]
    assert [fact.at_ns for fact in facts(item, SegmentSent, "client") if fact.flags == "S"] == [0, SECOND]
    assert calls(item, "client", "connect")[0].returned_ns == SECOND + 20 * MS


def test_a_connect_that_does_not_block_returns_at_once(seed: int) -> None:
    connect, = calls(scene("handshake", 3, seed), "client", "connect_ex")
    assert (connect.result, connect.returned_ns, connect.waits) == ("115", 0, [])
    assert [fact.flags for fact in connect.segments] == ["S"]


# --- backlog


@pytest.mark.parametrize(("number", "half_open_limit", "accept_most", "overflowing"), [
    (0, 3, 3, {"accept"}), (1, 4, 4, {"accept"}), (2, 2, 5, {"half-open"}),
])
def test_each_policy_limits_what_it_says(
    seed: int, number: int, half_open_limit: int, accept_most: int, overflowing: set[str]
) -> None:
    changes = facts(scene("backlog", number, seed), QueueChanged)
    assert {fact.limit for fact in changes if fact.queue == "half-open"} >= {half_open_limit}
    assert max(fact.depth for fact in changes if fact.queue == "accept") == accept_most
    assert {fact.queue for fact in changes if fact.what.startswith("overflow")} == overflowing


def test_who_is_turned_away_calls_again_and_gets_in(seed: int) -> None:
    for item in played("backlog", seed):
        assert [record.error for record in calls(item, "client", "connect")] == [""] * 5


# --- flood


def test_without_cookies_the_flood_keeps_the_honest_client_out(seed: int) -> None:
    item = scene("flood", 0, seed)
    assert calls(item, "client", "connect")[0].error.startswith("TimeoutError")
    assert max(fact.depth for fact in facts(item, QueueChanged)) == 8
    assert {fact.reason for fact in facts(item, PacketDropped, "server")} == {DropReason.TCP_REQ_QUEUE_FULL}


def test_with_cookies_the_honest_client_gets_in_with_its_options(seed: int) -> None:
    item = scene("flood", 1, seed)
    assert calls(item, "client", "connect")[0].error == ""
    cookie, = facts(item, CookieChecked)
    assert cookie.is_valid
    assert "wscale 7" in cookie.detail
    assert "sack yes" in cookie.detail


def test_nobody_answers_for_the_forged_addresses(seed: int) -> None:
    for item in played("flood", seed):
        assert all(fact.flags != "." for fact in facts(item, SegmentSent, "attacker"))


# --- data


def test_send_returns_before_anything_is_acknowledged(seed: int) -> None:
    send, = calls(scene("data", 0, seed), "client", "send")
    assert (send.result, send.waits) == ("12000", [])
    assert send.buffers[-1].size_bytes == 12_000
    assert sum(fact.length for fact in send.segments) == 12_000


def test_a_reader_that_does_not_read_shuts_the_window_and_stops_the_sender(seed: int) -> None:
    item = scene("data", 1, seed)
    assert any(fact.wnd == 0 for fact in facts(item, SegmentSent, "server"))
    assert any(fact.why == "zero-window probe" for fact in facts(item, SegmentSent, "client"))
    sendall, = calls(item, "client", "sendall")
    assert sendall.returned_ns is not None
    assert sendall.returned_ns > 3 * SECOND
    assert sum(sizes(item, "server")) == 16_000


# --- loss


def test_all_text_arrives_whatever_is_lost(seed: int) -> None:
    item = scene("loss", 0, seed)
    assert sum(sizes(item, "server")) == 24_000
    lost_text = [flight for flight in flights(item.recorder.facts) if flight.fate == "lost" and flight.summary.length]
    again = [flight for flight in flights(item.recorder.facts) if flight.is_retransmission]
    assert len(again) >= len({flight.summary.seq for flight in lost_text})
    assert {fact.reason for fact in facts(item, LinkDropped)} <= {DropReason.LINK_LOSS}


# --- frames


def test_three_sends_can_be_one_recv(seed: int) -> None:
    item = scene("frames", 0, seed)
    assert [record.result for record in calls(item, "server", "recv")] == ["b'HELLOHOW ARE YOUBYE'"]
    assert len(calls(item, "client", "send")) == 3


def test_one_send_can_be_three_recvs(seed: int) -> None:
    item = scene("frames", 1, seed)
    assert sizes(item, "server") == [1448, 1448, 1104]


def test_a_codec_gives_the_messages_back(seed: int) -> None:
    item = scene("frames", 2, seed)
    assert any("equal to those that were sent" in sentence for sentence in item.findings)


# --- cable


def test_a_cable_that_is_plugged_in_again_costs_a_retransmission_and_no_error(seed: int) -> None:
    item = scene("cable", 0, seed)
    assert {fact.reason for fact in facts(item, LinkDropped)} == {DropReason.LINK_DOWN}
    assert any(fact.why.startswith("retransmission") for fact in facts(item, SegmentSent, "client"))
    assert not [record for record in item.recorder.calls() if record.error]


def test_an_idle_connection_does_not_notice_an_hour_without_a_cable(seed: int) -> None:
    item = scene("cable", 1, seed)
    assert facts(item, LinkDropped) == []
    assert [record.result for record in calls(item, "client", "recv")] == ["b'before'", "b'after'"]
    assert item.ended_ns > 3600 * SECOND


def test_keepalive_notices_and_only_on_its_own_side(seed: int) -> None:
    item = scene("cable", 2, seed)
    recv, = calls(item, "client", "recv")
    assert recv.error.startswith("ETIMEDOUT")
    assert any("server still held" in sentence for sentence in item.findings)


def test_a_heartbeat_tells_both_programs_after_its_time_out_of_silence(seed: int) -> None:
    item = scene("cable", 3, seed)
    cut_ns = 12 * SECOND
    for host in ("client", "server"):
        heard_ns = max(record.started_ns for record in calls(item, host, "recv") if "P" in record.result)
        told_ns = calls(item, host, "close")[-1].started_ns
        assert heard_ns < cut_ns < told_ns
        assert told_ns - heard_ns == 15 * SECOND
        sentence, = [text for text in item.findings if text.startswith(f"{host}: receive()")]
        assert sentence == (f"{host}: receive() ended with PeerLostError at {when(told_ns)}, after 15s without a byte "
                            "from the peer.")


def test_a_lost_peer_comes_with_what_the_socket_knew(seed: int) -> None:
    item = scene("cable", 3, seed)
    for host in ("client", "server"):
        sent = [fact for fact in facts(item, SegmentSent, host) if fact.length]
        again = [fact for fact in sent if "timeout" in fact.why]
        told_ns = calls(item, host, "close")[-1].started_ns
        heard_ns = max(fact.at_ns for fact in facts(item, SegmentReceived, host))
        sentence, = [text for text in item.findings if text.startswith(f"What the {host}'s socket knew")]
        assert "in ESTABLISHED" in sentence
        assert f"last segment in {when(told_ns - heard_ns)} ago" in sentence
        assert f" {sent[-1].length} bytes unacknowledged, {len(again)} time-outs in a row" in sentence
    assert not [text for text in item.findings if "still held" in text]


@pytest.mark.parametrize("number", [4, 5])
def test_a_user_timeout_ends_what_goes_unanswered(seed: int, number: int) -> None:
    recv = calls(scene("cable", number, seed), "client", "recv")[-1]
    assert recv.error.startswith("ETIMEDOUT")
    assert recv.returned_ns is not None
    assert 20 * SECOND <= recv.returned_ns - recv.started_ns < 21 * SECOND


def test_a_host_that_lost_its_power_says_nothing(seed: int) -> None:
    item = scene("cable", 5, seed)
    assert not [fact for fact in facts(item, SegmentSent, "server") if fact.at_ns > 500 * MS]


def test_a_host_that_started_anew_resets_the_old_connection(seed: int) -> None:
    item = scene("cable", 6, seed)
    assert "R" in facts(item, SegmentSent, "server")[-1].flags
    assert calls(item, "client", "recv")[-1].error.startswith("ECONNRESET")


# --- close and its relatives


@pytest.mark.parametrize(("number", "first", "second"), [(0, "client", "server"), (1, "server", "client")])
def test_who_closes_first_goes_to_time_wait(seed: int, number: int, first: str, second: str) -> None:
    item = scene("close", number, seed)
    assert path(item, first)[-3:] == ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]
    assert path(item, second)[-3:] == ["CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    ended, = facts(item, TimeWaitEnded)
    assert (ended.host, ended.why) == (first, "expired")


def test_closing_with_unread_text_is_a_reset(seed: int) -> None:
    item = scene("close", 2, seed)
    assert any("R" in fact.flags for fact in facts(item, SegmentSent, "server"))
    assert not any("F" in fact.flags for fact in facts(item, SegmentSent, "server"))


def test_after_its_fin_the_client_still_reads_what_the_server_sends(seed: int) -> None:
    item = scene("half-close", 0, seed)
    fin = next(fact for fact in facts(item, SegmentSent, "client") if "F" in fact.flags)
    later = [fact for fact in facts(item, SegmentSent, "server") if fact.length and fact.at_ns > fin.at_ns]
    assert sum(fact.length for fact in later) == 17
    assert "FIN-WAIT-2" in path(item, "client")
    assert "CLOSE-WAIT" in path(item, "server")


def test_two_syns_that_cross_make_one_connection(seed: int) -> None:
    item = scene("simultaneous", 0, seed)
    for host in ("left", "right"):
        assert path(item, host)[:3] == ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"]
        assert sizes(item, host) == [5]
    assert not [edge for edge in facts(item, StateChanged) if edge.new == "LISTEN"]


def test_the_window_of_a_syn_ack_that_crosses_is_not_scaled(seed: int) -> None:
    arrived = facts(scene("simultaneous", 0, seed), SegmentReceived)
    assert max(fact.tcb.snd_wnd for fact in arrived if fact.tcb is not None) == 65_536


def test_two_fins_that_cross_go_through_closing(seed: int) -> None:
    item = scene("simultaneous", 1, seed)
    for host in ("left", "right"):
        assert path(item, host)[-3:] == ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"]


def test_time_wait_answers_a_fin_that_comes_again(seed: int) -> None:
    item = scene("time-wait", 0, seed)
    assert len(facts(item, LinkDropped)) == 1
    assert len([fact for fact in facts(item, SegmentSent, "server") if "F" in fact.flags]) == 2
    assert any(fact.why == "acknowledgment from TIME-WAIT" for fact in facts(item, SegmentSent, "client"))
    assert path(item, "server")[-1] == "CLOSED"


def test_time_wait_drops_what_comes_late(seed: int) -> None:
    item = scene("time-wait", 1, seed)
    late = [fact for fact in facts(item, PacketDropped, "server") if fact.at_ns >= 10 * SECOND]
    assert {fact.reason for fact in late} == {DropReason.TCP_TIMEWAIT}


def test_a_new_syn_may_take_the_place_of_a_time_wait_record(seed: int) -> None:
    item = scene("time-wait", 2, seed)
    assert facts(item, TimeWaitEnded, "server")[0].why == "reused by a new SYN (RFC 6191)"
    assert [record.error for record in calls(item, "client", "connect")] == ["", ""]


def test_close_wait_lasts_until_the_program_closes(seed: int) -> None:
    item = scene("close-wait", 0, seed)
    edges = facts(item, StateChanged, "server")
    entered = [edge.at_ns for edge in edges if edge.new == "CLOSE-WAIT"]
    left = [edge.at_ns for edge in edges if edge.old == "CLOSE-WAIT"]
    assert len(entered) == 3
    assert [round((end - entered[0]) / SECOND) for end in left] == [40, 80, 120]


def test_the_watch_names_each_stuck_socket_its_peer_its_age_and_the_line_that_read_its_end(seed: int) -> None:
    item = scene("close-wait", 0, seed)
    entered = [edge for edge in facts(item, StateChanged, "server") if edge.new == "CLOSE-WAIT"]
    named = [text for text in item.findings if text.startswith("At 30s CloseWaitWatch named fd")]
    assert len(named) == len(entered) == 3
    for edge, text in zip(entered, named, strict=True):
        assert f"peer {edge.connection.partition('>')[2]}, in CLOSE-WAIT for at least 29" in text
    read, *waiting = named
    blamed = re.search(r"0 bytes unread: close_wait.py:(\d+) in .*serve read the end of the stream", read)
    assert blamed is not None
    line = Path(close_wait.__file__).read_text().splitlines()[int(blamed[1]) - 1]
    assert ".recv(" in line
    assert read.endswith(f"did not close: `{line.strip()}`.")
    assert all("4 bytes unread: no line of the program has read the end of the stream." in text for text in waiting)


def test_the_watch_names_what_is_left_until_nothing_is(seed: int) -> None:
    item = scene("close-wait", 0, seed)
    counts = [sum(text.startswith(f"At {at} CloseWaitWatch named fd") for text in item.findings)
              for at in ("30s", "70s", "110s", "2min 30s")]
    assert counts == [3, 2, 1, 0]


def test_a_reaper_closes_at_once_and_cleans_up_for_as_long_as_it_takes(seed: int) -> None:
    item = scene("close-wait", 1, seed)
    ends = [record.returned_ns for record in calls(item, "server", "recv") if record.result == "b''"]
    closed = [record.started_ns for record in calls(item, "server", "close")][1:]
    assert ends == closed
    assert not [text for text in item.findings if "named fd" in text]
    cleaned = ", ".join(when(at_ns + 40 * SECOND) for at_ns in closed)
    assert item.findings[-1] == f"The reaper ran 3 clean-ups, 0 failed; they ended at {cleaned}."


def test_close_before_release_leaves_nothing_in_close_wait(seed: int) -> None:
    edges = facts(scene("close-wait", 1, seed), StateChanged, "server")
    entered = {edge.connection: edge.at_ns for edge in edges if edge.new == "CLOSE-WAIT"}
    left = {edge.connection: edge.at_ns for edge in edges if edge.old == "CLOSE-WAIT"}
    assert len(left) == 3
    assert all(left[name] - entered[name] < SECOND for name in left)
