"""Each frame of a small exchange lost once, and each two, in three ways of closing: all arrives, and nothing is left.

The exchange goes on for as long as its last side needs; then both hosts have no socket left, TIME-WAIT records neither.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from estab.lab.network import Network
from estab.wire import ip, tcp
from estab.wire.tcp import RST

REQUEST, ANSWER = 5000, 6000
ENDS_AT_S = 400
"""Of virtual time: beyond all back-off of two losses, and TIME-WAIT after it."""


@dataclass(frozen=True)
class Outcome:
    """What an exchange came to."""

    frames: int
    request: int
    answer: int
    resets: int
    left: tuple[str, ...]
    """Sockets and records that are still there."""


class Losses:
    """A rule that loses frames by their number, from 1, and counts frames and resets."""

    def __init__(self, lost: tuple[int, ...]) -> None:
        self.lost = lost
        self.frames = 0
        self.resets = 0

    def __call__(self, sender: str, frame: bytes) -> bool:
        packet = ip.parse(frame, 0)
        if packet.protocol != ip.TCP:
            return False
        self.frames += 1
        if tcp.parse(packet, True).flags & RST:
            self.resets += 1
        return self.frames in self.lost


def read_all(end: socket.socket) -> int:
    count = 0
    while data := end.recv(4096):
        count += len(data)
    return count


def read_some(end: socket.socket, count: int) -> int:
    got = 0
    while got < count:
        got += len(end.recv(4096))
    return got


def client_closes_first(client: socket.socket, server: socket.socket | None) -> int:
    if server is not None:
        got = read_all(server)
        server.sendall(b"r" * ANSWER)
        return got
    client.sendall(b"q" * REQUEST)
    client.shutdown(socket.SHUT_WR)
    return read_all(client)


def server_closes_first(client: socket.socket, server: socket.socket | None) -> int:
    if server is not None:
        got = read_some(server, REQUEST)
        server.sendall(b"r" * ANSWER)
        return got
    client.sendall(b"q" * REQUEST)
    return read_all(client)


def both_close_at_once(client: socket.socket, server: socket.socket | None) -> int:
    end, text = (client, b"q" * REQUEST) if server is None else (server, b"r" * ANSWER)
    end.sendall(text)
    end.shutdown(socket.SHUT_WR)
    return read_all(end)


Way = Callable[[socket.socket, "socket.socket | None"], int]


def exchange(way: Way, lost: tuple[int, ...], address: str) -> Outcome:
    net = Network(seed=1)
    near, far = net.host("near"), net.host("far")
    link = net.link(near, far, delay="10ms")
    losses = Losses(lost)
    link.rule(losses)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def serve() -> int:
        with socket.socket(family) as listener:
            listener.bind(("", 80))
            listener.listen()
            end = listener.accept()[0]
        with end:
            return way(end, end)

    def ask() -> int:
        with socket.socket(family) as end:
            end.connect((address, 80))
            return way(end, None)

    server, client = far.run(serve), near.run(ask)
    with net:
        net.run(until=ENDS_AT_S)
        left = tuple(str(row.state) for host in (near, far) for row in host.sockets())
        return Outcome(losses.frames, server.result(), client.result(), losses.resets, left)


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
@pytest.mark.parametrize("way", [client_closes_first, server_closes_first, both_close_at_once])
def test_whatever_frame_or_pair_of_frames_is_lost_all_arrives_and_nothing_is_left(way: Way, address: str) -> None:
    plain = exchange(way, (), address)
    assert (plain.request, plain.answer, plain.resets, plain.left) == (REQUEST, ANSWER, 0, ())
    numbers = range(1, plain.frames + 1)
    apart = 4 if ":" in address else plain.frames  # in IPv6, only pairs that are near each other: TCP is the same code
    pairs = [pair for pair in itertools.combinations(numbers, 2) if pair[1] - pair[0] < apart]
    bursts = [tuple(range(first, first + 4)) for first in numbers]
    wrong = []
    for lost in [*((number,) for number in numbers), *pairs, *bursts]:
        outcome = exchange(way, lost, address)
        if (outcome.request, outcome.answer, outcome.resets, outcome.left) != (REQUEST, ANSWER, 0, ()):
            wrong.append((lost, outcome))
    assert not wrong
