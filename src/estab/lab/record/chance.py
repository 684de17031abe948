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

from mypy_extensions import i64

from estab.wire import octets

__all__ = ["Chance"]

_LOW: Final = 0xFFFFFFFF
_GOLDEN_LOW: Final = 0x7F4A7C15
_GOLDEN_HIGH: Final = 0x9E3779B9
_FIRST_LOW: Final = 0x1CE4E5B9
_FIRST_HIGH: Final = 0xBF58476D
_SECOND_LOW: Final = 0x133111EB
_SECOND_HIGH: Final = 0x94D049BB
_NARROW: Final = 1 << 30
_sha256: Final = hashlib.sha256


class Chance:
    """One stream of chance. Equal names give equal streams."""

    def __init__(self, *names: object) -> None:
        self._names: tuple[object, ...] = names
        self._first: str = ""
        """The first of them as it is hashed: the same for all streams of a network. ``""``: not written yet."""
        self._has_begun: bool = False
        """Most streams are never drawn from, so the names are hashed only at the first draw."""
        self._state_low: i64 = 0
        self._state_high: i64 = 0
        self._low: i64 = 0
        """The last draw: its lower 32 bits and the upper ones. Numbers of 64 bits are no machine words in Python."""
        self._high: i64 = 0

    def _begin(self) -> None:
        text = self._first
        for name in self._names[1:] if text else self._names:
            if text:
                text += "\x1f"
            text += _written(name)
        digest = _sha256(text.encode()).digest()
        self._state_high = octets.u32(digest, 0)
        self._state_low = octets.u32(digest, 4)
        self._has_begun = True

    def _draw(self) -> None:
        """Draw the next 64 bits into ``_low`` and ``_high``."""
        if not self._has_begun:
            self._begin()
        low: i64 = self._state_low + _GOLDEN_LOW
        high: i64 = (self._state_high + _GOLDEN_HIGH + (low >> 32)) & _LOW
        low &= _LOW
        self._state_low, self._state_high = low, high
        low ^= (low >> 30 | high << 2) & _LOW
        high ^= high >> 30
        high = _high_product(low, high, _FIRST_LOW, _FIRST_HIGH)
        low = _low_product(low, _FIRST_LOW)
        low ^= (low >> 27 | high << 5) & _LOW
        high ^= high >> 27
        high = _high_product(low, high, _SECOND_LOW, _SECOND_HIGH)
        low = _low_product(low, _SECOND_LOW)
        self._low = low ^ ((low >> 31 | high << 1) & _LOW)
        self._high = high ^ high >> 31

    def child(self, *names: object) -> Chance:
        """Return another stream, with more names after this one's. The two are independent."""
        made = Chance()
        if not self._first and self._names:
            self._first = _written(self._names[0])
        made._first = self._first
        made._names = self._names + names
        return made

    def bits64(self) -> int:
        """Draw 64 bits."""
        self._draw()
        high: int = self._high
        low: int = self._low
        return high << 32 | low

    def happens(self, share: float) -> bool:
        """Decide whether something happens that does in ``share`` (0 to 1) of all cases."""
        self._draw()
        drawn: int = self._high << 21 | self._low >> 11
        return drawn * 2.0**-53 < share

    def between(self, low: int, high: int) -> int:
        """Draw an integer from ``low`` to ``high``, both included, each as likely as any other."""
        count = high - low + 1
        if not 0 < count < _NARROW:
            return low + self.bits64() * count // (1 << 64)
        self._draw()
        width: i64 = count
        above: int = (self._high * width + (self._low * width >> 32)) >> 32
        return low + above

    def octets(self, count: int) -> bytes:
        """Draw ``count`` bytes."""
        drawn = octets.Writer()
        for _ in range((count + 7) // 8):
            self._draw()
            octets.put32(drawn, self._high)
            octets.put32(drawn, self._low)
        return drawn.getvalue()[:count]


def _written(name: object) -> str:
    """Write a name with its type: the number 1 and the text "1" give different streams."""
    if type(name) is str:
        return "str:" + name
    return f"{type(name).__name__}:{name}"


def _low_product(low: i64, by: i64) -> i64:
    """Give the lower 32 bits of a product, of factors with 32 bits each."""
    return (low * (by & 0xFFFF) + ((low * (by >> 16) & 0xFFFF) << 16)) & _LOW


def _high_product(low: i64, high: i64, by_low: i64, by_high: i64) -> i64:
    """Give bits 32 to 63 of a product. By halves of halves, so that no part of it has more than 63 bits."""
    first = low * (by_low & 0xFFFF)
    second = low * (by_low >> 16)
    carried = (first + ((second & 0xFFFF) << 16) >> 32) + (second >> 16)
    return (carried + _low_product(high, by_low) + _low_product(low, by_high)) & _LOW
