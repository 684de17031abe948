"""Loss: segments that a router never passes on, and how the stream gets whole again."""

from __future__ import annotations

import socket

from estab.cli.chapters.chapter import Chapter, Scene, Stage, when
from estab.events import CongestionChanged, LinkDropped, SegmentReceived, SegmentSent, StateChanged
from estab.lab.host import Host
from estab.observe.flights import flights
from estab.units import format_count

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
                                    f"at {when(fact.at_ns)}" for fact in lost) if lost else "") + ".")
    reasons = dict.fromkeys(item.segment.why for item in again if item.segment is not None)
    if again:
        stage.found(f"Sent again: {format_count(len(again), 'segment')}, by these rules: {'; '.join(reasons)}.")
    _find_window(stage, client)
    received = serve.result()
    sent = sum(fact.length for fact in stage.facts(SegmentSent, client))
    stage.found(f"The program received {len(received)} bytes, {'equal to' if received == text else 'different from'} "
                f"the {_SIZE} that were sent; on the cable were {sent}.")


def _find_window(stage: Stage, client: Host) -> None:
    """Say how small the congestion window got, whatever made it so: by each segment's TCB and each change told."""
    changes = [(fact.at_ns, fact.cwnd_bytes) for fact in stage.facts(CongestionChanged, client)]
    sent = [(fact.at_ns, fact.tcb.cwnd_bytes) for fact in stage.facts(SegmentSent, client) if fact.tcb]
    got = [(fact.at_ns, fact.tcb.cwnd_bytes) for fact in stage.facts(SegmentReceived, client) if fact.tcb]
    sizes = sorted(changes + sent + got)
    opened = next((fact.at_ns for fact in stage.facts(StateChanged, client) if fact.new == "ESTABLISHED"), None)
    sizes = [(at_ns, size) for at_ns, size in sizes if opened is not None and at_ns > opened]
    if sizes and changes:
        at_ns, smallest = min(sizes, key=lambda item: item[1])
        stage.found(f"The congestion window was {smallest} bytes at its smallest, at {when(at_ns)}, and "
                    f"{sizes[-1][1]} bytes in the end.")


CHAPTER = Chapter(
    "loss", "packets get lost on the way",
    "IP promises nothing: any router may drop any packet. Which side notices, after how long, and what does the "
    "program see of it?",
    (Scene("24 kB over a cable that loses 8%",
           "20 ms of cable that loses 8% of all packets, by the chance of the seed. The client sends 24,000 bytes "
           "and closes.",
           _play),),
    frozenset({"retransmission", "duplicate_ack"}),
)
