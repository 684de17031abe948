"""A network of the lab in which a scenario is played, and what a scenario is.

- A scenario is a kind and a number. Its parameters (delays, rates, sizes, times) are drawn from these two.
- The label comes from what was configured, and is checked against the lab's facts: a fault that did not take effect
  (a loss of 1 % that took nothing) makes the scenario void, whatever the doctor would say.
- The capture is what one host sent and received. It has no comments and no directions.
"""

from __future__ import annotations

import random
import socket
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


KINDS: dict[str, Callable[[Stage, int], Scenario]] = {}


def kind(function: Callable[[Stage, int], Scenario]) -> Callable[[Stage, int], Scenario]:
    """Enter a kind by its name."""
    KINDS[function.__name__.replace("_", "-")] = function
    return function
