"""The doctor's grades: seeds that nobody tuned it on, the capture of one end, the verdict against what is true."""

from __future__ import annotations

import pytest

from bench.doctor.score import Verdict, f1, run
from bench.doctor.weather import BETWEEN, KINDS, ON_THE_WAY, RECEIVER, SENDER

HELD_OUT = range(7_000, 7_003)
"""Seeds below 1,000 are for working on the rules; `make doctor-score` grades from 1,000 on; these are the test's."""


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return run(list(KINDS), HELD_OUT, workers=1)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "floor"), [(SENDER, 0.95), (RECEIVER, 0.9), (BETWEEN, 0.9)])
def test_the_doctor_names_the_cause_from_one_ends_capture(verdicts: list[Verdict], side: str, floor: float) -> None:
    rows = [row for row in verdicts if row.side == side]
    assert len({row.truth for row in rows}) >= {SENDER: 36, RECEIVER: 32, BETWEEN: len(ON_THE_WAY)}[side]
    scores, mean = f1(rows)
    wrong = [f"{row.kind}/{row.seed}: {row.truth}, said {row.said}" for row in rows if row.truth != row.said]
    assert mean >= floor, (mean, scores, wrong)


def test_the_score_counts_what_is_wrong() -> None:
    def row(truth: str, said: str) -> Verdict:
        return Verdict("k", 1, SENDER, truth, said, (said,), "")

    scores, mean = f1([row("loss", "loss"), row("loss", "healthy"), row("healthy", "healthy"), row("scan", "loss")])
    assert scores == {"healthy": 2 / 3, "loss": 0.5, "scan": 0.0}
    assert mean == pytest.approx(7 / 18)
