"""One table of timers: what is armed, and which runs out next."""

from __future__ import annotations

import pytest

from estab.tcp.record.timer_table import (
    TIMER_DELAYED_ACK,
    TIMER_FIN_WAIT_2,
    TIMER_KEEPALIVE,
    TIMER_NAMES,
    TIMER_NAMES_OF_SS,
    TIMER_NONE,
    TIMER_PACING,
    TIMER_PERSIST,
    TIMER_PROBE,
    TIMER_REORDER,
    TIMER_RTO,
    TIMER_SYN_ACK,
    TimerTable,
)
from estab.units import NEVER

ALONE = [TIMER_RTO, TIMER_PERSIST, TIMER_DELAYED_ACK, TIMER_KEEPALIVE, TIMER_FIN_WAIT_2]
SHARED = [TIMER_RTO, TIMER_PROBE, TIMER_REORDER, TIMER_SYN_ACK]


def test_an_empty_table_has_no_deadline() -> None:
    table = TimerTable(b"")
    assert (table.deadline_ns(), table.next_timer()) == (NEVER, TIMER_NONE)


@pytest.mark.parametrize("timer", [*ALONE, *SHARED])
def test_a_timer_runs_until_it_is_disarmed(timer: int) -> None:
    table = TimerTable(b"")
    table.arm(timer, 5)
    assert (table.deadline_ns(), table.next_timer()) == (5, timer)
    table.disarm(timer)
    assert (table.deadline_ns(), table.next_timer()) == (NEVER, TIMER_NONE)


@pytest.mark.parametrize("soonest", ALONE)
def test_the_soonest_is_next(soonest: int) -> None:
    table = TimerTable(b"")
    for timer in ALONE:
        table.arm(timer, 5 if timer == soonest else 6)
    assert (table.deadline_ns(), table.next_timer()) == (5, soonest)
    table.disarm_all()
    assert table.deadline_ns() == NEVER


def test_four_timers_share_a_place() -> None:
    table = TimerTable(b"")
    for timer in SHARED:
        table.arm(timer, 9 - timer)
        assert (table.deadline_ns(), table.next_timer()) == (9 - timer, timer)


def test_the_pace_is_a_deadline_while_it_holds_text_back() -> None:
    table = TimerTable(b"")
    table.arm(TIMER_PERSIST, 7)
    table.wait_until(3)
    assert table.next_timer() == TIMER_PERSIST
    table.is_pacing = True
    assert (table.deadline_ns(), table.next_timer()) == (3, TIMER_PACING)


def test_every_timer_has_both_names() -> None:
    assert len(TIMER_NAMES) == len(TIMER_NAMES_OF_SS) == TIMER_PACING + 1
    assert {TIMER_NAMES_OF_SS[timer] for timer in SHARED} == {"on"}
