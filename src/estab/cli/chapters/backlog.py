"""The backlog of ``listen``: what it limits under each of the three readings, and what overflow does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from estab.cli.chapters.chapter import Chapter, Scene, Stage, took
from estab.events import QueueChanged
from estab.lab.host import Host
from estab.settings import BacklogPolicy
from estab.units import format_count

__all__ = ["CHAPTER"]

_BACKLOG = 2
_STARTS = (0.0, 0.001, 0.002, 0.5, 1.0)
"""When the callers call, in seconds: three at once, two later."""


def _play(policy: BacklogPolicy) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        server = stage.net.host("server", backlog_policy=policy, tcp_syncookies="never")
        client = stage.net.host("client")
        stage.net.link(client, server, name="cable", delay="10ms")

        @server.run
        def serve() -> int:
            listener = stage.keep(socket.socket())
            listener.bind(("", 80))
            listener.listen(_BACKLOG)
            time.sleep(2)  # busy with something else
            listener.settimeout(4)
            accepted = 0
            try:
                while True:
                    stage.keep(listener.accept()[0])
                    accepted += 1
            except TimeoutError:
                return accepted

        def call() -> str:
            caller = stage.keep(socket.socket())
            caller.settimeout(5)
            try:
                caller.connect(("server", 80))
            except OSError as error:
                caller.close()
                return type(error).__name__
            return "connected"

        for start in _STARTS:
            client.run(call, start=start)
        stage.net.run()
        _find(stage, server, client, serve.result())

    return play


def _find(stage: Stage, server: Host, client: Host, accepted: int) -> None:
    changes = list(stage.facts(QueueChanged, server))
    for queue in ("half-open", "accept"):
        of_queue = [fact for fact in changes if fact.queue == queue]
        if of_queue:
            fullest = max(of_queue, key=lambda fact: fact.depth)
            overflows = sum(fact.what.startswith("overflow") for fact in of_queue)
            stage.found(f"The {queue} queue held at most {fullest.depth} (limit {fullest.limit}). "
                        f"{format_count(overflows, 'segment')} found it full.")
    done = [record for record in stage.calls(client, "connect") if not record.error]
    failed = [record for record in stage.calls(client, "connect") if record.error]
    stage.found(f"{len(done)} of {len(done) + len(failed)} connect() calls returned without error, after "
                f"{', '.join(took(record) for record in done)}; accept() gave {accepted}.")
    counters = server.counters()
    shown = {name: counters[name] for name in ("TcpExtListenOverflows", "TcpExtListenDrops") if counters.get(name)}
    if shown:
        stage.found("Counted on the server: " + ", ".join(f"{name} {value}" for name, value in shown.items()) + ".")


def _setting(policy: str, meaning: str) -> str:
    return (f"backlog_policy = {policy}: {meaning} The server calls listen({_BACKLOG}) and is busy for 2 seconds "
            "before it accepts. Three clients call at once, one after half a second, one after a second. No SYN "
            "cookies.")


CHAPTER = Chapter(
    "backlog", "what listen(backlog) limits",
    "The backlog has been explained as the length of the half-open queue, as that of the accept queue, and as the "
    "sum of both. All three have been built. What does a caller see when the queue is full?",
    (
        Scene("the accept queue, as in Linux",
              _setting("accept", "the backlog limits connections that "
                                 "are complete and not accepted yet."), _play("accept")),
        Scene("the sum of both, as in historic BSD",
              _setting("sum", "half-open and complete ones together may be 3/2 of the backlog."), _play("sum")),
        Scene("the half-open queue", _setting("syn", "the backlog limits connections that are not complete yet."),
              _play("syn")),
    ),
    frozenset({"retransmission"}),
    is_about_opening=True,
)
