"""Print the two tables of docs/messages/heartbeats.md, measured in the lab: who notices what when, and the cost.

    python tools/notice_times.py       with PYTHONPATH=src, or an installed estab

Each cell of the first is one run of a virtual network: a client and a server have a connection, at 100 s something
happens, and the client's program is watched for twenty virtual minutes. The cell is the time from the event to the
error. The second counts what an idle connection sends in an hour.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from estab.events import Event, FrameSent
from estab.lab.host import Host
from estab.lab.link import Link
from estab.lab.network import Network
from estab.messages import Channel, EndOfStreamError, Heartbeat, LengthPrefixed, PeerLostError
from estab.units import SECOND

EVENT, HORIZON = 100, 1300
BEAT = Heartbeat("5s", "15s")

Means = Callable[[socket.socket], Heartbeat | None]
"""Prepares the client's socket; gives the heartbeat, if that is the means."""


def nothing(sock: socket.socket) -> None:
    """Leave the socket as it is: no keepalive, fifteen retransmissions."""


def keepalive(sock: socket.socket) -> None:
    """After 30 s of silence, three probes 5 s apart: what redis-py sets."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def user_timeout(sock: socket.socket) -> None:
    """Give up when what was sent has been unacknowledged for 20 s."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)


def both(sock: socket.socket) -> None:
    """Keepalive and user timeout."""
    keepalive(sock)
    user_timeout(sock)


def heartbeat(sock: socket.socket) -> Heartbeat:
    """A ping after 5 s of silence, lost after 15 s."""
    return BEAT


MEANS: dict[str, Means] = {
    "nothing set": nothing, "keepalive 30 s + 3 × 5 s": keepalive, "user timeout 20 s": user_timeout,
    "keepalive and user timeout": both, "heartbeat 5 s, 15 s": heartbeat,
}


@dataclass(frozen=True)
class Case:
    """What happens at the event, and what the client does meanwhile."""

    what: str
    is_sending: bool
    """Whether the client sends 100 bytes a second; else it only waits for a message."""
    strike: Callable[[Network, Host, Link], None]
    hangs: bool = False
    """Whether the server's program stops serving at the event, its TCP going on."""


def cut(net: Network, server: Host, cable: Link) -> None:
    net.at(EVENT, cable.cut)


def cut_for_a_while(net: Network, server: Host, cable: Link) -> None:
    net.at(EVENT, cable.cut)
    net.at(EVENT + 12, cable.heal)


def lose_power(net: Network, server: Host, cable: Link) -> None:
    net.at(EVENT, server.power_off)


def restart(net: Network, server: Host, cable: Link) -> None:
    net.at(EVENT, server.power_off)
    net.at(EVENT + 1, server.power_on)


def nothing_happens(net: Network, server: Host, cable: Link) -> None:
    """Leave cable and host alone: only the program hangs."""


CASES = [
    Case("cable pulled, connection idle", False, cut),
    Case("cable pulled, we send", True, cut),
    Case("cable pulled and back after 12 s, idle", False, cut_for_a_while),
    Case("cable pulled and back after 12 s, we send", True, cut_for_a_while),
    Case("peer loses power, idle", False, lose_power),
    Case("peer loses power, we send", True, lose_power),
    Case("peer restarts within 1 s, idle", False, restart),
    Case("peer restarts within 1 s, we send", True, restart),
    Case("peer's program hangs, idle", False, nothing_happens, hangs=True),
    Case("peer's program hangs, we send", True, nothing_happens, hangs=True),
]


def measure(case: Case, means: Means) -> str:
    """Run one case with one means; return the table's cell."""
    with Network(seed=7) as net:
        server, client = net.host("server"), net.host("client")
        cable = net.link(server, client, delay="10ms")
        serve_in(net, server, means, hangs_at=EVENT if case.hangs else HORIZON)

        @client.run(daemon=True)
        def call() -> tuple[float, Exception]:
            sock = socket.create_connection(("server", 80))
            with Channel(sock, LengthPrefixed(), heartbeat=means(sock)) as channel:
                try:
                    channel.send(b"hello")
                    while True:
                        with suppress(TimeoutError):
                            channel.receive("1s" if case.is_sending else None)
                        if case.is_sending:
                            channel.send(bytes(100))
                except (OSError, EndOfStreamError) as error:
                    return net.now, error

        case.strike(net, server, cable)
        net.run(until=HORIZON)
        if not call.done():
            return "–"
        at, error = call.result()
        return f"{at - EVENT:.0f} s {name(error)}"


def serve_in(net: Network, server: Host, means: Means, hangs_at: float) -> None:
    """Have the server take one connection and read it, until it hangs."""

    @server.run(daemon=True)
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            sock, _ = listener.accept()
        beat = BEAT if means is heartbeat else None
        with Channel(sock, LengthPrefixed(), heartbeat=beat) as channel, suppress(OSError, EndOfStreamError):
            while (left := hangs_at - net.now) > 0:
                with suppress(TimeoutError):
                    channel.receive(left)
            time.sleep(HORIZON)


def idle_cost(means: Means) -> tuple[int, int]:
    """Count the packets and the bytes of IP that both hosts send in an hour in which the programs say nothing."""
    packets = octets = 0

    def count(event: Event) -> None:
        nonlocal packets, octets
        if isinstance(event, FrameSent) and event.at_ns >= 100 * SECOND:
            packets += 1
            octets += len(event.data)

    with Network(seed=7, observer=count) as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client, delay="10ms")
        serve_in(net, server, means, hangs_at=3700)

        @client.run(daemon=True)
        def call() -> None:
            sock = socket.create_connection(("server", 80))
            Channel(sock, LengthPrefixed(), heartbeat=means(sock)).receive()

        net.run(until=3700)
        return packets, octets  # before the network ends its programs, whose sockets then close


def name(error: Exception) -> str:
    """Write an error as the table does."""
    if isinstance(error, PeerLostError) and not error.__cause__:
        return "`PeerLostError`"
    if isinstance(error, OSError) and error.errno is not None:
        return f"`{errno.errorcode[error.errno]}`"
    return f"`{type(error).__name__}`"


def notice_table() -> list[str]:
    """Return the lines of the first table."""
    lines = ["| " + " | ".join(["", *MEANS]) + " |", "|" + "---|" * (len(MEANS) + 1)]
    for case in CASES:
        lines.append("| " + " | ".join([case.what, *(measure(case, means) for means in MEANS.values())]) + " |")
    return lines


def cost_table() -> list[str]:
    """Return the lines of the second table."""
    lines = ["| idle for an hour | packets | bytes of IP |", "|---|---|---|"]
    for what, means in MEANS.items():
        packets, octets = idle_cost(means)
        lines.append(f"| {what} | {packets} | {octets} |")
    return lines


if __name__ == "__main__":
    print("\n".join([*notice_table(), "", *cost_table()]))
