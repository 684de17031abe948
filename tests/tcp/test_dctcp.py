"""DCTCP (RFC 8257): the estimate of congestion, and what it does to the window."""

from __future__ import annotations

import pytest

from estab.tcp.congestion.dctcp import Dctcp
from estab.tcp.record.ecn_state import CE, CLASSIC, ECT0, NOT_ECT, Ecn
from estab.tcp.record.tcb import CA_CWR, CA_RECOVERY
from estab.wire.tcp import CWR, ECE
from tests.kit.pair import ACK, SYN
from tests.kit.peer import Peer


class OneFlow:
    """A flow with a segment size of 1000 and 20 segments of window, all of them out."""

    def __init__(self) -> None:
        demux = Peer().demux
        self.flow = demux.unopened(demux.new_options())
        self.control = Dctcp()
        self.flow.mss_base = 1000
        self.flow.cwnd_bytes = 20_000
        self.flow.snd_nxt = self.flow.snd_una + 20_000
        self.flow.has_ecn = True
        self.ecn = self.flow.ecn = Ecn(CLASSIC)
        self.control.start(self.flow, 0)

    def window(self, segments: int, marked: int) -> None:
        """Let a window of text be acknowledged, some of it marked."""
        flow = self.flow
        flow.delivered_segments += segments
        self.ecn.delivered_ce += marked
        flow.snd_una = flow.snd_nxt
        flow.snd_nxt += segments * 1000
        self.control.on_feedback(flow, 0)

    def reduced(self) -> int:
        return int(self.control.ssthresh_for_mark(self.flow, False, 0))


def test_section_3_3_alpha_begins_with_one_and_the_first_mark_halves() -> None:
    one = OneFlow()
    control = one.control
    assert control.alpha == 1024
    assert one.reduced() == 10_000


def test_section_3_3_alpha_is_an_average_with_a_weight_of_a_sixteenth() -> None:
    one = OneFlow()
    control = one.control
    one.window(20, 0)
    assert control.alpha == 1024 - 64
    one.window(20, 5)
    assert control.alpha == 960 - 60 + 5 * 64 // 20
    for _ in range(300):
        one.window(20, 5)
    assert abs(control.alpha - 256) <= 16  # a quarter was marked


def test_alpha_goes_to_zero_without_marks_and_to_one_with_all() -> None:
    one = OneFlow()
    control = one.control
    for _ in range(300):
        one.window(20, 0)
    assert control.alpha == 0
    assert one.reduced() == 20_000
    for _ in range(300):
        one.window(20, 20)
    assert control.alpha > 1000


def test_the_estimate_moves_once_a_window() -> None:
    one = OneFlow()
    control = one.control
    one.window(20, 0)
    alpha = control.alpha
    one.flow.snd_una = one.flow.snd_nxt - 1  # not all of it
    one.flow.delivered_segments += 19
    one.ecn.delivered_ce += 19
    control.on_feedback(one.flow, 0)
    assert control.alpha == alpha


def test_section_3_3_the_window_goes_down_by_half_of_alpha() -> None:
    one = OneFlow()
    control = one.control
    control.alpha = 256
    assert one.reduced() == 20_000 - 2_500
    one.flow.cwnd_bytes = 2_000
    assert one.reduced() == 2_000


def test_section_3_4_a_loss_halves_as_with_reno() -> None:
    one = OneFlow()
    control = one.control
    control.alpha = 16
    assert control.ssthresh(one.flow, 0) == 10_000


def test_without_ecn_it_is_reno() -> None:
    one = OneFlow()
    control = one.control
    one.flow.has_ecn = False
    control.alpha = 0
    assert one.reduced() == 10_000


def test_each_flow_has_its_own_estimate() -> None:
    control = Dctcp()
    assert control.for_flow() is not control.for_flow()


# --- in the engine


def connected(tcp_ecn: int = 2) -> Peer:
    peer = Peer()
    peer.config.tcp_congestion_control = "dctcp"
    peer.config.tcp_ecn = tcp_ecn
    (syn,) = peer.connect()
    assert syn.segment.flags & (CWR | ECE) == CWR | ECE
    assert syn.segment.tos & 3 == ECT0
    peer.send(SYN | ACK | ECE, seq=0, ack=1, mss=1000, sack_permitted=True)
    peer.seen.clear()
    return peer


@pytest.mark.parametrize("tcp_ecn", [0, 2, 5])
def test_dctcp_asks_for_ecn_whatever_tcp_ecn_says(tcp_ecn: int) -> None:
    assert connected(tcp_ecn).connection.has_ecn


def test_a_listener_with_dctcp_takes_a_syn_that_is_ecn_capable_itself() -> None:
    peer = Peer()
    peer.config.tcp_congestion_control = "dctcp"
    peer.config.tcp_ecn = 0
    peer.listen()
    (answer,) = peer.send(SYN | CWR | ECE, seq=0, ack=0, mss=1000, tos=ECT0)
    assert (answer.segment.flags & (CWR | ECE), answer.segment.tos & 3) == (ECE, ECT0)


def test_section_3_all_packets_are_ecn_capable() -> None:
    peer = connected()
    (text,) = peer.write(b"x" * 100)
    (ack,) = peer.text(b"y" * 100, tos=ECT0)
    assert {seen.segment.tos & 3 for seen in (text, ack)} == {ECT0}


def test_marks_reduce_once_a_window_by_alpha() -> None:
    peer = connected()
    connection = peer.connection
    control = connection.control(peer.now_ns)
    assert isinstance(control, Dctcp)
    peer.write(b"x" * 39_000)
    control.alpha = 512
    peer.send(ACK | ECE, ack=1001)
    assert connection.ca_state == CA_CWR
    # The estimate of the first window is averaged in before the reduction.
    assert connection.ssthresh_bytes == 10_000 - 10_000 * control.alpha // 2048
    assert control.alpha == 512 - 32 + 64
    for place in range(2, 11):
        peer.send(ACK | ECE, ack=place * 1000 + 1)
    assert connection.ssthresh_bytes == 10_000 - 10_000 * 544 // 2048


def test_a_loss_halves_the_window_of_a_connection() -> None:
    peer = connected()
    out = peer.write(b"y" * 10_000)
    peer.send(ACK, ack=1, sack=[out[1].seq, out[-1].end])
    assert peer.connection.ca_state == CA_RECOVERY
    assert peer.connection.ssthresh_bytes == 5_000


def test_a_host_that_took_over_from_another_control_echoes_exactly_from_then_on() -> None:
    peer = Peer()
    peer.config.tcp_ecn = 1
    peer.connect()
    peer.send(SYN | ACK | ECE, seq=0, ack=1, mss=1000)
    peer.connection.set_congestion(Dctcp(), peer.now_ns)
    peer.connection.quick_acks = 0
    peer.text(b"a" * 100, tos=CE)
    (answer,) = peer.text(b"b" * 100, tos=NOT_ECT)
    assert answer.segment.flags & ECE == 0
