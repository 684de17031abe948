"""``TimerQueue``: soonest first, at most one place for an endpoint."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from estab.tcp.record.timers import Endpoint, TimerQueue
from estab.units import MS, NEVER, SECOND
from tests.kit.pair import Pair


def drain(queue: TimerQueue, now_ns: int) -> list[Endpoint]:
    """Take all whose time has come."""
    result = []
    while (endpoint := queue.pop(now_ns)) is not None:
        result.append(endpoint)
    return result


def test_the_soonest_comes_first_and_equal_times_in_the_order_in_which_they_were_set() -> None:
    queue = TimerQueue()
    ends = [Endpoint(bytes([n])) for n in range(5)]
    for endpoint, due in zip(ends, (30, 10, 20, 10, 10), strict=True):
        queue.set(endpoint, due)
    assert queue.next_ns() == 10
    assert [e.key[0] for e in drain(queue, 100)] == [1, 3, 4, 2, 0]
    assert queue.next_ns() == NEVER


def test_nothing_comes_before_its_time() -> None:
    queue, one = TimerQueue(), Endpoint(b"")
    queue.set(one, 10)
    assert queue.pop(9) is None
    assert queue.pop(10) is one
    assert queue.pop(10) is None


def test_a_deadline_moved_later_is_not_met_early() -> None:
    queue, one = TimerQueue(), Endpoint(b"")
    queue.set(one, 10)
    queue.set(one, 50)
    assert drain(queue, 49) == []
    assert queue.next_ns() == 50
    assert drain(queue, 50) == [one]


def test_a_deadline_moved_earlier_is_met_once() -> None:
    queue, one = TimerQueue(), Endpoint(b"")
    queue.set(one, 50)
    queue.set(one, 10)
    assert drain(queue, 10) == [one]
    assert drain(queue, 100) == []


DEADLINES = st.one_of(st.integers(1, 50), st.just(NEVER))


@given(st.lists(st.tuples(st.integers(0, 4), DEADLINES, st.booleans()), max_size=30))
def test_to_look_comes_no_later_than_the_soonest_deadline(steps: list[tuple[int, int, bool]]) -> None:
    queue, ends = TimerQueue(), [Endpoint(bytes([n])) for n in range(5)]
    for which, due_ns, is_asked in steps:
        queue.set(ends[which], due_ns)
        assert queue.look_ns() <= min(end.due_ns for end in ends)
        if is_asked:
            assert queue.next_ns() == queue.look_ns() == min(end.due_ns for end in ends)


def test_a_place_that_is_handed_over_is_the_new_ones() -> None:
    queue, old, new, other = TimerQueue(), Endpoint(b"old"), Endpoint(b"new"), Endpoint(b"other")
    queue.set(other, 10)
    queue.set(old, 20)
    queue.hand_over(old, new)
    queue.set(new, 15)
    assert drain(queue, 14) == [other]
    assert drain(queue, 15) == [new]
    assert drain(queue, 100) == []
    queue.hand_over(old, new)  # without a place there is none to give
    assert len(queue) == 0


def test_a_deadline_taken_away_or_an_endpoint_forgotten_does_not_come() -> None:
    queue, one, other = TimerQueue(), Endpoint(b"1"), Endpoint(b"2")
    queue.set(one, 10)
    queue.set(other, 10)
    queue.set(one, NEVER)
    queue.forget(other)
    assert drain(queue, 100) == []
    queue.set(one, 200)
    queue.set(other, 150)
    assert drain(queue, 1000) == [other, one]


OPERATIONS = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.integers(0, 100), st.just(NEVER), st.just(-1), st.just(-2))), max_size=80,
)


@given(OPERATIONS)
def test_it_does_what_a_table_of_deadlines_would_do(operations: list[tuple[int, int]]) -> None:
    queue = TimerQueue()
    ends = [Endpoint(bytes([n])) for n in range(6)]
    due: dict[int, int] = {}
    now = 0
    for who, what in operations:
        if what == -1:
            queue.forget(ends[who])
            due.pop(who, None)
        elif what == -2:
            now += 20
            expected = {n for n, at in due.items() if at <= now}
            assert {e.key[0] for e in drain(queue, now)} == expected
            due = {n: at for n, at in due.items() if at > now}
        else:
            queue.set(ends[who], what if what == NEVER else now + what)
            due[who] = ends[who].due_ns
        soonest = min(due.values(), default=NEVER)
        assert queue.next_ns() <= soonest
        if soonest != NEVER:
            assert queue.next_ns() == soonest
        assert len(queue) <= 6
    assert {e.key[0] for e in drain(queue, NEVER - 1)} == {n for n, at in due.items() if at < NEVER}


def test_an_endpoint_has_one_place_however_often_it_moves() -> None:
    queue = TimerQueue()
    ends = [Endpoint(bytes(2)) for _ in range(100)]
    for lap in range(1000):
        for endpoint in ends:
            queue.set(endpoint, 1_000_000 - lap)
    assert len(queue) == 100
    assert len(drain(queue, 1_000_000)) == 100


def test_a_busy_connection_does_not_fill_the_queue() -> None:
    pair = Pair(delay_ns=MS)
    client, server = pair.established()
    for _ in range(500):
        pair.write(client, b"x" * 100)
        pair.run_for(3 * MS)
        pair.read(server)
    assert len(pair.a.demux.timers) < 20
    assert len(pair.b.demux.timers) < 20


def test_many_short_connections_leave_no_timers() -> None:
    pair = Pair(delay_ns=MS)
    pair.b.config.tcp_timewait_ns = pair.a.config.tcp_timewait_ns = SECOND
    listener = pair.listen()
    for _ in range(100):
        client = pair.connect()
        pair.run_for(5 * MS)
        server = listener.accept()
        assert server is not None
        pair.close(client)
        pair.run_for(5 * MS)
        pair.close(server)
        pair.run_for(5 * MS)
    pair.run_for(10 * SECOND)
    for side in (pair.a, pair.b):
        assert side.demux.table == {}
        assert side.demux.time_wait_count == 0
        assert side.demux.next_deadline_ns() == NEVER
        assert len(side.demux.timers) == 0
