"""The same random calls on sockets of two hosts and on the kernel's, at two addresses of its loopback.

No call waits. After each, what can be seen of all sockets must become the same in both worlds. What depends on the
moment, or on how much memory a kernel counts for a packet, is not asked for.
"""

from __future__ import annotations

import errno
import fcntl
import random
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from estab import Network, Socket

Op = tuple[Any, ...]
SLOTS = 3
RUNS = 60
PATIENCE_S = 5
SIOCATMARK = 0x8905
BITS = select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLRDHUP
TEXT = bytes(range(256)) * 20
LINGER = struct.pack("ii", 1, 0)
PAIR: list[Op] = [("socket", 0, 0), ("bind", 0, 0), ("listen", 0, 0, 5), ("socket", 1, 0),
                  ("connect", 1, 0, 0, 0), ("accept", 0, 0, 1)]
PEERS: list[Op] = [("socket", 0, 0), ("socket", 1, 0), ("connect", 1, 0, 0, 0), ("connect", 0, 0, 1, 0)]
OPTIONS = {
    socket.SOL_SOCKET: (2, 3, 4, 6, 9, 10, 13, 15, 18, 30, 38, 39),
    socket.IPPROTO_TCP: (1, 3, 4, 5, 6, 8, 9, 23, 25, 30, 36),
    socket.IPPROTO_IP: (2, 8, 10, 12),
    socket.IPPROTO_IPV6: (16, 23, 26, 51, 66),
    4242: (1,),
}


class World:
    """Sockets of two ends, ``None`` where there is none.

    Those for UDP are bound first: else the kernel would give both ends one address of its loopback.
    """

    def __init__(self, make: Callable[[int], socket.socket], addresses: tuple[str, str], kind: int) -> None:
        self.sockets: list[list[socket.socket | None]] = [[None] * SLOTS, [None] * SLOTS]
        self._make = make
        self._addresses = addresses
        self._is_bound_first = kind == socket.SOCK_DGRAM

    def all(self) -> Iterator[tuple[int, int, socket.socket]]:
        for end, slots in enumerate(self.sockets):
            for slot, sock in enumerate(slots):
                if sock is not None:
                    yield end, slot, sock

    def do(self, op: Op) -> Any:
        """Carry out one call. Gives what it returned, or its errno, in words that don't depend on the world."""
        name, end, slot, *args = op
        sock = self.sockets[end][slot]
        try:
            if name == "socket":
                if sock is None:
                    self._put(end, slot, self._make(end))
                    if self._is_bound_first:
                        self.do(("bind", end, slot))
                return "made"
            return "none" if sock is None else getattr(self, f"do_{name}")(end, slot, sock, *args)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def seen(self) -> list[Any]:
        return [(end, slot, self.readiness(sock), tcp_state(sock)) for end, slot, sock in self.all()]

    def close(self) -> None:
        for _, _, sock in self.all():
            sock.close()

    def readiness(self, sock: socket.socket) -> int:
        raise NotImplementedError

    def ask(self, sock: socket.socket, request: int) -> int:
        raise NotImplementedError

    def _put(self, end: int, slot: int, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sockets[end][slot] = sock

    def _address(self, end: int, slot: int) -> tuple[str, int]:
        sock = self.sockets[end][slot]
        return self._addresses[end], (0 if sock is None else sock.getsockname()[1]) or 1 + end

    def _who(self, address: Any) -> Any:
        """Name an address by the socket that has its port."""
        if not address:
            return address
        found = [(end, slot) for end, slot, sock in self.all() if sock.getsockname()[1] == address[1]]
        return found[0] if found and address[1] else bool(address[1])

    # --- calls

    def do_close(self, end: int, slot: int, sock: socket.socket) -> None:
        sock.close()
        self.sockets[end][slot] = None

    def do_bind(self, end: int, slot: int, sock: socket.socket) -> None:
        sock.bind((self._addresses[end], 0))

    def do_listen(self, end: int, slot: int, sock: socket.socket, backlog: int) -> None:
        sock.listen(backlog)

    def do_accept(self, end: int, slot: int, sock: socket.socket, into: int) -> Any:
        if self.sockets[end][into] is not None:
            return "full"
        made, address = sock.accept()
        self._put(end, into, made)
        return self._who(address)

    def do_connect(self, end: int, slot: int, sock: socket.socket, other_end: int, other: int) -> str:
        return errno.errorcode.get(sock.connect_ex(self._address(other_end, other)), "connected")

    def do_send(self, end: int, slot: int, sock: socket.socket, size: int, flags: int) -> int:
        return sock.send(TEXT[slot : slot + size], flags)

    def do_sendto(self, end: int, slot: int, sock: socket.socket, size: int, flags: int, *to: int) -> int:
        return sock.sendto(TEXT[:size], flags, self._address(*to))

    def do_recv(self, end: int, slot: int, sock: socket.socket, size: int, flags: int) -> bytes | int:
        text = sock.recv(size, flags)
        return len(text) if flags & socket.MSG_TRUNC else text  # beyond what came there is whatever there was

    def do_recvmsg(self, end: int, slot: int, sock: socket.socket, size: int, flags: int) -> Any:
        text, items, flags, address = sock.recvmsg(size, 512, flags)
        kinds = [(level, kind, len(data)) for level, kind, data in items]
        return len(text), kinds, flags & ~0x80000000, self._who(address)

    def do_shutdown(self, end: int, slot: int, sock: socket.socket, how: int) -> None:
        sock.shutdown(how)

    def do_getsockname(self, end: int, slot: int, sock: socket.socket) -> Any:
        return self._who(sock.getsockname())

    def do_getpeername(self, end: int, slot: int, sock: socket.socket) -> Any:
        return self._who(sock.getpeername())

    def do_getsockopt(self, end: int, slot: int, sock: socket.socket, level: int, name: int) -> int:
        return sock.getsockopt(level, name)

    def do_setsockopt(self, end: int, slot: int, sock: socket.socket, level: int, name: int, value: Any) -> None:
        sock.setsockopt(level, name, value)

    def do_ioctl(self, end: int, slot: int, sock: socket.socket, request: int) -> int:
        return self.ask(sock, request)


def tcp_state(sock: socket.socket) -> int:
    is_stream = sock.type == socket.SOCK_STREAM
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] if is_stream else 0


class Kernels(World):
    def readiness(self, sock: socket.socket) -> int:
        poll = select.poll()
        poll.register(sock, BITS)
        found = poll.poll(0)
        return found[0][1] if found else 0

    def ask(self, sock: socket.socket, request: int) -> int:
        return int(struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))[0])

    def settle(self, expected: list[Any]) -> list[Any]:
        """Look until what is seen is what is expected. Gives what is seen in the end."""
        until = time.monotonic() + PATIENCE_S
        while (seen := self.seen()) != expected and time.monotonic() < until:
            select.select([], [], [], 0.001)
        return seen


class Hosts(World):
    def readiness(self, sock: socket.socket) -> int:
        assert isinstance(sock, Socket)
        return sock.descriptor.readiness() & (BITS | select.POLLERR | select.POLLHUP)

    def ask(self, sock: socket.socket, request: int) -> int:
        assert isinstance(sock, Socket)
        return sock.ioctl(request)


class Chooser:
    """Makes calls by chance."""

    def __init__(self, seed: int, kind: int) -> None:
        self._random = random.Random(seed)
        self._kind = kind
        common = ["socket", "socket", "close", "bind", "connect", "connect", "send", "send", "sendto", "recv", "recv",
                  "recvmsg", "shutdown", "getsockname", "getpeername", "getsockopt", "getsockopt", "setsockopt",
                  "ioctl"]
        self._names = [*common, "listen", "accept", "accept"] if kind == socket.SOCK_STREAM else common

    def op(self) -> Op:
        pick = self._random.choice
        end, size, other = pick((0, 1)), pick((0, 1, 5, 100, 1500, 5000)), (pick((0, 1)), self._random.randrange(SLOTS))
        level = pick((*OPTIONS, socket.SOL_SOCKET))
        is_stream = self._kind == socket.SOCK_STREAM
        option = pick([each for each in OPTIONS[level] if is_stream or each != socket.SO_RCVLOWAT])
        value = pick((0, 1, 2, 5, 100, 70000, -1, bytes(8), b"\1", LINGER))
        to_send = (0, 0, 0, socket.MSG_OOB, socket.MSG_EOR, socket.MSG_CONFIRM, socket.MSG_DONTWAIT)
        to_receive = (0, 0, 0, socket.MSG_PEEK, socket.MSG_WAITALL, socket.MSG_TRUNC, socket.MSG_OOB)
        name = pick(self._names)
        more: dict[str, tuple[Any, ...]] = {
            "listen": (pick((0, 1, 5, -1)),), "accept": (other[1],),
            "connect": other, "send": (size, pick(to_send)), "sendto": (size, pick(to_send), *other),
            "recv": (size, pick(to_receive)), "recvmsg": (size, pick(to_receive)),
            "shutdown": (pick((-1, 0, 1, 2, 3)),),
            "getsockopt": (level, option), "setsockopt": (level, option, value),
            "ioctl": (pick((termios.FIONREAD, SIOCATMARK, 0x1234)) if is_stream else termios.FIONREAD,),
        }
        return (name, end, self._random.randrange(SLOTS), *more.get(name, ()))


def compare(seed: int, family: int, kind: int) -> None:
    """Carry out calls in both worlds, one by one."""
    chooser = Chooser(seed, kind)
    first: list[Op] = [] if seed % 4 == 0 else PAIR if kind == socket.SOCK_STREAM else PEERS
    is_v4 = family == socket.AF_INET
    done: list[Any] = []
    with Network(seed=5) as net:
        hosts = net.host("a"), net.host("b")
        net.link(*hosts, delay="20us")
        ours = Hosts(lambda end: hosts[end].socket(family, kind),
                     ("10.0.0.1", "10.0.0.2") if is_v4 else ("fd00::1", "fd00::2"), kind)
        kernels = Kernels(lambda end: socket.socket(family, kind),
                          ("127.0.0.1", "127.0.0.2") if is_v4 else ("::1", "::1"), kind)
        was_shut: set[socket.socket | None] = set()
        try:
            for op in [*first, *(chooser.op() for _ in range(25))]:
                sock = kernels.sockets[op[1]][op[2]]
                if op[0] == "listen" and sock in was_shut:
                    continue  # Linux hands it on to the connections that are accepted
                was_shut |= {sock} if op[0] == "shutdown" else set()
                found, expected = ours.do(op), kernels.do(op)
                done.append((op, expected))
                assert found == expected, f"seed {seed}: {done}; a host: {found!r}"
                net.run(until=net.now + 0.003)
                seen = ours.seen()
                now = kernels.settle(seen)
                assert seen == now, f"seed {seed}: {done}; readiness of hosts: {seen}, of the kernel's: {now}"
        finally:
            kernels.close()
            ours.close()


@pytest.mark.parametrize("first", range(0, 2 * RUNS, RUNS))
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_two_hosts_answer_as_two_sockets_of_the_kernel(family: int, kind: int, first: int) -> None:
    for seed in range(first, first + RUNS):
        compare(seed, family, kind)
