"""``select``, ``poll``, ``epoll`` and selectors over sockets of hosts."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
from collections.abc import Iterator

import pytest

from estab import Host, Network, Socket
from estab.sockets.polling.epoll import Epoll
from estab.sockets.polling.poll import Poll
from estab.sockets.polling.poll import select as host_select
from estab.sockets.polling.selector import Selector


@pytest.fixture
def pair(a: Host, b: Host) -> Iterator[tuple[Socket, Socket]]:
    """A connection between ``a`` and ``b``."""
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        caller.connect(("b", 80))
        accepted, _ = listener.accept()
        assert isinstance(accepted, Socket)
        with accepted:
            yield caller, accepted


def test_select_waits_for_any_of_its_sockets(net: Network, b: Host, pair: tuple[Socket, Socket]) -> None:
    caller, accepted = pair
    started = net.now
    assert host_select(b.runtime, [accepted], [], [], 0.5) == ([], [], [])
    assert net.now == pytest.approx(started + 0.5)
    caller.sendall(b"x")
    assert host_select(b.runtime, [accepted], [], []) == ([accepted], [], [])
    assert net.now == pytest.approx(started + 0.51)
    assert host_select(b.runtime, [accepted.fileno()], [accepted], []) == ([accepted.fileno()], [accepted], [])
    with pytest.raises(ValueError, match="non-negative"):
        host_select(b.runtime, [], [], [], -1)


def test_poll_gives_bits_and_remembers_what_it_is_asked(net: Network, b: Host, pair: tuple[Socket, Socket]) -> None:
    caller, accepted = pair
    poll = Poll(b.runtime)
    poll.register(accepted, select.POLLIN)
    started = net.now
    assert poll.poll(250) == []
    assert net.now == pytest.approx(started + 0.25)
    caller.shutdown(socket.SHUT_WR)
    assert poll.poll() == [(accepted.fileno(), select.POLLIN)]
    poll.modify(accepted, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    assert poll.poll(-1) == [(accepted.fileno(), select.POLLIN | select.POLLOUT | select.POLLRDHUP)]
    poll.unregister(accepted)
    assert poll.poll(0) == []
    with pytest.raises(KeyError):
        poll.unregister(accepted)
    with pytest.raises(OSError, match="No such file") as caught:
        poll.modify(accepted, select.POLLIN)
    assert caught.value.errno == errno.ENOENT


def test_poll_tells_of_a_closed_socket(b: Host, pair: tuple[Socket, Socket]) -> None:
    _, accepted = pair
    poll = Poll(b.runtime)
    number = accepted.fileno()
    poll.register(number)
    accepted.close()
    assert poll.poll() == [(number, select.POLLNVAL)]


def test_poll_tells_of_ready_sockets_beside_a_closed_one(b: Host, pair: tuple[Socket, Socket]) -> None:
    _, accepted = pair
    poll = Poll(b.runtime)
    with b.socket() as first, b.socket() as idle:
        idle.bind(("", 81))
        idle.listen()
        for each in (first, idle, accepted):
            poll.register(each)
        number = first.fileno()
        first.close()
        assert poll.poll() == [(number, select.POLLNVAL), (accepted.fileno(), select.POLLOUT)]


def test_epoll_tells_a_closed_number_from_one_that_is_not_registered(b: Host, pair: tuple[Socket, Socket]) -> None:
    _, accepted = pair
    closed = 99_999
    with Epoll(b.runtime) as epoll:
        for call in (lambda fd: epoll.modify(fd, select.EPOLLIN), epoll.unregister):
            for fd, number in ((accepted, errno.ENOENT), (closed, errno.EBADF)):
                with pytest.raises(OSError, match=os.strerror(number)) as caught:
                    call(fd)
                assert caught.value.errno == number


def test_what_has_no_fileno_is_refused_as_python_refuses_it(b: Host) -> None:
    text = "must be an int, or have a fileno"
    with Epoll(b.runtime) as epoll, pytest.raises(TypeError, match=text):
        epoll.register("a")
    with pytest.raises(TypeError, match=text):
        Poll(b.runtime).register("a")
    with pytest.raises(TypeError, match=text):
        host_select(b.runtime, ["a"], [], [], 0)


def test_the_systems_descriptors_are_refused_with_a_sentence(b: Host) -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(OSError, match=f"{read} is not a socket of host b") as caught:
            host_select(b.runtime, [read], [], [], 0)
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(read)
        os.close(write)


def test_epoll_is_level_triggered_unless_told_otherwise(b: Host, pair: tuple[Socket, Socket]) -> None:
    caller, accepted = pair
    with Epoll(b.runtime) as epoll:
        epoll.register(accepted.fileno(), select.EPOLLIN)
        assert epoll.poll(0) == []
        caller.sendall(b"x")
        for _ in range(2):
            assert epoll.poll(1) == [(accepted.fileno(), select.EPOLLIN)]
        epoll.modify(accepted, select.EPOLLIN | select.EPOLLET)
        assert epoll.poll(0) == [(accepted.fileno(), select.EPOLLIN)]
        assert epoll.poll(0) == []
        caller.sendall(b"y")
        assert epoll.poll(1) == [(accepted.fileno(), select.EPOLLIN)]
        epoll.modify(accepted, select.EPOLLIN | select.EPOLLONESHOT)
        assert epoll.poll(0) == [(accepted.fileno(), select.EPOLLIN)]
        assert epoll.poll(0) == []
        epoll.modify(accepted, select.EPOLLIN)
        assert epoll.poll(0) == [(accepted.fileno(), select.EPOLLIN)]
        with pytest.raises(FileExistsError):
            epoll.register(accepted)
        epoll.unregister(accepted)
        with pytest.raises(FileNotFoundError):
            epoll.unregister(accepted)
    assert epoll.closed
    with pytest.raises(ValueError, match="closed epoll"):
        epoll.poll()


def test_epoll_forgets_a_closed_socket(b: Host, pair: tuple[Socket, Socket]) -> None:
    _, accepted = pair
    epoll = Epoll(b.runtime)
    epoll.register(accepted, select.EPOLLIN | select.EPOLLOUT)
    assert len(epoll.poll(0)) == 1
    accepted.close()
    assert epoll.poll(0) == []
    epoll.close()


def test_epoll_gives_no_more_than_asked_for(a: Host, b: Host, pair: tuple[Socket, Socket]) -> None:
    epoll = Epoll(a.runtime)
    others = [a.socket(type=socket.SOCK_DGRAM) for _ in range(5)]
    for other in others:
        epoll.register(other, select.EPOLLOUT)
    assert len(epoll.poll(0, 2)) == 2
    assert len(epoll.poll(0)) == 5
    for other in others:
        other.close()
    epoll.close()


def test_a_selector_gives_keys_and_waits_exactly(net: Network, b: Host, pair: tuple[Socket, Socket]) -> None:
    caller, accepted = pair
    with Selector(b.runtime) as selector:
        key = selector.register(accepted, selectors.EVENT_READ, "data")
        assert selector.get_key(accepted) == selector.get_map()[accepted.fileno()] == key
        started_ns = net.now_ns
        assert selector.select(0.000_000_123) == []
        assert net.now_ns - started_ns == 123
        caller.sendall(b"x")
        assert selector.select() == [(key, selectors.EVENT_READ)]
        changed = selector.modify(accepted, selectors.EVENT_READ | selectors.EVENT_WRITE, 7)
        assert selector.select(0) == [(changed, selectors.EVENT_READ | selectors.EVENT_WRITE)]
        with pytest.raises(KeyError, match="already registered"):
            selector.register(accepted, selectors.EVENT_READ)
        with pytest.raises(ValueError, match="Invalid events"):
            selector.register(caller, 0)
        selector.wake()
        selector.modify(accepted, selectors.EVENT_WRITE)
        selector.unregister(accepted)
        assert selector.select(5) == []
        with pytest.raises(KeyError):
            selector.unregister(accepted)
    with pytest.raises(RuntimeError, match="closed"):
        selector.get_key(accepted)


def test_a_socket_that_was_closed_first_can_still_be_unregistered(b: Host, pair: tuple[Socket, Socket]) -> None:
    _, accepted = pair
    selector = Selector(b.runtime)
    key = selector.register(accepted, selectors.EVENT_READ)
    accepted.close()
    assert selector.select(0) == []
    assert selector.unregister(accepted) == key
    selector.close()


def test_a_selector_looks_only_at_what_has_news(a: Host, b: Host, pair: tuple[Socket, Socket]) -> None:
    caller, accepted = pair
    selector = Selector(b.runtime)
    quiet = [b.socket(type=socket.SOCK_DGRAM) for _ in range(50)]
    for sock in [*quiet, accepted]:
        selector.register(sock, selectors.EVENT_READ)
    assert selector.select(0) == []
    looks = 0
    original = type(quiet[0].descriptor).readiness

    def counting(descriptor: object) -> int:
        nonlocal looks
        looks += 1
        return original(descriptor)  # type: ignore[arg-type]

    caller.sendall(b"x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(quiet[0].descriptor), "readiness", counting)
        assert len(selector.select(1)) == 1
    assert looks == 0
    for sock in quiet:
        sock.close()
    selector.close()
