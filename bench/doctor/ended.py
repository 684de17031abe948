"""Connections that end otherwise than both wanted: reset, unreachable, given up, unanswered; and half a capture."""

from __future__ import annotations

import socket
import struct
import time

from bench.doctor.stage import SENDER, Scenario, Stage, Void, exchange, kind, read_exactly
from estab.errors import DropReason
from estab.wire import ip, tcp
from estab.wire.address import parse_address
from estab.wire.icmp_message import build

_ABORT = struct.pack("ii", 1, 0)


@kind
def reset(stage: Stage, seed: int) -> Scenario:
    """The server's program is killed, or aborts, in the middle of what it sends; all that was asked it has read."""
    stage.pair()
    stage.other_traffic()
    rounds, pieces = stage.chance.randint(1, 5), stage.chance.randint(1, 6)

    def ask(caller: socket.socket) -> None:
        for _ in range(rounds):
            caller.sendall(bytes(300))
            read_exactly(caller, 400)
        while caller.recv(65536):
            pass

    def answer(connection: socket.socket) -> None:
        for _ in range(rounds):
            read_exactly(connection, 300)
            connection.sendall(bytes(400))
        for _ in range(pieces):
            connection.sendall(bytes(stage.chance.randint(100, 3000)))
            time.sleep(stage.chance.uniform(0.05, 0.8))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)

    stage.talk(ask, answer)
    stage.run()
    return stage.done("reset", seed, "reset", sender=stage.client)


@kind
def idle_reset(stage: Stage, seed: int) -> Scenario:
    """One end aborts a connection that both had left alone."""
    stage.pair()
    rounds, idle_s = stage.chance.randint(1, 6), stage.chance.uniform(6, 300)
    is_client = stage.chance.random() < 0.5

    def end(connection: socket.socket, is_mine: bool) -> None:
        if is_mine:
            time.sleep(idle_s)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        else:
            connection.recv(1)

    def ask(caller: socket.socket) -> None:
        for _ in range(rounds):
            caller.sendall(bytes(200))
            read_exactly(caller, 700)
        end(caller, is_client)

    def answer(connection: socket.socket) -> None:
        for _ in range(rounds):
            read_exactly(connection, 200)
            connection.sendall(bytes(700))
        end(connection, not is_client)

    stage.talk(ask, answer)
    stage.run(until=idle_s + 20)
    return stage.done("idle-reset", seed, "idle-reset", sender=stage.client)


@kind
def write_after_close(stage: Stage, seed: int) -> Scenario:
    """The server answers and closes; the client goes on writing, and does not look whether anybody reads."""
    stage.pair()
    stage.other_traffic()
    pause_s = stage.chance.uniform(0.15, 0.9)

    def ask(caller: socket.socket) -> None:
        caller.sendall(bytes(300))
        read_exactly(caller, 500)
        while True:
            time.sleep(pause_s)
            caller.sendall(bytes(200))

    def answer(connection: socket.socket) -> None:
        read_exactly(connection, 300)
        connection.sendall(bytes(500))

    stage.talk(ask, answer)
    stage.run(until=60)
    return stage.done("write-after-close", seed, "write-after-close", sender=stage.client)


@kind
def closed_while_connecting(stage: Stage, seed: int) -> Scenario:
    """The client's patience is shorter than the path: it closes before the answer to its SYN is there."""
    stage.pair(120, 900, jitter="0ms")
    round_s = 2 * stage.delay_ms / 1000
    patience_s = stage.chance.uniform(0.3, 0.85) * round_s

    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            while True:
                listener.accept()[0].close()

    def call() -> None:
        for _ in range(stage.chance.randint(1, 3)):
            with socket.socket() as caller:
                caller.settimeout(patience_s)
                stage.quiet(caller.connect, (stage.server.address, 80))()
            time.sleep(round_s)

    stage.server.run(stage.quiet(serve), daemon=True)
    stage.client.run(stage.quiet(call))
    stage.run(until=30)
    return stage.done("closed-while-connecting", seed, "closed-while-connecting", sender=stage.client)


@kind
def close_unanswered(stage: Stage, seed: int) -> Scenario:
    """The path is gone when one end closes: its FIN is repeated, and nobody answers."""
    stage.pair()
    rounds = stage.chance.randint(1, 8)
    at_s = stage.chance.uniform(8, 30)

    def ask(caller: socket.socket) -> None:
        for _ in range(rounds):
            caller.sendall(bytes(200))
            read_exactly(caller, 700)
        time.sleep(at_s)

    def answer(connection: socket.socket) -> None:
        for _ in range(rounds):
            read_exactly(connection, 200)
            connection.sendall(bytes(700))
        connection.recv(1)

    stage.talk(ask, answer)
    stage.net.at(7.5, stage.link.cut)
    stage.run(until=at_s + stage.chance.uniform(15, 60))
    return stage.done("close-unanswered", seed, "close-unanswered", SENDER, stage.client)


@kind
def port_unreachable(stage: Stage, seed: int) -> Scenario:
    """A firewall answers SYNs by an ICMP error."""
    stage.pair()
    stage.other_traffic()
    code = stage.chance.choice([0, 1, 3, 9, 10, 13])
    taken = 0

    def watch(sender: str, frame: bytes) -> DropReason | None:
        nonlocal taken
        packet = ip.parse(frame, 0)
        if sender != "client" or packet.protocol != ip.TCP or tcp.parse(packet, True).dport != 81:
            return None
        taken += 1
        router = parse_address(stage.server.address)
        error = build(router, packet.src, 3, code, 0, frame[:28])
        stage.link.inject(stage.server, ip.emit(router, packet.src, ip.ICMP, error))
        return DropReason.LINK_RULE

    stage.link.rule(watch)  # type: ignore[arg-type]

    def call() -> None:
        for _ in range(stage.chance.randint(1, 3)):
            with socket.socket() as caller:
                caller.settimeout(stage.chance.uniform(2, 6))
                stage.quiet(caller.connect, (stage.server.address, 81))()

    stage.client.run(stage.quiet(call))
    stage.run(until=30)
    if not taken:
        raise Void
    return stage.done("port-unreachable", seed, "port-unreachable", SENDER, stage.client)


@kind
def one_way_capture(stage: Stage, seed: int) -> Scenario:
    """The capture stands where only one direction passes."""
    stage.pair(0.5, 25)
    if stage.chance.random() < 0.5:
        exchange(stage, stage.chance.randint(6, 20), lambda: 0.0, lambda: 0.0, answer=(2000, 20_000))
    else:
        stage.stream(stage.chance.randint(60_000, 300_000))
    stage.run()
    made = stage.done("one-way-capture", seed, "one-way-capture")
    kept = stage.chance.choice([stage.client, stage.server])
    address = parse_address(kept.address)
    for side, frames in made.captures.items():
        made.captures[side] = [frame for frame in frames if frame.data[12:16] == address]
    return made
