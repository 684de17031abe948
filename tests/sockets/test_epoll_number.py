"""An epoll object has a number: it is waited for by another one, by select and poll, and by C."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from estab import Network
from tests.kit.two_stacks import LEFT, joined

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the machine has no epoll")


def both(function: Callable[[], Any]) -> Any:
    """Compare what a function returns on a host with what it returns on the machine. Returns it."""
    with Network() as net:
        program = net.host("a").run(function)
        net.run()
        found = program.result()
    assert found == function()
    return found


def tried(call: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns, or the name of its error."""
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def ready(number: int, timeout_s: float = 0) -> bool:
    """Tell whether ``select`` finds a descriptor readable."""
    return bool(select.select([number], [], [], timeout_s)[0])


def test_the_number_is_readable_while_something_is_ready() -> None:
    def look() -> Any:
        one, two = socket.socketpair()
        with one, two, select.epoll() as epoll:
            found = [epoll.fileno() > 2, ready(epoll.fileno())]
            epoll.register(one, select.EPOLLIN)
            found.append(ready(epoll.fileno()))
            two.send(b"x")
            found.append(ready(epoll.fileno()))
            one.recv(1)
            found.append(ready(epoll.fileno()))
            epoll.modify(one, select.EPOLLOUT)
            found.append(ready(epoll.fileno()))
            epoll.unregister(one)
            found.append(ready(epoll.fileno()))
        return found

    both(look)


def test_an_epoll_in_an_epoll_wakes_who_waits_for_the_outer_one() -> None:
    def look() -> Any:
        one, two = socket.socketpair()
        with one, two, select.epoll() as inner, select.epoll() as outer:
            inner.register(one, select.EPOLLIN)
            outer.register(inner, select.EPOLLIN)
            found = [outer.poll(0)]
            thread = threading.Thread(target=lambda: two.send(b"x"))
            thread.start()
            found.append([bits for _, bits in outer.poll(5)])
            thread.join()
            found.append([bits for _, bits in inner.poll(0)])
            one.recv(1)
            return [*found, outer.poll(0)]

    assert both(look) == [[], [select.EPOLLIN], [select.EPOLLIN], []]


def test_edges_and_one_shots_hold_for_an_epoll_in_an_epoll() -> None:
    def look() -> Any:
        one, two = socket.socketpair()
        with one, two, select.epoll() as inner, select.epoll() as outer:
            inner.register(one, select.EPOLLIN)
            outer.register(inner, select.EPOLLIN | select.EPOLLONESHOT)
            two.send(b"x")
            found = [len(outer.poll(0)), len(outer.poll(0))]
            outer.modify(inner, select.EPOLLIN)
            return [*found, len(outer.poll(0))]

    assert both(look) == [1, 0, 1]


def test_circles_are_refused() -> None:
    def look() -> Any:
        with select.epoll() as first, select.epoll() as second, select.epoll() as third:
            first.register(second)
            second.register(third)
            found = [tried(first.register, first), tried(third.register, first), tried(first.register, second)]
            first.unregister(second)
            return [*found, tried(third.register, first)]

    assert both(look) == ["EINVAL", "ELOOP", "EEXIST", None]


def test_a_closed_epoll_has_no_number_and_leaves_the_others() -> None:
    def look() -> Any:
        inner, outer = select.epoll(), select.epoll()
        outer.register(inner, select.EPOLLIN)
        number = inner.fileno()
        inner.close()
        found: list[Any] = [inner.closed, outer.poll(0), tried(outer.modify, number, select.EPOLLIN)]
        for call in (inner.fileno, inner.poll):
            with pytest.raises(ValueError, match="closed epoll"):
                call()
        other = select.epoll()
        os.close(other.fileno())
        outer.close()
        return [*found, tried(os.read, number, 1)]

    with Network() as net:
        program = net.host("a").run(look)
        net.run()
        assert program.result() == [True, [], "EBADF", "EBADF"]


def test_an_epoll_on_a_stack_has_a_number_that_the_system_can_wait_for() -> None:
    left, right = joined()
    system = select.epoll()
    with right, left, system, left.installed(), socket.create_server((LEFT, 7)) as listener:
        reader, writer = os.pipe()
        with select.epoll() as epoll:
            epoll.register(listener, select.EPOLLIN)
            epoll.register(reader, select.EPOLLIN)
            system.register(epoll.fileno(), select.EPOLLIN)
            assert system.poll(0) == []
            os.write(writer, b"x")
            assert [bits for _, bits in system.poll(5)] == [select.EPOLLIN]
            os.read(reader, 1)
            assert epoll.poll(0) == []
            caller = right.socket()
            caller.connect((LEFT, 7))
            assert [bits for _, bits in system.poll(5)] == [select.EPOLLIN]
            assert [bits for _, bits in epoll.poll(5)] == [select.EPOLLIN]
            listener.accept()[0].close()
            caller.close()
            assert epoll.poll(0) == []
            assert system.poll(0) == []
        os.close(reader)
        os.close(writer)
