"""CLOSE-WAIT: the program has read the end of the stream and does not close."""

from __future__ import annotations

import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage, when
from estab.events import StateChanged
from estab.lab.node import Node

__all__ = ["CHAPTER"]

_CALLERS = 3


def _play(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")
    seen: list[tuple[int, list[str]]] = []

    def look() -> None:
        rows = [f"fd {row.fd} {row.state} to {row.peer}" for row in server.sockets() if row.state == "CLOSE-WAIT"]
        seen.append((stage.net.now_ns, rows))

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connections = [listener.accept()[0] for _ in range(_CALLERS)]
        for connection in connections:
            while connection.recv(100):
                pass
            time.sleep(40)  # releases business objects, slowly, before the socket
            connection.close()

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"done")

    for _ in range(_CALLERS):
        client.run(call)
    for second in (30, 70, 110, 150):
        stage.net.at(second, look)
    stage.net.run(until="240s")
    for at_ns, rows in seen:
        stage.found(f"At {when(at_ns)} server.sockets() "
                    f"listed {len(rows)} in CLOSE-WAIT" + (f": {'; '.join(rows)}." if rows else "."))
    for entered, left in _stays(stage, server):
        if left is not None:
            stage.found(f"{entered.connection} was in CLOSE-WAIT for {when(left.at_ns - entered.at_ns)}, until "
                        "close(): no timer of TCP's ends this state.")
    stage.found_paths(client)


def _cured(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    def release(connection: socket.socket) -> None:
        time.sleep(40)  # the slow clean-up, away from the socket

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connections = [listener.accept()[0] for _ in range(_CALLERS)]
        for connection in connections:
            while connection.recv(100):
                pass
            connection.close()
            server.run(release, connection, daemon=True)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"done")

    for _ in range(_CALLERS):
        client.run(call)
    stage.net.run(until="90s")
    times = [left.at_ns - entered.at_ns for entered, left in _stays(stage, server) if left is not None]
    if times:
        stage.found(f"{len(times)} connections were in CLOSE-WAIT, the longest for {when(max(times))}.")


def _stays(stage: Stage, server: Node) -> list[tuple[StateChanged, StateChanged | None]]:
    """Give, for each connection that entered CLOSE-WAIT, the fact that it did and the fact that it left."""
    edges = list(stage.facts(StateChanged, server))
    left = {edge.connection: edge for edge in edges if edge.old == "CLOSE-WAIT"}
    return [(edge, left.get(edge.connection)) for edge in edges if edge.new == "CLOSE-WAIT"]


CHAPTER = Chapter(
    "close-wait", "thousands of CLOSE_WAIT",
    "The server has thousands of connections in CLOSE_WAIT. Whose fault is it, how does one see it, and what ends it?",
    (
        Scene("read the end, "
              "close much later", f"10 ms of cable. {_CALLERS} clients call, send and close. The server reads each "
              "to the end, then spends 40 seconds on releasing business objects before it closes.", _play),
        Scene("close first, "
              "release later", "The same, but the server closes the socket as soon as it has read the end, and "
              "releases what belongs to it elsewhere.", _cured),
    ),
)
