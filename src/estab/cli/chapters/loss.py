"""Loss: segments that a router never passes on, and how the stream gets whole again."""

from __future__ import annotations

import socket

from estab.cli.chapters.chapter import Chapter, Scene, Stage
from estab.events import CongestionChanged, LinkDropped, SegmentSent
from estab.observe.flights import flights
from estab.units import format_bytes, format_count, format_duration

__all__ = ["CHAPTER"]

_SIZE = 24_000


def _play(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="20ms", loss="8%")
    text = bytes(index % 251 for index in range(_SIZE))

    @server.run
    def serve() -> bytes:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                return b"".join(iter(lambda: connection.recv(65536), b""))

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(text)

    stage.net.run()
    lost = list(stage.facts(LinkDropped))
    again = [item for item in flights(stage.recorder.facts) if item.is_retransmission]
    stage.found(f"The cable lost {len(lost)} of {len(flights(stage.recorder.facts))} packets"
                + (": " + ", ".join(f"{fact.host}'s "
                                    f"at {format_duration(fact.at_ns)}" for fact in lost) if lost else "") + ".")
    reasons = dict.fromkeys(item.segment.why for item in again if item.segment is not None)
    if again:
        stage.found(f"Sent again: {format_count(len(again), 'segment')}, by these rules: {'; '.join(reasons)}.")
    cuts = list(stage.facts(CongestionChanged, client))
    if cuts:
        smallest = min(cuts, key=lambda fact: fact.cwnd_bytes)
        stage.found(f"The congestion window was {format_bytes(smallest.cwnd_bytes)} at its smallest, at "
                    f"{format_duration(smallest.at_ns)} ({smallest.why}).")
    received = serve.result()
    sent = sum(fact.length for fact in stage.facts(SegmentSent, client))
    stage.found(f"The program received {len(received)} bytes, {'equal to' if received == text else 'different from'} "
                f"the {_SIZE} that were sent; on the cable were {sent}.")


CHAPTER = Chapter(
    "loss", "packets get lost on the way",
    "IP promises nothing: any router may drop any packet. Who notices, after how long, and what does the program see "
    "of it?",
    (Scene("24 kB over a cable that loses 8%",
           "20 ms of cable that loses 8% of all packets, by the chance of the seed. The client sends 24,000 bytes "
           "and closes.",
           _play),),
    frozenset({"retransmission", "duplicate_ack", "window_update"}),
)
