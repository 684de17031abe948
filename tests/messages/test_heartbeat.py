"""The heartbeat's timer, in times that are handed in: when it asks, when it gives up, how it is turned off."""

from __future__ import annotations

from collections import Counter

import pytest

from estab.messages import Heartbeat, Pulse
from estab.units import NEVER, SECOND

BEAT = Heartbeat("5s", "15s")


def pulse_at_zero(heartbeat: Heartbeat = BEAT) -> Pulse:
    return Pulse(heartbeat, 0)


def tick(pulse: Pulse, seconds: float) -> list[bytes]:
    pulse.on_deadline(int(seconds * SECOND))
    return pulse.take()


def test_a_ping_is_due_after_the_interval_and_only_one_is_out() -> None:
    pulse = pulse_at_zero()
    assert pulse.next_deadline_ns() == 5 * SECOND
    assert tick(pulse, 4.999) == []
    assert tick(pulse, 5) == [b"PING"]
    assert tick(pulse, 6) == []
    assert tick(pulse, 14) == []
    assert pulse.next_deadline_ns() == 15 * SECOND


def test_the_peer_is_lost_after_the_timeout_and_not_before() -> None:
    pulse = pulse_at_zero()
    tick(pulse, 5)
    assert not pulse.is_lost(15 * SECOND - 1)
    assert pulse.is_lost(15 * SECOND)
    assert pulse.describe_silence(15 * SECOND) == "no byte for 15s, a ping unanswered for 10s"


def test_any_byte_is_a_sign_of_life() -> None:
    pulse = pulse_at_zero()
    tick(pulse, 5)
    pulse.on_bytes(14 * SECOND)
    assert not pulse.is_lost(15 * SECOND)
    assert pulse.next_deadline_ns() == 19 * SECOND
    assert tick(pulse, 18) == []
    assert tick(pulse, 19) == [b"PING"]


def test_a_byte_that_comes_before_the_ping_left_takes_it_back() -> None:
    pulse = pulse_at_zero()
    pulse.on_deadline(5 * SECOND)
    pulse.on_bytes(5 * SECOND)
    assert pulse.take() == []


def test_who_was_away_for_longer_than_the_timeout_asks_before_it_judges() -> None:
    pulse = pulse_at_zero()
    assert not pulse.is_lost(600 * SECOND)
    assert tick(pulse, 600) == [b"PING"]
    assert not pulse.is_lost(609 * SECOND)
    assert pulse.is_lost(610 * SECOND)


def test_a_ping_is_answered_once_however_many_came() -> None:
    pulse = pulse_at_zero()
    for _ in range(1000):
        assert pulse.on_message(b"PING")
    assert pulse.take() == [b"PONG"]
    assert pulse.take() == []


def test_the_program_sees_its_own_messages_and_not_the_heartbeats() -> None:
    pulse = pulse_at_zero()
    assert [pulse.on_message(m) for m in (b"PING", b"PONG", b"PING OFF", b"PINGS", b"")] == [True] * 3 + [False] * 2


def test_either_side_turns_it_off_for_both() -> None:
    ours, theirs = pulse_at_zero(), pulse_at_zero()
    ours.turn_off()
    (word,) = ours.take()
    assert theirs.on_message(word)
    assert (ours.turned_off_by, theirs.turned_off_by) == ("us", "peer")
    for pulse in (ours, theirs):
        assert not pulse.is_on
        assert pulse.next_deadline_ns() == NEVER
        assert tick(pulse, 100) == []
        assert not pulse.is_lost(1000 * SECOND)


def test_a_side_that_declined_answers_the_first_ping_with_off() -> None:
    asks, declined = pulse_at_zero(), pulse_at_zero(Heartbeat.declined())
    (ping,) = tick(asks, 5)
    assert tick(declined, 100) == []
    assert declined.on_message(ping)
    (answer,) = declined.take()
    assert asks.on_message(answer)
    assert not asks.is_on
    assert asks.take() == []


def test_a_ping_that_crossed_our_off_is_answered_with_off_again() -> None:
    pulse = pulse_at_zero()
    pulse.turn_off()
    pulse.take()
    assert pulse.on_message(b"PING")
    assert pulse.take() == [b"PING OFF"]


def test_the_side_that_yields_asks_later_and_loses_the_peer_at_the_same_time() -> None:
    pulse = Pulse(BEAT, 0, is_yielding=True)
    assert tick(pulse, 7.499) == []
    assert tick(pulse, 7.5) == [b"PING"]
    assert not pulse.is_lost(15 * SECOND - 1)
    assert pulse.is_lost(15 * SECOND)


@pytest.mark.parametrize("one_way_ns", [10_000, 20_000_000, 1_000_000_000])
def test_idle_with_both_sides_on_costs_one_ping_and_one_pong_an_interval(one_way_ns: int) -> None:
    """The ping of the side that asks is a sign of life to the one that yields, which so never asks itself."""
    sides = Pulse(BEAT, 0), Pulse(BEAT, one_way_ns, is_yielding=True)
    way: list[tuple[int, int, bytes]] = []  # when it arrives, at which side
    sent = Counter[bytes]()
    now_ns = 0
    while now_ns < 3600 * SECOND:
        now_ns = min([side.next_deadline_ns() for side in sides] + [arrival[0] for arrival in way])
        for arrival in [one for one in way if one[0] == now_ns]:
            way.remove(arrival)
            sides[arrival[1]].on_bytes(now_ns)
            assert sides[arrival[1]].on_message(arrival[2])
        for i, side in enumerate(sides):
            side.on_deadline(now_ns)
            assert not side.is_lost(now_ns)
            for word in side.take():
                sent[word] += 1
                way.append((now_ns + one_way_ns, 1 - i, word))
    assert sent[b"PING"] <= 3600 / 5
    assert sent[b"PONG"] in (sent[b"PING"], sent[b"PING"] - 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 5), "interval: 0 is no time"),
        (("5s", "5s"), "timeout: '5s' must be longer than the interval"),
        (("soon", "5s"), "interval: cannot read 'soon'"),
        (("5s", "15s", b"a", b"a"), "must be three different messages"),
    ],
)
def test_a_wrong_argument_is_named(arguments: tuple[object, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Heartbeat(*arguments)  # type: ignore[arg-type]
