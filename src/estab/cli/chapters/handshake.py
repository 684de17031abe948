"""Opening a connection: the three segments, and what ``connect`` returns when nothing listens or nothing answers."""

from __future__ import annotations

import errno
import os
import select
import socket

from estab.cli.chapters.chapter import Chapter, Scene, Stage, took, when
from estab.events import QueueChanged, SegmentSent, StateChanged
from estab.lab.host import Host
from estab.observe.recorder import CallRecord
from estab.units import format_count, format_duration

__all__ = ["CHAPTER"]


def _three_segments(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        listener = stage.keep(socket.socket())
        listener.bind(("", 80))
        listener.listen(2)
        stage.keep(listener.accept()[0])

    @client.run
    def call() -> None:
        stage.keep(socket.socket()).connect(("server", 80))

    stage.net.run()
    stage.found_paths(client, server)
    for host, name in ((client, "connect"), (server, "accept")):
        for record in stage.calls(host, name):
            _find_sent(stage, host, record)
    changes = list(stage.facts(QueueChanged, server))
    entered = {fact.peer: fact.at_ns for fact in changes if fact.queue == "half-open" and fact.what == "added"}
    for fact in changes:
        if fact.queue == "accept" and fact.what == "added" and fact.peer in entered:
            stage.found(f"{fact.peer} was in the half-open queue of the listener for "
                        f"{format_duration(fact.at_ns - entered[fact.peer])}, then moved to the accept queue. Both "
                        "queues belong to the listener; the client has neither.")
    if not stage.calls(client, "bind"):
        ports = {fact.connection.partition(">")[0].rpartition(":")[2] for fact in stage.facts(SegmentSent, client)}
        stage.found(f"The client called no bind(): the stack chose port {', '.join(sorted(ports))} for it (RFC 6056).")


def _find_sent(stage: Stage, host: Host, record: CallRecord) -> None:
    """Say what a call sent, and what the stack sent while the program slept in it."""
    during = [
        fact for fact in stage.facts(SegmentSent, host) if fact not in record.segments
        and any(wait.since_ns <= fact.at_ns <= (wait.until_ns or fact.at_ns) for wait in record.waits)
    ]
    stage.found(f"{record.name}() on {host.name} took {took(record)} and sent "
                f"{format_count(len(record.segments), 'segment')}. "
                f"While the program slept in it, {host.name}'s stack sent "
                f"{format_count(len(during), 'segment')} by itself.")


def _nobody(stage: Stage) -> None:
    client, _, _ = stage.pair(delay="10ms")

    @client.run
    def call() -> None:
        with socket.socket() as caller:
            caller.connect_ex(("server", 81))

    stage.net.run()
    for record in stage.calls(client, "connect_ex"):
        if record.result.isdigit() and int(record.result):
            number = int(record.result)
            stage.found(f"connect_ex() gave {errno.errorcode.get(number, number)} ({os.strerror(number)}) after "
                        f"{took(record)}.")


def _silence(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    stage.lose(cable, client, lambda summary: summary.flags == "S")

    @server.run
    def serve() -> None:
        listener = stage.keep(socket.socket())
        listener.bind(("", 80))
        listener.listen()
        stage.keep(listener.accept()[0])

    @client.run
    def call() -> None:
        stage.keep(socket.socket()).connect(("server", 80))

    stage.net.run()
    for record in stage.calls(client, "connect"):
        sent = [fact for fact in stage.facts(SegmentSent, client) if fact.flags == "S"]
        stage.found(f"connect() took {took(record)}: {format_count(len(sent), 'SYN')}, at "
                    f"{', '.join(when(fact.at_ns) for fact in sent)}.")


def _without_blocking(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> None:
        listener = stage.keep(socket.socket())
        listener.bind(("", 80))
        listener.listen()
        stage.keep(listener.accept()[0])

    @client.run
    def call() -> int:
        caller = stage.keep(socket.socket())
        caller.setblocking(False)
        caller.connect_ex(("server", 80))
        select.select([], [caller], [])
        return caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    stage.net.run()
    first, = stage.calls(client, "connect_ex")
    if first.result == str(errno.EINPROGRESS):
        stage.found(f"connect_ex() gave {first.result} (EINPROGRESS) after {took(first)}, when it had sent "
                    f"{format_count(len(first.segments), 'segment')}.")
    opened = next((fact.at_ns for fact in stage.facts(StateChanged, client) if fact.new == "ESTABLISHED"), None)
    asked = next((record.started_ns for record in stage.calls(client, "getsockopt")), None)
    if opened is not None and asked is not None:
        stage.found(f"The connection was ESTABLISHED at {when(opened)}; select() had said writable by {when(asked)}, "
                    f"and SO_ERROR was {call.result()}.")


CHAPTER = Chapter(
    "handshake", "a connection opens",
    "The server calls socket, bind, listen, accept; the client socket and connect. Which of these sends something? "
    "When does connect() return, and does it block? Where is a connection between the SYN and accept()?",
    (
        Scene("socket, bind, listen, accept and connect",
              "Two hosts, 10 ms of cable between them. The "
              "server listens with a backlog of 2 and accepts.", _three_segments),
        Scene("a port that nobody listens on", "The same cable. The client connects to port 81.", _nobody),
        Scene("the first SYN is taken out", "The client's first SYN is lost on the cable.", _silence),
        Scene("connect "
              "without blocking", "The client's socket is non-blocking; it waits with select().", _without_blocking),
    ),
    frozenset({"retransmission"}),
    is_about_opening=True,
)
