"""What a stranger can make many of makes no frame dearer: the table of bench/flat.py, in small."""

from __future__ import annotations

import pytest

from bench.flat import KINDS, Kind, expiry, measure

FEW, MANY = 10, 1_000
ROUNDS = 3
RATIO_MAX = 5
"""A cost that grows with the number would be a hundred times as large; what else the machine does is not a fault."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_frame_costs_the_same_beside_many(kind: Kind) -> None:
    few = min(measure(kind, FEW) for _ in range(ROUNDS))
    assert any(measure(kind, MANY) < RATIO_MAX * few for _ in range(ROUNDS))


def test_a_datagram_that_expires_costs_the_same_beside_many() -> None:
    few = min(expiry(FEW) for _ in range(ROUNDS))
    assert any(expiry(MANY) < RATIO_MAX * few for _ in range(ROUNDS))
