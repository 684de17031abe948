"""The descriptor table."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.events import FdAllocated, FdReleased, TcbCreated
from tests.kit.engines import Net


def test_first_descriptor_is_3_and_the_lowest_free_one_is_given() -> None:
    net = Net()
    host = net.host("a")
    first, second, third = (host.socket(AF_INET, SOCK_STREAM, net.now_ns) for _ in range(3))
    assert [first.fd, second.fd, third.fd] == [3, 4, 5]
    second.close(net.now_ns)
    first.close(net.now_ns)
    assert host.socket(AF_INET, SOCK_DGRAM, net.now_ns).fd == 3
    assert host.socket(AF_INET6, SOCK_STREAM, net.now_ns).fd == 4


def test_the_limit_is_emfile_and_a_closed_descriptor_makes_room() -> None:
    net = Net()
    host = net.host("a")
    host.files.limit = 5
    first = host.socket(AF_INET, SOCK_STREAM, net.now_ns)
    host.socket(AF_INET, SOCK_DGRAM, net.now_ns)
    for kind in (SOCK_STREAM, SOCK_DGRAM):
        with pytest.raises(OSError, match="too many open files: 2 of 2") as caught:
            host.socket(AF_INET, kind, net.now_ns)
        assert caught.value.errno == errno.EMFILE
    first.close(net.now_ns)
    assert host.socket(AF_INET, SOCK_STREAM, net.now_ns).fd == 3


def test_descriptors_are_told_of_when_given_and_taken_back() -> None:
    net = Net()
    host = net.host("a", is_observed=True)
    host.socket(AF_INET6, SOCK_STREAM, net.now_ns).close(net.now_ns)
    assert net.events == [
        FdAllocated(net.now_ns, "a", 3, "tcp6", "socket()"), TcbCreated(net.now_ns, "a", "", 3, "CLOSED", "socket()"),
        FdReleased(net.now_ns, "a", 3),
    ]


def test_a_closed_number_is_ebadf() -> None:
    net = Net()
    host = net.host("a")
    made = host.socket(AF_INET, SOCK_STREAM, net.now_ns)
    assert host.files.get(3) is made
    made.close(net.now_ns)
    for fd in (-1, 0, 3, 99):
        with pytest.raises(OSError, match="is not open") as caught:
            host.files.get(fd)
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize(("family", "kind", "number"), [
    (1, SOCK_STREAM, errno.EAFNOSUPPORT), (AF_INET, 3, errno.ESOCKTNOSUPPORT),
])
def test_families_and_kinds_that_are_not_spoken_are_refused(family: int, kind: int, number: int) -> None:
    with pytest.raises(OSError, match="not supported") as caught:
        Net().host("a").socket(family, kind, 0)
    assert caught.value.errno == number


@given(st.lists(st.integers(0, 9), max_size=60))
def test_numbers_are_always_the_lowest_free(choices: list[int]) -> None:
    net = Net()
    host = net.host("a")
    held = {}
    for choice in choices:
        if choice + 3 in held:
            held.pop(choice + 3).close(net.now_ns)
        else:
            made = host.socket(AF_INET, SOCK_DGRAM, net.now_ns)
            assert made.fd == min(set(range(3, 99)) - set(held))
            held[made.fd] = made
    assert host.files.open_count == len(held)
