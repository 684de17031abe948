"""Damaged segments for a connection in every state: only counted drops come of them, and all that must hold holds.

Two kinds: segments whose header says anything at all but whose checksum is right, and packets with bytes changed, cut
off or added. Numbers are mostly drawn near where they matter.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from estab import abi
from estab.errors import WireError
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.connection import Connection
from estab.tcp.context import Owner
from estab.tcp.listening.listener import HalfOpen
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire import ip
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, parse
from tests.kit.invariants import check_connection, check_demux, check_quiet
from tests.kit.peer import Peer

IS_CI = os.environ.get("ESTAB_CI", "") not in ("", "0")
SEEDS = range(60 if IS_CI else 3)
SEGMENTS = 150


def closed(peer: Peer) -> None:
    """Nobody is there."""


def listen(peer: Peer) -> None:
    """Somebody listens."""
    peer.listen(backlog=5)


def cookies(peer: Peer) -> None:
    """Somebody listens and remembers nothing."""
    peer.config.tcp_syncookies = "always"
    peer.listen(backlog=5)
    peer.syn(timestamps=True, sack=True, wscale=7)


def half_open(peer: Peer) -> None:
    """A handshake is under way."""
    peer.listen(backlog=5)
    peer.syn(timestamps=True, sack=True, wscale=7)


def syn_sent(peer: Peer) -> None:
    """Our SYN is out."""
    peer.connect()


def syn_received(peer: Peer) -> None:
    """Both SYNs crossed."""
    peer.connect()
    peer.send(SYN, seq=0, mss=1460, sack_permitted=True)


def established(peer: Peer) -> None:
    """Nothing is under way."""
    peer.accept(timestamps=True, sack=True, wscale=7)


def plain(peer: Peer) -> None:
    """No options, a small buffer, and a shut window."""
    peer.accept(receive_buffer_bytes=4096, is_receive_buffer_fixed=True, wnd_ack=0)
    peer.connection.write(b"x" * 5000, peer.now_ns)
    peer.touch()


def busy(peer: Peer) -> None:
    """Text is in flight, more waits, and there is a gap in what came."""
    peer.accept(timestamps=True, sack=True, wscale=2, wnd=6000, keepalive=True)
    peer.write(b"x" * 15_000)
    peer.send(ACK, seq=500, data=b"ahead", ack=1, wnd=6000)
    peer.send(ACK, ack=1, sack=[1449, 2897], wnd=6000)


def recovering(peer: Peer) -> None:
    """A loss is being repaired."""
    peer.accept(timestamps=True, sack=True)
    peer.write(b"x" * 15_000)
    for n in range(3):
        peer.send(ACK, ack=1, sack=[1449, 1449 + 1448 * (n + 2)])


def timed_out(peer: Peer) -> None:
    """Everything in flight is taken to be lost."""
    peer.accept()
    peer.write(b"x" * 15_000)
    peer.wait(SECOND)


def super_segments(peer: Peer) -> None:
    """Super-segments are in flight."""
    peer.side.paths.super_bytes = 20_000
    peer.accept(sack=True)
    peer.write(b"x" * 15_000)


def fin_wait_1(peer: Peer) -> None:
    """Our FIN is out, behind text."""
    busy(peer)
    peer.shutdown()


def fin_wait_2(peer: Peer) -> None:
    """Our FIN is acknowledged."""
    established(peer)
    peer.shutdown()
    peer.send(ACK)


def orphan(peer: Peer) -> None:
    """Our FIN is acknowledged and the program gone."""
    established(peer)
    peer.close()
    peer.send(ACK)


def close_wait(peer: Peer) -> None:
    """The peer's FIN came."""
    established(peer)
    peer.write(b"x" * 3000)
    peer.send(ACK | FIN, data=b"end", ack=1)


def closing(peer: Peer) -> None:
    """Both FINs crossed."""
    established(peer)
    peer.shutdown()
    peer.send(ACK | FIN, ack=1)


def last_ack(peer: Peer) -> None:
    """Both FINs are out and ours is not acknowledged."""
    close_wait(peer)
    peer.read()
    peer.shutdown()


def time_wait(peer: Peer) -> None:
    """All is said."""
    established(peer)
    peer.close()
    peer.send(ACK | FIN)


def time_wait_held(peer: Peer) -> None:
    """All is said, and the program still has the socket."""
    established(peer)
    peer.shutdown()
    peer.send(ACK | FIN, data=b"unread")


STATES: list[tuple[Callable[[Peer], None], object]] = [
    (closed, None), (listen, None), (cookies, None), (half_open, HalfOpen), (syn_sent, State.SYN_SENT),
    (syn_received, State.SYN_RECEIVED), (established, State.ESTABLISHED), (plain, State.ESTABLISHED),
    (busy, State.ESTABLISHED), (recovering, State.ESTABLISHED), (timed_out, State.ESTABLISHED),
    (super_segments, State.ESTABLISHED), (fin_wait_1, State.FIN_WAIT_1), (fin_wait_2, State.FIN_WAIT_2),
    (orphan, State.FIN_WAIT_2), (close_wait, State.CLOSE_WAIT), (closing, State.CLOSING), (last_ack, State.LAST_ACK),
    (time_wait, TimeWait), (time_wait_held, TimeWait),
]
every_state = pytest.mark.parametrize(("arrange", "expected"), STATES, ids=[s[0].__name__ for s in STATES])
every_seed = pytest.mark.parametrize("seed", SEEDS)


def arranged(arrange: Callable[[Peer], None], expected: object, is_v6: bool) -> Peer:
    """Bring an engine into a state."""
    peer = Peer(is_v6=is_v6)
    arrange(peer)
    endpoint = peer.endpoint()
    if isinstance(expected, State):
        assert isinstance(endpoint, Connection)
        assert endpoint.state == expected
    elif expected is not None:
        assert type(endpoint) is expected
    return peer


def near(chance: random.Random, places: list[int]) -> int:
    """Draw a number near one of the places that matter, or any."""
    if chance.random() < 0.1:
        return chance.getrandbits(32)
    away = [0, 0, 0, 1, -1, 2, 100, -100, 1448, 5000, -5000, 65_535, 1 << 20, 1 << 31]
    return chance.choice(places) + chance.choice(away)


def edges(peer: Peer) -> tuple[list[int], list[int]]:
    """Give the places that matter now, relative: what the engine expects, and what it sent."""
    endpoint = peer.endpoint()
    if not isinstance(endpoint, Connection):
        return [0, peer.seq], [0, peer.ack]
    expects = [int(endpoint.rcv_nxt) - peer.iss, int(endpoint.rcv_adv) - peer.iss, 0, 1]
    sent = [int(endpoint.snd_una - endpoint.iss), int(endpoint.snd_nxt - endpoint.iss), 0, 1]
    return expects, sent


FLAGS = [ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, ACK | URG, 0, FIN, ACK | FIN | URG | PSH, SYN | FIN]


def draw_segment(chance: random.Random, peer: Peer) -> bytes:
    """Make a segment with a right checksum and a header that says anything."""
    expects, sent = edges(peer)
    fields: dict[str, object] = {}
    option = chance.random()
    if option < 0.2:
        fields["sack"] = [near(chance, sent) for _ in range(2 * chance.randint(1, 2))]
    elif option < 0.3:
        fields["mss"] = chance.choice([0, 1, 48, 536, 1460, 65_535])
        fields["wscale"] = chance.randint(0, 14)
        fields["sack_permitted"] = chance.random() < 0.5
    elif option < 0.35:
        fields["unknown"] = [(chance.randint(60, 250), chance.randbytes(chance.randint(0, 4)))]
    peer.has_timestamps = chance.random() < 0.7
    return peer.packet(
        chance.choice(FLAGS) if chance.random() < 0.9 else chance.getrandbits(9),
        seq=near(chance, expects), ack=near(chance, sent), wnd=chance.choice([0, 1, 100, 1000, 5000, 65_535]),
        data=b"" if chance.random() < 0.5 else bytes(chance.choice([1, 3, 100, 1448, 4000])),
        urg=chance.choice([0, 0, 1, 5, 65_535]),
        ts_val=None if chance.random() < 0.7 else near(chance, [peer.ts_now()]),
        ts_ecr=None if chance.random() < 0.7 else chance.getrandbits(32),
        **fields,
    )


def damage(chance: random.Random, packet: bytes) -> bytes:
    """Change, cut off or add bytes."""
    raw = bytearray(packet)
    for _ in range(chance.randint(1, 4)):
        what = chance.randrange(4)
        at = chance.randrange(len(raw)) if raw else 0
        if what == 0 and raw:
            raw[at] ^= 1 << chance.randrange(8)
        elif what == 1 and raw:
            raw[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.getrandbits(8)])
        elif what == 2:
            del raw[at:]
        else:
            raw[at:at] = chance.randbytes(chance.randint(1, 20))
    return bytes(raw)


def program(chance: random.Random, peer: Peer) -> None:
    """Let the program do something now and then, and time pass."""
    endpoint = peer.endpoint()
    draw = chance.random()
    if draw < 0.1:
        peer.wait(chance.choice([1, 10 * MS, 300 * MS, 2 * SECOND]))
    elif draw < 0.2 and isinstance(endpoint, Connection):
        endpoint.read(chance.choice([1, 100, 100_000]), False, peer.now_ns)
        peer.demux.touch(endpoint)
    elif draw < 0.25 and isinstance(endpoint, Connection) and endpoint.state in (abi.ESTABLISHED, abi.CLOSE_WAIT):
        endpoint.take_error()
        endpoint.write(bytes(chance.choice([1, 2000])), peer.now_ns)
        peer.demux.touch(endpoint)
    elif draw < 0.3:
        for listeners in peer.demux.listeners.values():
            for listener in listeners:
                child = listener.accept()
                if child is not None:
                    child.owner = Owner()
    peer.flush()


def finish(peer: Peer) -> None:
    """End all by force; nothing may be left."""
    for listeners in list(peer.demux.listeners.values()):
        for listener in list(listeners):
            peer.demux.close_listener(listener)
    for endpoint in list(peer.demux.table.values()):
        if isinstance(endpoint, Connection):
            endpoint.abort()
            peer.demux.touch(endpoint)
    peer.flush()
    peer.wait(200 * SECOND)
    check_quiet(peer.demux, peer.counters)


@every_state
@every_seed
def test_segments_that_say_anything_cause_only_counted_drops(
    arrange: Callable[[Peer], None], expected: object, seed: int,
) -> None:
    chance = random.Random(f"{arrange.__name__} {seed}")
    peer = arranged(arrange, expected, is_v6=seed % 3 == 2)
    watched = getattr(peer, "connection", None)
    for _ in range(SEGMENTS):
        before = int(peer.counters.TcpInSegs)
        answers = peer.inject(draw_segment(chance, peer))
        assert peer.counters.TcpInSegs == before + 1
        assert len(answers) <= 70
        program(chance, peer)
        check_demux(peer.demux, peer.counters)
        if watched is not None:
            check_connection(watched)
        if expected is not None and not peer.demux.table and chance.random() < 0.5:
            peer = arranged(arrange, expected, is_v6=seed % 3 == 2)
            watched = getattr(peer, "connection", None)
    finish(peer)


@every_state
@every_seed
@pytest.mark.parametrize("is_checksum_known_good", [False, True])
def test_packets_with_damaged_bytes_cause_only_wire_errors_and_counted_drops(
    arrange: Callable[[Peer], None], expected: object, seed: int, is_checksum_known_good: bool,
) -> None:
    chance = random.Random(f"{arrange.__name__} {seed} {is_checksum_known_good}")
    peer = arranged(arrange, expected, is_v6=seed % 3 == 2)
    reached = 0
    for _ in range(SEGMENTS):
        raw = damage(chance, draw_segment(chance, peer))
        try:
            packet = ip.parse(raw, 0)
            if packet.protocol != ip.TCP or ip.is_fragment(packet):
                continue
            segment = parse(packet, is_checksum_known_good)
        except WireError as error:
            peer.side.context.drop(error.reason, "", error.detail)
            continue
        reached += 1
        peer.side.context.now_ns = peer.now_ns
        peer.demux.on_segment(packet, segment, peer.now_ns)
        peer.flush()
        program(chance, peer)
        check_demux(peer.demux, peer.counters)
    assert peer.counters.drops
    assert reached or not is_checksum_known_good
    finish(peer)


def test_an_undamaged_stream_gets_through_a_storm_of_forged_segments_from_outside_its_window() -> None:
    chance = random.Random(1)
    peer = Peer()
    peer.accept(timestamps=True, sack=True, wscale=7)
    c = peer.connection
    want, got = bytes(range(256)) * 40, b""
    at = 0
    while at < len(want):
        for _ in range(10):
            seq = (peer.seq + 5_000_000 + chance.getrandbits(31)) & 0xFFFFFFFF
            ack = (peer.ack + 5_000_000 + chance.getrandbits(31)) & 0xFFFFFFFF
            forged = peer.packet(
                chance.choice([ACK, RST, SYN, ACK | FIN, RST | ACK]), seq=seq, ack=ack, data=chance.randbytes(50),
                ts_val=chance.getrandbits(32),
            )
            peer.inject(forged)
        peer.text(want[at : at + 500], ack=int(c.snd_nxt - c.iss))
        at += 500
        got += peer.read()
    assert got == want
    assert c.state == State.ESTABLISHED
