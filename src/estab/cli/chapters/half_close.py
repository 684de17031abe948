"""Half-close: one direction ends, the other goes on for as long as it is needed."""

from __future__ import annotations

import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage, when
from estab.events import SegmentSent
from estab.units import format_count

__all__ = ["CHAPTER"]


def _play(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                question = b"".join(iter(lambda: connection.recv(100), b""))
                for word in question.split():
                    time.sleep(0.5)
                    connection.sendall(word[::-1] + b" ")

    @client.run
    def call() -> bytes:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"turn these words")
            caller.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: caller.recv(100), b""))

    stage.net.run(until="90s")
    fins = {fact.host: fact.at_ns for fact in reversed(list(stage.facts(SegmentSent))) if "F" in fact.flags}
    if client.name in fins and server.name in fins:
        between = [fact for fact in stage.facts(SegmentSent, server)
                   if fact.length and fins[client.name] < fact.at_ns <= fins[server.name]]
        stage.found(f"The client's FIN went out at {when(fins[client.name])}, the server's at "
                    f"{when(fins[server.name])}. Between the two the server sent "
                    f"{sum(fact.length for fact in between)} bytes of text in {format_count(len(between), 'segment')}.")
    stage.found(f"The client read {call.result()!r} after it had shut down its own direction.")
    stage.found_paths(client, server)


CHAPTER = Chapter(
    "half-close", "one direction ends",
    "The passive side has received a FIN. Must it close now, or may it still send? And the side that has sent its FIN: "
    "can it still receive?",
    (Scene("shutdown(SHUT_WR)", "10 ms of cable. The client sends a question and ends its direction with "
                                "shutdown(SHUT_WR); the server reads to the end, and takes half a second for each "
                                "word of its answer.", _play),),
)
