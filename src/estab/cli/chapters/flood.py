"""A SYN flood: clients that never send the third segment, and what a SYN cookie does against them."""

from __future__ import annotations

import socket
from collections.abc import Callable

from estab.cli.chapters.chapter import Chapter, Scene, Stage, took
from estab.events import CookieChecked, PacketDropped, QueueChanged
from estab.lab.host import Host
from estab.lab.link import Link
from estab.observe.flights import flights
from estab.settings import SynCookies
from estab.units import MS, format_count
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from estab.wire.tcp import SYN, Segment, emit_packet

__all__ = ["CHAPTER"]

_BACKLOG = 8
_FORGED = 60
_EVERY_NS = 20 * MS


def _play(cookies: SynCookies, port: int) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        server = stage.net.host("server", tcp_syncookies=cookies, tcp_max_syn_backlog=_BACKLOG)
        attacker, client = stage.net.host("attacker"), stage.net.host("client")
        dark = stage.net.link(attacker, server, name="dark", delay="5ms")
        stage.net.link(server, client, name="cable", delay="10ms")

        stage.internet(server, dark, attacker)

        @server.run
        def serve() -> None:
            listener = stage.keep(socket.socket())
            listener.bind(("", 80))
            listener.listen()
            connection = stage.keep(listener.accept()[0])
            connection.sendall(connection.recv(100))

        def call() -> bytes:
            caller = stage.keep(socket.socket())
            caller.settimeout(10)
            try:
                caller.connect(("server", 80))
                caller.sendall(b"hello")
                return caller.recv(100)
            except OSError:
                return b""

        for number in range(_FORGED):
            stage.net.at(number * _EVERY_NS / 1e9, _forge, dark, attacker, server, number, port)
        answer = client.run(call, start="600ms")
        stage.net.run(until="12s")
        _find(stage, server, client, answer.result())

    return play


def _forge(link: Link, attacker: Host, server: Host, number: int, port: int) -> None:
    """Put a SYN on the link that claims to come from a host which does not exist."""
    source = parse_address(f"198.51.100.{number + 1}")
    segment = Segment(port + number, 80, Seq(number * 64_000), Seq(0), SYN, 64_240)
    segment.mss = 1460
    header = IpHeader(source, parse_address(server.addresses[0]), ident=number, dont_fragment=True)
    link.inject(attacker, emit_packet(segment, header))


def _find(stage: Stage, server: Host, client: Host, answer: bytes) -> None:
    half_open = [fact for fact in stage.facts(QueueChanged, server) if fact.queue == "half-open"]
    if half_open:
        stage.found(f"The half-open queue held at most {max(fact.depth for fact in half_open)} of "
                    f"{half_open[0].limit}.")
    dropped = list(stage.facts(PacketDropped, server))
    for reason in dict.fromkeys(fact.reason for fact in dropped):
        count = sum(fact.reason is reason for fact in dropped)
        stage.found(f"The server dropped {format_count(count, 'segment')}: {reason.value}.")
    for record in stage.calls(client, "connect"):
        outcome = f"failed with {record.error}" if record.error else "came through"
        stage.found(f"The honest client's connect() {outcome} after {took(record)}.")
    if answer:
        stage.found(f"It was answered {answer!r}.")
    cookies = list(stage.facts(CookieChecked, server))
    if cookies:
        nobody = sum(item.summary.flags == "S." and item.fate == "dropped" for item in flights(stage.recorder.facts))
        stage.found(f"{format_count(len(cookies), 'cookie')} came back, "
                    f"{sum(fact.is_valid for fact in cookies)} of them good; "
                    f"{format_count(nobody, 'SYN-ACK')} went to addresses that nobody uses, cookies and others.")
    names = ("TcpExtSyncookiesSent", "TcpExtSyncookiesRecv", "TcpExtTCPReqQFullDoCookies", "TcpExtTCPReqQFullDrop")
    counters = server.counters()
    shown = [f"{name} {counters[name]}" for name in names if counters.get(name)]
    if shown:
        stage.found(f"Counted on the server: {', '.join(shown)}.")


def _setting(cookies: str) -> str:
    return (f"A SYN from a forged address every 20 ms, {_FORGED} in all. The server keeps at most {_BACKLOG} "
            f"half-open entries; tcp_syncookies = {cookies}. An honest client calls after 600 ms.")


_LANES = ("attacker", "server", "client")

CHAPTER = Chapter(
    "flood", "a SYN flood",
    "An attacker sends SYNs and never the third segment. Each one costs the server a place in its half-open queue. "
    "Does an honest client still connect? A SYN cookie (RFC 4987) keeps nothing: the answer's sequence number is the "
    "entry.",
    (
        Scene("without cookies", _setting("never"), _play("never", 20_000), _LANES),
        Scene("with cookies when the queue is full", _setting("when full"), _play("when full", 30_000), _LANES),
    ),
    frozenset({"retransmission"}),
    is_about_opening=True,
)
