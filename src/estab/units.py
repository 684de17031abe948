"""Units: nanoseconds, bytes, bits a second, shares. Integers inside, words only at the outer face.

``"10ms"``, ``"2%"`` and ``"20Mbit"`` are read here and nowhere else.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

__all__ = [
    "MS", "NEVER", "SECOND", "US", "bits_per_second", "byte_count", "duration_ns", "format_bytes", "format_count",
    "format_duration", "share",
]

US: Final = 1_000
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
NEVER: Final = 4_611_686_018_427_387_903
"""A deadline that never comes: 2**62 - 1, so that sums stay inside 64 bits and a compiled constant needs no object."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:_\d+)*)(?:\.\d+)?|\.\d+)\s*([a-zA-Zµ%/]*)\s*\Z")
_TIME = {"ns": 1, "us": US, "µs": US, "ms": MS, "s": SECOND, "sec": SECOND, "m": 60 * SECOND, "min": 60 * SECOND,
         "h": 3600 * SECOND, "d": 86400 * SECOND, "": SECOND}
_RATE = {"bit": 1, "bps": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "kbps": 10**3, "mbps": 10**6, "gbps": 10**9,
         "": 1}
_BYTES = {"": 1, "b": 1, "k": 1024, "kb": 1000, "kib": 1024, "m": 1024**2, "mb": 10**6, "mib": 1024**2,
          "g": 1024**3, "gb": 10**9, "gib": 1024**3}


def _read(value: object, table: dict[str, int], name: str, example: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{name}: expected a number or a text like {example}, not {value!r}")
    if isinstance(value, str):
        match = _NUMBER.match(value)
        unit = None if match is None else (match[2] if match[2] in table else match[2].lower())
        if match is None or unit not in table:
            raise ValueError(f"{name}: cannot read {value!r}; write it like {example}")
        result = Fraction(match[1].replace("_", "")) * table[unit]
    else:
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{name}: {value!r} is not a finite number; write it like {example}")
        result = Fraction(value).limit_denominator(10**12) * table[""]
    if result < 0:
        raise ValueError(f"{name}: {value!r} is negative; write it like {example}")
    return result


def duration_ns(value: int | float | str, name: str = "duration") -> int:
    """Read a length of time: ``"40ms"``, ``"1.5s"``, ``"2h"``, or a number of seconds. Returns nanoseconds."""
    if type(value) is int and value >= 0:
        return value * SECOND
    return _worded_ns(value, name) if type(value) is str else round(_read(value, _TIME, name, '"40ms"'))


@lru_cache(maxsize=1024)
def _worded_ns(words: str, name: str) -> int:
    return round(_read(words, _TIME, name, '"40ms"'))


def bits_per_second(value: int | float | str, name: str = "rate") -> int:
    """Read a rate: ``"20Mbit"``, ``"1Gbit"``, or a number of bits a second."""
    text = value[:-2] if isinstance(value, str) and value.lower().endswith("/s") else value
    return round(_read(text, _RATE, name, '"20Mbit"'))


def byte_count(value: int | float | str, name: str = "size") -> int:
    """Read a number of bytes: ``65536``, ``"64KiB"``, ``"1MB"``."""
    return round(_read(value, _BYTES, name, '"64KiB"'))


def share(value: int | float | str, name: str = "share") -> float:
    """Read a share of one: ``"2%"``, ``0.02``. Returns a float from 0 to 1."""
    if isinstance(value, str) and value.strip().endswith("%"):
        result = float(_read(value, {"%": 1}, name, '"2%"')) / 100
    else:
        result = float(_read(value, {"": 1}, name, '"2%"'))
    if result > 1:
        raise ValueError(f"{name}: {value!r} is more than 100%; write it like \"2%\" or 0.02")
    return result


def format_duration(ns: int) -> str:
    """Write a length of time for people: ``40ms``, ``1.5s``, ``2min 3s``, ``1h 0min``."""
    if ns < 0:
        return "-" + format_duration(-ns)
    if ns >= 3600 * SECOND:
        minutes = ns // (60 * SECOND)
        return f"{minutes // 60}h {minutes % 60}min"
    if ns >= 120 * SECOND:
        return f"{ns // (60 * SECOND)}min {ns % (60 * SECOND) // SECOND}s"
    for unit, size in (("s", SECOND), ("ms", MS), ("µs", US)):
        if ns >= size:
            return f"{ns / size:.4g}{unit}"
    return f"{ns}ns"


def format_bytes(count: int) -> str:
    """Write a number of bytes for people: ``712 B``, ``64.0 KiB``, ``1.5 MiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def format_count(count: int, what: str) -> str:
    """Write a number of things: ``1 segment``, ``2 segments``, ``1,234 segments``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
