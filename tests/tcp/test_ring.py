"""The queue of what is next, beside a deque."""

from __future__ import annotations

from collections import deque
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from estab.tcp.ring import Ring


@given(st.lists(st.sampled_from(["add", "drop"]), max_size=80), st.integers(0, 40))
def test_it_does_what_a_deque_does(steps: list[Literal["add", "drop"]], before: int) -> None:
    ring: Ring[object] = Ring()
    queue: deque[object] = deque()
    for step in ["add"] * before + list(steps):
        if step == "add":
            thing = object()
            ring.add(thing)
            queue.append(thing)
        elif queue:
            ring.drop_first()
            queue.popleft()
        assert ring.first is (queue[0] if queue else None)
        assert ring.has_others() == (len(queue) > 1)


def test_a_ring_that_was_long_is_released_and_keeps_nothing_that_was_taken() -> None:
    ring: Ring[object] = Ring()
    for number in range(5000):
        ring.add([number])
    for number in range(5000):
        assert ring.first == [number]
        ring.drop_first()
    assert ring.first is None
    assert not ring._others
