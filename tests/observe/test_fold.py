"""Folding of repetitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from estab.observe.fold import Fold, fold


def test_a_run_keeps_its_beginning_and_its_count() -> None:
    assert fold("xaaaaaaay", str) == ["x", "a", Fold(6, 1, tuple("aaaaaa")), "y"]
    assert fold("xaaaaaaay", str, shown=2) == ["x", "a", "a", Fold(5, 1, tuple("aaaaa")), "y"]


def test_a_cycle_is_folded_as_a_whole() -> None:
    assert fold("abcabcabcabcabcabc", str) == [*"abc", Fold(5, 3, tuple("abcabcabcabcabc"))]


def test_a_short_run_stays() -> None:
    assert fold("aaa", str) == list("aaa")


def test_the_shape_decides_what_is_alike() -> None:
    assert fold(list(range(10)), lambda _: 0)[1] == Fold(9, 1, tuple(range(1, 10)))


@given(st.text(alphabet="abc", max_size=60))
def test_nothing_is_lost(text: str) -> None:
    unfolded = "".join("".join(item.items) if isinstance(item, Fold) else item for item in fold(text, str))
    assert unfolded == text
