"""SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash of short messages, 64 bits long.

Linux makes its initial sequence numbers, SYN cookies and Fast Open cookies with it. So all servers of one address,
whatever their kernel, can share the key of the latter.

Its words of 64 bits are two halves here, so that they are machine words wherever this is compiled. A round is written
out in local variables for the same reason: with a function for its quarters, which would give and take pairs, a hash
takes six times as long.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.wire import octets

__all__ = ["KEY_BYTES", "SipHash", "siphash"]

KEY_BYTES: Final = 16
_MASK: Final = 0xFFFFFFFF


class SipHash:
    """Hashes with one key of 16 bytes; ``ValueError`` on a key of another length."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"key: SipHash takes {KEY_BYTES} bytes, not {len(key)}")
        self._k0_low: i64 = _word(key, 0, KEY_BYTES)
        self._k0_high: i64 = _word(key, 4, KEY_BYTES)
        self._k1_low: i64 = _word(key, 8, KEY_BYTES)
        self._k1_high: i64 = _word(key, 12, KEY_BYTES)

    def halves(self, message: bytes) -> tuple[i64, i64]:
        """Hash a message; gives the upper and the lower 32 bits."""
        v0_low, v0_high = self._k0_low ^ 0x70736575, self._k0_high ^ 0x736F6D65
        v1_low, v1_high = self._k1_low ^ 0x6E646F6D, self._k1_high ^ 0x646F7261
        v2_low, v2_high = self._k0_low ^ 0x6E657261, self._k0_high ^ 0x6C796765
        v3_low, v3_high = self._k1_low ^ 0x79746573, self._k1_high ^ 0x74656462
        size: i64 = len(message)
        rounds: i64 = size // 8 * 2 + 2  # two for each word of 64 bits, and four more
        low: i64 = 0
        high: i64 = 0
        step: i64 = 0
        while step < rounds + 4:
            if step < rounds and step & 1 == 0:
                low = _word(message, 4 * step, size)
                high = _word(message, 4 * step + 4, size)
                if step == rounds - 2:
                    high |= (size & 0xFF) << 24
                v3_low ^= low
                v3_high ^= high
            elif step == rounds:
                v2_low ^= 0xFF
            # v0 += v1; v1 <<<= 13; v1 ^= v0; v0 <<<= 32
            v0_low += v1_low
            v0_high = (v0_high + v1_high + (v0_low >> 32)) & _MASK
            v0_low &= _MASK
            turned = (v1_high << 13 | v1_low >> 19) & _MASK
            v1_low = (v1_low << 13 | v1_high >> 19) & _MASK ^ v0_low
            v1_high = turned ^ v0_high
            v0_low, v0_high = v0_high, v0_low
            # v2 += v3; v3 <<<= 16; v3 ^= v2
            v2_low += v3_low
            v2_high = (v2_high + v3_high + (v2_low >> 32)) & _MASK
            v2_low &= _MASK
            turned = (v3_high << 16 | v3_low >> 16) & _MASK
            v3_low = (v3_low << 16 | v3_high >> 16) & _MASK ^ v2_low
            v3_high = turned ^ v2_high
            # v0 += v3; v3 <<<= 21; v3 ^= v0
            v0_low += v3_low
            v0_high = (v0_high + v3_high + (v0_low >> 32)) & _MASK
            v0_low &= _MASK
            turned = (v3_high << 21 | v3_low >> 11) & _MASK
            v3_low = (v3_low << 21 | v3_high >> 11) & _MASK ^ v0_low
            v3_high = turned ^ v0_high
            # v2 += v1; v1 <<<= 17; v1 ^= v2; v2 <<<= 32
            v2_low += v1_low
            v2_high = (v2_high + v1_high + (v2_low >> 32)) & _MASK
            v2_low &= _MASK
            turned = (v1_high << 17 | v1_low >> 15) & _MASK
            v1_low = (v1_low << 17 | v1_high >> 15) & _MASK ^ v2_low
            v1_high = turned ^ v2_high
            v2_low, v2_high = v2_high, v2_low
            if step < rounds and step & 1 == 1:
                v0_low ^= low
                v0_high ^= high
            step += 1
        return v0_high ^ v1_high ^ v2_high ^ v3_high, v0_low ^ v1_low ^ v2_low ^ v3_low

    def hash32(self, message: bytes) -> i64:
        """Hash a message to 32 bits."""
        return self.halves(message)[1]


def _word(data: bytes, at: i64, size: i64) -> i64:
    """Read 32 bits in little-endian order; what is beyond ``size`` is zero."""
    word: i64 = 0
    if at + 4 <= size:
        word = octets.u32(data, at)
        return word >> 24 | (word >> 8 & 0xFF00) | (word & 0xFF00) << 8 | (word & 0xFF) << 24
    shift: i64 = 0
    while at < size:
        word |= octets.u8(data, at) << shift
        shift += 8
        at += 1
    return word


def siphash(key: bytes, message: bytes) -> int:
    """Hash ``message`` with a key of 16 bytes to a number of 64 bits. ``ValueError`` on a key of another length."""
    high, low = SipHash(key).halves(message)
    upper: int = high
    lower: int = low
    return upper << 32 | lower  # of plain numbers: it has 64 bits, one more than fit beside a sign
