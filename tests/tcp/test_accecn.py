"""Accurate ECN (RFC 9768): the handshake, by the sections and tables of the RFC."""

from __future__ import annotations

import pytest

from estab.tcp.ecn.accurate import ace_flags
from estab.tcp.record.ecn_state import CE, ECT0, ECT1, NOT_ECT
from estab.wire.tcp import (
    AE,
    CWR,
    ECE,
)
from tests.kit.accecn import ALL, WHOLE, ace, client, codepoint, option, server
from tests.kit.pair import ACK, RST, SECOND, SYN
from tests.kit.peer import Peer

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
