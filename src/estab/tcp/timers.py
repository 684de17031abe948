"""Deadlines: one queue for a host, one next deadline for each endpoint.

An endpoint's deadline moves far more often than it runs out, mostly to later. So the queue holds at most one live
entry for an endpoint: moving later touches nothing (the entry is looked at when it comes up), moving earlier adds an
entry and the old one goes stale. Stale entries are swept out when they outnumber the live ones, which bounds the queue.
"""

from __future__ import annotations

import heapq

from mypy_extensions import i64

from estab.units import NEVER

__all__ = ["Endpoint", "TimerQueue"]


class Endpoint:
    """What the demultiplexer's table holds: a connection, a half-open entry or a TIME-WAIT record."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.due_ns: i64 = NEVER
        self.queued_ns: i64 = NEVER
        """When the queue will look at this endpoint; ``NEVER`` where it holds no entry for it."""


class TimerQueue:
    """The endpoints that wait for a time, soonest first; equal times in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Endpoint]] = []
        self._order: i64 = 0
        self._live: i64 = 0

    def set(self, endpoint: Endpoint, due_ns: i64) -> None:
        """Give an endpoint its next deadline, ``NEVER`` for none."""
        endpoint.due_ns = due_ns
        if due_ns < endpoint.queued_ns:
            if endpoint.queued_ns == NEVER:
                self._live += 1
            self._push(endpoint, due_ns)

    def next_ns(self) -> i64:
        """Give the time to look again: the soonest deadline, or an earlier time at which one used to be."""
        heap = self._heap
        while heap:
            first = heap[0]
            endpoint = first[2]
            due_ns: i64 = first[0]
            if due_ns == endpoint.queued_ns:
                if endpoint.due_ns <= due_ns:
                    return due_ns
                heapq.heappop(heap)
                self._requeue(endpoint)
            else:
                heapq.heappop(heap)
        return NEVER

    def pop(self, now_ns: i64) -> Endpoint | None:
        """Take the next endpoint whose deadline has come, or ``None``. Its deadline is then ``NEVER``."""
        if self.next_ns() > now_ns:
            return None
        endpoint = heapq.heappop(self._heap)[2]
        endpoint.queued_ns = NEVER
        endpoint.due_ns = NEVER
        self._live -= 1
        return endpoint

    def forget(self, endpoint: Endpoint) -> None:
        """Let go of an endpoint that is no more."""
        endpoint.due_ns = NEVER
        if endpoint.queued_ns != NEVER:
            endpoint.queued_ns = NEVER
            self._live -= 1
            self._sweep()

    def __len__(self) -> int:
        return len(self._heap)

    def _requeue(self, endpoint: Endpoint) -> None:
        if endpoint.due_ns == NEVER:
            endpoint.queued_ns = NEVER
            self._live -= 1
        else:
            self._push(endpoint, endpoint.due_ns)

    def _push(self, endpoint: Endpoint, due_ns: i64) -> None:
        endpoint.queued_ns = due_ns
        self._order += 1
        heapq.heappush(self._heap, (due_ns, self._order, endpoint))
        self._sweep()

    def _sweep(self) -> None:
        if len(self._heap) <= 2 * self._live + 64:
            return
        # An entry is live when it is the endpoint's latest; two with the same time keep the older.
        live: list[tuple[int, int, Endpoint]] = []
        for entry in sorted(self._heap, key=_when):
            endpoint = entry[2]
            if endpoint.queued_ns == entry[0]:
                live.append(entry)
                endpoint.queued_ns = -entry[0] - 1  # seen
        for entry in live:
            entry[2].queued_ns = entry[0]
        self._heap = live


def _when(entry: tuple[int, int, Endpoint]) -> tuple[int, int]:
    return entry[0], entry[1]
