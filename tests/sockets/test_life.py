"""The life of a ``Socket``: close, detach, linger, its descriptor, and what it tells beyond the standard."""

from __future__ import annotations

import errno
import os
import pickle
import select
import socket
import struct

import pytest

from estab import Host, Network, State
from tests.kit.two_hosts import connected


def test_close_releases_the_number_and_every_call_says_ebadf(a: Host) -> None:
    first, second = a.socket(), a.socket()
    assert (first.fd, second.fd) == (3, 4)
    first.close()
    first.close()
    assert (first.fd, first.fileno()) == (-1, -1)
    for call in (lambda: first.recv(1), lambda: first.send(b""), first.getsockname, first.listen,
                 lambda: first.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
        with pytest.raises(OSError, match="bad file descriptor") as caught:
            call()
        assert caught.value.errno == errno.EBADF
    with a.socket() as third:
        assert third.fd == 3
    second.close()


def test_a_socket_that_is_dropped_is_warned_about_and_closed(net: Network, a: Host, b: Host) -> None:
    with b.socket() as listener:
        listener.bind(("", 80))
        listener.listen()
        caller = a.socket()
        caller.connect(("b", 80))
        accepted, _ = listener.accept()
        with accepted:
            with pytest.warns(ResourceWarning, match=r"unclosed <estab\.Socket .* fd 3 of a, ESTAB"):
                del caller
            assert accepted.recv(1) == b""


def test_detach_and_dup_pass_the_descriptor_on(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        twin = caller.dup()
        caller.close()
        twin.sendall(b"still open")
        assert accepted.recv(100) == b"still open"
        number = twin.detach()
        assert twin.fileno() == -1
        with a.installed():
            again = socket.socket(fileno=number)
        assert again.fileno() == number
        with again:
            again.sendall(b"and again")
            assert accepted.recv(100) == b"and again"
        assert accepted.recv(100) == b""


def test_lingering_close_waits_for_the_acknowledgment(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, _accepted):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
        started = net.now
        caller.sendall(b"x" * 100)
        caller.close()
        assert net.now - started >= 0.02


def test_lingering_close_waits_for_the_fin_on_a_non_blocking_socket_too(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, _accepted):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
        caller.setblocking(False)
        started = net.now
        caller.close()
        assert net.now - started >= 0.02


def test_lingering_close_with_text_unread_is_a_reset_and_waits_for_nothing(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
        accepted.sendall(b"never read")
        net.run(until=net.now + 1)
        started = net.now
        caller.close()
        assert net.now == started
        with pytest.raises(ConnectionResetError):
            accepted.recv(10)


def test_closing_a_socket_ends_a_call_that_waits_on_it_elsewhere(net: Network, a: Host, b: Host) -> None:
    listener = b.socket()
    listener.bind(("", 80))
    listener.listen()
    b.run(listener.accept)
    b.run(listener.close, start=1)
    with pytest.raises(OSError, match="bad file descriptor"):
        net.run(until=5)
    assert net.now == 1


def test_repr_says_where_and_in_which_state(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        port = caller.getsockname()[1]
        assert repr(accepted) == ("<estab.Socket family=2, type=1, proto=0, "
                                  f"laddr=('10.0.0.2', 80), raddr=('10.0.0.1', {port}), fd 4 of b, ESTABLISHED>")
        assert f" fd={accepted.fileno()}, " in repr(accepted)
    assert repr(caller) == "<estab.Socket [closed] fd=-1, family=2, type=1, proto=0>"


def test_it_is_not_pickled(a: Host) -> None:
    with a.socket() as sock, pytest.raises(TypeError, match="cannot pickle 'Socket' object"):
        pickle.dumps(sock)


def test_a_number_can_be_shared_as_by_socket_fileno(a: Host) -> None:
    sock = a.socket()
    with a.installed():
        again = socket.socket(fileno=sock.fileno())
        again.close()
        with pytest.raises(OSError, match="closed") as caught:
            sock.close()
        assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError, match="non-socket") as caught:
            socket.socket(fileno=2)
        assert caught.value.errno == errno.ENOTSOCK
        with pytest.raises(OSError, match="not open") as caught:
            socket.socket(fileno=1_000_000)
        assert caught.value.errno == errno.EBADF


def test_the_descriptor_shows_whether_the_socket_waits(a: Host) -> None:
    with a.socket() as sock:
        assert os.get_blocking(sock.fileno())
        sock.settimeout(1)
        assert not os.get_blocking(sock.fileno())
        sock.setblocking(True)
        assert os.get_blocking(sock.fileno())


@pytest.mark.parametrize(("arguments", "number"), [
    ((socket.AF_APPLETALK, socket.SOCK_STREAM), errno.EAFNOSUPPORT),
    ((socket.AF_INET, socket.SOCK_RAW), errno.ESOCKTNOSUPPORT),
    ((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP), errno.EPROTONOSUPPORT),
])
def test_what_a_host_does_not_speak_is_refused_by_its_errno(a: Host, arguments: tuple[int, ...], number: int) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is checked
        a.socket(*arguments)
    assert caught.value.errno == number


# --- a real descriptor


def test_fileno_is_a_real_descriptor_that_follows_the_socket(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        number = accepted.fileno()
        os.fstat(number)
        poll = select.poll()
        poll.register(number, select.POLLIN)
        assert poll.poll(0) == []
        caller.sendall(b"hello")
        net.run(until=net.now + 1)
        assert poll.poll(0) == [(number, select.POLLIN)]
        accepted.recv(2)
        assert poll.poll(0) == [(number, select.POLLIN)]
        accepted.recv(100)
        assert poll.poll(0) == []
        caller.close()
        net.run(until=net.now + 1)
        assert poll.poll(0) == [(number, select.POLLIN)]
        accepted.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_the_descriptor_of_a_listener_becomes_readable_for_a_new_client(net: Network, a: Host, b: Host) -> None:
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        assert select.select([listener.fileno()], [], [], 0)[0] == []
        caller.connect(("b", 80))
        net.run(until=1)
        assert select.select([listener.fileno()], [], [], 0)[0] == [listener.fileno()]
        listener.accept()[0].close()
        assert select.select([listener.fileno()], [], [], 0)[0] == []


# --- beyond the standard


def test_a_socket_tells_what_tcp_does(net: Network, a: Host, b: Host) -> None:
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen(7)
        assert (caller.state, listener.state) == (State.CLOSED, State.LISTEN)
        caller.connect(("b", 80))
        net.run(until=net.now + 1)
        queues = listener.queues()
        assert (queues.backlog, len(queues.accept), len(queues.half_open)) == (7, 1, 0)
        assert str(caller.state) == "ESTABLISHED"
        assert caller.info().rtt_ns == pytest.approx(20_000_000, rel=0.01)
        caller.sendall(b"x" * 500)
        assert caller.unacked == 500
        caller.wait_acked()
        assert caller.unacked == 0
        caller.sendall(b"x" * 500)
        net.links[0].cut()
        with pytest.raises(TimeoutError):
            caller.wait_acked(timeout=3)
        assert caller.unacked == 500


def test_waiting_for_acknowledgments_ends_with_the_connections_error(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.sendall(b"x" * 500)
        accepted.close()
        with pytest.raises(ConnectionResetError):
            caller.wait_acked()
