"""By how much a frame is late, drawn from a stream of chance.

All is integers, so that a seed gives the same on every machine. Compiled with the core.
"""

from __future__ import annotations

from typing import Final

from estab.lab.record.chance import Chance

__all__ = ["draw_late_ns"]

_TABLE_UNIT: Final = 8192
"""What stands for one ``jitter`` in a table, as in netem's."""
_SUMMANDS: Final = 12
_UNIFORM_BITS: Final = 32
_CAP: Final = 4
"""Nothing is later than so many times the jitter."""


def draw_late_ns(chance: Chance, jitter_ns: int, shape: str, table: tuple[int, ...]) -> int:
    """Draw by how much a frame is later than the link's delay; negative: earlier."""
    if shape == "normal":  # a sum of twelve uniform numbers, which has a standard deviation of 1
        total = 0
        for _ in range(_SUMMANDS):
            total += chance.between(0, (1 << _UNIFORM_BITS) - 1)
        late_ns = (total - (_SUMMANDS // 2 << _UNIFORM_BITS)) * jitter_ns >> _UNIFORM_BITS
    elif shape == "pareto":
        late_ns = _pareto(chance) * jitter_ns >> 20
    elif table:
        late_ns = table[chance.between(0, len(table) - 1)] * jitter_ns // _TABLE_UNIT
    else:
        return chance.between(-jitter_ns, jitter_ns)
    return min(late_ns, _CAP * jitter_ns)


def _pareto(chance: Chance) -> int:
    """Draw from a Pareto distribution with the exponent 3, moved to mean 0 and standard deviation 1, times 2**20."""
    uniform = chance.between(1, 1 << 53)
    drawn = _cube_root((1 << 113) // uniform)  # (2**53 / uniform) ** (1/3), times 2**20: mean 3/2, variance 3/4
    return (drawn - (3 << 19)) * 1_000_000 // 866_025


def _cube_root(number: int) -> int:
    """Return the whole part of a cube root."""
    root = 1 << -(-number.bit_length() // 3)
    while True:
        better = (2 * root + number // (root * root)) // 3
        if better >= root:
            return root
        root = better
