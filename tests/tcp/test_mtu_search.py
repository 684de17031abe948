"""Packetization-layer path MTU discovery (RFC 4821, RFC 8899): when a probe goes, and what its fate does."""

from __future__ import annotations

from estab.units import MS, SECOND
from estab.wire.tcp import ACK, SYN
from tests.kit.peer import Peer, Seen, set_options

HEADERS = 40


def searching(probing: int = 2, peer_mss: int = 1460, **config: int) -> Peer:
    """A connection that was accepted, knows that 1000 bytes of text get through, and may send much."""
    peer = Peer()
    peer.config.tcp_mtu_probing = probing
    for name, value in config.items():
        setattr(peer.config, name, value)
    peer.accept(mss=peer_mss, sack=True, wscale=4, wnd_ack=65535)
    if probing == 2:
        search = peer.connection.mtu_search
        assert search is not None
        search.low = 1000 + HEADERS
        peer.connection.mss_base = 1000
    peer.connection.cwnd_bytes = 30_000
    set_options(peer.connection, nodelay=True)
    return peer


def sizes(sent: list[Seen]) -> list[int]:
    return [len(one.text) for one in sent]


def test_a_probe_is_half_way_and_only_one_is_under_way() -> None:
    peer = searching()
    assert sizes(peer.write(b"x" * 9230)) == [1230] + [1000] * 8
    peer.send(ACK, ack=9231)
    assert peer.connection.mss_base == 1230
    assert sizes(peer.write(b"x" * 9000))[:2] == [1345, 1230]  # (1500 + 1270) / 2 is 1385


def test_no_probe_without_enough_text_behind_it_to_show_its_loss() -> None:
    peer = searching()
    assert sizes(peer.write(b"x" * 5000)) == [1000] * 5  # 1230 and four segments are more


def test_no_probe_while_the_window_is_narrow_or_something_is_amiss() -> None:
    peer = searching()
    peer.connection.cwnd_bytes = 10_000
    assert sizes(peer.write(b"x" * 9000)) == [1000] * 9
    other = searching()
    other.send(ACK, seq=100, data=b"beyond a gap")
    assert max(sizes(other.write(b"x" * 9000))) < 1000


def test_a_probe_that_is_lost_is_repaired_in_pieces_and_costs_no_window() -> None:
    peer = searching()
    peer.write(b"x" * 9230)
    window = peer.connection.cwnd_bytes
    peer.now_ns += 50 * MS
    repaired = peer.send(ACK, ack=1, sack=[1231, 5231])
    assert [(one.seq, len(one.text)) for one in repaired] == [(1, 1000), (1001, 230)]
    search = peer.connection.mtu_search
    assert search is not None
    assert (search.high, search.probe_mtu) == (1269, 0)
    assert peer.connection.cwnd_bytes >= window
    assert peer.connection.mss_base == 1000
    assert (peer.counters.TcpExtTCPMTUPFail, peer.counters.TcpExtTCPMTUPSuccess) == (1, 0)
    peer.send(ACK, ack=9231)
    assert peer.connection.info(peer.now_ns).ca_state == "Open"


def test_a_probe_that_was_sent_again_tells_nothing() -> None:
    peer = searching()
    peer.write(b"x" * 9230)
    peer.wait(2 * SECOND)
    peer.send(ACK, ack=9231)
    assert (peer.counters.TcpExtTCPMTUPFail, peer.counters.TcpExtTCPMTUPSuccess) == (0, 0)
    assert peer.connection.mss_base == 1000


def test_a_search_that_has_ended_begins_again_after_tcp_probe_interval() -> None:
    peer = searching(tcp_probe_interval_ns=60 * SECOND, tcp_slow_start_after_idle=False)
    search = peer.connection.mtu_search
    assert search is not None
    search.high = search.low + 7
    assert sizes(peer.write(b"x" * 9000)) == [1000] * 9
    peer.send(ACK, ack=9001)
    peer.wait(61 * SECOND)
    sent = sizes(peer.write(b"x" * 9000))
    assert search.high == 1500
    assert sent[:2] == [1000, 1230]


def test_segments_that_time_out_again_and_again_become_smaller_with_1() -> None:
    peer = searching(1, tcp_base_mss=800, tcp_mtu_probe_floor=300)
    peer.write(b"x" * 1460)
    seen = []
    for _ in range(8):
        while not (sent := peer.wait(10 * MS)):
            pass
        seen.append(len(sent[0].text))
    assert sorted(seen, reverse=True) == seen
    assert seen[:3] == [1460, 1460, 1460]  # a tail loss probe, and tcp_retries1
    assert list(dict.fromkeys(seen)) == [1460, 800, 400, 300]


def test_segments_that_time_out_stay_as_they_are_with_0() -> None:
    peer = searching(0)
    peer.write(b"x" * 1460)
    assert {len(one.text) for one in peer.wait(60 * SECOND)} == {1460}


def test_who_connects_begins_with_tcp_base_mss() -> None:
    peer = Peer()
    peer.config.tcp_mtu_probing = 2
    peer.connect()
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460)
    assert peer.connection.info(peer.now_ns).snd_mss_bytes == 1024
