"""CLOSE-WAIT: the program has read the end of the stream and does not close."""

from __future__ import annotations

import linecache
import socket
import time
from pathlib import Path

from estab.cli.chapters.chapter import Chapter, Scene, Stage, when
from estab.events import StateChanged
from estab.lab.host import Host
from estab.messages import CloseWaitWatch, Drained, Reaper, Stuck
from estab.sockets.socket.socket import Socket
from estab.units import format_count

__all__ = ["CHAPTER"]

_CALLERS = 3
_THRESHOLD = "10s"
_LOOKS = (30, 70, 110, 150)
"""Seconds at which it is told what the watch names; it looks every second."""


def _play(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")
    watch = _watch(stage, server)

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connections = [listener.accept()[0] for _ in range(_CALLERS)]
        for connection in connections:
            while connection.recv(100):
                pass
            time.sleep(40)  # releases business objects, slowly, before the socket
            connection.close()

    _call(client)
    with watch.tracing(Socket):
        for second in range(1, 151):
            stage.net.run(until=second)
            stuck = watch.check()
            if second in _LOOKS:
                _find_stuck(stage, watch, stuck)
        stage.net.run(until="240s")
    for entered, left in _stays(stage, server):
        if left is not None:
            stage.found(f"{entered.connection} was in CLOSE-WAIT for {when(left.at_ns - entered.at_ns)}, until "
                        "close(): no timer of TCP's ends this state.")
    stage.found_paths(client)


def _cured(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")
    watch = _watch(stage, server)
    cleaned: list[int] = []

    def clean_up() -> None:
        time.sleep(40)  # as slow as before, but away from the socket
        cleaned.append(stage.net.now_ns)

    @server.run
    def serve() -> Drained:
        with socket.create_server(("", 80)) as listener:
            connections = [listener.accept()[0] for _ in range(_CALLERS)]
        reaper = Reaper()
        for connection in connections:
            while connection.recv(100):
                pass
            reaper.release(connection, clean_up)
        return reaper.drain()

    _call(client)
    with watch.tracing(Socket):
        for second in range(1, 91):
            stage.net.run(until=second)
            stuck = watch.check()
            if second in _LOOKS:
                _find_stuck(stage, watch, stuck)
    lengths = [left.at_ns - entered.at_ns for entered, left in _stays(stage, server) if left is not None]
    if lengths:
        stage.found(f"{format_count(len(lengths), 'connection')} went through CLOSE-WAIT; the longest stay was "
                    f"{when(max(lengths))}.")
    drained = serve.result()
    stage.found(f"The reaper ran {format_count(drained.done, 'clean-up')}, {drained.failed} failed; they ended at "
                f"{', '.join(when(at_ns) for at_ns in cleaned)}.")


def _call(client: Host) -> None:
    """Let the clients connect, send, and close."""

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"done")

    for _ in range(_CALLERS):
        client.run(call)


def _watch(stage: Stage, server: Host) -> CloseWaitWatch:
    return CloseWaitWatch(_THRESHOLD, source=server.sockets, clock_ns=lambda: stage.net.now_ns)


def _find_stuck(stage: Stage, watch: CloseWaitWatch, stuck: list[Stuck]) -> None:
    """Say which sockets the watch named, their peers, for how long, and which line caused it."""
    at_ns = stage.net.now_ns
    if not stuck:
        stage.found(f"At {when(at_ns)} CloseWaitWatch named no socket: none had been in CLOSE-WAIT for "
                    f"{when(watch.threshold_ns)}.")
    for one in stuck:
        stage.found(f"At {when(at_ns)} CloseWaitWatch named fd {one.fd}, peer {one.peer}, in CLOSE-WAIT for at least "
                    f"{when(one.age_ns)}, {one.unread_bytes} bytes unread: {_blame(one)}.")


def _blame(one: Stuck) -> str:
    """Return the watch's sentence on what read the end of the stream, with file name, not path, and line."""
    if not one.read_at:
        return one.how
    file, _, number = one.read_at.partition(" in ")[0].rpartition(":")
    line = linecache.getline(file, int(number)).strip()
    return one.how.replace(file, Path(file).name) + (f": `{line}`" if line else "")


def _stays(stage: Stage, server: Host) -> list[tuple[StateChanged, StateChanged | None]]:
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
              "to the end, then spends 40 seconds on releasing business objects before it closes. An "
              f"estab.messages.CloseWaitWatch looks every second for what is {_THRESHOLD} in CLOSE-WAIT.", _play),
        Scene("close first, "
              "release later", "The same, but the server hands each socket to an estab.messages.Reaper as soon as it "
              "has read the end: that closes at once, and does the 40 seconds of releasing elsewhere.", _cured),
    ),
)
