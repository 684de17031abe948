"""Active queue management on a link: marking packets, and CoDel (RFC 8289), which decides when.

A mark is the codepoint CE in the IP header of a packet whose sender said by ECT that it understands (RFC 3168 section
5). A packet whose sender did not say so is dropped instead, or, at a mere threshold, left alone.

Compiled with the core.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from estab.wire import ethernet

__all__ = ["CodelState", "marked"]

_IPV4: Final = 4
_IPV6: Final = 6
_ETHERTYPES: Final = {ethernet.IPV4: _IPV4, ethernet.IPV6: _IPV6}
_RECENT_INTERVALS: Final = 16


def marked(frame: bytes, header_bytes: int) -> bytes | None:
    """Return the frame with CE in its IP header, ``None`` if it is not ECN-capable. One that has CE comes back as is.

    ``header_bytes`` stand before the IP packet. IPv4's checksum is mended (RFC 1624).
    """
    if len(frame) < header_bytes + 20:
        return None
    version = frame[header_bytes] >> 4
    if header_bytes and _ETHERTYPES.get(int.from_bytes(frame[header_bytes - 2 : header_bytes], "big")) != version:
        return None
    second = frame[header_bytes + 1]
    if version == _IPV6:
        bits = (second >> 4) & 3
        changed = second | 0x30
    elif version == _IPV4:
        bits = second & 3
        changed = second | 3
    else:
        return None
    if bits in (0, 3):
        return frame if bits == 3 else None
    result = bytearray(frame)
    result[header_bytes + 1] = changed
    if version == _IPV4:
        at = header_bytes + 10
        checksum = int.from_bytes(frame[at : at + 2], "big")
        total = (~checksum & 0xFFFF) + (~second & 0xFF) + 0xFF00 + changed
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        result[at : at + 2] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(result)


class CodelState:
    """CoDel's state of one queue (RFC 8289 section 5): since when packets wait too long, and how often it acted."""

    def __init__(self) -> None:
        self.first_above_ns: int = 0
        """When the waiting time will have been over the target for an interval; 0 while it is not."""
        self.is_dropping: bool = False
        self.next_ns: int = 0
        """When to act again, while it is dropping."""
        self.count: int = 0
        self.last_count: int = 0

    def is_too_long(self, waited_ns: int, target_ns: int, interval_ns: int, is_last: bool, now_ns: int) -> bool:
        """Tell whether packets have waited longer than the target for a whole interval.

        ``is_last``: no more than one packet's bytes are left, and an empty queue is never too long.
        """
        if waited_ns < target_ns or is_last:
            self.first_above_ns = 0
            return False
        if self.first_above_ns == 0:
            self.first_above_ns = now_ns + interval_ns
            return False
        return now_ns >= self.first_above_ns

    def begin(self, interval_ns: int, now_ns: int) -> None:
        """Act for the first time. If CoDel acted not long ago, continue at about the rate that was needed."""
        self.is_dropping = True
        grown = self.count - self.last_count
        is_recent = now_ns - self.next_ns < _RECENT_INTERVALS * interval_ns
        self.count = grown if grown > 1 and is_recent else 1
        self.last_count = self.count
        self.next_ns = self.later(now_ns, interval_ns)

    def again(self, interval_ns: int) -> None:
        """Act once more, sooner after the last time than before."""
        self.count += 1
        self.next_ns = self.later(self.next_ns, interval_ns)

    def later(self, time_ns: int, interval_ns: int) -> int:
        """Return the time an interval later, divided by the square root of how often it acted (section 3.3)."""
        return time_ns + interval_ns * 1000 // isqrt(self.count * 1_000_000)
