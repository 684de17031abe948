"""Accurate ECN (RFC 9768): the counter in the flags, the option, and what is believed of them."""

from __future__ import annotations

import pytest

from estab.tcp.ecn.accurate import ace_flags, is_transition_valid
from estab.tcp.record.ecn_state import CE, ECT0, ECT1, NOT_ECT
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import CA_CWR, CA_OPEN
from estab.wire import ip
from estab.wire.tcp import (
    ACCECN0_KIND,
    ACCECN1_KIND,
    AccEcnOption,
    Segment,
    options_length,
    options_text,
    parse,
)
from tests.kit.accecn import ace, client, codepoint, counters, option, server, state
from tests.kit.pair import ACK, SECOND
from tests.kit.peer import Peer

# --- 3.2.2.2: the counter


def test_section_3_2_2_2_every_marked_packet_counts_and_the_field_wraps() -> None:
    peer = server()
    seen = [ace(peer.text(b"x" * 100, tos=CE)[0]) for _ in range(4)]
    assert seen == [6, 7, 0, 1]
    assert state(peer).ce_packets == 4


def test_section_3_2_2_2_marked_pure_acknowledgments_count_and_the_third_is_answered() -> None:
    peer = server()
    assert peer.send(ACK | ace_flags(5), tos=CE) == []
    assert peer.send(ACK | ace_flags(5), tos=CE) == []
    (answer,) = peer.send(ACK | ace_flags(5), tos=CE)
    assert (ace(answer), option(answer), answer.sack) == (0, [1, 0, 1], [])


def test_section_3_2_2_2_an_unacceptable_segment_does_not_count() -> None:
    peer = server()
    peer.text(b"x", seq=100_000, tos=CE)
    assert state(peer).ce_packets == 0


def test_the_sender_reduces_once_a_round_trip_and_sets_no_cwr() -> None:
    peer = server()
    peer.write(b"x" * 30000)
    out = peer.send(ACK | ace_flags(6), ack=1001 - 24)
    assert peer.connection.ca_state == CA_CWR
    assert peer.connection.delivered_ce == 1
    for place in range(2, 9):
        out += peer.send(ACK | ace_flags(5 + place), ack=place * 976 + 1)
    assert peer.connection.delivered_ce == 8
    assert {ace(seen) for seen in out} == {5}  # CWR is a bit of the counter
    assert troubles_of(peer.connection).segments_retransmitted == 0


def test_all_packets_are_ecn_capable_repeats_and_pure_acknowledgments_too() -> None:
    peer = server()
    (text,) = peer.write(b"x" * 10)
    (ack,) = peer.text(b"y" * 100, tos=ECT0, ack=1)
    repeats = peer.wait(SECOND)
    assert repeats
    assert {codepoint(seen) for seen in (text, ack, *repeats)} == {ECT0}


# --- 3.2.2.3 and 3.2.2.4: mangling


@pytest.mark.parametrize(("sent", "received", "valid"), [
    (NOT_ECT, NOT_ECT, True), (NOT_ECT, ECT0, False), (NOT_ECT, CE, False), (ECT0, CE, True), (ECT0, ECT1, True),
    (ECT0, NOT_ECT, False), (ECT1, ECT0, True), (ECT1, NOT_ECT, False), (CE, CE, True), (CE, ECT0, False),
    (CE, NOT_ECT, False),
])
def test_section_3_2_2_3_transitions(sent: int, received: int, valid: bool) -> None:
    assert is_transition_valid(sent, received) is valid


def test_section_3_2_2_3_a_mangled_syn_silences_a_client_which_still_responds() -> None:
    peer = client(answer=4)
    sent = peer.write(b"x" * 3000)
    assert {codepoint(seen) for seen in sent} == {NOT_ECT}
    peer.send(ACK | ace_flags(6), ack=sent[0].end, accecn=counters(ceb=900))
    assert peer.connection.ca_state == CA_CWR


def test_section_3_2_2_4_a_zeroed_first_counter_ends_ect_and_the_response() -> None:
    peer = client()
    first = peer.write(b"x" * 900)
    peer.send(ACK, ack=first[0].end, tos=ECT0, accecn=counters(e0b=901))
    (text,) = peer.write(b"x" * 900)
    assert (codepoint(text), ace(text), option(text)) == (NOT_ECT, 5, [1, 0, 1])
    peer.send(ACK | ace_flags(2), ack=text.end, accecn=counters(ceb=900))
    assert (peer.connection.delivered_ce, peer.connection.ca_state) == (0, CA_OPEN)


def test_section_3_2_3_2_5_marked_bytes_without_a_marked_packet_end_ect() -> None:
    peer = server()
    (first,) = peer.write(b"x" * 900)
    peer.send(ACK | ace_flags(5), ack=first.end, accecn=counters(ceb=900))
    assert codepoint(peer.write(b"x")[0]) == NOT_ECT


# --- 3.2.2.5: safety


def test_section_3_2_2_5_1_a_change_of_the_mark_is_acknowledged_at_once() -> None:
    peer = server()
    peer.connection.quick_acks = 0
    peer.text(b"a" * 100, tos=ECT0)
    peer.connection.quick_acks = 0
    assert peer.text(b"b" * 100, tos=ECT0) == []
    assert len(peer.text(b"c" * 100, tos=CE)) == 1
    assert len(peer.text(b"d" * 100, tos=ECT0)) == 1


def test_section_3_2_2_5_1_two_marks_since_the_last_acknowledgment_are_acknowledged() -> None:
    peer = server()
    peer.connection.quick_acks = 0
    peer.text(b"a" * 100, tos=CE)
    peer.connection.quick_acks = 0
    assert peer.text(b"b" * 100, tos=CE) == []
    assert len(peer.text(b"c" * 100, tos=CE)) == 1


@pytest.mark.parametrize(("acked", "field", "marked"), [
    (7, 5, 0), (7, 6, 1), (9, 5, 8), (9, 6, 9), (10, 4, 7),
])
def test_section_3_2_2_5_2_without_the_option_the_safest_likely_wrap_is_taken(
    acked: int, field: int, marked: int,
) -> None:
    peer = server(tcp_ecn_option=0, accecn=None, tcp_initial_cwnd=20)
    peer.write(b"x" * 20000)
    peer.send(ACK | ace_flags(5), ack=1001)  # acknowledgments come singly, so a long jump is a loss of them
    peer.send(ACK | ace_flags(field), ack=1001 + acked * 1000)
    assert peer.connection.delivered_ce == marked


def test_section_3_2_2_5_2_where_acknowledgments_are_thinned_a_long_jump_is_no_wrap() -> None:
    peer = server(tcp_ecn_option=0, accecn=None, tcp_initial_cwnd=20)
    peer.write(b"x" * 20000)
    peer.send(ACK | ace_flags(5), ack=10001)
    assert peer.connection.delivered_ce == 0


@pytest.mark.parametrize(("e0b", "ceb", "field", "marked"), [(9761, 0, 5, 0), (1, 9760, 7, 10), (8785, 976, 6, 1)])
def test_appendix_a_2_2_the_option_tells_how_often_the_field_wrapped(
    e0b: int, ceb: int, field: int, marked: int,
) -> None:
    peer = server(tcp_initial_cwnd=20)
    mss = peer.connection.snd_mss()
    assert mss == 1000 - 12
    peer.write(b"x" * 30 * mss)
    peer.send(ACK | ace_flags(5), ack=mss + 1, accecn=counters(e0b=mss + 1))
    share = 10 * mss
    told = counters(mss + 1 + share * (e0b - 1) // 9760, share * ceb // 9760)
    peer.send(ACK | ace_flags(field), ack=mss + 1 + share, accecn=told)
    assert peer.connection.delivered_ce == marked


def test_an_acknowledgment_without_progress_tells_nothing_unless_its_timestamp_is_new() -> None:
    peer = server(timestamps=True)
    peer.write(b"x" * 500)
    peer.send(ACK | ace_flags(6), ack=1, ts_val=peer.connection.ts_recent, accecn=counters(ceb=500))
    assert peer.connection.delivered_ce == 0
    peer.send(ACK | ace_flags(6), ack=1, ts_val=peer.connection.ts_recent + 1, accecn=counters(ceb=500))
    assert peer.connection.delivered_ce == 1


# --- 3.2.3: the option


def test_table_5_options_of_all_lengths_are_read_and_a_longer_one_as_far_as_it_is_known() -> None:
    segment = Segment(1, 2, 0, 0, ACK, 0)  # type: ignore[arg-type]
    for kind in (ACCECN0_KIND, ACCECN1_KIND):
        for count in range(4):
            segment.accecn = AccEcnOption(kind, [1, 0xABCDEF, 3][:count])
            data = bytes([kind, 2 + 3 * count]) + b"".join(n.to_bytes(3, "big") for n in segment.accecn.fields)
            assert read_options(data) == (kind, segment.accecn.fields)
    assert read_options(bytes([172, 4, 1, 2])) == (172, [])
    assert read_options(bytes([174, 14, *range(12)])) == (174, [0x000102, 0x030405, 0x060708])


def read_options(options: bytes) -> tuple[int, list[int]]:
    options = options.ljust((len(options) + 3) // 4 * 4, b"\1")
    words = 5 + len(options) // 4
    header = bytes(12) + bytes([words << 4, 0x10]) + bytes(6) + options
    packet = ip.emit(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), ip.TCP, header)
    found = parse(ip.parse(packet, 0), True).accecn
    assert found is not None
    return int(found.kind), list(found.fields)


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("blocks", range(4))
@pytest.mark.parametrize("count", range(4))
def test_the_option_takes_the_place_of_padding_and_comes_through(timestamps: bool, blocks: int, count: int) -> None:
    peer = Peer()
    segment = Segment(1, 2, 3, 4, ACK, 5)  # type: ignore[arg-type]
    segment.has_timestamps = timestamps
    segment.accecn = AccEcnOption(ACCECN1_KIND, [1, 2, 3][:count])
    segment.sack = list(range(1, 2 * blocks + 1)) or None
    if options_length(segment) > 40:
        return
    peer.has_timestamps = False
    packet = peer.packet(
        ACK, accecn=segment.accecn, has_timestamps=timestamps, ts_val=9 if timestamps else None,
        **({"sack": list(segment.sack)} if segment.sack else {}),
    )
    read = parse(ip.parse(packet, 0), False)
    assert len(packet) - 40 == options_length(segment)
    assert read.accecn is not None
    assert (read.accecn.kind, read.accecn.fields, len(read.sack or [])) == (174, [1, 2, 3][:count], 2 * blocks)
    assert read.unknown is None
    names = ["e1b 1", "ceb 2", "e0b 3"][:count]
    assert " ".join(["ECN", *names]) in options_text(read)


def test_section_3_2_1_counters_begin_with_values_that_zeroing_shows() -> None:
    peer = server()
    assert option(peer.write(b"x")[0]) == [1, 0, 1]


def test_section_3_2_3_octets_are_counted_by_codepoint() -> None:
    peer = server()
    told = [option(peer.text(b"x" * size, tos=tos)[0]) for size, tos in ((10, ECT0), (20, CE), (30, ECT1), (40, CE))]
    assert told == [[1, 0, 11], [1, 20, 11], [31, 20, 11], [31, 60, 11]]


def test_section_3_2_3_what_the_peer_counted_is_known_in_either_order() -> None:
    peer = server()
    (first,) = peer.write(b"x" * 900)
    peer.send(ACK | ace_flags(6), ack=first.end, accecn=counters(401, 500, 1))
    assert (state(peer).told_ect0_bytes, state(peer).told_ce_bytes, state(peer).told_ect1_bytes) == (400, 500, 0)
    (second,) = peer.write(b"x" * 900)
    peer.send(ACK | ace_flags(6), ack=second.end, accecn=AccEcnOption(ACCECN1_KIND, [901, 500, 401]))
    assert (state(peer).told_ect0_bytes, state(peer).told_ce_bytes, state(peer).told_ect1_bytes) == (400, 500, 900)


@pytest.mark.parametrize(("tos", "holes", "fields", "blocks"), [
    (ECT1, 1, 3, 1), (ECT1, 2, 2, 2), (CE, 3, 2, 2), (ECT0, 2, None, 2), (ECT0, 3, None, 3),
])
def test_section_3_2_3_3_sack_goes_first_but_a_third_block_gives_way(
    tos: int, holes: int, fields: int | None, blocks: int,
) -> None:
    peer = server(timestamps=True)
    for index in range(holes - 1):
        peer.text(b"x" * 10, seq=101 + 100 * index, tos=ECT1)
    (last,) = peer.text(b"x" * 10, seq=101 + 100 * (holes - 1), tos=tos)
    told = option(last)
    assert (None if told is None else len(told), len(last.sack) // 2) == (fields, blocks)
    assert options_length(last.segment) <= 40


def test_section_3_2_3_3_with_the_least_option_it_goes_only_where_something_changed() -> None:
    peer = server(tcp_ecn_option=1, tcp_ecn_option_beacon=0)
    assert option(peer.write(b"x")[0]) == [1, 0, 1]  # the first of all, to see that it comes through
    told = [option(peer.text(b"x" * 10, tos=tos)[0]) for tos in (ECT0, ECT0, ECT0, CE, ECT0, ECT0, ECT0)]
    assert [seen is not None for seen in told] == [True, False, False, True, True, True, False]


def test_with_the_least_option_the_segment_size_leaves_no_room_for_it() -> None:
    assert server(tcp_ecn_option=1).connection.snd_mss() == 1000
    assert server(tcp_ecn_option=2).connection.snd_mss() == 988
    assert server(tcp_ecn_option=0).connection.snd_mss() == 1000


def test_section_3_2_3_2_3_without_the_peers_option_none_is_sent() -> None:
    peer = client(accecn=None)
    assert option(peer.seen[0]) is None
    (text,) = peer.write(b"x" * 100)
    assert option(text) is None
    peer.send(ACK | ace_flags(5), ack=text.end, accecn=counters(e0b=101))
    assert option(peer.write(b"x")[0]) == [1, 0, 1]  # it came through after all


@pytest.mark.parametrize("first", [AccEcnOption(172, [0, 0, 1]), AccEcnOption(172, [1, 0, 0]),
                                   AccEcnOption(174, [0, 0, 0])])
def test_section_3_2_3_2_4_a_zeroed_option_is_never_believed(first: AccEcnOption) -> None:
    peer = client(accecn=first)
    (text,) = peer.write(b"x" * 900)
    peer.send(ACK | ace_flags(5), ack=text.end, accecn=counters(ceb=900))
    assert state(peer).told_ce_bytes == 0
    assert codepoint(peer.write(b"x")[0]) == ECT0


def test_section_3_2_3_2_2_an_option_that_does_not_get_through_is_left_out() -> None:
    peer = server()
    peer.text(b"x" * 100, tos=ECT0)
    (once,) = peer.text(b"x" * 100, seq=1, tos=ECT0)
    assert (option(once), len(once.sack)) == ([1, 0, 201], 2)
    (twice,) = peer.text(b"x" * 100, seq=1, tos=ECT0)
    assert (option(twice), len(twice.sack)) == (None, 2)
    (text,) = peer.write(b"x")
    assert option(text) is None
