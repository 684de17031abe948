"""AccECN (RFC 9768), section by section: handshake, counters, safety, the option, and what mangles them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from estab import abi
from estab.tcp.ecn.accurate import ace_flags, ace_of, handshake_ace, is_transition_valid
from estab.tcp.record.ecn_state import CE, ECT0, ECT1, NOT_ECT
from estab.tcp.record.tcb import CA_CWR, CA_OPEN
from estab.wire import ip
from estab.wire.offload import split
from estab.wire.tcp import (
    ACCECN0_KIND,
    ACCECN1_KIND,
    AE,
    CWR,
    ECE,
    AccEcnOption,
    Segment,
    emit_packet,
    options_length,
    options_text,
    parse,
)
from tests.kit.pair import ACK, MS, RST, SECOND, SYN, Pair
from tests.kit.peer import Peer, Seen

ALL = AE | CWR | ECE
WHOLE = AccEcnOption(ACCECN0_KIND, [1, 0, 1])


def ace(seen: Seen) -> int:
    return int(ace_of(seen.segment.flags))


def codepoint(seen: Seen) -> int:
    return int(seen.segment.tos) & 3


def option(seen: Seen) -> list[int] | None:
    found = seen.segment.accecn
    return None if found is None else list(found.fields)


def counters(e0b: int = 1, ceb: int = 0, e1b: int = 1) -> AccEcnOption:
    return AccEcnOption(ACCECN0_KIND, [e0b, ceb, e1b])


def client(*, answer: int = 2, tos: int = NOT_ECT, accecn: AccEcnOption | None = WHOLE, **config: Any) -> Peer:
    """An engine that connected, asking for AccECN; ``answer`` is the SYN-ACK's ACE field. ``peer.seen`` has the third
    segment.
    """
    peer = Peer()
    peer.config.tcp_ecn = 3
    fields = {name: config.pop(name) for name in ("sack_permitted", "mss") if name in config}
    for name, value in config.items():
        setattr(peer.config, name, value)
    peer.has_timestamps = peer.config.tcp_timestamps = config.get("tcp_timestamps", False)
    peer.connect()
    peer.seen.clear()
    fields.setdefault("mss", 1000)
    peer.send(SYN | ACK | ace_flags(answer), seq=0, ack=1, tos=tos, accecn=accecn, **fields)
    return peer


def server(*, third: int = 2, third_tos: int = ECT0, accecn: AccEcnOption | None = WHOLE, **config: Any) -> Peer:
    """An engine whose listener agreed on AccECN with the peer."""
    peer = Peer()
    peer.config.tcp_ecn = 3
    timestamps = config.pop("timestamps", False)
    for name, value in config.items():
        setattr(peer.config, name, value)
    listener = peer.listen()
    peer.has_timestamps = timestamps
    (answer,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000, sack_permitted=True, wscale=7)
    assert ace(answer) == 2
    peer.irs = int(answer.segment.seq)
    peer.seq = peer.ack = 1
    peer.send(ACK | ace_flags(third), seq=1, ack=1, tos=third_tos, accecn=accecn)
    connection = listener.accept()
    assert connection is not None
    peer.connection = connection
    peer.seen.clear()
    return peer


def state(peer: Peer) -> Any:
    assert peer.connection.ecn is not None
    return peer.connection.ecn


# --- 3.1.1 and 3.1.2: table 2


def test_section_3_1_1_the_first_syn_sets_all_three_flags_and_has_no_option() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    (syn,) = peer.connect()
    assert (ace(syn), codepoint(syn), option(syn)) == (7, NOT_ECT, None)


@pytest.mark.parametrize(("tos", "answer"), [(NOT_ECT, 2), (ECT1, 3), (ECT0, 4), (CE, 6)])
def test_table_2_a_server_tells_how_the_syn_arrived(tos: int, answer: int) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.listen()
    (syn_ack,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000, tos=tos)
    assert (ace(syn_ack), codepoint(syn_ack), option(syn_ack)) == (answer, NOT_ECT, [1, 0, 1])


@pytest.mark.parametrize(("answer", "mode"), [
    (0, "none"), (1, "classic"), (2, "accurate"), (3, "accurate"), (4, "accurate"), (5, "accurate"), (6, "accurate"),
    (7, "none"),
])
def test_table_2_a_client_does_as_the_syn_ack_says(answer: int, mode: str) -> None:
    peer = client(answer=answer)
    assert peer.connection.has_ecn is (mode != "none")
    (text,) = peer.write(b"x" * 100)
    if mode == "accurate":
        assert ace(text) == 5
        assert codepoint(text) == (ECT0 if answer in (2, 5) else NOT_ECT)  # the others: a mark on a SYN without ECT
    else:
        assert ace(text) == 0
        assert codepoint(text) == (ECT0 if mode == "classic" else NOT_ECT)


@pytest.mark.parametrize(("asked", "answer"), [(0, 0), (3, 1), (7, 2), (1, 2), (2, 2), (4, 2), (5, 2), (6, 2)])
def test_section_3_1_3_any_other_combination_on_a_syn_counts_as_accecn(asked: int, answer: int) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.listen()
    (syn_ack,) = peer.send(SYN | ace_flags(asked), seq=0, ack=0, mss=1000)
    assert ace(syn_ack) == answer


@pytest.mark.parametrize(("other", "answer"), [(7, 2), (3, 1), (0, 0)])
def test_section_3_1_2_a_crossing_syn_is_answered_as_a_listener_would(other: int, answer: int) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.connect()
    (syn_ack,) = peer.send(SYN | ace_flags(other), seq=0, ack=0, mss=1000)
    assert (syn_ack.flags[:2], ace(syn_ack)) == ("S.", answer)
    assert (option(syn_ack) is not None) is (answer == 2)


# --- 3.1.4 and 3.1.5: several SYNs and SYN-ACKs


def test_section_3_1_4_1_the_second_syn_asks_again_and_the_third_no_more() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.connect()
    assert [ace(syn) for syn in peer.wait(8 * SECOND)] == [7, 0, 0]
    peer.send(SYN | ACK | ace_flags(2), seq=0, ack=1, mss=1000)
    assert codepoint(peer.write(b"x")[0]) == ECT0  # a client may


def test_section_3_2_3_2_2_a_repeated_syn_ack_has_no_option_and_the_next_no_flags() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    listener = peer.listen()
    (first,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000)
    peer.irs = int(first.segment.seq)
    second, third = peer.wait(4 * SECOND)
    assert [(ace(seen), option(seen)) for seen in (first, second, third)] == [(2, [1, 0, 1]), (2, None), (0, None)]
    peer.send(ACK | ace_flags(2), seq=1, ack=1, accecn=WHOLE)
    connection = listener.accept()
    assert connection is not None
    peer.connection = connection
    assert codepoint(peer.write(b"x")[0]) == NOT_ECT  # section 3.1.5: it sent a SYN-ACK without


def test_section_3_1_5_a_syn_without_ecn_silences_a_server_but_not_its_feedback() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    listener = peer.listen()
    (first,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000, tos=ECT0)
    peer.irs = int(first.segment.seq)
    (second,) = peer.send(SYN, seq=0, ack=0, mss=1000)
    assert (ace(first), ace(second)) == (4, 2)  # the latest SYN is the one told of
    peer.send(ACK | ace_flags(2), seq=1, ack=1, accecn=WHOLE)
    connection = listener.accept()
    assert connection is not None
    peer.connection = connection
    (text,) = peer.write(b"x" * 100)
    assert (codepoint(text), ace(text), option(text)) == (NOT_ECT, 5, [1, 0, 1])
    (answer,) = peer.text(b"y" * 100, tos=CE)
    assert ace(answer) == 6


def test_section_3_1_5_a_server_without_ecn_stays_so() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.listen()
    peer.send(SYN, seq=0, ack=0, mss=1000)
    (second,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000)
    assert ace(second) == 0


@pytest.mark.parametrize(("first", "second"), [(ALL, CWR | ECE), (CWR | ECE, ALL), (CWR | ECE, AE)])
def test_section_3_1_5_syns_for_two_kinds_of_feedback_are_reset(first: int, second: int) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    listener = peer.listen()
    peer.send(SYN | first, seq=0, ack=0, mss=1000)
    (answer,) = peer.send(SYN | second, seq=0, ack=0, mss=1000)
    assert answer.segment.flags & RST
    assert not listener.half_open


def test_a_listener_without_accecn_takes_repeated_syns_of_either_kind() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.send(SYN | ALL, seq=0, ack=0, mss=1000)
    (answer,) = peer.send(SYN | CWR | ECE, seq=0, ack=0, mss=1000)
    assert ace(answer) == 1
    assert len(listener.half_open) == 1


# --- 3.2.2.1: the acknowledgment of the SYN-ACK


@pytest.mark.parametrize(("tos", "told"), [(NOT_ECT, 2), (ECT1, 3), (ECT0, 4), (CE, 6)])
def test_table_3_a_client_tells_how_the_syn_ack_arrived_and_counts_a_mark(tos: int, told: int) -> None:
    peer = client(tos=tos)
    (third,) = peer.seen
    assert (third.flags[0] in ".WEe", ace(third), codepoint(third), option(third)) == (True, told, ECT0, [1, 0, 1])
    (text,) = peer.write(b"x" * 100)
    assert ace(text) == (6 if tos == CE else 5)


def test_table_3_a_repeated_syn_ack_is_told_of_again_and_counted_once() -> None:
    peer = client(tos=CE)
    for _ in range(2):
        (again,) = peer.send(SYN | ACK | CWR, seq=0, ack=1, mss=1000, tos=CE, accecn=WHOLE)
        assert (ace(again), again.sack) == (6, [])
    assert ace(peer.write(b"x")[0]) == 6


@pytest.mark.parametrize(("third", "silent", "marked"), [
    (0, True, 0), (1, False, 0), (2, False, 0), (3, True, 0), (4, True, 0), (5, False, 0), (6, True, 0), (7, False, 0),
])
def test_table_4_a_server_reads_the_third_segment(third: int, silent: bool, marked: int) -> None:
    peer = server(third=third)
    (text,) = peer.write(b"x" * 100)
    assert codepoint(text) == (NOT_ECT if silent else ECT0)  # our SYN-ACK was not ECT: 3, 4 and 6 show mangling
    assert peer.connection.delivered_ce == marked
    assert ace(text) == 5


def test_table_4_a_marked_syn_ack_counts_where_mangling_is_not_looked_for() -> None:
    peer = server(third=6, tcp_ecn_fallback=False)
    assert peer.connection.delivered_ce == 1
    assert peer.connection.cwnd_bytes == peer.connection.snd_mss()


def test_text_on_the_third_segment_bears_a_counter() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    listener = peer.listen()
    (answer,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000)
    peer.irs = int(answer.segment.seq)
    (ack,) = peer.send(ACK | ace_flags(5), seq=1, ack=1, data=b"x" * 100, tos=CE, accecn=WHOLE)
    assert (ace(ack), option(ack)) == (6, [1, 100, 1])
    assert listener.accept() is not None


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
    assert peer.connection.segments_retransmitted == 0


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


# --- 5.1: SYN cookies


@pytest.mark.parametrize(("third", "accurate"), [(0, False), (1, False), (2, True), (4, True), (6, True)])
def test_section_5_1_a_cookie_is_accecn_where_the_third_segment_says_so(third: int, accurate: bool) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.config.tcp_syncookies = "always"
    listener = peer.listen()
    (answer,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000)
    assert (ace(answer), option(answer)) == (2, [1, 0, 1])
    peer.irs = int(answer.segment.seq)
    peer.send(ACK | ace_flags(third), seq=1, ack=1, accecn=WHOLE)
    connection = listener.accept()
    assert connection is not None
    assert connection.has_ecn is accurate


# --- 3.3.4: super-segments


def test_section_3_3_4_all_pieces_of_a_super_segment_have_the_counter() -> None:
    pair = Pair(segment_bytes_max=65535)
    pair.a.config.tcp_ecn = pair.b.config.tcp_ecn = 3
    pair.a.config.tcp_min_tso_segs = 4
    one, _other = pair.established()
    assert one.ecn is not None
    for count in range(8):
        one.ecn.ce_packets = count
        since = len(pair.passed)
        pair.write(one, b"x" * 5000)
        sent = [p for p in pair.passed[since:] if p.sender == "a"]
        pieces = [piece for p in sent for piece in split(p.data, 1460 - 24)]
        fields = [ace_of(parse(ip.parse(piece, 0), False).flags) for piece in pieces]
        assert fields == [(5 + count) & 7] * len(pieces)
        assert (len(sent) == 1) is ((5 + count) & 2 == 0)  # with CWR no device may cut it
        pair.run_for(SECOND)


# --- 5.2: Fast Open


@pytest.mark.parametrize("experimental", [False, True])
def test_section_5_2_a_cookie_for_fast_open_leaves_the_option_what_room_there_is(experimental: bool) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.config.tcp_fastopen = 3
    listener = peer.listen()
    listener.fast_open.queue.limit = 4
    peer.has_timestamps = True
    (answer,) = peer.send(
        SYN | ALL, seq=0, ack=0, mss=1000, sack_permitted=True, wscale=7, fast_open=b"",
        is_fast_open_experimental=experimental,
    )
    assert answer.segment.fast_open
    assert (ace(answer), option(answer)) == (2, [1, 0])
    assert options_length(answer.segment) <= 40


@pytest.mark.parametrize(("third", "silent"), [(2, False), (0, True), (6, True)])
def test_section_5_2_the_third_segment_of_a_connection_in_use_is_no_counter(third: int, silent: bool) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 3
    peer.config.tcp_fastopen = 0x203
    listener = peer.listen()
    listener.fast_open.queue.limit = 4
    peer.has_timestamps = True
    (answer,) = peer.send(SYN | ALL, seq=0, ack=0, data=b"hello", mss=1000, tos=ECT0)
    assert (ace(answer), option(answer)) == (4, [1, 0, 1])
    peer.irs = int(answer.segment.seq)
    child = listener.accept()
    assert child is not None
    peer.connection = child
    peer.seq, peer.ack = 6, 1
    peer.now_ns += MS
    (text,) = peer.write(b"x" * 100)
    assert (codepoint(text), ace(text)) == (ECT0, 5)
    peer.send(ACK | ace_flags(third), ack=1, accecn=WHOLE)
    assert child.delivered_ce == 0
    peer.now_ns += MS
    peer.send(ACK | ace_flags(6), ack=101, accecn=counters(ceb=100))
    assert child.delivered_ce == (0 if third == 0 else 1)
    assert codepoint(peer.write(b"y")[0]) == (NOT_ECT if silent else ECT0)


# --- hostile peers


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tcp_ecn_option", [1, 2])
def test_whatever_a_peer_says_of_marks_nothing_breaks(seed: int, tcp_ecn_option: int) -> None:
    chance = random.Random(seed)
    peer = server(timestamps=chance.random() < 0.5, tcp_ecn_option=tcp_ecn_option, third=chance.randrange(8))
    for _ in range(300):
        kind = chance.choice((ACCECN0_KIND, ACCECN1_KIND))
        fields = [chance.choice((0, 1, 2, 0x7FFFFF, 0x800000, 0xFFFFFF, chance.randrange(1 << 24))) for _ in range(3)]
        told = AccEcnOption(kind, fields[: chance.randrange(4)]) if chance.random() < 0.7 else None
        flags = ACK | ace_flags(chance.randrange(8)) | (SYN if chance.random() < 0.02 else 0)
        if peer.connection.state != abi.ESTABLISHED:
            break
        peer.connection.write(bytes(chance.randrange(3000)), peer.now_ns)
        out = peer.send(
            flags, data=bytes(chance.choice((0, 0, 1, 500))), seq=peer.seq + chance.choice((0, 0, 0, 700, -300)),
            ack=max(1, peer.ack - chance.choice((0, 0, 500, 5000))), tos=chance.randrange(4), accecn=told,
            **({"sack": [peer.ack - 400, peer.ack]} if peer.ack > 1000 and chance.random() < 0.1 else {}),
        )
        out += peer.wait(chance.choice((0, MS, 50 * MS)))
        for seen in out:
            assert options_length(seen.segment) <= 40
            assert len(seen.data) <= 1000 + 40 or seen.segment_bytes > 0
        peer.read()
        ecn = state(peer)
        assert peer.connection.cwnd_bytes > 0
        assert peer.connection.delivered_ce >= 0
        assert ecn.ect0_bytes >= 0


# --- both ends together


@pytest.mark.parametrize("is_v6", [False, True])
@pytest.mark.parametrize("timestamps", [False, True])
def test_two_ends_count_the_same_marks(is_v6: bool, timestamps: bool) -> None:
    pair = Pair(is_v6=is_v6, delay_ns=5 * MS)
    for side in (pair.a, pair.b):
        side.config.tcp_ecn = 3
        side.config.tcp_timestamps = timestamps
    one, other = pair.established()
    count = 0
    marked = 0

    pair.filter = None
    carry = pair._carry

    def marking(side: Any, data: bytes) -> None:
        nonlocal count, marked
        packet = ip.parse(data, 0)
        segment = parse(packet, False)
        if side is pair.a and segment.end > segment.start:
            count += 1
            if count % 3 == 0:
                assert packet.tos & 3 == ECT0
                marked += 1
                segment.tos |= CE
                data = emit_packet(segment, packet.src, packet.dst, 64, 0, True, 0, False)
        carry(side, data)

    pair._carry = marking  # type: ignore[method-assign]
    sent = bytes(range(256)) * 400
    got = b""
    place = pair.write(one, sent)
    while len(got) < len(sent):
        pair.run_for(20 * MS)
        got += pair.read(other)
        if place < len(sent):
            place += pair.write(one, sent[place:])
    pair.run_for(SECOND)
    assert got == sent
    assert one.segments_retransmitted == 0
    assert other.ecn is not None
    assert one.ecn is not None
    assert one.delivered_ce == other.ecn.ce_packets == marked > 10
    assert one.ecn.told_ce_bytes == other.ecn.ce_bytes > 0
    assert one.ecn.told_ect0_bytes == other.ecn.ect0_bytes
    assert other.ecn.ce_bytes + other.ecn.ect0_bytes == len(sent)


def test_handshake_encodings_are_what_table_2_says() -> None:
    assert [handshake_ace(point) for point in (NOT_ECT, ECT1, ECT0, CE)] == [0b010, 0b011, 0b100, 0b110]
