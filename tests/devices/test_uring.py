"""A ring of the kernel's on a socket: many reads or writes by one call, done or refused when it returns."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from estab.devices import uring
from estab.devices.descriptor import DescriptorDevice
from estab.host.drive.slots import SLOT_BYTES, SLOTS, Slots
from estab.realtime.together import Together, slots_of
from tests.kit.ring import requires_rings


class Ends:
    """Two joined sockets that keep the bounds of what is sent, and slots for the first."""

    def __init__(self, ring: uring.Ring, slots: Slots, here: socket.socket, there: socket.socket) -> None:
        self.ring, self.slots, self.here, self.there = ring, slots, here, there


@pytest.fixture(name="ends")
def make_ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """Join two sockets."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        ring = uring.open_ring(here.fileno(), SLOTS, SLOT_BYTES, is_writing=request.param == "write")
        assert ring is not None
        yield Ends(ring, slots_of(ring), here, there)
        ring.close()


def received(sock: socket.socket) -> list[bytes]:
    """Receive all that is there."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while data := sock.recv(SLOT_BYTES + 1):
            found.append(data)
    return found


def put(slots: Slots, frames: list[bytes]) -> None:
    """Put frames into the next slots."""
    first = slots.next_slot()
    for index, frame in enumerate(frames):
        slots.put((first + index) % SLOTS, frame)


def results(slots: Slots) -> list[tuple[int, int]]:
    """Give slot and result of each answer."""
    found = []
    while slots.left:
        result = slots.next_result()
        found.append((slots.slot, result))
    return found


@requires_rings
@pytest.mark.parametrize("ends", ["write"], indirect=True)
def test_writes_are_done_in_order_and_only_failures_are_answered(ends: Ends) -> None:
    for turn in range(30):
        frames = [b"%d:%d" % (turn, number) * (number * 5 + 1) for number in range(turn % 9 + 1)]
        put(ends.slots, frames)
        assert ends.slots.submit(len(frames)) == len(frames)
        assert (ends.slots.left, received(ends.there)) == (0, frames)


@requires_rings
@pytest.mark.parametrize("ends", ["write"], indirect=True)
def test_writes_that_a_full_socket_refuses_are_over_and_answered(ends: Ends) -> None:
    limit = 0
    while True:  # as many as one call of the system each would get through
        try:
            ends.here.send(bytes(SLOT_BYTES))
            limit += 1
        except BlockingIOError:
            break
    assert len(received(ends.there)) == limit
    done, turns = 0, 0
    while done < limit + 100:
        put(ends.slots, [bytes(SLOT_BYTES)] * SLOTS)
        first = ends.slots.next_slot()
        assert ends.slots.submit(SLOTS) == SLOTS
        refused = results(ends.slots)
        done += SLOTS - len(refused)
        turns += 1
        if refused:
            assert refused == [((first + index) % SLOTS, -errno.EAGAIN) for index in range(SLOTS - len(refused), SLOTS)]
            break
    assert done == limit
    assert len(received(ends.there)) == limit
    assert received(ends.there) == []  # nothing was under way
    put(ends.slots, [b"later"])
    assert ends.slots.submit(1) == 1
    assert received(ends.there) == [b"later"]


@requires_rings
@pytest.mark.parametrize("ends", ["read"], indirect=True)
def test_reads_give_what_is_there_and_wait_for_nothing(ends: Ends) -> None:
    for turn in range(30):
        frames = [b"%d:%d" % (turn, number) * (number * 5 + 1) for number in range(turn % 9)]
        for frame in frames:
            ends.there.send(frame)
        assert ends.slots.submit(9) == 9
        found = []
        while ends.slots.left:
            size = ends.slots.next_result()
            found.append(ends.slots.take(ends.slots.slot, size) if size > 0 else size)
        assert found == frames + [-errno.EAGAIN] * (9 - len(frames))


@requires_rings
@pytest.mark.parametrize("ends", ["read", "write"], indirect=True)
def test_a_ring_holds_no_descriptor(ends: Ends) -> None:
    put(ends.slots, [b"x"] * 5)
    ends.slots.submit(5)
    ends.here.close()
    received(ends.there)
    with pytest.raises(BrokenPipeError):
        ends.there.send(b"to nobody")
    assert ends.slots.submit(1) == 1
    assert [result for _, result in results(ends.slots)][-1] == -errno.EBADF


@requires_rings
@pytest.mark.parametrize("ends", ["write"], indirect=True)
def test_a_ring_that_is_closed_begins_with_nothing(ends: Ends) -> None:
    ends.ring.close()
    ends.ring.close()
    assert ends.slots.submit(3) == 0
    assert ends.slots.left == 0


class Refusing:
    """A system that answers each call with the same number."""

    def __init__(self, answer: int) -> None:
        self.answer = answer

    def __call__(self, name: str | None, use_errno: bool) -> Any:
        return self

    def syscall(self, *unused: object) -> int:
        """Answer."""
        return self.answer


@pytest.mark.skipif(sys.platform != "linux", reason="io_uring is Linux's")
def test_where_rings_are_forbidden_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Refusing(-1))
    assert uring.open_ring(0, SLOTS, SLOT_BYTES, is_writing=True) is None


@pytest.mark.skipif(sys.platform != "linux", reason="io_uring is Linux's")
def test_a_kernel_whose_rings_can_too_little_has_none_and_its_ring_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    monkeypatch.setattr(ctypes, "CDLL", Refusing(reading))  # parameters stay all zero: it has no feature
    assert uring.open_ring(0, SLOTS, SLOT_BYTES, is_writing=True) is None
    with pytest.raises(OSError, match=str(errno.EBADF)):
        os.fstat(reading)


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert uring.open_ring(0, SLOTS, SLOT_BYTES, is_writing=True) is None


@requires_rings
@pytest.mark.parametrize(("read_bytes", "has_inbox"), [(1518, True), (SLOT_BYTES, True), (SLOT_BYTES + 1, False)])
def test_frames_are_read_together_if_the_largest_fits_into_a_slot(read_bytes: int, has_inbox: bool) -> None:
    device = DescriptorDevice()
    device.read_bytes = read_bytes
    made = Together(device)
    assert (made.outbox is not None, made.inbox is not None) == (True, has_inbox)
    made.close()


def test_without_rings_there_is_neither_outbox_nor_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uring, "open_ring", lambda *args, **named: None)
    made = Together(DescriptorDevice())
    assert (made.outbox, made.inbox) == (None, None)
    made.close()
