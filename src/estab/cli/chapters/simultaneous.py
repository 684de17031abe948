"""Both at once: two SYNs that cross make one connection, two FINs that cross end it by way of CLOSING."""

from __future__ import annotations

import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage
from estab.events import SegmentSent, StateChanged
from estab.lab.host import Host

__all__ = ["CHAPTER"]


def _opened(stage: Stage) -> None:
    left, right = _pair(stage)

    def meet(other: Host) -> bytes:
        with socket.socket() as here:
            here.bind(("", 7000))
            here.connect((other.name, 7000))
            here.sendall(b"hello")
            return here.recv(100)

    left.run(meet, right, name="meet")
    right.run(meet, left, name="meet")
    stage.net.run()
    syns = [fact for fact in stage.facts(SegmentSent) if fact.flags == "S"]
    if {fact.host for fact in syns} == {"left", "right"}:
        listening = [fact for fact in stage.facts(StateChanged) if fact.new == "LISTEN"]
        stage.found(f"Both hosts sent a SYN, and {len(listening)} of them listened. The connection is one and the "
                    f"same: {syns[0].connection} here is {syns[1].connection} there (RFC 9293 section 3.5).")
    stage.found_paths(left, right)


def _closed(stage: Stage) -> None:
    left, right = _pair(stage)

    @right.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            time.sleep(1 - time.monotonic() % 1)
            connection.close()

    @left.run
    def call() -> None:
        caller = socket.create_connection(("right", 80))
        time.sleep(1 - time.monotonic() % 1)
        caller.close()

    stage.net.run(until="90s")
    for host in (left, right):
        if any(fact.new == "CLOSING" for fact in stage.facts(StateChanged, host)):
            stage.found(f"{host.name} got the other's FIN before the acknowledgment of its own: CLOSING.")
    stage.found_paths(left, right)


def _pair(stage: Stage) -> tuple[Host, Host]:
    left, right = stage.net.host("left"), stage.net.host("right")
    stage.net.link(left, right, name="cable", delay="10ms")
    return left, right


CHAPTER = Chapter(
    "simultaneous", "both sides at once",
    "Both sides send a SYN at the same time: that can't work, it is said. And when both close at the same time, "
    "which of them is the active one?",
    (
        Scene("both "
              "connect", "10 ms of cable. Two programs bind port 7000 and connect to each other at the same instant; "
              "nobody listens.", _opened, ("left", "right")),
        Scene("both close", "One side listened, one connected. A second later both close at the same instant.", _closed,
              ("left", "right")),
    ),
    frozenset({"retransmission", "window_update"}),
    is_about_opening=True,
)
