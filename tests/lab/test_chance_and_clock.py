"""Streams of chance that follow from names, and an agenda whose order follows from time."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda, Alarm
from estab.units import NEVER


class Name(str):
    """A text of another type than ``str``."""


def test_the_generator_is_splitmix64() -> None:
    chance = Chance("any")
    chance._state_low, chance._has_begun = 1234567, True
    # The first outputs of the reference implementation (S. Vigna, splitmix64.c) for this state.
    assert [chance.bits64() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_draws_are_those_of_plain_numbers_of_64_bits() -> None:
    mask = (1 << 64) - 1
    for seed in range(50):
        state = int.from_bytes(hashlib.sha256(f"int:{seed}".encode()).digest()[:8], "big")
        expected = []
        for _ in range(6):
            state = (state + 0x9E3779B97F4A7C15) & mask
            mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
            expected.append(mixed ^ (mixed >> 31))
        assert [Chance(seed).octets(48)[8 * place:8 * place + 8] for place in range(6)] == [
            drawn.to_bytes(8, "big") for drawn in expected]
        for low, high in ((0, 0), (-25_000_000, 25_000_000), (5, (1 << 30) + 3), (5, (1 << 30) + 4), (1, 1 << 53),
                          (0, 1 << 70)):
            chance = Chance(seed)
            assert [chance.between(low, high) for _ in range(6)] == [
                low + drawn * (high - low + 1) // (1 << 64) for drawn in expected]
        for share in (0.01, 0.5, 0.99):
            chance = Chance(seed)
            assert [chance.happens(share) for _ in range(6)] == [(drawn >> 11) * 2.0**-53 < share for drawn in expected]


def test_a_stream_is_the_same_in_every_version() -> None:
    chance = Chance(7, "link", "wifi", "loss")
    assert chance.bits64() == 6199382504767687983


def test_a_stream_does_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = "from estab.lab.record.chance import Chance; print(Chance(7, 'a', None, 'b').octets(20).hex())"
    outputs = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_streams_of_different_names_differ_and_leave_each_other_alone() -> None:
    parent = Chance(7)
    first = parent.child("a")
    expected = [parent.child("b").bits64() for _ in range(2)]
    first.bits64()
    assert [parent.child("b").bits64() for _ in range(2)] == expected
    assert parent.child("a").bits64() != parent.child("b").bits64()


def test_names_of_different_types_are_different_names() -> None:
    assert Chance(1).bits64() != Chance("1").bits64()
    texts = {"bool:True": Chance(True), "NoneType:None": Chance(None), "Name:x": Chance(Name("x")),
             "str:x\x1fstr:y\x1fint:3": Chance("x").child("y", 3), "str:é": Chance("é")}
    for text, chance in texts.items():
        drawn = Chance("any")
        digest = hashlib.sha256(text.encode()).digest()
        drawn._state_high, drawn._state_low = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
        drawn._has_begun = True
        assert chance.octets(16) == drawn.octets(16)


def test_between_gives_both_ends_and_nothing_outside() -> None:
    chance = Chance("between")
    assert {chance.between(3, 6) for _ in range(200)} == {3, 4, 5, 6}


def test_happens_comes_out_at_its_share() -> None:
    chance = Chance("share")
    count = sum(chance.happens(0.02) for _ in range(50_000))
    assert 850 < count < 1150
    assert not any(chance.happens(0.0) for _ in range(1000))
    assert all(chance.happens(1.0) for _ in range(1000))


def test_octets_are_as_many_as_asked_for() -> None:
    chance = Chance("octets")
    assert [len(chance.octets(count)) for count in (0, 1, 7, 8, 9, 33)] == [0, 1, 7, 8, 9, 33]


def drain(agenda: Agenda) -> None:
    while agenda.next_due_ns() < NEVER:
        agenda.take()


def test_entries_of_one_instant_are_taken_in_the_order_in_which_they_were_made() -> None:
    agenda = Agenda()
    seen: list[str] = []
    for name in ("first", "second", "third"):
        agenda.at(5, seen.append, name)
    agenda.at(3, seen.append, "earlier")
    drain(agenda)
    assert seen == ["earlier", "first", "second", "third"]
    assert agenda.now_ns == 5


def test_what_is_due_in_the_past_happens_now() -> None:
    agenda = Agenda()
    agenda.at(10, lambda _: agenda.at(4, lambda _: None, None), None)
    drain(agenda)
    assert agenda.now_ns == 10


def test_an_alarm_rings_once_at_the_time_set_last() -> None:
    agenda = Agenda()
    rung: list[int] = []
    alarm = Alarm(agenda, lambda: rung.append(agenda.now_ns))
    for due_ns in (50, 20, 70, 30):
        alarm.set(due_ns)
    drain(agenda)
    assert rung == [30]
    assert alarm.due_ns == NEVER


def test_an_alarm_that_was_stopped_does_not_move_the_clock() -> None:
    agenda = Agenda()
    alarm = Alarm(agenda, lambda: None)
    alarm.set(1000)
    alarm.set(NEVER)
    assert agenda.next_due_ns() == NEVER
    assert agenda.now_ns == 0


def test_an_alarm_can_be_set_from_its_own_ring() -> None:
    agenda = Agenda()
    rung: list[int] = []

    def ring() -> None:
        rung.append(agenda.now_ns)
        if len(rung) < 3:
            alarm.set(agenda.now_ns + 10)

    alarm = Alarm(agenda, ring)
    alarm.set(10)
    drain(agenda)
    assert rung == [10, 20, 30]


def test_an_alarm_that_moves_later_a_thousand_times_leaves_few_entries() -> None:
    agenda = Agenda()
    alarm = Alarm(agenda, lambda: None)
    for due_ns in range(1, 1000):
        alarm.set(due_ns)
    assert len(agenda._entries) == 1
