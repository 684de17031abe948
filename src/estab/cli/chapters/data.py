"""What the number that ``send`` returns means: copied into the send buffer, and nothing more."""

from __future__ import annotations

import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage, times, took, when
from estab.events import SegmentReceived, SegmentSent, TimerFired
from estab.lab.host import Host
from estab.observe.recorder import CallRecord
from estab.units import format_count, format_duration

__all__ = ["CHAPTER"]


def _copied(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="50ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection = stage.keep(listener.accept()[0])
            left = 12_000
            while left:
                left -= len(connection.recv(65536))

    @client.run
    def call() -> None:
        caller = stage.keep(socket.create_connection(("server", 80)))
        caller.send(bytes(12_000))
        time.sleep(1)

    stage.net.run()
    for record in stage.calls(client, "send"):
        _find_progress(stage, client, record)


def _find_progress(stage: Stage, client: Host, record: CallRecord) -> None:
    """Say how far the text of a ``send`` had got when the call returned, and when the rest followed."""
    assert record.returned_ns is not None
    size = int(record.result)
    left_bytes = sum(fact.length for fact in record.segments)
    buffered = [fact.size_bytes for fact in record.buffers if fact.which == "send"]
    if buffered:
        stage.found(f"send() returned {size} after {took(record)}: so much it had copied into the send buffer. At "
                    f"that moment {left_bytes} bytes had left in {format_count(len(record.segments), 'segment')}, and "
                    f"{buffered[-1]} were not acknowledged.")
    snapshots = [(fact.at_ns, fact.tcb) for fact in stage.facts(SegmentReceived, client)
                 if fact.tcb is not None and fact.at_ns > record.returned_ns]
    done = next((at_ns for at_ns, tcb in snapshots if tcb.send_buffer_bytes == 0), None)
    if done is not None:
        stage.found(f"The last byte was acknowledged {when(done - record.returned_ns)} after send() had returned. "
                    "Even that says only that the other stack has it, not that the program has read it.")
    reads = [fact for fact in stage.recorder.calls("server", name="recv") if fact.returned_ns is not None]
    if len(reads) > 1:
        stage.found(f"One send(), {len(reads)} recv(): they gave {', '.join(_size(read) for read in reads)} bytes.")


def _size(record: CallRecord) -> str:
    """Read how many bytes a ``recv`` gave from the form in which its result was written."""
    text = record.result
    return text[1:].partition(" ")[0] if text.startswith("<") else str(len(text) - 3)


def _slow_reader(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")

    @server.run
    def serve() -> int:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.bind(("", 80))
            listener.listen()
            connection = listener.accept()[0]
        time.sleep(3)  # reads nothing
        count = 0
        with connection:
            while text := connection.recv(65536):
                count += len(text)
        return count

    @client.run
    def call() -> None:
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            caller.connect(("server", 80))
            caller.sendall(bytes(16_000))

    stage.net.run()
    for record in stage.calls(client, "sendall"):
        stage.found(f"sendall() took {took(record)}"
                    + (f", of which it slept {_slept(record)}: the send buffer was full." if record.waits else "."))
    shut = [fact for fact in stage.facts(SegmentSent, server) if fact.wnd == 0 and "R" not in fact.flags]
    if shut:
        reads = [record for record in stage.calls(server, "recv") if record.started_ns < shut[0].at_ns]
        stage.found(f"The server announced a window of 0 {times(len(shut))}, first at {when(shut[0].at_ns)}. Until "
                    f"then its program had called recv() {times(len(reads))}.")
    probes = [fact for fact in stage.facts(SegmentSent, client) if "probe" in fact.why]
    if probes:
        stage.found(f"The client asked {times(len(probes))} whether the window had opened (zero-window probes), at "
                    f"{', '.join(when(fact.at_ns) for fact in probes)}: an update that got lost must not stop the "
                    "stream.")
    timers = [fact for fact in stage.facts(TimerFired, client) if fact.timer == "persist"]
    if timers and not probes:
        stage.found(f"The persist timer ran out {times(len(timers))}.")
    stage.found(f"The server's program read {serve.result()} bytes in the end.")


def _slept(record: CallRecord) -> str:
    return format_duration(sum((wait.until_ns or wait.since_ns) - wait.since_ns for wait in record.waits))


CHAPTER = Chapter(
    "data", "what send() returning means",
    "send() returned the length of what it was given: has the other side got it? What lies between the two programs, "
    "and what happens to the sender when the receiver does not read?",
    (
        Scene("send() of 12,000 bytes",
              "50 ms of cable. The client sends 12,000 bytes with one call; the server reads what comes.", _copied),
        Scene("a reader that does not read",
              "10 ms of cable, small buffers: 4 KiB to receive, 4 KiB to send. The server accepts and reads nothing "
              "for 3 seconds, while the client sends 16,000 bytes.", _slow_reader),
    ),
    frozenset({"zero_window", "window_full", "keep_alive", "window_update"}),
)
