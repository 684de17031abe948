"""The same random sequence of calls on the kernel's sockets and on estab's: the same results and the same errnos.

Both worlds have a few slots for sockets on one host, whose calls never wait, and talk over its loopback. After each
call, what can be seen of all sockets (readiness, bytes that wait) must become the same in both worlds; the kernel is
polled for that a bounded number of times, as it delivers in its own time.
"""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

from estab import Host, Network, Socket

Op = tuple[Any, ...]
SLOTS = 4
POLLED_MAX = 400
SIOCATMARK = 0x8905
ALL_BITS = select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLRDHUP
TEXT = bytes(range(256)) * 16


class World:
    """Sockets in slots, ``None`` where a slot is empty, and how to make one."""

    def __init__(self, make: Callable[..., socket.socket], family: int, kind: int) -> None:
        self.sockets: list[socket.socket | None] = [None] * SLOTS
        self.shut: set[socket.socket] = set()
        self.family, self.kind = family, kind
        self.loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._make = make
        self.unused = (self.loopback, 1)
        """Where nobody is."""

    def do(self, op: Op) -> Any:
        """Carry out one call. Gives what it returned, or its errno, in words that don't depend on the world."""
        name, slot, *args = op
        sock = self.sockets[slot]
        try:
            if name == "socket":
                if sock is None:
                    made = self.sockets[slot] = self._make(self.family, self.kind)
                    made.setblocking(False)
                return "made"
            if sock is None:
                return "empty"
            return getattr(self, f"do_{name}")(slot, sock, *args)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def seen(self) -> list[Any]:
        """Give what can be seen of all sockets without changing anything."""
        return [None if sock is None else (self.readiness(sock), self.waiting(sock)) for sock in self.sockets]

    def readiness(self, sock: socket.socket) -> int:
        raise NotImplementedError

    def waiting(self, sock: socket.socket) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        for sock in self.sockets:
            if sock is not None:
                sock.close()

    # --- addresses

    def address_of(self, slot: int) -> Any:
        """Where a slot's socket can be reached: at a port that nobody has, if it has none."""
        sock = self.sockets[slot]
        port = sock.getsockname()[1] if sock is not None else 0
        return (self.loopback, port) if port else self.unused

    def who(self, address: Any) -> Any:
        """Name an address by the slot whose socket has it."""
        if address is None:
            return None
        for slot, sock in enumerate(self.sockets):
            if sock is not None and sock.getsockname()[1] == address[1]:
                return (address[0], slot)
        return (address[0], "unused" if address[1] == 1 else "nobody" if address[1] else 0)

    # --- calls

    def do_close(self, slot: int, sock: socket.socket) -> str:
        sock.close()
        self.sockets[slot] = None
        return "closed"

    def do_bind(self, slot: int, sock: socket.socket, to: str) -> None:
        sock.bind((self.loopback if to else "", 0))

    def do_bind_taken(self, slot: int, sock: socket.socket, other: int) -> Any:
        holder = self.sockets[other]
        if holder is None or (self.kind == socket.SOCK_STREAM and not holder.getsockopt(1, socket.SO_ACCEPTCONN)):
            return "nothing is taken"  # the port of a connection is free when it ends: too early in the kernel's world
        return sock.bind(self.address_of(other)) if self.address_of(other) != self.unused else None

    def do_listen(self, slot: int, sock: socket.socket, backlog: int) -> Any:
        if sock in self.shut:
            return "shut"  # Linux hands it on to the connections that are accepted, which nobody can want
        return sock.listen(backlog)  # type: ignore[func-returns-value]

    def do_accept(self, slot: int, sock: socket.socket, into: int) -> Any:
        if self.sockets[into] is not None:
            return "full"
        made, address = sock.accept()
        made.setblocking(False)
        self.sockets[into] = made
        return self.who(address)

    def do_connect(self, slot: int, sock: socket.socket, other: int) -> str:
        return errno.errorcode.get(sock.connect_ex(self.address_of(other)), "connected")

    def do_send(self, slot: int, sock: socket.socket, size: int, flags: int) -> int:
        return sock.send(TEXT[slot : slot + size], flags)

    def do_send_parts(self, slot: int, sock: socket.socket, size: int, more: int) -> Any:
        return sock.send(TEXT[:size], socket.MSG_MORE), sock.send(TEXT[:more])

    def do_sendto(self, slot: int, sock: socket.socket, size: int, flags: int, other: int) -> int:
        return sock.sendto(TEXT[slot : slot + size], flags, self.address_of(other))

    def do_sendmsg(self, slot: int, sock: socket.socket, size: int, flags: int) -> int:
        return sock.sendmsg([TEXT[:size], TEXT[:3]], [], flags)

    def do_recv(self, slot: int, sock: socket.socket, size: int, flags: int) -> bytes:
        return sock.recv(size, flags)

    def do_recvfrom(self, slot: int, sock: socket.socket, size: int, flags: int) -> Any:
        text, address = sock.recvfrom(size, flags)
        return text, self.who(address)

    def do_recvmsg(self, slot: int, sock: socket.socket, size: int, flags: int) -> Any:
        text, ancillary, flags, address = sock.recvmsg(size, 100, flags)
        return text, ancillary, flags & ~0x80000000, self.who(address)

    def do_recv_into(self, slot: int, sock: socket.socket, size: int, flags: int) -> Any:
        buffer = bytearray(size)
        return sock.recv_into(buffer, 0, flags), bytes(buffer)

    def do_shutdown(self, slot: int, sock: socket.socket, how: int) -> None:
        self.shut.add(sock)
        sock.shutdown(how)

    def do_getsockname(self, slot: int, sock: socket.socket) -> Any:
        return self.who(sock.getsockname())

    def do_getpeername(self, slot: int, sock: socket.socket) -> Any:
        return self.who(sock.getpeername())

    def do_getsockopt(self, slot: int, sock: socket.socket, level: int, option: int) -> int:
        return sock.getsockopt(level, option)

    def do_setsockopt(self, slot: int, sock: socket.socket, level: int, option: int, value: Any) -> None:
        sock.setsockopt(level, option, value)


class Kernels(World):
    def readiness(self, sock: socket.socket) -> int:
        poll = select.poll()
        poll.register(sock, ALL_BITS)
        found = poll.poll(0)
        return found[0][1] if found else 0

    def waiting(self, sock: socket.socket) -> Any:
        def ask(request: int) -> Any:
            try:
                return struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))[0]
            except OSError as error:
                return errno.errorcode[error.errno or 0]

        return ask(termios.FIONREAD), ask(SIOCATMARK) if self.kind == socket.SOCK_STREAM else 0

    def settle(self, expected: list[Any]) -> list[Any]:
        """Poll until what is seen is what is expected, a bounded number of times. Gives what is seen in the end."""
        poll = select.poll()
        for _ in range(POLLED_MAX):
            seen = self.seen()
            if seen == expected:
                break
            poll.poll(1)
        return seen


class Estabs(World):
    def readiness(self, sock: socket.socket) -> int:
        assert isinstance(sock, Socket)
        return sock.descriptor.readiness() & (ALL_BITS | select.POLLERR | select.POLLHUP)

    def waiting(self, sock: socket.socket) -> Any:
        assert isinstance(sock, Socket)

        def ask(request: int) -> Any:
            try:
                return sock.ioctl(request)
            except OSError as error:
                return errno.errorcode[error.errno or 0]

        return ask(termios.FIONREAD), ask(SIOCATMARK) if self.kind == socket.SOCK_STREAM else 0


def compare(family: int, kind: int, ops: list[Op]) -> None:
    """Carry out the calls in both worlds, step by step."""
    with Network(seed=5) as net:
        host: Host = net.host("a")
        ours, kernels = Estabs(host.socket, family, kind), Kernels(socket.socket, family, kind)
        try:
            for op in ops:
                found, expected = ours.do(op), kernels.do(op)
                note(f"{op} -> {expected!r}" + ("" if found == expected else f", but estab: {found!r}"))
                assert found == expected, op
                net.run(until=net.now + 0.05)
                seen = ours.seen()
                assert seen == kernels.settle(seen), (op, "readiness and bytes that wait: estab's, the kernel's")
        finally:
            kernels.close()
            ours.close()


slots = st.integers(0, SLOTS - 1)
sizes = st.sampled_from([0, 1, 5, 100, 1500])
recv_flags = st.sampled_from([0, 0, 0, socket.MSG_PEEK, socket.MSG_WAITALL, socket.MSG_DONTWAIT])
send_flags = st.sampled_from([0, 0, socket.MSG_NOSIGNAL, socket.MSG_DONTWAIT])
hows = st.sampled_from([socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])
LINGER_0, LINGER_OFF = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
options = st.sampled_from([
    (socket.SOL_SOCKET, socket.SO_ERROR), (socket.SOL_SOCKET, socket.SO_TYPE),
    (socket.SOL_SOCKET, socket.SO_ACCEPTCONN), (socket.SOL_SOCKET, socket.SO_PROTOCOL),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE), (socket.IPPROTO_TCP, socket.TCP_NODELAY), (4242, 1),
])
common = [
    st.tuples(st.just("socket"), slots), st.tuples(st.just("socket"), slots), st.tuples(st.just("close"), slots),
    st.tuples(st.just("bind"), slots, st.sampled_from(["", "loopback"])),
    st.tuples(st.just("bind_taken"), slots, slots),
    st.tuples(st.just("send"), slots, sizes, send_flags), st.tuples(st.just("sendmsg"), slots, sizes, send_flags),
    st.tuples(st.just("sendto"), slots, sizes, send_flags, slots),
    st.tuples(st.just("shutdown"), slots, hows),
    st.tuples(st.just("getsockname"), slots), st.tuples(st.just("getpeername"), slots),
    options.flatmap(lambda option: st.tuples(st.just("getsockopt"), slots, *map(st.just, option))),
    *(st.tuples(st.just(name), slots, sizes, recv_flags) for name in ("recv", "recvfrom", "recvmsg", "recv_into")),
]
tcp = st.one_of([
    *common,
    st.tuples(st.just("listen"), slots, st.just(32)),
    st.tuples(st.just("accept"), slots, slots), st.tuples(st.just("accept"), slots, slots),
    st.tuples(st.just("connect"), slots, slots), st.tuples(st.just("connect"), slots, slots),
    st.tuples(st.just("send"), slots, st.sampled_from([1, 3]), st.just(socket.MSG_OOB)),
    st.tuples(st.just("recv"), slots, st.sampled_from([1, 3]), st.sampled_from([
        socket.MSG_OOB, socket.MSG_OOB | socket.MSG_PEEK])),
    st.tuples(st.just("setsockopt"), slots, st.just(socket.SOL_SOCKET), st.just(socket.SO_LINGER),
              st.sampled_from([LINGER_0, LINGER_OFF])),
    st.tuples(st.just("setsockopt"), slots, st.just(socket.SOL_SOCKET), st.just(socket.SO_OOBINLINE),
              st.sampled_from([0, 1])),
])
udp = st.one_of([
    *common,
    st.tuples(st.just("connect"), slots, slots), st.tuples(st.just("connect"), slots, slots),
    st.tuples(st.just("send_parts"), slots, sizes, sizes),
    st.tuples(st.just("recvmsg"), slots, sizes, st.sampled_from([socket.MSG_PEEK, socket.MSG_TRUNC])),
    st.tuples(st.just("recv_into"), slots, sizes, st.just(socket.MSG_TRUNC)),
    st.tuples(st.just("setsockopt"), slots, st.just(socket.IPPROTO_IP), st.just(12), st.sampled_from([0, 1])),
])
PAIR: list[Op] = [
    ("socket", 0), ("bind", 0, "loopback"), ("listen", 0, 5), ("socket", 1), ("connect", 1, 0), ("accept", 0, 2)]
UDP_PAIR: list[Op] = [("socket", 0), ("bind", 0, "loopback"), ("socket", 1), ("bind", 1, "loopback"),
                      ("connect", 1, 0), ("connect", 0, 1)]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@given(st.lists(tcp, max_size=25))
def test_tcp_sockets_answer_as_the_kernels_do(family: int, ops: list[Op]) -> None:
    compare(family, socket.SOCK_STREAM, ops)


@given(st.lists(tcp, max_size=20))
@example([("shutdown", 1, 2), ("send", 2, 1, socket.MSG_OOB)])  # the segment that is reset has the urgent byte
@example([("send", 2, 1, socket.MSG_OOB), ("shutdown", 1, 2), ("send", 2, 1, socket.MSG_OOB)])
def test_a_connection_answers_as_the_kernels_does(ops: list[Op]) -> None:
    compare(socket.AF_INET, socket.SOCK_STREAM, PAIR + ops)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@given(st.lists(udp, max_size=25))
def test_udp_sockets_answer_as_the_kernels_do(family: int, ops: list[Op]) -> None:
    compare(family, socket.SOCK_DGRAM, ops)


@given(st.lists(udp, max_size=20))
def test_connected_udp_sockets_answer_as_the_kernels_do(ops: list[Op]) -> None:
    compare(socket.AF_INET, socket.SOCK_DGRAM, UDP_PAIR + ops)
