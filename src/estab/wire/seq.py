"""Sequence numbers off the wire (RFC 9293 section 3.4).

Rules:

- a ``Seq`` is 32 bits off the wire and is never ordered, added to or subtracted from outside this file;
- ``unwrap`` turns it into a plain integer on arrival; inside the stack ``<``, ``max`` and sorting are plain;
- ``wrap`` turns a plain integer into a ``Seq`` on the way out.
"""

from __future__ import annotations

from typing import NewType

from mypy_extensions import i64

__all__ = ["Seq", "difference", "unwrap", "wrap"]

Seq = NewType("Seq", i64)
"""A 32-bit sequence number, 0 to 2**32 - 1, as it stands in a header."""


def unwrap(seq: Seq, near: i64) -> i64:
    """Place a 32-bit wire number on the endless line, nearest to ``near``.

    ``near`` is SND.NXT for SEG.ACK and RCV.NXT for SEG.SEQ. Of two equally near places (2**31 away) the lower is taken.
    """
    distance: i64 = (seq - near) & 0xFFFFFFFF
    if distance >= 0x80000000:
        distance -= 0x100000000
    return near + distance


def wrap(number: i64) -> Seq:
    """Take the 32 bits of a number on the endless line that go on the wire."""
    return Seq(number & 0xFFFFFFFF)


def difference(a: Seq, b: Seq) -> i64:
    """Tell how far ``a`` is after ``b``: from -2**31 to 2**31 - 1, negative when ``a`` is before ``b``."""
    distance: i64 = (a - b) & 0xFFFFFFFF
    if distance >= 0x80000000:
        distance -= 0x100000000
    return distance
