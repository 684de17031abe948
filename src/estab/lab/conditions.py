"""What a link does to frames: the properties of one direction, and how they are written.

A value stands for both directions; a pair for the way from the first host and the way from the second; a dict, keyed by
the sending host's name, for the ways it names. Words (``"40ms"``, ``"2%"``, ``"20Mbit"``, ``"64KiB"``) are read here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from estab.units import bits_per_second, byte_count, duration_ns, share

__all__ = ["QUEUE_FRAMES", "Conditions", "read_conditions"]

QUEUE_FRAMES: Final = 1000
"""Frames that wait at most where the link has a rate and no ``queue`` was given: Linux's ``txqueuelen``."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """One direction of a link. Shares are of 1."""

    delay_ns: int = 0
    """Time from the last bit sent to the last bit received."""
    jitter_ns: int = 0
    """The delay differs by up to this much either way. Frames stay in order."""
    loss: float = 0.0
    rate_bps: int = 0
    """Bits a second; 0 for a link that takes any number at once."""
    queue_frames: int = QUEUE_FRAMES
    """Frames that wait at most for the rate; 0 where bytes are the limit."""
    queue_bytes: int = 0
    mtu: int = 1500
    """The largest IP packet carried."""
    reorder: float = 0.0
    """Frames that are held back until one to four later ones have passed."""
    duplicate: float = 0.0
    corrupt: float = 0.0
    """Frames in which one bit changes. With Ethernet the frame check sees it and the frame is gone."""


def read_conditions(base: Conditions, sender: str, is_first: bool, words: Mapping[str, Any]) -> Conditions:
    """Read ``delay=``, ``loss=`` and so on for the way from ``sender``. What is not given stays as in ``base``.

    ``TypeError`` and ``ValueError`` name the property, the value and what would be right.
    """
    changes: dict[str, Any] = {}
    for name, value in words.items():
        if name not in _PROPERTIES:
            near = difflib.get_close_matches(name, _PROPERTIES, 1)
            raise TypeError(f"a link has no property {name!r}" + (f"; did you mean {near[0]}?" if near else
                            f": it has {', '.join(_PROPERTIES)}"))
        if isinstance(value, (tuple, list)):
            if len(value) != 2:
                raise ValueError(f"{name}: {value!r} has {len(value)} values; a pair is one for each direction")
            value = value[0 if is_first else 1]
        elif isinstance(value, Mapping):
            if sender not in value:
                continue
            value = value[sender]
        changes.update(_read(name, value))
    return replace(base, **changes)


def _read(name: str, value: Any) -> dict[str, Any]:
    if name in ("delay", "jitter"):
        return {f"{name}_ns": duration_ns(value, name)}
    if name == "rate":
        return {"rate_bps": 0 if value is None else _positive(name, value, bits_per_second(value, name))}
    if name == "queue":
        return _read_queue(value)
    if name == "mtu":
        if not isinstance(value, int) or not 68 <= value <= 65535:
            raise ValueError(f"mtu: {value!r} is not a number of bytes from 68 (RFC 791) to 65535")
        return {"mtu": value}
    return {name: share(value, name)}


def _read_queue(value: Any) -> dict[str, int]:
    if value is None:
        return {"queue_frames": QUEUE_FRAMES, "queue_bytes": 0}
    if isinstance(value, int):
        return {"queue_frames": _positive("queue", value, value), "queue_bytes": 0}
    if isinstance(value, str):
        return {"queue_frames": 0, "queue_bytes": _positive("queue", value, byte_count(value, "queue"))}
    raise TypeError(f"queue: {value!r} is neither a number of frames like 100 nor a size like \"64KiB\"")


def _positive(name: str, given: object, value: int) -> int:
    if value <= 0:
        raise ValueError(f"{name}: {given!r} is not more than nothing; None is the default")
    return value


_PROPERTIES: Final = tuple(
    dict.fromkeys(field.name.removesuffix("_ns").removesuffix("_bps").partition("_")[0] for field in fields(Conditions))
)
