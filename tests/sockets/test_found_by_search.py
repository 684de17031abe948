"""Sequences of calls that a random search once found to differ from Linux: the same on the kernel and on a host."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from estab import Network

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@contextmanager
def tcp(family: int = socket.AF_INET, timeout: float | None = 0.0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect two TCP sockets."""
    with socket.socket(family) as listener, socket.socket(family) as one:
        listener.bind((LOOPBACK[socket.AddressFamily(family)], 0))
        listener.listen()
        one.connect(listener.getsockname())
        with listener.accept()[0] as other:
            one.settimeout(timeout)
            other.settimeout(timeout)
            yield one, other


@contextmanager
def udp(family: int = socket.AF_INET, timeout: float | None = 0.0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Make two UDP sockets, each other's peers."""
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        for sock in (one, other):
            sock.bind((LOOPBACK[socket.AddressFamily(family)], 0))
            sock.settimeout(timeout)
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        yield one, other


def said(call: Callable[[], Any]) -> Any:
    """Give what a call returns, or its error."""
    try:
        return call()
    except OSError as error:
        return type(error).__name__, error.errno, str(error)


def protocols_of_numbers() -> Any:
    found = []
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM),
                         (socket.AF_UNIX, socket.SOCK_STREAM)):
        with socket.socket(fileno=socket.socket(family, kind).detach()) as sock:
            found.append((sock.family, sock.type, sock.proto))
    return found


def calls_that_poll_first() -> Any:
    with tcp(timeout=0.02) as (one, _), udp(timeout=0.02) as (other, _):
        return [said(one.accept), said(lambda: one.recv(1, socket.MSG_OOB)), said(lambda: other.recv(1)),
                said(lambda: other.recv(1, socket.MSG_DONTWAIT)), said(lambda: one.recv(3, socket.MSG_PEEK))]


def urgent_bytes_that_are_not_there() -> Any:
    with tcp(timeout=0.02) as (one, other):
        other.send(b"abc")
        return [one.recv(3, socket.MSG_PEEK), said(lambda: one.recv(1, socket.MSG_OOB)), one.recv(3)]


def reading_by_the_number() -> Any:
    found = []
    for timeout in (0.0, 0.02, 5.0):
        with tcp(timeout=timeout) as (one, other):
            found.append((said(lambda one=one: os.read(one.fileno(), 3)), one.gettimeout()))
            other.send(b"abc")
            one.recv(1, socket.MSG_PEEK) if timeout else one.settimeout(1)
            one.recv(1)
            found.append((os.read(one.fileno(), 3), os.write(one.fileno(), b"x")))
    return found


def ipv6_only_once_bound() -> Any:
    found = []
    for address in ("::1", "::", "::ffff:127.0.0.1"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET6, kind) as sock:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.bind((address, 0))
                found.append((sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY),
                              said(lambda sock=sock: sock.connect_ex(("::ffff:127.0.0.1", 0)))))
    return found


def binding_again() -> Any:
    with tcp() as (one, _), udp() as (other, _):
        return [said(lambda sock=sock, address=address: sock.bind((address, 0))) for sock in (one, other)
                for address in ("192.0.2.1", "127.0.0.1", "::ffff:127.0.0.1")]


def mapped_addresses_of_ipv4_sockets() -> Any:
    found = [socket.getaddrinfo("::ffff:127.0.0.1", 9, socket.AF_INET, socket.SOCK_STREAM)]
    with udp() as (one, other):
        found.append(one.sendto(b"x", ("::ffff:127.0.0.1", other.getsockname()[1])))
        found.append(other.getpeername()[0])
    with socket.socket(socket.AF_INET6) as six:
        found += [said(lambda: six.connect(("255.255.255.255", 9))), said(lambda: six.bind(("<broadcast>", 9)))]
    return found


def datagrams_that_are_refused() -> Any:
    found = []
    for family in LOOPBACK:
        with udp(family) as (one, _):
            found.append(said(lambda one=one: one.send(b"x", socket.MSG_OOB)))
            found.append(said(lambda one=one: one.send(bytes(70000))))
            one.shutdown(socket.SHUT_WR)
            found += [said(lambda one=one: one.send(bytes(70000))), said(lambda one=one: one.send(b"x"))]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((LOOPBACK[family], 0))
            found.append(said(sock.getpeername))
    return found


def unix_sockets() -> Any:
    found = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        with one, other:
            one.setblocking(False)
            for text in (b"a", b"bcd"):
                other.send(text)
            waiting = struct.unpack("i", fcntl.ioctl(one, termios.FIONREAD, bytes(4)))
            found += [waiting, one.recvmsg(9, 9, socket.MSG_ERRQUEUE)[0], one.getsockopt(1, socket.SO_OOBINLINE)]
            one.setsockopt(1, socket.SO_OOBINLINE, 1)
            found += [one.getsockopt(1, socket.SO_OOBINLINE), one.getsockopt(1, socket.SO_DONTROUTE)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as alone:
        found.append(said(lambda: alone.recv(1, socket.MSG_OOB)))
    return found


def errors_that_are_told_once() -> Any:
    found = []
    for timeout in (0.5, 0.0):
        with udp(timeout=timeout) as (one, other):
            other.close()
            one.send(b"x")
            select.select([one], [], [], 1)
            found += [said(lambda one=one: one.recv(1)), one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
    return found


def kinds_that_a_protocol_means() -> Any:
    return [said(lambda kind=kind, proto=proto, port=port: socket.getaddrinfo("127.0.0.1", port, 0, kind, proto))
            for kind in (0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW) for proto in (0, 6, 17)
            for port in (80, "http", None)]


def accepting_datagrams() -> Any:
    found = []
    for family, timeout in ((socket.AF_INET, 0.02), (socket.AF_INET6, 0.02), (socket.AF_INET, 0.0)):
        with udp(family, timeout) as (one, other):
            found.append(said(one.accept))
            other.send(b"x")
            found += [said(one.accept), one.recv(1)]
    return found


def bands_of_readiness() -> Any:
    found = []

    def look(*files: Any) -> None:
        for mask in (0xFFFF, select.POLLRDNORM, select.POLLRDBAND, select.POLLWRNORM, select.POLLWRBAND,
                     select.POLLMSG, select.POLLIN | select.POLLRDNORM, select.POLLOUT | select.POLLWRNORM, 0):
            for file in files:
                poll = select.poll()
                poll.register(file, mask)
                with select.epoll() as epoll:
                    epoll.register(file, mask)
                    found.append([bits for _, bits in poll.poll(20 if mask == select.POLLRDBAND else 0)])
                    found.append([bits for _, bits in epoll.poll(0)])

    pairs = [socket.socketpair(socket.AF_UNIX, kind)
             for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)]
    with tcp() as ends, udp() as peers:
        for one, other in (*pairs, ends, peers):
            with one, other:
                look(one)
                other.send(b"abc")
                select.select([one], [], [], 1)
                look(one)
                other.shutdown(socket.SHUT_WR)
                look(one)
                one.recv(3)
                look(one) if other is not ends[1] else None
    reading, writing = os.pipe()
    look(reading, writing)
    os.write(writing, b"x")
    look(reading, writing)
    for end in (reading, writing):
        os.close(end)
    return found


def epoll_objects_of_numbers() -> Any:
    one, other = socket.socketpair()
    with one, other, select.epoll() as epoll:
        epoll.register(one, select.EPOLLIN)
        other.send(b"x")
        again = select.epoll.fromfd(epoll.fileno())
        again.register(other, select.EPOLLOUT)
        found: list[Any] = [again.fileno() == epoll.fileno(), sorted(bits for _, bits in epoll.poll(0)),
                            sorted(bits for _, bits in again.poll(0))]
        found += [said(lambda: select.epoll.fromfd(9999).poll(0)), said(lambda: epoll.register(one)), again.closed]
        with select.epoll.fromfd(-1) as new:
            found.append(new.poll(0))
        again.close()
        found += [said(lambda: epoll.poll(0)), said(epoll.fileno) == again.fileno if again.closed else 0, epoll.closed,
                  said(lambda: epoll.register(one))]
        epoll.close()
        return [*found, epoll.closed, again.closed]


def addresses_of_many() -> Any:
    found = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for address in ("255.255.255.255", "224.0.0.1", "239.1.2.3"):
            with socket.socket() as sock, socket.socket() as other:
                sock.bind((address, 0))
                port = sock.getsockname()[1]
                found += [sock.getsockname()[0], said(lambda other=other, end=(address, port): other.bind(end)),
                          sock.connect(listener.getsockname()), sock.getsockname() == ("127.0.0.1", port)]
            with socket.socket() as sock:
                sock.bind((address, 0))
                sock.listen()
                found.append(sock.getsockname()[0])
    for address in ("ff02::1", "ff05::1", "ff02::1%1", "fe80::1", "fe80::1%1", "2001:db8::1"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET6, kind) as sock:
                end = socket.getaddrinfo(address, 0, type=kind, flags=socket.AI_NUMERICHOST)[0][4]
                found.append(said(lambda sock=sock, end=end: sock.bind(end)))
    return found


def sends_that_wait_while_the_peer_closes() -> Any:
    found = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        for end in (socket.socket.close, lambda sock: sock.shutdown(socket.SHUT_RDWR)):
            for timeout in (None, 5.0):
                one, other = socket.socketpair(socket.AF_UNIX, kind)
                with one, other:
                    one.settimeout(0)
                    while not isinstance(said(lambda one=one: one.send(bytes(1000))), tuple):
                        pass
                    one.settimeout(timeout)
                    thread = threading.Thread(target=later, args=(lambda end=end, other=other: end(other),))
                    thread.start()
                    found += [said(lambda one=one: one.send(b"x")) for _ in range(2)]
                    found.append(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                    thread.join()
    return found


def urgent_bytes_and_their_flag() -> Any:
    found = []
    with tcp() as (one, other):
        for size in (1, 0):
            other.send(b"a", socket.MSG_OOB)
            select.select([], [], [one], 1)
            found.append(one.recvmsg(size, 0, socket.MSG_OOB))
            found.append(said(lambda: one.recv(1, socket.MSG_OOB)))
    return found


def datagrams_in_parts() -> Any:
    found = []
    for family in LOOPBACK:
        with udp(family) as (one, other), socket.socket(family, socket.SOCK_DGRAM) as third:
            third.settimeout(1)
            other.settimeout(1)
            third.bind((LOOPBACK[family], 0))
            third.sendto(b"a", socket.MSG_MORE, other.getsockname()[:2])
            found.append(said(lambda third=third: third.send(b"b")))  # it has no peer, and needs none
            one.connect(other.getsockname())
            one.send(b"c", socket.MSG_MORE)
            found.append(said(lambda one=one: one.shutdown(socket.SHUT_WR)))
            found += [said(lambda one=one, third=third: one.sendto(b"d", third.getsockname()[:2])), other.recv(9)]
            found.append(said(lambda one=one: one.send(b"e")))
    return found


def options_of_closed_and_of_listening_sockets() -> Any:
    found = []
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        found.append(said(lambda: listener.setsockopt(6, socket.TCP_WINDOW_CLAMP, 0)))
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", 1))
        select.select([], [sock], [], 1)
        found += [said(lambda option=option: sock.setsockopt(6, option, 0)) for option in (socket.TCP_WINDOW_CLAMP, 30)]
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET6, kind) as six:
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 0)
            found.append(six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS))
            six.bind(("::1", 0))
            found += [said(lambda six=six, address=address: six.bind((address, 0)))
                      for address in ("2001:db8::1", "::1", "ff05::1", "::ffff:192.0.2.1")]
    return found


def what_is_shut_before_it_is_connected() -> Any:
    found = []
    for how in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
            found.append(said(lambda sock=sock, how=how: sock.shutdown(how)))
            sock.connect(listener.getsockname())
            poll = select.poll()
            poll.register(sock, 0x2007)
            found += [bits for _, bits in poll.poll(0)]
            found += [said(lambda sock=sock: sock.shutdown(socket.SHUT_RD)), poll.poll(0)[0][1]]
    return found


def states_of_connections_that_have_ended() -> Any:
    with tcp() as (one, other):
        found = []
        one.shutdown(socket.SHUT_WR)
        select.select([other], [], [], 1)
        other.shutdown(socket.SHUT_WR)
        select.select([one], [], [], 1)
        poll = select.poll()
        poll.register(one, 0)
        poll.poll(1000)
        found += [sock.getsockopt(6, socket.TCP_INFO, 1)[0] for sock in (one, other)]
    return found


def later(call: Callable[[], Any]) -> None:
    time.sleep(0.1)
    call()


SEQUENCES = [
    accepting_datagrams, bands_of_readiness, epoll_objects_of_numbers, addresses_of_many,
    sends_that_wait_while_the_peer_closes, urgent_bytes_and_their_flag, datagrams_in_parts,
    options_of_closed_and_of_listening_sockets, what_is_shut_before_it_is_connected,
    states_of_connections_that_have_ended,
    kinds_that_a_protocol_means,
    errors_that_are_told_once,
    protocols_of_numbers, calls_that_poll_first, urgent_bytes_that_are_not_there, reading_by_the_number,
    ipv6_only_once_bound, binding_again, mapped_addresses_of_ipv4_sockets, datagrams_that_are_refused, unix_sockets,
]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_calls_give_what_the_kernels_give(sequence: Callable[[], Any]) -> None:
    expected = sequence()
    with Network() as net:
        run = net.host("a").run(sequence)
        net.run()
        assert run.result() == expected
