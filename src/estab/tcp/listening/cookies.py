"""SYN cookies: answer a SYN without remembering it (RFC 4987 section 3.6).

The cookie is the initial sequence number: 5 bits of a minute counter, 3 bits of MSS, 24 bits of a keyed hash over the
addresses, the peer's sequence number and those 8 bits. If the peer sent a timestamp, the low 6 bits of ours carry
what else the SYN said: 4 bits of window scale, one of SACK-permitted, one of ECN; the peer echoes them with its ACK.
Without timestamps window scaling, SACK and classic ECN are not offered. AccECN needs no bit: the peer's ACK tells it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.context import Context
from estab.units import MS, SECOND

__all__ = ["MSS_TABLE", "Cookie", "check", "make", "mss_index", "timestamp_with_options"]

PERIOD_NS: Final = 60 * SECOND
VALID_PERIODS: Final = 2
"""A cookie is good for the period in which it was made and the one after: one to two minutes."""

MSS_TABLE: Final = [216, 536, 1220, 1300, 1440, 1452, 1460, 8960]
_NO_SCALE: Final = 15
_OPTION_BITS: Final = 6


class Cookie:
    """What a good cookie says of the SYN that it answered."""

    def __init__(self, mss: i64, wscale: i64, *, sack_permitted: bool, has_ecn: bool) -> None:
        self.mss = mss
        self.wscale = wscale
        """-1: no window scaling."""
        self.sack_permitted = sack_permitted
        self.has_ecn = has_ecn
        """Classic ECN was agreed on."""


def mss_index(mss: i64) -> i64:
    """Return the index of the largest table entry not above ``mss``."""
    index: i64 = 7
    while index > 0 and MSS_TABLE[index] > mss:
        index -= 1
    return index


def make(context: Context, key: bytes, irs: i64, mss: i64) -> i64:
    """Make the initial sequence number that is the cookie for a SYN with number ``irs``."""
    head = ((context.now_ns // PERIOD_NS) & 31) << 3 | mss_index(mss)
    return head << 24 | _hash(context, key, irs, head)


def check(context: Context, key: bytes, irs: i64, cookie: i64, ts_ecr: i64, *, has_timestamp: bool) -> Cookie | None:
    """Read a cookie that came back, ``None`` if it is forged or too old. ``ts_ecr`` is our echoed timestamp."""
    head = (cookie >> 24) & 0xFF
    age = ((context.now_ns // PERIOD_NS) - (head >> 3)) & 31
    if age >= VALID_PERIODS or (cookie & 0xFFFFFF) != _hash(context, key, irs, head):
        return None
    mss: i64 = MSS_TABLE[head & 7]
    if not has_timestamp:
        return Cookie(mss, -1, sack_permitted=False, has_ecn=False)
    bits = (ts_ecr - context.timestamp_offset(key)) & 63
    wscale = bits & 15
    scale: i64 = -1 if wscale == _NO_SCALE else wscale
    return Cookie(mss, scale, sack_permitted=(bits & 16) != 0, has_ecn=(bits & 32) != 0)


def timestamp_with_options(context: Context, key: bytes, wscale: i64, *, sack_permitted: bool, has_ecn: bool) -> i64:
    """Return a timestamp of about now whose low bits carry the options. ``wscale`` -1: none."""
    bits = (_NO_SCALE if wscale < 0 else min(wscale, 14)) | (16 if sack_permitted else 0) | (32 if has_ecn else 0)
    now_ms = context.now_ns // MS
    value = now_ms >> _OPTION_BITS << _OPTION_BITS | bits
    if value > now_ms:
        value -= 1 << _OPTION_BITS  # never ahead of the clock, or the next timestamp would look old
    return (value + context.timestamp_offset(key)) & 0xFFFFFFFF


def _hash(context: Context, key: bytes, irs: i64, head: i64) -> i64:
    return context.hash32(b"cookie" + key, irs << 8 | head) & 0xFFFFFF
