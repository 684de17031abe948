"""Closing: four segments, and the side that closes first is the active one, client or server."""

from __future__ import annotations

import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage, when
from estab.events import SegmentSent, StateChanged, TimeWaitEnded
from estab.lab.host import Host

__all__ = ["CHAPTER"]


def _client_first(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(100):
                    pass
                time.sleep(0.05)  # tidies up before it closes

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"goodbye")

    stage.net.run(until="90s")
    _find(stage, client, server)


def _server_first(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"12:34")

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            while caller.recv(100):
                pass

    stage.net.run(until="90s")
    _find(stage, client, server)


def _reset(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4)  # and leaves the rest unread

    @client.run
    def call() -> str:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"more than four bytes")
            try:
                return repr(caller.recv(100))
            except OSError as error:
                return type(error).__name__

    stage.net.run(until="90s")
    resets = [fact for fact in stage.facts(SegmentSent) if "R" in fact.flags]
    for fact in resets:
        stage.found(f"{fact.host} sent a reset at {when(fact.at_ns)}.")
    stage.found(f"The client's recv() ended with {call.result()}.")
    _find(stage, client, server)


def _find(stage: Stage, client: Host, server: Host) -> None:
    for host in (client, server):
        entered = [fact for fact in stage.facts(StateChanged, host) if fact.new == "TIME-WAIT"]
        ended = list(stage.facts(TimeWaitEnded, host))
        for begin, end in zip(entered, ended, strict=False):
            stage.found(f"{host.name} was in TIME-WAIT for {when(end.at_ns - begin.at_ns)} ({end.why}).")
            for record in stage.calls(host, "close"):
                if any(getattr(fact, "connection", "") == begin.connection for fact in record.tcbs) and record.fds:
                    stage.found(f"Its program had released fd {record.fds[-1].fd} at {when(record.started_ns)}: the "
                                f"descriptor goes with close(), the connection when TCP is done with it.")
    stage.found_paths(client, server)


CHAPTER = Chapter(
    "close", "a connection ends",
    "Closing takes four segments, it is said, and the client ends in TIME_WAIT. Which side is which? When is the "
    "descriptor free, and when the connection?",
    (
        Scene("the client "
              "closes first", "10 ms of cable. The client says goodbye and closes; the server reads to the end, needs "
              "50 ms to tidy up, and closes.", _client_first),
        Scene("the server "
              "closes first", "The server answers and closes at once; the client reads to the end and closes.",
              _server_first),
        Scene("close() with unread data", "The server reads 4 bytes of what came, and closes.", _reset),
    ),
)
