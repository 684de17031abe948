"""``SendQueue`` against the simplest thing that could be right: lists of sizes, and one ``bytes``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from estab.tcp.record.sendqueue import SendQueue

STEPS = st.lists(st.tuples(st.sampled_from(["write", "join", "plan", "take", "give back"]), st.integers(1, 40)),
                 max_size=50)


def write(queue: SendQueue, data: bytes, *, joins: bool) -> None:
    """Write into the last piece, or into a new one."""
    piece = queue.tail() if joins else None
    if piece is None:
        piece = queue.begin_piece()
    queue.extend(piece, len(data))
    queue.store(data, 0, len(data))


@given(STEPS)
def test_text_leaves_as_it_was_written_whatever_was_planned(steps: list[tuple[str, int]]) -> None:
    queue = SendQueue()
    model, pieces, bursts, written = b"", [], [], 0
    for what, size in steps:
        if what == "write" or (what == "join" and not pieces):
            data = bytes((written + n) & 0xFF for n in range(size))
            write(queue, data, joins=False)
            model, written = model + data, written + size
            pieces.append(size)
        elif what == "join":
            data = bytes((written + n) & 0xFF for n in range(size))
            write(queue, data, joins=True)
            model, written = model + data, written + size
            pieces[-1] += size
        elif what == "plan" and pieces:
            size = min(size, pieces[0])
            queue.plan(size, is_pushed=False)
            bursts.append(size)
            pieces[0] -= size
            if pieces[0] == 0:
                del pieces[0]
        elif what == "take" and bursts:
            size = min(size, bursts[0])
            data, start = queue.take(size)
            assert data[start : start + size] == model[:size]
            model = model[size:]
            bursts[0] -= size
            if bursts[0] == 0:
                del bursts[0]
        elif what == "give back":
            given_back = bytes(size)
            queue.give_back(given_back, 0, size, is_pushed=True)
            model = given_back + model
            pieces, bursts = [size, *bursts, *pieces], []
        first, tail, burst = queue.first(), queue.tail(), queue.next_burst()
        assert (queue.size, queue.planned, queue.piece_count()) == (len(model), sum(bursts), len(pieces))
        assert [None if piece is None else piece.size for piece in (first, tail, burst)] == [
            pieces[0] if pieces else None, pieces[-1] if pieces else None, bursts[0] if bursts else None,
        ]
        assert queue.has_one_piece() == (len(pieces) < 2)


def test_a_piece_that_leaves_as_a_whole_keeps_its_push_and_no_more() -> None:
    queue = SendQueue()
    for number in range(3):
        write(queue, bytes(10), joins=False)
        piece = queue.tail()
        assert piece is not None
        piece.is_pushed = number == 1
        piece.is_closed = True
    for _ in range(2):
        queue.plan(10, is_pushed=False)
    queue.plan(4, is_pushed=True)
    told = []
    while (burst := queue.next_burst()) is not None:
        told.append((burst.size, burst.is_pushed, burst.is_closed))
        queue.take(burst.size)
    assert told == [(10, False, False), (10, True, False), (4, True, False)]
    rest = queue.first()
    assert rest is not None
    assert (rest.size, rest.is_pushed, rest.is_closed) == (6, False, True)


def test_the_first_piece_grows_from_those_after_it_up_to_a_closed_one() -> None:
    queue = SendQueue()
    for size in (3, 4, 5, 6):
        write(queue, bytes(size), joins=False)
    assert not queue.grow_first(30)
    assert queue.piece_count() == 1
    write(queue, bytes(5), joins=False)
    first = queue.first()
    assert first is not None
    first.is_closed = True
    assert not queue.grow_first(30)
    assert queue.piece_count() == 2
