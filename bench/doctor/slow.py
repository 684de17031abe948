"""Why a connection is slow."""

from __future__ import annotations

import socket
import time

from bench.doctor.stage import (
    SENDER,
    Scenario,
    Stage,
    Void,
    exchange,
    kind,
    read_exactly,
    write_pieces,
)
from estab.errors import DropReason
from estab.events import (
    SegmentReceived,
    TimerFired,
)


@kind
def window(stage: Stage, seed: int) -> Scenario:
    """The receive buffer is too small for the path."""
    stage.pair(15, 80)
    buffer = stage.chance.choice([6_000, 12_000, 24_000, 40_000])
    stage.stream(stage.chance.randint(300_000, 700_000), receiver=[(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)])
    stage.run()
    return stage.done("window", seed, "window-limited")


@kind
def send_buffer(stage: Stage, seed: int) -> Scenario:
    """The send buffer is too small for the path."""
    stage.pair(15, 80)
    buffer = stage.chance.choice([4_000, 8_000, 16_000, 30_000])
    total, piece = stage.chance.randint(300_000, 700_000), stage.chance.choice([1000, 2000, 4096])
    stage.stream(0, write=lambda connection: write_pieces(connection, total, piece),
                 sender=[(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)])
    stage.run()
    return stage.done("send-buffer", seed, "send-buffer-limited")


@kind
def loss(stage: Stage, seed: int) -> Scenario:
    """The path loses segments."""
    stage.pair(4, 50, loss=f"{stage.chance.uniform(0.7, 5):.2f}%")
    stage.stream(stage.chance.randint(150_000, 600_000))
    stage.run()
    if stage.lost(DropReason.LINK_LOSS) < 2:
        raise Void
    return stage.done("loss", seed, "loss")


@kind
def pacing(stage: Stage, seed: int) -> Scenario:
    """The program asked for a pace."""
    stage.pair(4, 40)
    rate = stage.chance.randint(80_000, 600_000)
    stage.about["pace"] = rate
    stage.stream(rate * stage.chance.randint(2, 4),
                 sender=[(socket.SOL_SOCKET, 47, rate)])
    stage.run()
    return stage.done("pacing", seed, "pacing-limited")


@kind
def application(stage: Stage, seed: int) -> Scenario:
    """The sending program has too little to send."""
    stage.pair(2, 30)
    size = stage.chance.randint(1_000, 25_000)
    pause = stage.chance.uniform(2.5, 8) * max(stage.delay_ms / 1000, 0.02)
    count = stage.chance.randint(20, 60)

    def write(connection: socket.socket) -> None:
        for _ in range(count):
            connection.sendall(bytes(stage.chance.randint(size // 2, size)))
            time.sleep(pause * stage.chance.uniform(0.6, 1.6))

    stage.stream(0, write=write, sender=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)])
    stage.run()
    return stage.done("application", seed, "application-limited")


@kind
def nagle(stage: Stage, seed: int) -> Scenario:
    """Two small writes, then a read: Nagle's rule against the delayed acknowledgment."""
    stage.pair(0.3, 12)
    rounds = stage.chance.randint(8, 40)
    first, second = stage.chance.randint(20, 400), stage.chance.randint(20, 700)

    def ask(caller: socket.socket) -> None:
        for _ in range(rounds):
            caller.sendall(bytes(first))
            caller.sendall(bytes(second))
            read_exactly(caller, 200)

    def answer(connection: socket.socket) -> None:
        for _ in range(rounds):
            read_exactly(connection, first + second)
            connection.sendall(bytes(200))

    stage.talk(ask, answer)
    stage.run()
    if sum(isinstance(fact, TimerFired) and fact.timer == "delayed-ack" for fact in stage.facts) < 3:
        raise Void
    return stage.done("nagle", seed, "nagle-delayed-ack", sender=stage.client)


@kind
def bufferbloat(stage: Stage, seed: int) -> Scenario:
    """A slow link with a queue of seconds."""
    rate = stage.chance.uniform(1, 6)
    stage.pair(3, 20, rate=f"{rate:.1f}Mbit", queue=stage.chance.choice(["300KiB", "600KiB", "1000KiB"]))
    stage.stream(int(rate * 125_000 * stage.chance.uniform(4, 7)))
    stage.run()
    return stage.done("bufferbloat", seed, "bufferbloat")


@kind
def black_hole(stage: Stage, seed: int) -> Scenario:
    """The path carries small packets only, and nobody says so."""
    stage.pair(2, 40)
    stage.link.set(mtu=stage.chance.randint(900, 1470))
    stage.heartbeat(stage.chance.uniform(1, 5))
    stage.stream(stage.chance.randint(3_000, 14_000))
    stage.run(until=stage.chance.uniform(8, 60))
    # The receiver can know only if something came that is not full.
    came = [fact for fact in stage.facts if isinstance(fact, SegmentReceived) and fact.length > 50
            and fact.host == stage.ends[1].name]
    return stage.done("black-hole", seed, "mtu-black-hole", "both" if came else SENDER)


@kind
def spurious(stage: Stage, seed: int) -> Scenario:
    """The path becomes much slower for a while: timeouts, although nothing is lost."""
    stage.pair(5, 30, jitter="0ms")
    piece, pause = stage.chance.randint(3_000, 9_000), stage.chance.uniform(0.01, 0.03)

    def write(connection: socket.socket) -> None:
        for _ in range(400):
            connection.sendall(bytes(piece))
            time.sleep(pause)

    stage.stream(0, write=write)
    slow = f"{stage.chance.uniform(500, 1500):.0f}ms"
    at, normal = 0.5, f"{stage.delay_ms}ms"
    for _ in range(stage.chance.randint(1, 3)):
        at += stage.chance.uniform(0.3, 1.0)
        stage.net.at(at, lambda: stage.link.set(delay={stage.ends[0].name: slow}))
        at += stage.chance.uniform(0.02, 0.2)
        stage.net.at(at, lambda: stage.link.set(delay={stage.ends[0].name: normal}))
        at += 2.5
    stage.run()
    if not [fact for fact in stage.sent("retransmission") if fact.length] or stage.lost(DropReason.LINK_QUEUE_FULL):
        raise Void
    return stage.done("spurious", seed, "spurious-retransmission")


@kind
def reordering(stage: Stage, seed: int) -> Scenario:
    """The path brings segments out of order."""
    stage.pair(5, 30, jitter="0ms", rate=f"{stage.chance.randint(20, 100)}Mbit",
               reorder=f"{stage.chance.uniform(2, 12):.1f}%")
    stage.stream(stage.chance.randint(300_000, 900_000))
    stage.run()
    return stage.done("reordering", seed, "reordering")


@kind
def slow_server(stage: Stage, seed: int) -> Scenario:
    """The server's program needs long for its answers."""
    stage.pair(0.5, 40)
    slow = stage.chance.uniform(0.4, 3)
    exchange(stage, stage.chance.randint(1, 8), lambda: slow * stage.chance.uniform(0.7, 1.4), lambda: 0.0)
    stage.run()
    return stage.done("slow-server", seed, "slow-server", sender=stage.client)


@kind
def slow_client(stage: Stage, seed: int) -> Scenario:
    """The client's program needs long between an answer and its next request."""
    stage.pair(0.5, 40)
    slow = stage.chance.uniform(0.4, 3)
    exchange(stage, stage.chance.randint(3, 8), lambda: 0.0, lambda: slow * stage.chance.uniform(0.7, 1.4))
    stage.run()
    return stage.done("slow-client", seed, "slow-client", sender=stage.client)


@kind
def long_path(stage: Stage, seed: int) -> Scenario:
    """The path itself is long."""
    stage.pair(90, 450)
    exchange(stage, stage.chance.randint(2, 12), lambda: stage.chance.uniform(0, 0.02), lambda: 0.0)
    stage.run()
    return stage.done("long-path", seed, "long-path", sender=stage.client)
