"""The fuzzer's corpus (tests/fuzz): inputs that once reached something new hold on both cores."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.__main__ import CORPUS_MAX, MENDED, features_of, load, minimal
from tests.fuzz.mutate import mutated
from tests.fuzz.play import RECORD_BYTES, RECORDS_MAX, Play

CORPUS = load()
PARTS = 12


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_fails_on_the_corpus(part: int) -> None:
    for data in CORPUS[part::PARTS]:
        features_of(data)


@pytest.mark.parametrize("number", range(len(load(MENDED))))
def test_what_failed_once_holds(number: int) -> None:
    features_of(load(MENDED)[number])


def test_the_corpus_is_bounded() -> None:
    assert 50 <= len(CORPUS) <= CORPUS_MAX
    assert sum(len(data) for data in CORPUS) <= 250_000


def test_the_same_input_does_the_same() -> None:
    one, other = Play(CORPUS[-1]), Play(CORPUS[-1])
    one.run()
    other.run()
    assert (one.features, one.frames, one.now_ns) == (other.features, other.frames, other.now_ns)


def test_a_mutation_is_an_input_of_whole_records_and_not_too_long() -> None:
    chance = random.Random(1)
    for _ in range(200):
        data = mutated(chance.choice(CORPUS), chance.choice(CORPUS), chance)
        assert len(data) % RECORD_BYTES == 2
        assert len(data) <= 2 + RECORDS_MAX * RECORD_BYTES


def test_a_smaller_corpus_that_reaches_the_same_is_chosen() -> None:
    few = CORPUS[:6]
    chosen = minimal([*few, *few])
    assert len(chosen) <= len(few)
    assert set().union(*map(features_of, chosen)) == set().union(*map(features_of, few))


def test_a_host_that_breaks_a_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leak(self: Play, record: bytes) -> None:
        self.engine.demux.time_wait_count += 1

    monkeypatch.setattr("tests.fuzz.play._STEPS", (leak,) * 16)
    with pytest.raises(AssertionError):
        features_of(bytes(2 + RECORD_BYTES))
