"""Deadlines: one queue for a host, one next deadline for each endpoint.

An endpoint's deadline moves far more often than it runs out, mostly to later. So an endpoint has one place in the queue
at most, a heap. A later deadline changes nothing in it (the place is checked when it comes up); an earlier one moves
the place.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64

from estab.units import NEVER

__all__ = ["Endpoint", "TimerQueue"]

_SPARE_PLACES: Final = 64
"""So many free places are kept, and as many again as are taken: a list that always has just what it needs is made anew
for each short connection.
"""


class Endpoint:
    """What the demultiplexer's table holds: a connection, a half-open entry or a TIME-WAIT record."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        """bytes: the four-tuple, as the demultiplexer's table has it. Writers: none."""
        self.due_ns: i64 = NEVER
        """ns, time: the next deadline as the queue knows it. Writers: record/timers."""
        self.queued_ns: i64 = NEVER
        """ns, time: when the queue will look at this endpoint; ``NEVER`` if it has no place in it. Writers:
        record/timers.
        """
        self.queued_order: i64 = 0
        """number: among equal times the lower one comes first. Writers: record/timers."""
        self.queued_at: i32 = 0
        """number: its place in the queue, if it has one. Writers: record/timers."""
        self.is_dirty: bool = False
        """yes or no: a connection that is on the host's list of those that may have something to send. Writers:
        connection.
        """
        self.is_in_table: bool = False
        """yes or no: a connection that the table has, so that segments find it. Writers: connection."""


class TimerQueue:
    """The endpoints that wait for a time, soonest first; equal times in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[Endpoint] = []
        """A heap of ``_count`` endpoints; after it stands ``_nobody``."""
        self._count: i64 = 0
        self._order: i64 = 0
        self._look_ns: i64 = NEVER
        """``queued_ns`` of the first."""
        self._nobody: Endpoint = Endpoint(b"")

    def set(self, endpoint: Endpoint, due_ns: i64) -> None:
        """Give an endpoint its next deadline, ``NEVER`` for none."""
        endpoint.due_ns = due_ns
        if due_ns < endpoint.queued_ns:
            at: i64 = i64(endpoint.queued_at)
            if endpoint.queued_ns == NEVER:
                at = self._count
                self._count += 1
                if at == len(self._heap):
                    self._heap.append(endpoint)
            self._mark(endpoint, due_ns)
            self._rise(endpoint, at)

    def look_ns(self) -> i64:
        """Return the time to look again without looking now: the soonest deadline, or earlier, if that of an endpoint
        was put off or ended. So what happens between two looks moves nothing in the queue.
        """
        return self._look_ns

    def next_ns(self) -> i64:
        """Return the soonest deadline."""
        heap = self._heap
        while self._count > 0:
            first = heap[0]
            if first.due_ns <= first.queued_ns:
                return first.queued_ns
            if first.due_ns == NEVER:
                self._take_out(first)
            else:
                self._mark(first, first.due_ns)
                self._sink(first, 0)
        return NEVER

    def pop(self, now_ns: i64) -> Endpoint | None:
        """Take the next endpoint whose deadline has come, or ``None``. Its deadline is then ``NEVER``."""
        if self.next_ns() > now_ns:
            return None
        endpoint = self._heap[0]
        self.forget(endpoint)
        return endpoint

    def forget(self, endpoint: Endpoint) -> None:
        """Remove an endpoint that is over."""
        endpoint.due_ns = NEVER
        if endpoint.queued_ns != NEVER:
            self._take_out(endpoint)

    def hand_over(self, old: Endpoint, new: Endpoint) -> None:
        """Forget ``old``, which is over, and let ``new``, which has no place yet, have its place: it needs one soon."""
        old.due_ns = NEVER
        if old.queued_ns != NEVER:
            new.queued_ns = old.queued_ns
            new.queued_order = old.queued_order
            new.queued_at = old.queued_at
            self._heap[old.queued_at] = new  # queued at the same time, so ``_look_ns`` stays
            old.queued_ns = NEVER

    def __len__(self) -> int:
        return self._count

    def _mark(self, endpoint: Endpoint, due_ns: i64) -> None:
        endpoint.queued_ns = due_ns
        self._order += 1
        endpoint.queued_order = self._order

    def _take_out(self, endpoint: Endpoint) -> None:
        """Let the last of the heap have the endpoint's place, and find its own from there."""
        at: i64 = i64(endpoint.queued_at)
        heap = self._heap
        self._count -= 1
        count = self._count
        last = heap[count]
        heap[count] = self._nobody
        if last is not endpoint:
            self._rise(last, at)
            self._sink(last, i64(last.queued_at))
        elif count == 0:
            self._look_ns = NEVER
        endpoint.queued_ns = NEVER
        while len(heap) > 2 * count + _SPARE_PLACES:
            heap.pop()

    def _rise(self, endpoint: Endpoint, at: i64) -> None:
        """Put an endpoint at a place, or nearer to the top if it is due before those that stand there."""
        heap = self._heap
        while at > 0:
            above: i64 = (at - 1) >> 1
            other = heap[above]
            if not _is_sooner(endpoint, other):
                break
            heap[at] = other
            other.queued_at = i32(at)
            at = above
        self._put(endpoint, at)

    def _sink(self, endpoint: Endpoint, at: i64) -> None:
        """Put an endpoint at a place, or farther from the top if those that stand there are due before it."""
        heap = self._heap
        count = self._count
        while True:
            below: i64 = 2 * at + 1
            if below >= count:
                break
            other = heap[below]
            if below + 1 < count:
                right = heap[below + 1]
                if _is_sooner(right, other):
                    below += 1
                    other = right
            if not _is_sooner(other, endpoint):
                break
            self._put(other, at)
            at = below
        self._put(endpoint, at)

    def _put(self, endpoint: Endpoint, at: i64) -> None:
        self._heap[at] = endpoint
        endpoint.queued_at = i32(at)
        if at == 0:
            self._look_ns = endpoint.queued_ns


def _is_sooner(one: Endpoint, other: Endpoint) -> bool:
    if one.queued_ns != other.queued_ns:
        return one.queued_ns < other.queued_ns
    return one.queued_order < other.queued_order
