"""The labelled scenarios: a network of the lab, what goes wrong in it, and what is true of it afterwards.

- A scenario is a kind and a number. Its parameters (delays, rates, sizes, times) are drawn from these two.
- The label comes from what was configured, and is checked against the lab's facts: a fault that did not take effect
  (a loss of 1 % that took nothing) makes the scenario void, whatever the doctor would say.
- The capture is what one host sent and received. It has no comments and no directions.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import estab
from estab.devices.capture_file import Captured
from estab.errors import DropReason
from estab.events import (
    Event,
    FrameReceived,
    FrameSent,
    LinkDropped,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TimerFired,
)
from estab.wire import ip, tcp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader

EPOCH_NS = 1_767_225_600_000_000_000
RAW = 228
SENDER, RECEIVER, BETWEEN = "sender", "receiver", "between"
ON_THE_WAY = ("healthy", "refused", "not-reading", "window", "send-buffer", "loss", "application", "nagle",
              "bufferbloat", "reset-unread", "keepalive-race", "slow-server", "slow-client", "long-path", "close-wait",
              "accept-queue-full")
"""Kinds that are also played with a router between the two, where the capture is taken."""


@dataclass
class Scenario:
    """What was made: the label, a capture for each side that can know, and the settings, for people."""

    kind: str
    seed: int
    label: str
    captures: dict[str, list[Captured]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """The label from a side's capture, if it is another one there."""
    about: str = ""

    def label_of(self, side: str) -> str:
        """Give what is true from a side."""
        return self.labels.get(side, self.label)


KEPT = (FrameSent, FrameReceived, LinkDropped, SegmentSent, SegmentReceived, StateChanged, TimerFired)
"""The facts that captures and labels need."""


class Void(Exception):
    """The fault took no effect with this seed."""


class Stage:
    """A network with a client and a server, and its chances."""

    def __init__(self, kind: str, seed: int, has_router: bool = False) -> None:
        self.has_router = has_router
        self.chance = random.Random(f"{kind}/{seed}")
        self.facts: list[Event] = []
        self.net = estab.Network(seed=f"{kind}/{seed}", observer=self.keep)
        self.about: dict[str, Any] = {}
        self.errors: list[str] = []

    def keep(self, fact: Event) -> None:
        """Keep what captures and labels need."""
        if isinstance(fact, KEPT):
            self.facts.append(fact)

    def pair(self, low_ms: float = 1, high_ms: float = 40, client: dict[str, Any] | None = None,
             server: dict[str, Any] | None = None, **link: Any) -> None:
        """Make both hosts and the link; its delay is drawn."""
        self.delay_ms = round(self.chance.uniform(low_ms, high_ms), 2)
        self.client = self.net.host("client", **(client or {}))
        self.server = self.net.host("server", **(server or {}))
        if "jitter" not in link and self.chance.random() < 0.4:
            most = 0.08 if self.chance.random() < 0.7 else 0.25
            link["jitter"] = f"{self.delay_ms * self.chance.uniform(0.01, most):.3f}ms"
        self.about.update(delay=f"{self.delay_ms}ms", **link)
        if self.has_router:
            # Both halves together are as long as the one link would be; what is wrong is wrong beyond the router.
            share = self.chance.uniform(0.25, 0.75)
            self.router = self.net.host("router", forwarding=True)
            self.net.link(self.client, self.router, delay=f"{self.delay_ms * share:.3f}ms")
            self.link = self.net.link(self.router, self.server, delay=f"{self.delay_ms * (1 - share):.3f}ms", **link)
        else:
            self.link = self.net.link(self.client, self.server, delay=f"{self.delay_ms}ms", **link)
        self.ends = (self.client, self.server) if self.chance.random() < 0.5 else (self.server, self.client)
        """Who sends the most, and who receives it."""

    def quiet(self, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        """Make a program that may fail as the scenario goes."""
        def program() -> Any:
            try:
                return function(*args)
            except OSError as error:
                self.errors.append(str(error))
                return None
        return program

    def talk(self, at_client: Callable[[socket.socket], Any], at_server: Callable[[socket.socket], Any],
             port: int = 80, backlog: int = 16, **options: Any) -> None:
        """Have a client and a server, one connection. ``options``: ``client`` and ``server`` socket options."""
        def serve() -> None:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                for option in options.get("server", ()):
                    listener.setsockopt(*option)
                listener.bind(("", port))
                listener.listen(backlog)
                connection = listener.accept()[0]
                with connection:
                    at_server(connection)

        def call() -> None:
            with socket.socket() as caller:
                for option in options.get("client", ()):
                    caller.setsockopt(*option)
                caller.connect(("server", port))
                at_client(caller)

        self.server.run(self.quiet(serve))
        self.client.run(self.quiet(call), start="10ms")

    def stream(self, total: int, write: Callable[[socket.socket], Any] | None = None,
               read: Callable[[socket.socket], Any] | None = None, **options: Any) -> None:
        """Have the sender send ``total`` bytes after a short request, and the receiver read them all."""
        sender_is_client = self.ends[0] is self.client

        def send(connection: socket.socket) -> None:
            if not sender_is_client:
                connection.recv(1000)
            if write is not None:
                write(connection)
            else:
                connection.sendall(bytes(total))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)

        def receive(connection: socket.socket) -> None:
            if sender_is_client is False:
                connection.sendall(b"GET /file\r\n")
            if read is not None:
                read(connection)
                return
            while connection.recv(65536):
                pass

        at_client, at_server = (send, receive) if sender_is_client else (receive, send)
        mine, theirs = options.pop("sender", ()), options.pop("receiver", ())
        client, server = (mine, theirs) if sender_is_client else (theirs, mine)
        self.talk(at_client, at_server, client=client, server=server)

    def heartbeat(self, interval_s: float) -> None:
        """Add other traffic: a second connection with a few bytes now and then."""
        def serve() -> None:
            with socket.create_server(("", 99)) as listener, listener.accept()[0] as connection:
                while text := connection.recv(100):
                    connection.sendall(text)

        def call() -> None:
            with socket.create_connection(("server", 99)) as caller:
                while True:
                    time.sleep(interval_s)
                    caller.sendall(b"are you there?")
                    caller.recv(100)

        self.server.run(self.quiet(serve), daemon=True)
        self.client.run(self.quiet(call), daemon=True, start="20ms")

    def other_traffic(self) -> None:
        """Add a second connection with a few bytes now and then, to half of the scenarios of a kind."""
        if self.chance.random() < 0.5:
            self.heartbeat(self.chance.uniform(0.7, 5))
            self.about["other"] = "traffic"

    def run(self, until: float | None = None) -> None:
        """Run it."""
        self.net.run(until=until, check=False)

    def frames(self, host: Any) -> list[Captured]:
        """Give what one host sent and received, as a capture without any notes."""
        return [
            Captured(EPOCH_NS + fact.at_ns, RAW, fact.data, len(fact.data)) for fact in self.facts
            if isinstance(fact, (FrameSent, FrameReceived)) and fact.host == host.name and fact.interface != "lo"
            and (host.name != "router" or fact.interface == "eth0")
        ]

    def lost(self, *reasons: DropReason) -> int:
        """Count TCP segments with text that the link took."""
        count = 0
        for fact in self.facts:
            if isinstance(fact, LinkDropped) and fact.reason in reasons:
                packet = ip.parse(fact.data, 0)
                segment = tcp.parse(packet, True)
                count += segment.end > segment.start
        return count

    def sent(self, what: str) -> list[SegmentSent]:
        """Give the segments whose reason contains a word."""
        return [fact for fact in self.facts if isinstance(fact, SegmentSent) and what in fact.why]

    def done(self, kind: str, seed: int, label: str, sides: str = "both", sender: Any = None,
             labels: dict[str, str] | None = None) -> Scenario:
        """Finish: the captures of those who can know."""
        sender = sender or self.ends[0]
        receiver = self.server if sender is self.client else self.client
        made = Scenario(kind, seed, label, labels=labels or {}, about=", ".join(f"{k} {v}" for k, v in
                                                                               self.about.items()))
        if self.has_router:
            made.captures[BETWEEN] = self.frames(self.router)
            return made
        if sides in ("both", SENDER):
            made.captures[SENDER] = self.frames(sender)
        if sides in ("both", RECEIVER):
            made.captures[RECEIVER] = self.frames(receiver)
        return made


def exchange(stage: Stage, rounds: int, server_s: Callable[[], float], client_s: Callable[[], float],
             request: tuple[int, int] = (50, 900), answer: tuple[int, int] = (100, 9000)) -> None:
    """Have requests and answers go back and forth."""
    sizes = [(stage.chance.randint(*request), stage.chance.randint(*answer)) for _ in range(rounds)]

    def ask(caller: socket.socket) -> None:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for asked, answered in sizes:
            caller.sendall(bytes(asked))
            read_exactly(caller, answered)
            pause = client_s()
            if pause:
                time.sleep(pause)

    def answer_all(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for asked, answered in sizes:
            read_exactly(connection, asked)
            pause = server_s()
            if pause:
                time.sleep(pause)
            connection.sendall(bytes(answered))

    stage.talk(ask, answer_all)


def read_exactly(connection: socket.socket, count: int) -> None:
    """Read so many bytes, or to the end."""
    while count > 0:
        text = connection.recv(count)
        if not text:
            return
        count -= len(text)


def write_pieces(connection: socket.socket, total: int, piece: int) -> None:
    """Write so many bytes in pieces, each a record of its own, so that none is added to a piece that waits."""
    for _ in range(total // piece):
        connection.sendall(bytes(piece), socket.MSG_EOR)


# --- the kinds


KINDS: dict[str, Callable[[Stage, int], Scenario]] = {}


def kind(function: Callable[[Stage, int], Scenario]) -> Callable[[Stage, int], Scenario]:
    """Enter a kind by its name."""
    KINDS[function.__name__.replace("_", "-")] = function
    return function


@kind
def healthy(stage: Stage, seed: int) -> Scenario:
    """Requests and answers at once, or a transfer over a link that is not full."""
    stage.pair(0.2, 20)
    if seed % 2:
        exchange(stage, stage.chance.randint(3, 25), lambda: stage.chance.uniform(0, 0.01), lambda: 0.0)
    else:
        stage.stream(stage.chance.randint(20_000, 400_000))
    stage.run()
    return stage.done("healthy", seed, "healthy")


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


def _plain(stage: Stage) -> None:
    """Something healthy, as ground for artefacts of the capture."""
    stage.pair(0.5, 25)
    if stage.chance.random() < 0.5:
        exchange(stage, stage.chance.randint(5, 20), lambda: 0.0, lambda: 0.0, answer=(2000, 20_000))
    else:
        stage.stream(stage.chance.randint(60_000, 300_000))
    stage.run()


@kind
def captured_twice(stage: Stage, seed: int) -> Scenario:
    """Each packet stands in the file twice, or more often."""
    _plain(stage)
    made = stage.done("captured-twice", seed, "captured-twice")
    times = stage.chance.choice([2, 2, 2, 4])
    later_ns = stage.chance.randint(0, 300_000)
    for side, frames in made.captures.items():
        more = [Captured(frame.time_ns + copy * later_ns, frame.link_type, frame.data, frame.length)
                for frame in frames for copy in range(times)]
        made.captures[side] = sorted(more, key=lambda frame: frame.time_ns)
    return made


@kind
def capture_dropped(stage: Stage, seed: int) -> Scenario:
    """The capture lost packets, the connection did not."""
    _plain(stage)
    made = stage.done("capture-dropped", seed, "capture-dropped")
    share = stage.chance.uniform(0.03, 0.15)
    for side, frames in made.captures.items():
        kept = [frame for at, frame in enumerate(frames) if at < 6 or stage.chance.random() >= share]
        gone = [frame for at, frame in enumerate(frames) if at >= 6 and frame not in kept]
        if not any(len(frame.data) > 80 for frame in gone):
            raise Void
        made.captures[side] = kept
    return made


@kind
def checksum_offload(stage: Stage, seed: int) -> Scenario:
    """The capture was taken before the network card filled in the checksums."""
    _plain(stage)
    made = stage.done("checksum-offload", seed, "checksum-offload")
    hosts = {SENDER: stage.ends[0], RECEIVER: stage.ends[1]}
    for side, frames in made.captures.items():
        mine = [parse_address(address) for address in hosts[side].addresses]
        made.captures[side] = [
            Captured(frame.time_ns, RAW, frame.data[:36] + struct.pack(">H", 0x1234) + frame.data[38:], frame.length)
            if frame.data[12:16] in mine else frame for frame in frames
        ]
    return made


@kind
def vlan_collision(stage: Stage, seed: int) -> Scenario:
    """Connections of two VLANs have the same addresses and ports."""
    _plain(stage)
    made = stage.done("vlan-collision", seed, "vlan-collision")
    other = Stage(stage.net.seed.rpartition("/")[0], seed)  # type: ignore[union-attr]
    other.chance = random.Random(f"other/{seed}")
    other.net = estab.Network(seed=f"other/{seed}", observer=other.keep)
    _plain(other)
    tags = [b"", *(struct.pack(">HH", 0x8100, number) for number in stage.chance.sample(range(1, 4000), 2))]
    first, second = stage.chance.sample(tags, 2)
    hosts = {SENDER: ("client", "server")[stage.ends[0] is stage.server], RECEIVER: ("client", "server")[
        stage.ends[1] is stage.server]}
    for side, frames in made.captures.items():
        theirs = other.frames(other.net.hosts[hosts[side]])
        port = {frame.data[20:22] for frame in frames} | {frame.data[22:24] for frame in frames}
        mine = next(one for one in port if one != b"\0P")
        tagged = [_tagged(frame, first) for frame in frames]
        for frame in theirs:
            data = bytearray(frame.data)
            at = 20 if data[20:22] != b"\0P" else 22
            data[at:at + 2] = mine
            tagged.append(_tagged(Captured(frame.time_ns + 1000, RAW, bytes(data), len(data)), second))
        made.captures[side] = sorted(tagged, key=lambda frame: frame.time_ns)
    return made


def _tagged(frame: Captured, tag: bytes) -> Captured:
    data = bytes(12) + tag + b"\x08\x00" + frame.data
    return Captured(frame.time_ns, 1, data, len(data))


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


def make(kind_name: str, seed: int, has_router: bool = False) -> Scenario:
    """Play one; with a router, the capture is the router's. ``Void``: its fault took no effect."""
    stage = Stage(kind_name, seed, has_router)
    with stage.net:
        return KINDS[kind_name](stage, seed)
