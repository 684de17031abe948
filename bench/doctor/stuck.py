"""Why a connection is stuck, refused or ended early."""

from __future__ import annotations

import socket
import time

from bench.doctor.stage import (
    RECEIVER,
    SENDER,
    Scenario,
    Stage,
    exchange,
    kind,
    read_exactly,
)
from estab.errors import DropReason
from estab.wire import ip, tcp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader


@kind
def syn_unanswered(stage: Stage, seed: int) -> Scenario:
    """The server has no power, or something takes the SYNs."""
    stage.pair()
    if stage.chance.random() < 0.5:
        stage.link.rule(lambda sender, frame: DropReason.LINK_RULE if sender == "client" else None)
    else:
        stage.server.power_off()

    def call() -> None:
        with socket.socket() as caller:
            caller.settimeout(stage.chance.uniform(8, 60))
            caller.connect((stage.server.address, 80))

    stage.client.run(stage.quiet(call))
    stage.run()
    return stage.done("syn-unanswered", seed, "syn-unanswered", SENDER, stage.client)


@kind
def refused(stage: Stage, seed: int) -> Scenario:
    """Nobody listens."""
    stage.pair()
    stage.other_traffic()

    def call() -> None:
        for _ in range(stage.chance.randint(1, 3)):
            with socket.socket() as caller:
                stage.quiet(caller.connect, ("server", 81))()

    stage.client.run(stage.quiet(call))
    stage.run()
    return stage.done("refused", seed, "refused", sender=stage.client)


@kind
def not_reading(stage: Stage, seed: int) -> Scenario:
    """The receiving program stops reading."""
    stage.pair()
    stage.other_traffic()
    stops_s = stage.chance.uniform(8, 90)
    first = stage.chance.randint(0, 60_000)
    comes_back = stage.chance.random() < 0.5

    def read(connection: socket.socket) -> None:
        read_exactly(connection, first)
        time.sleep(stops_s if comes_back else 10_000)
        while connection.recv(65536):
            pass

    stage.stream(stage.chance.randint(400_000, 900_000), read=read,
                 receiver=[(socket.SOL_SOCKET, socket.SO_RCVBUF, stage.chance.choice([8192, 32768, 65536]))])
    stage.run(until=stops_s + 20)
    return stage.done("not-reading", seed, "peer-not-reading", labels={RECEIVER: "not-reading"})


@kind
def path_silent(stage: Stage, seed: int) -> Scenario:
    """The cable is cut in the middle of a transfer."""
    stage.pair(2, 50, rate=f"{stage.chance.choice([2, 5, 10])}Mbit")
    total = 1_500_000
    stage.stream(total)
    stage.net.at(stage.chance.uniform(0.6, 1.2), stage.link.cut)
    stage.run(until=stage.chance.uniform(15, 200))
    return stage.done("path-silent", seed, "path-silent", SENDER)


@kind
def close_wait(stage: Stage, seed: int) -> Scenario:
    """The server's program reads the end and does not close."""
    stage.pair()
    stage.other_traffic()
    count = stage.chance.randint(1, 4)
    holds_s = stage.chance.uniform(20, 200)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            kept = []
            for _ in range(count + 1):
                connection = listener.accept()[0]
                while connection.recv(1000):
                    pass
                kept.append(connection)
            time.sleep(holds_s)
            for connection in kept:
                connection.close()

    def call(pause: float) -> None:
        time.sleep(pause)
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"x" * stage.chance.randint(10, 3000))

    stage.server.run(stage.quiet(serve))
    for number in range(count + 1):
        stage.client.run(stage.quiet(call, number * 15.0))
    stage.run(until=holds_s + count * 15 + 10)
    return stage.done("close-wait", seed, "close-wait", sender=stage.client)


@kind
def accept_queue_full(stage: Stage, seed: int) -> Scenario:
    """The server's program does not call accept()."""
    stage.pair()
    stage.other_traffic()
    backlog = stage.chance.randint(0, 4)
    wakes_s = stage.chance.uniform(6, 30)

    def serve() -> None:
        with socket.create_server(("", 80), backlog=backlog) as listener:
            time.sleep(wakes_s)
            while True:
                with listener.accept()[0] as connection:
                    connection.recv(1000)
                    connection.sendall(b"answer")

    def call(pause: float) -> None:
        time.sleep(pause)
        with socket.socket() as caller:
            caller.settimeout(wakes_s + 20)
            caller.connect(("server", 80))
            caller.sendall(b"request")
            caller.recv(100)

    stage.server.run(stage.quiet(serve), daemon=True)
    for number in range(backlog + stage.chance.randint(4, 10)):
        stage.client.run(stage.quiet(call, 0.1 + number * stage.chance.uniform(0.01, 0.3)))
    stage.run(until=wakes_s + 25)
    return stage.done("accept-queue-full", seed, "accept-queue-full", sender=stage.client)


@kind
def reset_unread(stage: Stage, seed: int) -> Scenario:
    """The server closes with unread text."""
    stage.pair()
    stage.other_traffic()
    size = stage.chance.randint(3_000, 40_000)
    part = stage.chance.randint(100, size // 3)

    def ask(caller: socket.socket) -> None:
        caller.sendall(bytes(size))
        caller.recv(100)

    def answer(connection: socket.socket) -> None:
        read_exactly(connection, part)
        time.sleep(stage.chance.uniform(0.02, 0.15))

    stage.talk(ask, answer)
    stage.run()
    return stage.done("reset-unread", seed, "reset-unread-data", sender=stage.client)


@kind
def keepalive_race(stage: Stage, seed: int) -> Scenario:
    """The server closes an idle connection while the next request is under way."""
    stage.pair(4, 60)
    stage.other_traffic()
    idle_s = stage.chance.uniform(2, 30)
    early_s = stage.delay_ms / 1000 * stage.chance.uniform(0.2, 0.8)

    def ask(caller: socket.socket) -> None:
        for _ in range(stage.chance.randint(1, 4)):
            caller.sendall(bytes(300))
            read_exactly(caller, 500)
        # The server's clock started a half round trip ago, when it had sent its answer.
        time.sleep(idle_s - early_s)
        caller.sendall(bytes(300))
        caller.recv(100)

    def answer(connection: socket.socket) -> None:
        connection.settimeout(idle_s)
        try:
            while connection.recv(300):
                connection.sendall(bytes(500))
        except TimeoutError:
            pass

    stage.talk(ask, answer)
    stage.run()
    return stage.done("keepalive-race", seed, "keepalive-race", sender=stage.client)


@kind
def half_open(stage: Stage, seed: int) -> Scenario:
    """The server starts anew while the connection is idle; the client finds out when it sends."""
    stage.pair()
    idle_s = stage.chance.uniform(10, 600)

    def ask(caller: socket.socket) -> None:
        caller.sendall(bytes(300))
        read_exactly(caller, 500)
        time.sleep(idle_s)
        caller.sendall(bytes(300))
        caller.recv(100)

    def answer(connection: socket.socket) -> None:
        while connection.recv(300):
            connection.sendall(bytes(500))

    stage.talk(ask, answer)
    stage.net.at(5, stage.server.power_off)
    stage.net.at(7, stage.server.power_on)
    stage.run(until=idle_s + 20)
    return stage.done("half-open", seed, "half-open", sender=stage.client)


@kind
def injected(stage: Stage, seed: int) -> Scenario:
    """Somebody on the path answers before the server does."""
    stage.pair(5, 60)
    stage.other_traffic()
    exchange(stage, stage.chance.randint(2, 5), lambda: 0.0, lambda: 0.0)
    ttl, is_reset = stage.chance.choice([61, 120, 250, 48]), stage.chance.random() < 0.35
    at_request = stage.chance.randint(1, 2)
    seen = 0

    def watch(sender: str, frame: bytes) -> None:
        nonlocal seen
        packet = ip.parse(frame, 0)
        segment = tcp.parse(packet, True)
        if sender != "client" or segment.end == segment.start:
            return
        seen += 1
        if seen == at_request:
            text = b"" if is_reset else b"HTTP/1.1 302 Found\r\n\r\n" * 3
            flags = tcp.RST if is_reset else tcp.ACK | tcp.PSH
            ack = (int(segment.seq) + segment.end - segment.start) % 2**32
            forged = tcp.Segment(segment.dport, segment.sport, segment.ack, tcp.Seq(ack), flags, 500)
            forged.data, forged.end = text, len(text)
            if segment.has_timestamps and not is_reset:
                forged.has_timestamps, forged.ts_val, forged.ts_ecr = True, segment.ts_ecr, segment.ts_val
            header = IpHeader(packet.dst, packet.src, ttl=ttl, dont_fragment=True)
            stage.link.inject(stage.server, tcp.emit_packet(forged, header))

    stage.link.rule(watch)  # type: ignore[arg-type]
    stage.run(until=20)
    return stage.done("injected", seed, "injected", SENDER, stage.client)


@kind
def scan(stage: Stage, seed: int) -> Scenario:
    """One host tries many ports."""
    stage.pair(0.5, 40)
    ports = stage.chance.sample(range(1, 10_000), stage.chance.randint(40, 150))

    def serve() -> None:
        with socket.create_server(("", ports[3])) as listener:
            listener.accept()[0].close()

    def look() -> None:
        made = []
        for port in ports:
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex((stage.server.address, port))
            made.append(caller)
            if len(made) % 8 == 0:
                time.sleep(0.01)
        time.sleep(1)
        for caller in made:
            caller.close()

    stage.server.run(stage.quiet(serve), daemon=True)
    stage.client.run(stage.quiet(look))
    stage.run()
    return stage.done("scan", seed, "scan", sender=stage.client)


@kind
def syn_flood(stage: Stage, seed: int) -> Scenario:
    """SYNs from addresses that never answer."""
    stage.pair(0.5, 20, server={"tcp_syncookies": stage.chance.choice(["when full", "never"]),
                                "tcp_max_syn_backlog": stage.chance.choice([32, 64, 128])})
    count = stage.chance.randint(150, 500)

    def serve() -> None:
        with socket.create_server(("", 80), backlog=64) as listener:
            while True:
                listener.accept()[0].close()

    def flood() -> None:
        for _ in range(count // 50):
            for _ in range(50):
                source = bytes((10, 0, 0, stage.chance.randint(10, 250)))
                segment = tcp.Segment(stage.chance.randint(1024, 65535), 80, tcp.Seq(stage.chance.getrandbits(32)),
                                      tcp.Seq(0), tcp.SYN, 1024)
                segment.mss = 1460
                stage.link.inject(stage.client, tcp.emit_packet(segment, IpHeader(source, parse_address(
                    stage.server.address), dont_fragment=True)))
            time.sleep(0.05)

    def call() -> None:
        time.sleep(0.02)
        for _ in range(3):
            with socket.create_connection(("server", 80)) as caller:
                caller.recv(1)
            time.sleep(0.05)

    stage.server.run(stage.quiet(serve), daemon=True)
    stage.client.run(stage.quiet(flood))
    stage.client.run(stage.quiet(call))
    stage.run(until=12)
    return stage.done("syn-flood", seed, "syn-flood", RECEIVER, stage.client)
