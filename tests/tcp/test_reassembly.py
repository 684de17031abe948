"""``Reassembly`` against a naive model: one entry for each byte, first copy wins."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from estab.tcp.record.buffers import ByteQueue
from estab.tcp.record.reassembly import PIECE_BYTES, Reassembly

SEGMENTS = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 60)), min_size=1, max_size=40)
BASE = (1 << 32) - 200
"""Where the window starts: the numbers pass 2**32 on the way."""


def text(seq: int, length: int, version: int = 0) -> bytes:
    """Make text whose bytes tell their place, and which copy they are."""
    return bytes(((seq + n) * 7 + version) & 0xFF for n in range(length))


def runs(held: dict[int, int]) -> list[tuple[int, int]]:
    """Give the runs of places without a gap."""
    result: list[tuple[int, int]] = []
    for place in sorted(held):
        if result and result[-1][1] == place:
            result[-1] = (result[-1][0], place + 1)
        else:
            result.append((place, place + 1))
    return result


@given(SEGMENTS)
def test_it_holds_each_byte_once_the_first_copy_winning(segments: list[tuple[int, int]]) -> None:
    queue, model = Reassembly(), {}
    for version, (offset, length) in enumerate(segments):
        seq = BASE + offset
        data = text(seq, length, version)
        is_held = all(seq + n in model for n in range(length))
        assert queue.holds(seq, seq + length) == is_held
        queue.add(seq, data)
        for n in range(length):
            model.setdefault(seq + n, data[n])
        assert queue.size_bytes == len(model)
        assert queue.holds(seq, seq + length)
    for left, right in runs(model):
        out = ByteQueue()
        assert queue.take_into(out, left) == right
        assert out.take(10_000) == bytes(model[n] for n in range(left, right))
    assert len(queue) == 0
    assert queue.size_bytes == 0


@given(SEGMENTS, st.integers(0, 460))
def test_what_lies_before_rcv_nxt_is_let_go(segments: list[tuple[int, int]], offset: int) -> None:
    queue, held = Reassembly(), {}
    for start, length in segments:
        queue.add(BASE + start, text(BASE + start, length))
        held.update({BASE + start + n: 0 for n in range(length)})
    rcv_nxt = BASE + offset
    out = ByteQueue()
    after = queue.take_into(out, rcv_nxt)
    expected = next((right for left, right in runs(held) if left <= rcv_nxt < right), rcv_nxt)
    assert after == expected
    assert out.take(10_000) == text(rcv_nxt, expected - rcv_nxt)
    assert queue.size_bytes == sum(1 for place in held if place >= after)


@given(SEGMENTS)
def test_the_first_block_holds_the_segment_that_came_last_and_all_are_true(segments: list[tuple[int, int]]) -> None:
    queue, held = Reassembly(), {}
    for offset, length in segments:
        seq = BASE + offset
        queue.add(seq, text(seq, length))
        held.update({seq + n: 0 for n in range(length)})
        blocks = queue.blocks(4)
        pairs = list(zip(blocks[::2], blocks[1::2], strict=True))
        assert 1 <= len(pairs) <= 4
        assert pairs[0][0] <= seq
        assert seq + length <= pairs[0][1]
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) <= set(runs(held))


@given(SEGMENTS)
def test_the_blocks_told_are_those_that_changed_last(segments: list[tuple[int, int]]) -> None:
    queue, held, order = Reassembly(), {}, []
    for offset, length in segments:
        seq = BASE + offset
        queue.add(seq, text(seq, length))
        held.update({seq + n: 0 for n in range(length)})
        now = runs(held)
        newest = next(run for run in now if run[0] <= seq < run[1])
        order = [newest] + [run for run in order if run in now and run != newest]
        blocks = queue.blocks(3)
        assert list(zip(blocks[::2], blocks[1::2], strict=True)) == order[:3]


def test_an_older_block_is_still_told_after_many_segments_of_a_newer_one() -> None:
    queue = Reassembly()
    queue.add(100, b"x")
    for n in range(200):
        queue.add(1000 + n, b"y")
    assert queue.blocks(4) == [1000, 1200, 100, 101]


def test_pruning_takes_the_farthest_first_and_no_more_than_is_wanted() -> None:
    queue = Reassembly()
    for n in range(1, 6):
        queue.add(100 * n, b"x" * 10)
    assert queue.memory_bytes() == 5 * (10 + PIECE_BYTES)
    assert queue.prune(0, 10 + PIECE_BYTES + 1)
    assert (len(queue), queue.size_bytes) == (3, 30)
    assert queue.blocks(4) == [300, 310, 200, 210, 100, 110]


def test_pruning_spares_what_begins_before_a_place() -> None:
    queue = Reassembly()
    for n in range(1, 6):
        queue.add(100 * n, b"x" * 10)
    assert queue.prune(400, 1 << 30)
    assert queue.blocks(4) == [400, 410, 300, 310, 200, 210, 100, 110]
    assert not queue.prune(400, 1 << 30)


def test_pruning_cuts_a_run_and_leaves_the_fin() -> None:
    queue = Reassembly()
    queue.add(100, b"x" * 10)
    queue.add(110, b"y" * 10)
    queue.add_fin(120)
    assert queue.blocks(4) == [100, 121]
    assert queue.prune(100, 1)
    assert sorted(zip(*[iter(queue.blocks(4))] * 2, strict=True)) == [(100, 110), (120, 121)]
    queue.add(110, b"y" * 10)
    assert queue.blocks(4) == [100, 121]
    out = ByteQueue()
    assert queue.take_into(out, 100) == 120
    assert out.take(100) == b"x" * 10 + b"y" * 10


def test_a_segment_that_fills_many_gaps_makes_fewer_pieces() -> None:
    queue = Reassembly()
    for n in range(100):
        queue.add(10 + 2 * n, b"x")
    queue.add(11, b"y" * 198)
    assert (len(queue), queue.size_bytes) == (2, 199)
    out = ByteQueue()
    assert queue.take_into(out, 10) == 209
    assert out.take(1000) == (b"xy" * 100)[:-1]


@given(SEGMENTS, st.integers(0, 460), st.integers(1, 5000))
def test_after_pruning_all_that_is_told_is_held(
    segments: list[tuple[int, int]], beyond: int, wanted: int,
) -> None:
    queue, held = Reassembly(), set[int]()
    for start, length in segments:
        queue.add(BASE + start, text(BASE + start, length))
        held.update(BASE + start + n for n in range(length))
    before = queue.memory_bytes()
    if queue.prune(BASE + beyond, wanted):
        assert before - queue.memory_bytes() >= min(wanted, 1)
    kept = queue.blocks(100)
    told = {place for left, right in zip(kept[::2], kept[1::2], strict=True) for place in range(left, right)}
    assert len(told) == queue.size_bytes
    assert told <= held
    assert {place for place in held if place <= BASE + beyond} <= told
    for left, right in sorted(zip(kept[::2], kept[1::2], strict=True)):
        out = ByteQueue()
        assert queue.take_into(out, left) == right
        assert out.take(10_000) == text(left, right - left)
    assert queue.memory_bytes() == 0
