"""``Expectation``: what the looks at a device teach of the next one."""

from __future__ import annotations

import pytest

from estab.host.drive.expectation import SURE, Expectation


def learn(expectation: Expectation, looks: str) -> list[bool]:
    """Note looks, ``F`` (found) or ``.`` (nothing), with ``a`` after each that was answered.

    Gives what was expected before each look.
    """
    told = []
    for look in looks:
        if look == "a":
            expectation.note_answer()
        else:
            told.append(expectation.is_next_there())
            expectation.note_look(look == "F")
    return told


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ("", False),
        ("F" * (SURE + 3), False),
        ("F" * (SURE + 4), True),  # four looks until the history repeats, SURE in a row after it
        ("Fa" * (SURE + 4), True),
        ("F" * (SURE + 4) + ".", False),  # another history, of which nothing is known
        ("F" * (SURE + 4) + ".FFFF", False),  # and the old one has to prove itself anew
        ("F" * (SURE + 4) + ".FFFF" + "F" * SURE, True),
        ("F.Fa" * 20 + "F.", True),  # a period of two: after nothing a frame is sure to come
        ("F.Fa" * 20 + "F.F", False),  # .. and after the frame nothing
        ("." * 100, False),
        ("Fa" * 50 + "F", False),  # the same frames without our answer are another history
    ],
)
def test_a_frame_is_expected_after(looks: str, expected: bool) -> None:
    expectation = Expectation()
    learn(expectation, looks)
    assert expectation.is_next_there() is expected


def test_a_periodic_exchange_is_learnt_by_its_period() -> None:
    told = learn(Expectation(), "FaF." * 50)
    assert told[-6:] == [True, True, False] * 2


@pytest.mark.parametrize(
    ("looks", "expected"), [("", False), ("Fa", True), ("FaFFF", True), ("FaFFFF", False), ("FFFFa", True)],
)
def test_an_answer_counts_as_late_for_four_looks(looks: str, expected: bool) -> None:
    expectation = Expectation()
    learn(expectation, looks)
    assert expectation.has_answered_lately() is expected
