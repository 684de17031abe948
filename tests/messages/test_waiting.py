"""One wait for one socket, by poll and where there is none by select."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from estab.messages.waiting import READABLE, WRITABLE, wait_ready
from estab.units import MS, NEVER

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["poll", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_it_ends_when_the_socket_is_ready_or_the_time_has_passed(pair: Pair) -> None:
    near, far = pair
    assert not wait_ready(near, READABLE, MS)
    assert wait_ready(near, WRITABLE, NEVER)
    assert wait_ready(near, READABLE | WRITABLE, NEVER)
    far.send(b".")
    assert wait_ready(near, READABLE, NEVER)
    assert wait_ready(near, READABLE, -5)


def test_a_time_longer_than_poll_can_count_is_no_error(pair: Pair) -> None:
    pair[1].send(b".")
    assert wait_ready(pair[0], READABLE, 10**9 * MS)


def test_a_closed_socket_is_ready(pair: Pair) -> None:
    pair[0].close()
    assert wait_ready(pair[0], READABLE, NEVER)


def test_the_peers_end_is_ready(pair: Pair) -> None:
    pair[1].close()
    assert wait_ready(pair[0], READABLE, NEVER)
