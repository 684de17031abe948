"""Classic ECN: negotiation, marking, echo and reduction (RFC 3168, RFC 8311), and the exact echo of RFC 8257."""

from __future__ import annotations

import pytest

from estab.host.engine import Engine
from estab.tcp.connection import Connection
from estab.tcp.record.ecn_state import CE, ECT0, NOT_ECT
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import CA_CWR, CA_OPEN
from estab.wire import ip
from estab.wire.offload import split
from estab.wire.tcp import AE, CWR, ECE, Segment, options_length, parse
from tests.kit.pair import ACK, FIN, MS, SECOND, SYN, Pair
from tests.kit.peer import Peer, Seen, set_options

MARKS = AE | CWR | ECE


def codepoint(seen: Seen) -> int:
    return int(seen.segment.tos) & 3


def marks(segment: Segment) -> str:
    return "".join(letter for letter, bit in (("A", AE), ("W", CWR), ("E", ECE)) if segment.flags & bit)


def asked_peer(tcp_ecn: int = 1, *, is_v6: bool = False, **settings: int) -> Peer:
    """An engine that connects; the peer has its SYN."""
    peer = Peer(is_v6=is_v6)
    peer.config.tcp_ecn = tcp_ecn
    for name, value in settings.items():
        setattr(peer.config, name, value)
    peer.connect()
    return peer


def agreed(peer: Peer, flags: int = ECE, **fields: object) -> list[Seen]:
    """Let the peer answer the SYN."""
    answers = peer.send(SYN | ACK | flags, seq=0, ack=1, mss=1000, **fields)
    peer.seen.clear()
    return answers


def sender(tcp_ecn: int = 1, *, is_v6: bool = False) -> Peer:
    """An engine whose connection has classic ECN and an initial window to send."""
    peer = asked_peer(tcp_ecn, is_v6=is_v6)
    agreed(peer)
    return peer


# --- negotiation, RFC 3168 section 6.1.1


@pytest.mark.parametrize(("tcp_ecn", "asked"), [(0, ""), (1, "WE"), (2, ""), (3, "AWE"), (4, "WE"), (5, "")])
def test_tcp_ecn_says_what_a_syn_asks_for(tcp_ecn: int, asked: str) -> None:
    syn = asked_peer(tcp_ecn).seen[0]
    assert marks(syn.segment) == asked
    assert codepoint(syn) == NOT_ECT


@pytest.mark.parametrize(("tcp_ecn", "asked", "answered"), [
    (0, CWR | ECE, ""), (1, CWR | ECE, "E"), (2, CWR | ECE, "E"), (3, CWR | ECE, "E"), (4, CWR | ECE, "E"),
    (5, CWR | ECE, "E"), (2, AE | CWR | ECE, "E"), (1, AE | CWR | ECE, "E"), (3, AE | CWR | ECE, "W"),
    (4, AE | CWR | ECE, "W"), (5, AE | CWR | ECE, "W"), (0, AE | CWR | ECE, ""), (2, 0, ""), (3, 0, ""),
    (2, CWR, ""), (2, ECE, ""),
])
def test_tcp_ecn_says_what_a_listener_agrees_on(tcp_ecn: int, asked: int, answered: str) -> None:
    peer = Peer()
    peer.config.tcp_ecn = tcp_ecn
    peer.listen()
    answer = peer.send(SYN | asked, seq=0, ack=0, mss=1460)[0]
    assert marks(answer.segment) == answered
    assert codepoint(answer) == NOT_ECT  # section 6.1.1: never on a SYN-ACK


def test_a_syn_that_is_ecn_capable_itself_is_answered_without_ecn() -> None:
    peer = Peer()
    peer.listen()
    assert marks(peer.send(SYN | CWR | ECE, seq=0, ack=0, mss=1460, tos=ECT0)[0].segment) == ""


@pytest.mark.parametrize(("answer", "has_ecn"), [(ECE, True), (0, False), (CWR | ECE, False), (CWR, False)])
def test_only_a_syn_ack_with_ece_alone_agrees(answer: int, has_ecn: bool) -> None:
    peer = asked_peer()
    agreed(peer, answer)
    assert peer.connection.has_ecn is has_ecn
    (text,) = peer.write(b"x")
    assert codepoint(text) == (ECT0 if has_ecn else NOT_ECT)
    assert ("ecn" in peer.connection.info(peer.now_ns).options) is has_ecn


def test_a_syn_that_was_not_asked_for_ecn_ignores_an_answer_that_grants_it() -> None:
    peer = asked_peer(2)
    agreed(peer, ECE)
    assert not peer.connection.has_ecn
    assert codepoint(peer.write(b"x")[0]) == NOT_ECT


def test_a_repeated_syn_asks_no_more_and_an_answer_to_the_first_one_still_counts() -> None:
    peer = asked_peer()
    (again,) = peer.wait(SECOND)
    assert marks(again.segment) == ""
    agreed(peer, ECE)
    assert peer.connection.has_ecn


def test_without_fallback_a_repeated_syn_asks_again() -> None:
    peer = asked_peer(tcp_ecn_fallback=False)
    (again,) = peer.wait(SECOND)
    assert marks(again.segment) == "WE"


@pytest.mark.parametrize("is_v6", [False, True])
def test_simultaneous_open_agrees_on_ecn_both_ways(is_v6: bool) -> None:
    peer = asked_peer(is_v6=is_v6)
    (answer,) = peer.send(SYN | CWR | ECE, seq=0, ack=0, mss=1000)
    assert (answer.flags, marks(answer.segment)) == ("S.E", "E")
    peer.send(ACK, seq=1)
    assert codepoint(peer.write(b"x")[0]) == ECT0


# --- SYN cookies


@pytest.mark.parametrize(("timestamps", "has_ecn"), [(True, True), (False, False)])
def test_a_cookie_keeps_ecn_in_the_timestamp(timestamps: bool, has_ecn: bool) -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "always"
    listener = peer.listen()
    peer.has_timestamps = timestamps
    answer = peer.send(SYN | CWR | ECE, seq=0, ack=0, mss=1460)[0]
    assert marks(answer.segment) == ("E" if has_ecn else "")
    peer.irs = int(answer.segment.seq)
    peer.send(ACK, seq=1, ack=1)
    child = listener.accept()
    assert child is not None
    assert child.has_ecn is has_ecn
    peer.connection = child
    assert codepoint(peer.write(b"x")[0]) == (ECT0 if has_ecn else NOT_ECT)


def test_a_cookie_for_a_syn_without_ecn_brings_none() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "always"
    listener = peer.listen()
    peer.has_timestamps = True
    peer.irs = int(peer.send(SYN, seq=0, ack=0, mss=1460)[0].segment.seq)
    peer.send(ACK, seq=1, ack=1)
    child = listener.accept()
    assert child is not None
    assert not child.has_ecn


def test_a_cookie_brings_no_ecn_once_that_is_switched_off() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "always"
    listener = peer.listen()
    peer.has_timestamps = True
    peer.irs = int(peer.send(SYN | CWR | ECE, seq=0, ack=0, mss=1460)[0].segment.seq)
    peer.config.tcp_ecn = 0
    peer.send(ACK, seq=1, ack=1)
    child = listener.accept()
    assert child is not None
    assert not child.has_ecn


# --- what is ECN-capable, RFC 3168 sections 6.1.2, 6.1.4 to 6.1.6


@pytest.mark.parametrize("is_v6", [False, True])
def test_new_text_is_ecn_capable_and_nothing_else_is(is_v6: bool) -> None:
    peer = asked_peer(is_v6=is_v6)
    (third,) = agreed(peer)
    assert codepoint(third) == NOT_ECT
    (text,) = peer.write(b"x" * 10)
    assert codepoint(text) == ECT0
    (ack,) = peer.text(b"y" * 2000)
    assert (ack.text, codepoint(ack)) == (b"", NOT_ECT)
    for repeat in peer.wait(SECOND):
        assert (repeat.text, codepoint(repeat)) == (b"x" * 10, NOT_ECT)
    peer.send(ACK, ack=11)
    (fin,) = peer.shutdown()
    assert (fin.flags, codepoint(fin)) == ("F.", NOT_ECT)


def test_a_keepalive_probe_is_not_ecn_capable() -> None:
    peer = sender()
    peer.connection.set_keepalive(peer.now_ns, is_on=True)
    peer.touch()
    probes = peer.wait(7201 * SECOND)
    assert probes
    assert {codepoint(probe) for probe in probes} == {NOT_ECT}


def test_a_reset_is_not_ecn_capable() -> None:
    peer = sender()
    (reset,) = peer.abort()
    assert "R" in reset.flags
    assert codepoint(reset) == NOT_ECT


def test_the_programs_traffic_class_keeps_its_dscp() -> None:
    peer = sender()
    set_options(peer.connection, tos=0xB8)
    (text,) = peer.write(b"x")
    assert text.segment.tos == 0xB8 | ECT0
    (ack,) = peer.text(b"y" * 2000)
    assert ack.segment.tos == 0xB8


# --- the receiver, RFC 3168 section 6.1.3


def test_ce_is_echoed_on_every_segment_until_cwr_comes() -> None:
    peer = sender()
    (first,) = peer.text(b"a" * 1000, tos=CE)
    assert "E" in marks(first.segment)
    (second,) = peer.text(b"b" * 1000, tos=ECT0)
    assert "E" in marks(second.segment)
    (text,) = peer.write(b"x")
    assert marks(text.segment) == "E"
    (third,) = peer.send(ACK | CWR, data=b"c" * 1000, tos=ECT0)
    assert marks(third.segment) == ""
    assert "ecn-seen" in peer.connection.info(peer.now_ns).options


def test_cwr_on_text_that_is_marked_itself_begins_a_new_echo() -> None:
    peer = sender()
    peer.text(b"a" * 1000, tos=CE)
    (answer,) = peer.send(ACK | CWR, data=b"b" * 1000, tos=CE)
    assert marks(answer.segment) == "E"


def test_cwr_is_acknowledged_at_once() -> None:
    peer = sender()
    peer.connection.quick_acks = 0
    assert peer.text(b"a" * 100, tos=ECT0) == []
    assert len(peer.send(ACK | CWR, data=b"b" * 100, tos=ECT0)) == 1


def test_a_mark_on_a_pure_acknowledgment_is_ignored() -> None:
    peer = sender()
    peer.send(ACK, tos=CE)
    assert marks(peer.write(b"x")[0].segment) == ""


def test_without_ecn_a_mark_is_not_echoed() -> None:
    peer = Peer()
    peer.accept()
    (answer,) = peer.text(b"a" * 1000, tos=CE)
    assert marks(answer.segment) == ""


# --- the sender, RFC 3168 section 6.1.2


def test_an_echo_halves_reno_once_and_new_text_says_so_once() -> None:
    peer = sender()
    connection = peer.connection
    sent = peer.write(b"x" * 40000)
    assert len(sent) == 10
    flight = connection.flight_bytes()
    more = peer.send(ACK | ECE, ack=1001)
    assert connection.ca_state == CA_CWR
    assert connection.ssthresh_bytes == (flight - 1000) // 2  # RFC 5681 equation 4, of what is still out
    for place in range(2, 11):
        more += peer.send(ACK | ECE, ack=place * 1000 + 1)
    assert connection.ssthresh_bytes == (flight - 1000) // 2
    assert [marks(seen.segment) for seen in more].count("W") == 1
    assert marks(more[0].segment) == "W"
    assert codepoint(more[0]) == ECT0
    assert len(more) <= 5  # proportional rate reduction: half as much left as arrived
    assert troubles_of(connection).segments_retransmitted == 0


def test_cwr_ends_when_more_than_the_flight_is_acknowledged_and_a_later_echo_reduces_again() -> None:
    peer = sender()
    connection = peer.connection
    peer.write(b"x" * 40000)
    peer.send(ACK | ECE, ack=1001)
    first = connection.ssthresh_bytes
    peer.send(ACK, ack=10001)
    assert connection.ca_state == CA_CWR  # the segment with CWR is still out
    peer.send(ACK, ack=connection.snd_nxt - connection.iss)
    assert connection.ca_state == CA_OPEN
    assert connection.cwnd_bytes >= first
    assert peer.side.context.counters.TcpExtTCPDeliveredCE == 1
    peer.send(ACK | ECE, ack=connection.snd_nxt - connection.iss)
    assert connection.ca_state == CA_CWR
    assert connection.ssthresh_bytes < first


def test_delivered_ce_counts_what_arrived_with_an_echo() -> None:
    peer = sender()
    peer.write(b"x" * 5000)
    peer.send(ACK, ack=1001)
    peer.send(ACK | ECE, ack=3001)
    info = peer.connection.info(peer.now_ns)
    assert (info.delivered_segments, info.delivered_ce_segments) == (4, 2)  # the SYN, one, two


def test_an_echo_on_text_without_new_acknowledgment_counts_too() -> None:
    peer = sender()
    peer.write(b"x" * 5000)
    peer.send(ACK | ECE, data=b"y")
    assert peer.connection.ca_state == CA_CWR


def test_an_echo_with_nothing_in_flight_changes_nothing() -> None:
    peer = sender()
    before = peer.connection.cwnd_bytes
    peer.send(ACK | ECE)
    assert (peer.connection.ca_state, peer.connection.cwnd_bytes) == (CA_OPEN, before)


def test_ece_on_a_connection_without_ecn_is_ignored() -> None:
    peer = Peer()
    peer.accept()
    peer.write(b"x" * 5000)
    peer.send(ACK | ECE, ack=1001)
    assert peer.connection.ca_state == CA_OPEN


def test_a_loss_reduces_and_says_cwr_too() -> None:
    peer = asked_peer()
    agreed(peer, sack_permitted=True)
    peer.write(b"x" * 40000)
    out = peer.send(ACK, ack=1, sack=[2001, 5001])
    out += peer.send(ACK, ack=1, sack=[2001, 9001])
    out += peer.send(ACK, ack=1001, sack=[2001, 10001])
    repeats = [seen for seen in out if seen.seq < 10001]
    news = [seen for seen in out if seen.seq >= 10001]
    assert repeats
    assert {(codepoint(seen), marks(seen.segment)) for seen in repeats} == {(NOT_ECT, "")}
    assert marks(news[0].segment) == "W"


@pytest.mark.parametrize(("flags", "is_taken_back"), [(0, True), (ECE, False)])
def test_a_false_alarm_gives_the_window_back_unless_there_was_a_mark_as_well(flags: int, is_taken_back: bool) -> None:
    peer = asked_peer()
    agreed(peer, sack_permitted=True)
    peer.write(b"x" * 10000)
    repeats = peer.send(ACK | flags, ack=1, sack=[1001, 5001])
    assert repeats[0].text == b"x" * 1000
    peer.send(ACK, ack=10001, sack=[1, 1001])  # the original and the repeat both arrived
    assert peer.connection.ca_state == CA_OPEN
    assert (peer.connection.cwnd_bytes >= 10000) is is_taken_back
    (text,) = peer.write(b"y" * 100)
    assert marks(text.segment) == ("" if is_taken_back else "W")


@pytest.mark.parametrize(("control", "has_abe", "share"), [
    ("reno", False, 0.5), ("reno", True, 0.8), ("cubic", False, 0.7), ("cubic", True, 0.85),
])
def test_marks_cost_as_much_as_losses_unless_abe_is_on(control: str, has_abe: bool, share: float) -> None:
    peer = Peer()
    peer.config.tcp_ecn = 1
    peer.config.tcp_abe = has_abe
    peer.config.tcp_congestion_control = control
    peer.connect()
    agreed(peer)
    peer.write(b"x" * 40000)
    base = 9000 if control == "reno" else 10000  # Reno goes by the flight, CUBIC by the window
    peer.send(ACK | ECE, ack=1001)
    assert peer.connection.ssthresh_bytes == int(base * share)


# --- super-segments


def test_cwr_stays_on_the_first_piece_of_a_super_segment_only() -> None:
    pair = Pair(segment_bytes_max=65535)
    pair.a.config.tcp_ecn = 1
    pair.a.config.tcp_min_tso_segs = 7
    client, _server = pair.established()
    assert client.ecn is not None
    client.ecn.is_cwr_due = True
    client.cwnd_bytes = 100_000
    since = len(pair.passed)
    pair.write(client, b"x" * 10000)
    (whole,) = [p for p in pair.passed[since:] if p.sender == "a"]
    assert marks(whole.segment) == "W"
    pieces = [parse(ip.parse(piece, 0), False) for piece in split(whole.data, client.snd_mss())]
    assert [marks(piece) for piece in pieces] == ["W"] + [""] * (len(pieces) - 1)
    assert {piece.tos for piece in pieces} == {ECT0}


def test_a_super_segment_is_cut_so_that_its_options_fit_too() -> None:
    peer = Peer(segment_bytes_max=65535)
    peer.accept(sack=True, timestamps=True)
    peer.text(b"x" * 10, seq=101)
    (whole, *_) = peer.write(b"y" * 10000)
    assert len(whole.sack) == 2
    assert 0 < whole.segment_bytes <= 1460 - options_length(whole.segment)


# --- both ends together


@pytest.mark.parametrize("is_v6", [False, True])
def test_two_ends_agree_and_marks_come_back_without_a_loss(is_v6: bool) -> None:
    pair = Pair(is_v6=is_v6, delay_ns=5 * MS)
    pair.a.config.tcp_ecn = 1
    client, server = pair.established()
    assert client.has_ecn
    assert server.has_ecn
    pair.write(client, b"x" * 14000)
    pair.run_for(SECOND)
    assert pair.read(server) == b"x" * 14000
    assert troubles_of(client).segments_retransmitted == 0
    assert "ecn-seen" in server.info(pair.now_ns).options
    assert client.delivered_ce == 0


# --- exact echoes, RFC 8257 section 3.2


def exact(peer: Peer) -> Connection:
    assert peer.connection.ecn is not None
    peer.connection.ecn.is_needed = True
    peer.connection.quick_acks = 0
    return peer.connection


def test_where_marks_begin_what_came_before_is_acknowledged_without_an_echo() -> None:
    peer = sender()
    exact(peer)
    assert peer.text(b"a" * 100, tos=ECT0) == []
    early, late = peer.text(b"b" * 100, tos=CE)
    assert (early.segment.ack - peer.iss, marks(early.segment)) == (101, "")
    assert (late.segment.ack - peer.iss, marks(late.segment)) == (201, "E")


def test_where_marks_end_what_came_before_is_acknowledged_with_an_echo() -> None:
    peer = sender()
    exact(peer)
    peer.text(b"a" * 100, tos=CE)
    assert peer.text(b"b" * 100, tos=CE) == []
    early, late = peer.text(b"c" * 100, tos=ECT0)
    assert (early.segment.ack - peer.iss, marks(early.segment)) == (201, "E")
    assert (late.segment.ack - peer.iss, marks(late.segment)) == (301, "")


def test_exact_echoes_don_t_wait_for_cwr_and_keep_the_window_where_it_was() -> None:
    peer = sender()
    exact(peer)
    peer.text(b"a" * 100, tos=CE)
    answers = peer.text(b"b" * 100, tos=ECT0)
    assert [marks(seen.segment) for seen in answers] == [""]
    assert peer.text(b"c" * 100, tos=ECT0) == []
    early, late = peer.text(b"d" * 100, tos=CE)
    edges = [seen.segment.ack + (seen.wnd << peer.connection.rcv_wscale) for seen in (early, late)]
    assert edges[0] == edges[1]


# --- counters


def test_arriving_packets_are_counted_by_codepoint() -> None:
    host = Engine("h", bytes(16))
    interface = host.add_interface("eth0")
    for tos in (0, 1, 2, 2, 3, 3, 3):
        for address in (b"\x0a\0\0", b"\xfd" + bytes(14)):
            packet = ip.emit(address + b"\x09", address + b"\x01", ip.UDP, bytes(8), 64, tos)
            host.on_frame(interface.index, packet, 1)
    counted = host.context.counters.as_dict()
    for kind in ("IpExt", "Ip6"):
        names = [f"{kind}In{name}Pkts" for name in ("NoECT", "ECT1", "ECT0", "CE")]
        assert [counted[name] for name in names] == [1, 1, 2, 3]


def test_fin_with_text_is_ecn_capable() -> None:
    peer = sender()
    peer.connection.write(b"bye", peer.now_ns)
    (last,) = peer.shutdown()
    assert last.segment.flags & FIN
    assert codepoint(last) == ECT0
