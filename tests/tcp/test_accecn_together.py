"""Accurate ECN (RFC 9768) with SYN cookies, super-segments, Fast Open, hostile peers, and at both ends."""

from __future__ import annotations

import random
from typing import Any

import pytest

from estab import abi
from estab.tcp.ecn.accurate import ace_flags, ace_of, handshake_ace
from estab.tcp.record.ecn_state import CE, ECT0, ECT1, NOT_ECT
from estab.tcp.record.parts import troubles_of
from estab.wire import ip
from estab.wire.ip import IpHeader
from estab.wire.offload import split
from estab.wire.tcp import (
    ACCECN0_KIND,
    ACCECN1_KIND,
    AccEcnOption,
    emit_packet,
    options_length,
    parse,
)
from tests.kit.accecn import ALL, WHOLE, ace, codepoint, counters, option, server, state
from tests.kit.pair import ACK, MS, SECOND, SYN, Pair
from tests.kit.peer import Peer

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
                data = emit_packet(segment, IpHeader(packet.src, packet.dst, dont_fragment=True))
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
    assert troubles_of(one).segments_retransmitted == 0
    assert other.ecn is not None
    assert one.ecn is not None
    assert one.delivered_ce == other.ecn.ce_packets == marked > 10
    assert one.ecn.told_ce_bytes == other.ecn.ce_bytes > 0
    assert one.ecn.told_ect0_bytes == other.ecn.ect0_bytes
    assert other.ecn.ce_bytes + other.ecn.ect0_bytes == len(sent)


def test_handshake_encodings_are_what_table_2_says() -> None:
    assert [handshake_ace(point) for point in (NOT_ECT, ECT1, ECT0, CE)] == [0b010, 0b011, 0b100, 0b110]
