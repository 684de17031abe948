"""What goes wrong on networks, by name: each with what a program sees of it, when, and what TCP counted.

Two hosts, one link of 100 Mbit/s and 10 ms each way with a queue that never fills, unless the scenario says otherwise.
Programs are ordinary; rules of the link pick the victims. All data arrives byte-exact, or the test fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.gigabyte import move
from estab._build import core_kind
from estab.lab.network import Network
from estab.wire import ip, tcp
from estab.wire.tcp import ACK, FIN, SYN, Segment

RTT = 0.02
PATTERN = bytes(range(251)) * 4


def text(size: int, start: int = 0) -> bytes:
    """Bytes whose place can be told from their value."""
    first = start % len(PATTERN)
    return (PATTERN * (size // len(PATTERN) + 2))[first : first + size]


@dataclass
class Outcome:
    """What a transfer was like."""

    net: Network
    connected: float = 0.0
    accepted: float = 0.0
    finished: float = 0.0
    """When the receiver had read the end of the stream."""
    closed: float = 0.0
    """When the sender heard that the receiver had closed."""
    client: dict[str, int] = field(default_factory=dict)
    server: dict[str, int] = field(default_factory=dict)


class Victims:
    """A rule: drops the segments from ``sender`` that ``is_victim`` picks, ``count`` of them at most."""

    def __init__(self, sender: str, is_victim: Callable[[Segment], bool], count: int = 1) -> None:
        self.sender = sender
        self.is_victim = is_victim
        self.left = count
        self.dropped = 0

    def __call__(self, sender: str, frame: bytes) -> bool:
        if sender != self.sender or self.left == 0:
            return False
        if not self.is_victim(tcp.parse(ip.parse(frame, 0), True)):
            return False
        self.left -= 1
        self.dropped += 1
        return True


class Numbered:
    """Counts segments with text, first transmissions only, and picks by number (from 1)."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.seen: dict[int, int] = {}

    def __call__(self, segment: Segment) -> bool:
        if segment.end == segment.start:
            return False
        seq = int(segment.seq)
        is_new = seq not in self.seen
        number = self.seen.setdefault(seq, len(self.seen) + 1)
        return is_new and number in self.numbers


def has_text(segment: Segment) -> bool:
    return segment.end > segment.start


def is_syn(segment: Segment) -> bool:
    return segment.flags & (SYN | ACK) == SYN


def is_syn_ack(segment: Segment) -> bool:
    return segment.flags & (SYN | ACK) == SYN | ACK


def is_fin(segment: Segment) -> bool:
    return segment.flags & FIN != 0


def is_bare_ack(segment: Segment) -> bool:
    return segment.flags == ACK and segment.end == segment.start


def transfer(
    size: int, *rules: Victims, link: dict[str, Any] | None = None, config: dict[str, Any] | None = None,
    actions: Callable[[Network, Any], None] | None = None,
) -> Outcome:
    """Send ``size`` bytes from client to server, close, and wait for the server's end of stream."""
    config = config or {}
    net = Network(seed=3)
    server, client = net.host("server", **config), net.host("client", **config)
    properties: dict[str, Any] = {"delay": "10ms", "rate": "100Mbit", "queue": "16MiB"}
    cable = net.link(client, server, **(properties | (link or {})))
    for rule in rules:
        cable.rule(rule)
    if actions is not None:
        actions(net, cable)
    outcome = Outcome(net)

    @server.run
    def serve() -> str:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        outcome.accepted = time.monotonic()
        digest = hashlib.sha256()
        with connection:
            while data := connection.recv(1 << 20):
                digest.update(data)
            outcome.finished = time.monotonic()
        return digest.hexdigest()

    @client.run
    def send() -> None:
        with socket.create_connection(("server", 80)) as connection:
            outcome.connected = time.monotonic()
            connection.sendall(text(size))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            outcome.closed = time.monotonic()

    net.run()
    net.close()
    assert serve.result() == hashlib.sha256(text(size)).hexdigest()
    assert all(rule.left == 0 for rule in rules), "the rule found no victim"
    outcome.client, outcome.server = client.counters(), server.counters()
    return outcome


def count(counters: dict[str, int], name: str) -> int:
    return counters.get(name, 0)


# --- opening


def test_a_lost_syn_costs_the_initial_timeout() -> None:
    outcome = transfer(1000, Victims("client", is_syn))
    assert outcome.connected == pytest.approx(1 + RTT, abs=0.001)
    assert count(outcome.client, "TcpExtTCPSynRetrans") == 1


def test_two_lost_syns_cost_one_and_two_seconds() -> None:
    outcome = transfer(1000, Victims("client", is_syn, 2))
    assert outcome.connected == pytest.approx(3 + RTT, abs=0.001)


def test_a_lost_syn_ack_is_sent_again_and_both_queues_stay_right() -> None:
    outcome = transfer(1000, Victims("server", is_syn_ack))
    assert outcome.connected == pytest.approx(1 + RTT, abs=0.05)
    assert count(outcome.server, "TcpPassiveOpens") == 1


def test_a_lost_third_ack_does_not_matter_when_data_follows() -> None:
    outcome = transfer(1000, Victims("client", is_bare_ack))
    assert outcome.connected == pytest.approx(RTT, abs=0.001)
    assert outcome.accepted == pytest.approx(1.5 * RTT, abs=0.001)
    assert count(outcome.server, "TcpRetransSegs") == 0


def test_a_lost_third_ack_without_data_is_asked_for_by_the_syn_ack_sent_again() -> None:
    net = Network(seed=3)
    server, client = net.host("server"), net.host("client")
    net.link(client, server, delay="10ms").rule(Victims("client", is_bare_ack))

    @server.run
    def serve() -> float:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            connection.sendall(b"hello")
        return time.monotonic()

    @client.run
    def listen() -> bytes:
        with socket.create_connection(("server", 80)) as connection:
            return connection.recv(5)

    net.run()
    net.close()
    assert listen.result() == b"hello"
    assert serve.result() == pytest.approx(1 + 1.5 * RTT, abs=0.01)


# --- closing


def test_a_lost_fin_is_sent_again() -> None:
    outcome = transfer(1000, Victims("client", is_fin))
    assert outcome.finished < 0.5
    assert count(outcome.client, "TcpRetransSegs") >= 1


def test_a_lost_last_ack_is_given_again_out_of_time_wait() -> None:
    fins: list[float] = []
    outcome_net: list[Network] = []

    def is_last_ack(segment: Segment) -> bool:
        return bool(fins) and is_bare_ack(segment)

    class SeesFin(Victims):
        def __call__(self, sender: str, frame: bytes) -> bool:
            segment = tcp.parse(ip.parse(frame, 0), True)
            if sender == "server" and is_fin(segment):
                fins.append(outcome_net[0].now)
            return super().__call__(sender, frame)

    outcome = transfer(1000, SeesFin("client", is_last_ack), actions=lambda net, cable: outcome_net.append(net))
    assert len(fins) == 2, "the passive side repeats its FIN once, and the record in TIME-WAIT answers"
    assert count(outcome.server, "TcpRetransSegs") == 1
    assert count(outcome.server, "TcpExtTCPAbortOnTimeout") == 0


# --- loss


def test_a_fin_beyond_the_gap_tells_of_lost_text_as_text_would() -> None:
    """The FIN is SACKed, so that what was sent before it is late within a round trip, not after a timeout."""
    outcome = transfer(10 * 1448, Victims("client", Numbered(10)))
    assert count(outcome.client, "TcpExtTCPLossProbes") == 0
    assert outcome.finished < 3 * RTT


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_tail_is_found_by_a_probe_before_the_timeout(lost: int) -> None:
    segments = 10
    is_of_the_tail = Numbered(*range(segments - lost + 1, segments + 1))
    outcome = transfer(segments * 1448, Victims("client", lambda s: is_of_the_tail(s) or is_fin(s), lost + 1))
    assert count(outcome.client, "TcpExtTCPLossProbes") >= 1
    assert count(outcome.client, "TcpExtTCPTimeouts") == 0
    assert outcome.finished < 0.2


def test_a_lost_retransmission_is_found_by_time_not_by_timeout() -> None:
    """RACK sees that what was sent after it has arrived (RFC 8985 section 1)."""
    first: list[int] = []

    def is_twice_unlucky(segment: Segment) -> bool:
        if not has_text(segment):
            return False
        first.append(int(segment.seq))
        return segment.seq == first[20] if len(first) > 20 else False

    outcome = transfer(400_000, Victims("client", is_twice_unlucky, 2))
    assert count(outcome.client, "TcpRetransSegs") == 2
    assert count(outcome.client, "TcpExtTCPTimeouts") == 0
    assert count(outcome.client, "TcpExtTCPLostRetransmit") == 1


def test_a_burst_of_forty_lost_segments_is_repaired_without_a_timeout() -> None:
    outcome = transfer(600_000, Victims("client", Numbered(*range(60, 100)), 40))
    assert count(outcome.client, "TcpRetransSegs") == 40
    assert count(outcome.client, "TcpExtTCPTimeouts") == 0


def test_thirty_percent_of_acknowledgments_lost_cost_next_to_nothing() -> None:
    def actions(net: Network, cable: Any) -> None:
        net.at("30ms", lambda: cable.set(loss={"server": "30%"}))

    clean = transfer(2_000_000)
    lossy = transfer(2_000_000, actions=actions)
    assert count(lossy.client, "TcpRetransSegs") <= 2
    assert lossy.finished < 1.25 * clean.finished


def test_every_segment_twice_changes_nothing_but_the_count() -> None:
    outcome = transfer(500_000, link={"duplicate": "100%"})
    assert count(outcome.client, "TcpRetransSegs") == 0
    assert count(outcome.client, "TcpExtTCPTimeouts") == 0


# --- order and time


def hold_back(cable: Any, client: Any, number: int, later: int) -> None:
    """Take the text segment ``number`` out and put it back behind ``later`` others."""
    held: list[bytes] = []
    passed = 0
    pick = Numbered(number)

    def rule(sender: str, frame: bytes) -> bool:
        nonlocal passed
        if sender != "client" or passed > later:
            return False
        segment = tcp.parse(ip.parse(frame, 0), True)
        if not held and pick(segment):
            held.append(frame)
            return True
        if held and has_text(segment):
            passed += 1
            if passed > later:
                cable.inject(client, held[0])  # ahead of this one, which is on its way to the link
        return False

    cable.rule(rule)


@pytest.mark.parametrize("later", [2, 3, 300])
def test_reordering_is_survived_and_a_false_alarm_taken_back(later: int) -> None:
    """Three places late are the classic threshold (RFC 8985 section 6.2, step 4): sent again, and then undone."""

    def actions(net: Network, cable: Any) -> None:
        for number in (400, 800, 1200):
            hold_back(cable, net.hosts["client"], number, later)

    outcome = transfer(4_000_000, actions=actions)
    clean = transfer(4_000_000)
    assert count(outcome.client, "TcpExtTCPTimeouts") == 0
    assert count(outcome.client, "TcpRetransSegs") <= (0 if later == 2 else 3)
    assert outcome.finished < (1.05 if later < 300 else 1.3) * clean.finished


def test_the_round_trip_may_grow_tenfold_and_shrink_again() -> None:
    def actions(net: Network, cable: Any) -> None:
        net.at("0.3s", lambda: cable.set(delay="100ms"))
        net.at("2s", lambda: cable.set(delay="10ms"))

    outcome = transfer(20_000_000, actions=actions)
    assert outcome.finished < 5
    assert count(outcome.client, "TcpExtTCPTimeouts") <= 1, "the timeout grows with what is measured"


def test_a_spurious_timeout_is_recognised_and_taken_back() -> None:
    """Everything is late by a second, nothing is lost: F-RTO or Eifel see it (RFC 5682, RFC 4015)."""
    late: list[bytes] = []

    def actions(net: Network, cable: Any) -> None:
        def rule(sender: str, frame: bytes) -> bool:
            if not 0.2 <= net.now < 1.2 or frame in late:
                return False
            late.append(frame)
            net.at(net.now + 1, cable.inject, net.hosts[sender], frame)
            return True

        cable.rule(rule)

    outcome = transfer(20_000_000, actions=actions)
    timeouts = count(outcome.client, "TcpExtTCPTimeouts")
    assert timeouts >= 1
    undone = sum(count(outcome.client, f"TcpExt{name}") for name in ("TCPSpuriousRTOs", "TCPFullUndo", "TCPLossUndo",
                                                                    "TCPDSACKUndo", "TCPPartialUndo"))
    assert undone >= 1
    assert count(outcome.client, "TcpRetransSegs") < 100, "what was in flight is not all sent again"


# --- slow receivers


def test_a_window_shut_for_an_hour_is_probed_and_opens_again() -> None:
    net = Network(seed=3)
    server, client = net.host("server"), net.host("client")
    net.link(client, server, delay="10ms", rate="100Mbit")
    size = 10_000_000

    @server.run
    def serve() -> str:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            time.sleep(3600)
            digest = hashlib.sha256()
            while data := connection.recv(1 << 20):
                digest.update(data)
        return digest.hexdigest()

    @client.run
    def send() -> float:
        with socket.create_connection(("server", 80)) as connection:
            connection.sendall(text(size))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            return time.monotonic()

    net.run()
    net.close()
    assert serve.result() == hashlib.sha256(text(size)).hexdigest()
    assert 3600 < send.result() < 3604
    probes = count(client.counters(), "TcpExtTCPWinProbe")
    assert 3600 / 120 <= probes <= 3600 / 120 + 15, "backed off to the two minutes between probes"


def test_a_reader_of_one_byte_a_second_gets_no_silly_segments() -> None:
    net = Network(seed=3)
    server, client = net.host("server"), net.host("client")
    cable = net.link(client, server, delay="10ms")
    sizes: list[int] = []

    def rule(sender: str, frame: bytes) -> bool:
        segment = tcp.parse(ip.parse(frame, 0), True)
        if sender == "client" and has_text(segment):
            sizes.append(segment.end - segment.start)
        return False

    cable.rule(rule)
    seconds = 3000

    @server.run
    def serve() -> bytes:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2000)
            listener.bind(("", 80))
            listener.listen()
            connection, _ = listener.accept()
        with connection:
            got = bytearray()
            for _ in range(seconds):
                time.sleep(1)
                got += connection.recv(1)
            return bytes(got)

    @client.run
    def send() -> None:
        with socket.create_connection(("server", 80)) as connection:
            for start in range(0, 8000, 1000):
                connection.sendall(text(1000, start))
            connection.settimeout(2 * seconds)
            with contextlib.suppress(ConnectionResetError):
                connection.recv(1)

    net.run()
    net.close()
    assert serve.result() == text(seconds)
    assert len(sizes) < 40, sizes
    assert min(sizes) >= 100, "RFC 9293 section 3.8.6.2: no window is offered, and no segment sent, that small"


# --- all at once


@pytest.mark.slow
@pytest.mark.parametrize("control", ["cubic", "bbr"])
def test_a_link_that_loses_doubles_reorders_and_damages_brings_every_byte(control: str) -> None:
    """The gigabyte of ``bench/gigabyte.py``, a part of it: 64 MB compiled, 4 MB interpreted."""
    moved = move(64_000_000 if core_kind() == "compiled" else 4_000_000, control=control)
    assert moved.is_exact
    assert moved.retransmitted > 0.02 * moved.size_bytes / 1448
