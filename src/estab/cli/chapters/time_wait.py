"""TIME-WAIT: why the side that closed first stays a while, and when its port may be used again."""

from __future__ import annotations

import errno
import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage, times, when
from estab.events import PacketDropped, SegmentReceived, SegmentSent, StateChanged, TimeWaitEnded
from estab.observe.dissect import Summary
from estab.units import format_count

__all__ = ["CHAPTER"]


def _lost_ack(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    seen = [False]

    def is_last_ack(summary: Summary) -> bool:
        return seen[0] and summary.flags == "."

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                time.sleep(0.1)
                seen[0] = True

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)):
            pass

    stage.lose(cable, client, is_last_ack)
    stage.net.run(until="90s")
    fins = [fact for fact in stage.facts(SegmentSent, server) if "F" in fact.flags]
    entered = next((fact.at_ns for fact in stage.facts(StateChanged, client) if fact.new == "TIME-WAIT"), None)
    stage.found(f"The server sent its FIN {times(len(fins))}, at {', '.join(when(fact.at_ns) for fact in fins)}.")
    if entered is not None:
        again = [fact for fact in stage.facts(SegmentReceived, client) if "F" in fact.flags and fact.at_ns > entered]
        answers = [fact for fact in stage.facts(SegmentSent, client) if fact.at_ns > entered and fact.flags == "."]
        stage.found(f"In TIME-WAIT the client got {format_count(len(again), 'more FIN')} and sent "
                    f"{format_count(len(answers), 'acknowledgment')}. Without its TIME-WAIT record it "
                    "could only have answered with a reset.")
    stage.found_paths(client, server)


def _port_reused(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            for _ in range(2):
                connection, _ = listener.accept()
                connection.close()  # the server closes first, and goes to TIME-WAIT

    @client.run
    def call() -> list[str]:
        outcomes = []
        for _ in range(2):
            with socket.socket() as caller:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                caller.bind(("", 5555))
                try:
                    caller.connect(("server", 80))
                    outcomes.append(repr(caller.recv(100)))
                except OSError as error:
                    outcomes.append(errno.errorcode.get(error.errno or 0, type(error).__name__))
            time.sleep(2)
        return outcomes

    stage.net.run(until="120s")
    stage.found(f"Both calls came from port 5555; they ended with {' and '.join(call.result())}.")
    for fact in stage.facts(TimeWaitEnded, server):
        stage.found(f"The server's TIME-WAIT record of {fact.connection} ended at {when(fact.at_ns)}: {fact.why}.")


def _old_segment(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    copy: list[bytes] = []

    def keep_text(host: str, data: bytes) -> None:
        if not copy and b"the past" in data:
            copy.append(data)

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"the past")
            caller.recv(100)

    cable.rule(keep_text)
    stage.net.at("10s", lambda: cable.inject(client, copy[0]) if copy else None)
    stage.net.run(until="90s")
    for fact in stage.facts(PacketDropped, server):
        stage.found(f"At {when(fact.at_ns)} the server dropped a segment: {fact.reason.value} ({fact.detail}).")
    stage.found_paths(client, server)


CHAPTER = Chapter(
    "time-wait", "why TIME-WAIT lasts",
    "The connection is closed, yet netstat shows it in TIME_WAIT for a minute, and its port is taken. What is it "
    "waiting for?",
    (
        Scene("the last "
              "ACK is lost", "10 ms of cable. Both sides close, and the client's last ACK is lost on the cable.",
              _lost_ack),
        Scene("an old "
              "segment comes late", "A copy of a segment was delayed in the network, and arrives 10 seconds "
              "after the connection closed.", _old_segment),
        Scene("the same "
              "ports again", "The server closes first. Two seconds later the client calls again from the same port.",
              _port_reused),
    ),
    frozenset({"retransmission", "spurious_retransmission", "duplicate_ack", "reused_ports"}),
)
