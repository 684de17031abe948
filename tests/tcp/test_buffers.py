"""``ByteQueue`` against the simplest thing that could be right: one ``bytes``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.tcp.record.buffers import ByteQueue

SIZES = st.one_of(st.integers(0, 40), st.integers(2000, 2100), st.integers(0, 6000))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), SIZES, st.just(0)),
        st.tuples(st.just("share"), SIZES, SIZES),
        st.tuples(st.just("take"), SIZES, st.just(0)),
        st.tuples(st.just("take_part"), SIZES, st.just(0)),
        st.tuples(st.just("drop"), SIZES, st.just(0)),
        st.tuples(st.just("peek"), SIZES, SIZES),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_does_what_one_string_of_bytes_would_do(steps: list[tuple[str, int, int]]) -> None:
    queue, model, written = ByteQueue(), b"", 0
    for what, size, offset in steps:
        if what == "append":
            data = bytes((written + n) & 0xFF for n in range(size))
            written += size
            queue.append(data)
            model += data
        elif what == "share":
            whole = bytes((written + n) & 0xFF for n in range(offset + size + 10))
            written += size
            queue.share(whole, offset, offset + size)
            model += whole[offset : offset + size]
        elif what == "take_part":
            size = min(size, len(model))
            part, start = queue.take_part(size)
            assert part[start : start + size] == model[:size]
            model = model[size:]
        elif what == "take":
            assert queue.take(size) == model[:size]
            model = model[size:]
        elif what == "drop":
            queue.drop(size)
            model = model[size:]
        else:
            assert queue.peek(offset, size) == model[offset : offset + size]
        assert queue.size == len(model)
    assert queue.take(len(model) + 1) == model
    assert queue.size == 0


def test_what_comes_out_is_bytes_that_later_writes_do_not_change() -> None:
    queue = ByteQueue()
    queue.append(b"a" * 10)
    queue.append(b"b" * 10)
    seen = queue.peek(0, 20)
    queue.append(b"c" * 10)
    assert type(seen) is bytes
    assert seen == b"a" * 10 + b"b" * 10


def test_a_piece_taken_whole_is_not_copied() -> None:
    queue = ByteQueue()
    data = bytes(5000)
    queue.append(data)
    assert queue.take(5000) is data


def test_a_part_of_a_piece_is_taken_without_a_copy() -> None:
    queue = ByteQueue()
    data = bytes(range(250)) * 20
    queue.append(data)
    assert queue.take_part(1448) == (data, 0)
    assert queue.take_part(1448) == (data, 1448)
    queue.append(b"more")
    joined, start = queue.take_part(len(data) - 2 * 1448 + 2)
    assert (joined, start) == (data[2 * 1448 :] + b"mo", 0)
    assert queue.take_part(2) == (b"more", 2)
    assert queue.take_part(0) == (b"", 0)


def test_what_the_caller_keeps_is_not_copied_even_if_it_is_little() -> None:
    queue = ByteQueue()
    data = bytes(1000)
    queue.share(data, 400, 410)
    assert queue.memory_bytes() < 1000
    part, start = queue.take_part(10)
    assert part is data
    assert start == 400
    assert (queue.size, queue.memory_bytes()) == (0, 0)


def test_single_bytes_are_gathered_so_that_they_do_not_cost_an_object_each() -> None:
    queue = ByteQueue()
    for _ in range(50_000):
        queue.append(b"x")
    assert queue.memory_bytes() <= 50_000 + 140 * 64
    assert queue.take(50_000) == b"x" * 50_000


def test_what_was_taken_does_not_stay_in_memory() -> None:
    queue = ByteQueue()
    for _ in range(1000):
        queue.append(bytes(3000))
        assert len(queue.take(2999)) == 2999
        assert len(queue.take(1)) == 1
    assert queue.size == 0


@pytest.mark.parametrize(("start", "end"), [(0, 100), (20, 100), (20, 90), (90, 100), (100, 100)])
def test_a_part_of_bytes_is_that_part(start: int, end: int) -> None:
    data = bytes(range(100))
    queue = ByteQueue()
    queue.append(b"a")
    queue.append_part(data, start, end)
    queue.append(b"z")
    assert queue.size == end - start + 2
    assert queue.peek(1, end - start) == data[start:end]
    assert queue.peek(2, 10) == (data[start:end] + b"z")[1:11]
    assert queue.take(3) == (b"a" + data[start:end] + b"z")[:3]
    assert queue.take(1000) == (b"a" + data[start:end] + b"z")[3:]


def test_a_small_part_of_much_does_not_keep_all_of_it() -> None:
    queue = ByteQueue()
    queue.append_part(bytes(1000), 990, 1000)
    assert queue.memory_bytes() < 100
