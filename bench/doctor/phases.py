"""Transfers whose limits change at known times, to see whether the doctor names each phase with its times."""

from __future__ import annotations

import random
import socket
import time
from typing import Final

import estab
from estab.doctor.captures import diagnose_frames
from estab.doctor.finding import Report, Timeline
from estab.doctor.recordings import frames_of
from estab.events import Event

__all__ = ["Act", "Play"]

Act = tuple[str, float]
"""What holds the transfer up, and for how many seconds."""


class Play:
    """A transfer from client to server whose limits change at known times."""

    def __init__(self, acts: list[Act], seed: int) -> None:
        self.acts = acts
        self.facts: list[Event] = []
        chance = random.Random(seed)
        self.net = estab.Network(seed=seed)
        self.net.observe(self.facts.append)
        self.client, self.server = self.net.host("client"), self.net.host("server")
        self.seen = self.client.record()
        self.link = self.net.link(self.client, self.server, delay=f"{chance.randint(5, 25)}ms",
                                  rate=f"{chance.randint(8, 40)}Mbit")
        self.truth: list[tuple[str, float, float]] = []
        at = 0.0
        for cause, lasts_s in acts:
            self.truth.append((cause, at, at + lasts_s))
            at += lasts_s
        self.end_s = at
        self.server.run(self.read)
        self.client.run(self.write)
        for cause, from_s, to_s in self.truth:
            if cause == "loss":
                self.net.at(from_s, lambda: self.link.set(loss={self.client.name: "3%"}))
                self.net.at(to_s, lambda: self.link.set(loss={self.client.name: 0}))
        self.net.run()

    def cause(self, now_s: float) -> str:
        """Return what holds the transfer up at that time; nothing when it is over."""
        return next((cause for cause, from_s, to_s in self.truth if from_s <= now_s < to_s), "")

    def write(self) -> None:
        """Be the client's program."""
        with socket.create_connection(("server", 80)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while now := self.cause(self.net.now):
                if now == "application-limited":
                    time.sleep(0.03)
                    sock.sendall(bytes(2000))
                else:
                    sock.sendall(bytes(10_000))

    def read(self) -> None:
        """Be the server's program."""
        with socket.socket() as listener:
            if self.acts[0][0] == "window-limited":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)
            listener.bind(("", 80))
            listener.listen()
            with listener.accept()[0] as sock:
                while sock.recv(4000):
                    if self.cause(self.net.now) == "window-limited":
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)
                        time.sleep(0.02)

    def look(self, host: estab.Host) -> Report:
        """Diagnose the capture of a host."""
        return diagnose_frames(frames_of(self.facts, host.name))

    def right(self, timeline: Timeline) -> float:
        """How much of the time the phases name what the lab did, from when on it can show: buffers drain first."""
        right = total = 0
        for number in range(500):
            at = self.end_s * number / 500
            wanted, since_s = next((cause, from_s) for cause, from_s, to_s in self.truth if at < to_s)
            if at - since_s < SETTLES_S:
                continue
            said = next((phase.name for phase in timeline.phases if phase.from_s <= at < phase.to_s), "")
            total += 1
            right += said in SAME.get(wanted, {wanted})
        return right / total


SETTLES_S: Final = 0.9
SAME: Final = {"window-limited": {"window-limited", "peer-not-reading", "not-reading"}}
