"""Chance: streams of numbers that follow from a seed and a name, and from nothing else.

- Every use of chance has a stream of its own (``Chance(seed, "link", "wifi", "phone", "loss")``), so that one more
  link, or jitter beside loss, does not change any other stream.
- The generator is SplitMix64, started from SHA-256 of the names: the same on every machine and in every version of
  Python, which the standard library does not promise for ``random``.

Compiled with the core.
"""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["Chance"]

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


class Chance:
    """One stream of chance. Equal names give equal streams."""

    def __init__(self, *names: object) -> None:
        self._names: tuple[object, ...] = names
        self._state: int = -1
        """Below 0: nothing was drawn yet. Most streams are never drawn from, so the names are hashed only then."""

    def _begin(self) -> int:
        text = "\x1f".join([f"{type(name).__name__}:{name}" for name in self._names])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def child(self, *names: object) -> Chance:
        """Return another stream, with more names after this one's. The two are independent."""
        return Chance(*self._names, *names)

    def bits64(self) -> int:
        """Draw 64 bits."""
        state = self._begin() if self._state < 0 else self._state
        self._state = state = (state + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def happens(self, share: float) -> bool:
        """Decide whether something happens that does in ``share`` (0 to 1) of all cases."""
        return (self.bits64() >> 11) * 2.0**-53 < share

    def between(self, low: int, high: int) -> int:
        """Draw an integer from ``low`` to ``high``, both included, each as likely as any other."""
        return low + self.bits64() * (high - low + 1) // (1 << 64)

    def octets(self, count: int) -> bytes:
        """Draw ``count`` bytes."""
        words = (count + 7) // 8
        return b"".join([self.bits64().to_bytes(8, "big") for _ in range(words)])[:count]
