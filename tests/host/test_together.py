"""Frames that leave together, or are taken together, by a queue of the system."""

from __future__ import annotations

import errno
import itertools

import pytest

from estab.host.drive import inbox, outbox
from estab.host.drive.inbox import Inbox
from estab.host.drive.outbox import Outbox
from estab.host.drive.slots import SLOT_BYTES, SLOTS
from tests.kit.ring import FakeRing

BEFORE = [0, 5, 2**32 - 3]
"""Operations that a ring has had; the last: its counters begin again."""


def frames(count: int, begin: int = 0) -> list[bytes]:
    """Make different frames of different sizes."""
    return [b"%d," % number * (number % 50 + 1) for number in range(begin, begin + count)]


def put(box: Outbox, waiting: list[bytes]) -> None:
    """Let frames wait."""
    for frame in waiting:
        box.add(frame)


@pytest.mark.parametrize("before", BEFORE)
def test_many_frames_leave_by_one_call_in_their_order(before: int) -> None:
    ring = FakeRing(is_writing=True, before=before)
    box = Outbox(ring.slots)
    sent: list[bytes] = []
    for count in (outbox.FEW, SLOTS, 31, 9, SLOTS, 17):
        waiting = frames(count, len(sent))
        put(box, waiting)
        sent += waiting
        assert box.send() == []
        assert box.is_empty()
        assert ring.calls.pop() == count
    assert ring.written == sent


def test_few_frames_are_to_be_written_one_by_one() -> None:
    ring = FakeRing(is_writing=True)
    box = Outbox(ring.slots)
    put(box, frames(outbox.FEW - 1))
    assert box.send() == frames(outbox.FEW - 1)
    assert ring.calls == []


def test_it_says_when_there_is_no_more_room() -> None:
    box = Outbox(FakeRing(is_writing=True).slots)
    assert [box.add(frame) for frame in frames(SLOTS)] == [True] * (SLOTS - 1) + [False]


@pytest.mark.parametrize("before", BEFORE)
def test_frames_that_the_device_refused_come_back_in_their_order(before: int) -> None:
    ring = FakeRing(is_writing=True, before=before)
    box = Outbox(ring.slots)
    for _ in range(9):
        ring.errors.extend([0, 0, errno.EAGAIN, 0, errno.EIO, errno.EAGAIN, 0, 0, 0, errno.EAGAIN])
        put(box, frames(10))
        assert box.send() == [frames(10)[number] for number in (2, 4, 5, 9)]
    assert len(ring.written) == 9 * 6


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("begins", [0, 1, 11])
def test_frames_that_the_system_did_not_begin_with_come_back_behind_those(before: int, begins: int) -> None:
    ring = FakeRing(is_writing=True, before=before)
    box = Outbox(ring.slots)
    ring.begins = begins
    ring.errors.append(errno.EIO)
    put(box, frames(20))
    assert box.send() == frames(20)[:min(begins, 1)] + frames(20)[begins:]
    ring.begins = SLOTS
    ring.errors.clear()
    put(box, frames(20, 20))
    assert box.send() == []
    assert ring.written == frames(20)[1:begins] + frames(20, 20)


def test_a_descriptor_that_has_nothing_of_the_kind_is_not_asked_twice() -> None:
    ring = FakeRing(is_writing=True)
    box = Outbox(ring.slots)
    ring.errors.extend([errno.EOPNOTSUPP] * 10)
    for _ in range(2):
        put(box, frames(10))
        assert box.send() == frames(10)
    assert ring.calls == [10]


def take(box: Inbox) -> list[bytes]:
    """Take all frames."""
    return list(itertools.takewhile(bool, iter(lambda: box.next() or b"", None)))


@pytest.mark.parametrize("before", BEFORE)
def test_frames_are_read_by_one_call_in_their_order(before: int) -> None:
    ring = FakeRing(is_writing=False, before=before)
    box = Inbox(ring.slots)
    for count in (3, SLOTS, 0, 40, 7, SLOTS, 1):
        ring.frames.extend(frames(count))
        assert box.fill(SLOTS + 5)
        assert take(box) == frames(count)
    assert ring.calls == [SLOTS] * 7


def test_few_are_to_be_read_one_by_one() -> None:
    ring = FakeRing(is_writing=False)
    assert not Inbox(ring.slots).fill(inbox.FEW - 1)
    assert ring.calls == []


def test_what_was_read_is_given_before_more_is_read() -> None:
    ring = FakeRing(is_writing=False)
    box = Inbox(ring.slots)
    ring.frames.extend(frames(5))
    assert box.fill(4)
    assert box.next() == frames(5)[0]
    assert box.fill(1)
    assert box.fill(64)
    assert take(box) == frames(5)[1:4]
    assert box.fill(64)
    assert take(box) == frames(5)[4:]


@pytest.mark.parametrize("error", [errno.EIO, errno.EBADFD])
def test_an_error_of_reading_gives_no_frame_and_hides_none(error: int) -> None:
    ring = FakeRing(is_writing=False)
    box = Inbox(ring.slots)
    ring.frames.extend(frames(3))
    ring.errors.extend([0, error])
    assert box.fill(8)
    assert take(box) == frames(3)


def test_a_descriptor_that_is_not_read_like_that_is_read_one_by_one_from_then_on() -> None:
    ring = FakeRing(is_writing=False)
    box = Inbox(ring.slots)
    ring.errors.extend([errno.EOPNOTSUPP] * 8)
    assert box.fill(8)
    assert take(box) == []
    assert not box.fill(8)


def test_if_the_system_begins_with_nothing_they_are_read_one_by_one() -> None:
    ring = FakeRing(is_writing=False)
    box = Inbox(ring.slots)
    ring.begins = 0
    assert not box.fill(8)
    ring.begins = SLOTS
    ring.frames.extend(frames(2))
    assert box.fill(8)
    assert take(box) == frames(2)


def test_a_frame_of_the_largest_size_fits() -> None:
    largest = bytes(range(256)) * (SLOT_BYTES // 256)
    ring = FakeRing(is_writing=True)
    box = Outbox(ring.slots)
    put(box, [largest] * SLOTS)
    assert box.send() == []
    assert ring.written == [largest] * SLOTS
