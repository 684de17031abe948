"""The cable: pulled and plugged in again, pulled for long; and a peer that loses power or starts anew."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from estab.cli.chapters.chapter import Chapter, Scene, Stage, option, times, when
from estab.events import LinkDropped, SegmentSent
from estab.lab.host import Host
from estab.messages import Channel, Delimited, Heartbeat, PeerLostError
from estab.observe.recorder import CallRecord
from estab.units import format_count

__all__ = ["CHAPTER"]


def _serve(server: Host) -> None:
    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while text := connection.recv(100):
                    connection.sendall(text)


def _ask_with_patience(client: Host) -> None:
    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.setsockopt(socket.IPPROTO_TCP, option("TCP_USER_TIMEOUT"), 20_000)
            time.sleep(1)
            caller.sendall(b"anybody?")
            with suppress(OSError):
                caller.recv(100)


def _at_once(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    _serve(server)

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            for _ in range(3):
                caller.sendall(b"tick")
                caller.recv(100)
                time.sleep(1)

    stage.net.at("950ms", cable.cut)
    stage.net.at("1150ms", cable.heal)
    stage.net.run()
    _find_silence(stage, client)
    _find_failures(stage, client, server)


def _idle(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    _serve(server)

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"before")
            caller.recv(100)
            time.sleep(3600)
            caller.sendall(b"after")
            caller.recv(100)

    stage.net.at("10s", cable.cut)
    stage.net.at("50min", cable.heal)
    stage.net.run()
    _find_silence(stage, client)
    _find_failures(stage, client, server)


def _keepalive(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    _serve(server)

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            caller.setsockopt(socket.IPPROTO_TCP, option("TCP_KEEPIDLE"), 30)
            caller.setsockopt(socket.IPPROTO_TCP, option("TCP_KEEPINTVL"), 5)
            caller.setsockopt(socket.IPPROTO_TCP, option("TCP_KEEPCNT"), 3)
            with suppress(OSError):
                caller.recv(100)

    stage.net.at("40s", cable.cut)
    stage.net.run(until="120s")
    probes = [fact for fact in stage.facts(SegmentSent, client) if "keepalive" in fact.why]
    stage.found(f"The client sent {format_count(len(probes), 'keepalive probe')}, at "
                f"{', '.join(when(fact.at_ns) for fact in probes)}.")
    _find_failures(stage, client, server)
    _find_left(stage, server)


def _heartbeat(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    beat = Heartbeat("5s", "15s")
    lost: list[tuple[Host, int, PeerLostError]] = []

    def receive(host: Host, sock: socket.socket) -> None:
        with Channel(sock, Delimited(b"\n"), heartbeat=beat) as channel:
            try:
                channel.receive()
            except PeerLostError as error:
                lost.append((host, stage.net.now_ns, error))

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            sock, _ = listener.accept()
        receive(server, sock)

    @client.run
    def call() -> None:
        receive(client, socket.create_connection(("server", 80)))

    stage.net.at("12s", cable.cut)
    stage.net.run(until="60s")
    for host, at_ns, error in lost:
        _find_lost(stage, host, at_ns, error)
    _find_left(stage, client)
    _find_left(stage, server)


def _user_timeout(stage: Stage) -> None:
    client, server, cable = stage.pair(delay="10ms")
    _serve(server)
    _ask_with_patience(client)
    stage.net.at("500ms", cable.cut)
    stage.net.run(until="60s")
    _find_failures(stage, client, server)
    _find_left(stage, server)


def _power_loss(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")
    _serve(server)
    _ask_with_patience(client)
    stage.net.at("500ms", server.power_off)
    stage.net.run(until="60s")
    _find_failures(stage, client, server)


def _reboot(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")
    _serve(server)

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            time.sleep(10)
            caller.sendall(b"remember me?")
            with suppress(OSError):
                caller.recv(100)

    stage.net.at("1s", server.power_off)
    stage.net.at("5s", server.power_on)
    stage.net.run(until="60s")
    for fact in stage.facts(SegmentSent, server):
        if "R" in fact.flags:
            stage.found(f"The server sent a reset at {when(fact.at_ns)}: {fact.why}.")
    _find_failures(stage, client, server)


def _find_silence(stage: Stage, client: Host) -> None:
    """Say what the cut cable lost, and when what was missing arrived."""
    lost = list(stage.facts(LinkDropped))
    again = [fact for fact in stage.facts(SegmentSent, client) if fact.why.startswith("retransmission")]
    stage.found(f"The cable lost {format_count(len(lost), 'packet')}"
                + ("; the client sent "
                   f"again {times(len(again))}, at {', '.join(when(fact.at_ns) for fact in again)}." if again
                   else ". Nothing had to be sent again."))


def _find_failures(stage: Stage, *hosts: Host) -> None:
    """Say which calls failed, with what, and how long after they began; or that none did."""
    failed: list[CallRecord] = [record for host in hosts for record in stage.calls(host) if record.error]
    for record in failed:
        began = record.started_ns
        end = record.returned_ns if record.returned_ns is not None else began
        stage.found(f"{record.host}: {record.name}() failed at {when(end)}, {when(end - began)} after it was called: "
                    f"{record.error}.")
    if not failed:
        stage.found("No call failed: neither program noticed.")


def _find_lost(stage: Stage, host: Host, at_ns: int, error: PeerLostError) -> None:
    """Say when a program was told that its peer is lost, after how long a silence, and what its socket knew."""
    stage.found(f"{host.name}: receive() ended with PeerLostError at {when(at_ns)}, after {when(error.silent_ns)} "
                "without a byte from the peer.")
    stage.found(f"What the {host.name}'s socket knew then, in {error.facts.state}: last data in "
                f"{_ago(error.facts.last_data_in_ns)}, last segment in {_ago(error.facts.last_ack_in_ns)}, "
                f"{error.facts.unacked_bytes} bytes unacknowledged, "
                f"{format_count(error.facts.retransmits or 0, 'time-out')} in a row unanswered.")


def _ago(length_ns: int | None) -> str:
    return "not known" if length_ns is None else f"{when(length_ns)} ago"


def _find_left(stage: Stage, host: Host) -> None:
    """Say what a side still believes."""
    for row in host.sockets():
        if row.state == "ESTAB":
            stage.found(f"At the end, {when(stage.net.now_ns)}, the {host.name} still held {row.local} to {row.peer} "
                        f"as {row.state}.")


CHAPTER = Chapter(
    "cable", "the cable is pulled",
    "The cable is pulled and plugged in again: does TCP notice? After how long does a program hear that its peer is "
    "gone? A connection is two records on two hosts; nothing on the way knows of it.",
    (
        Scene("out and "
              "in again", "10 ms of cable, a message every second. The cable is out from 0.95 s to 1.15 s.", _at_once),
        Scene("out for 50 "
              "minutes, nothing to say", "Both programs are silent for an hour; the cable is out for most of it. "
              "No keepalive.", _idle),
        Scene("out for "
              "good, with keepalive", "The client has SO_KEEPALIVE with 30 s of idle time, then 3 probes 5 s apart. "
              "The cable is cut after 40 s.", _keepalive),
        Scene("out for "
              "good, with a heartbeat", "Both programs receive on an estab.messages.Channel with Heartbeat('5s', "
              "'15s'): a ping after 5 s without a byte, given up after 15 s. Neither sends anything else. "
              "The cable is cut after 12 s.", _heartbeat),
        Scene("out for good, with "
              "data and a user timeout", "The client has TCP_USER_TIMEOUT of 20 s. The cable is cut, then "
              "the client sends.", _user_timeout),
        Scene("the server "
              "loses power", "The same user timeout, but the server's power fails after half a second: no FIN, no "
              "reset, nobody there.", _power_loss),
        Scene("the server "
              "starts anew", "The server's power fails after 1 s and is back after 5 s. Then the client sends.",
              _reboot),
    ),
    frozenset({"retransmission", "keep_alive", "window_update"}),
)
