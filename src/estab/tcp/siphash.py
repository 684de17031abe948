"""SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash of short messages, 64 bits long.

Linux makes its initial sequence numbers, SYN cookies and Fast Open cookies with it. So all servers of one address,
whatever their kernel, can share the key of the latter.

Compiled, its words of 64 bits are machine words with a sign; interpreted, they are plain numbers without, which are
masked. A round is written out in local variables: with a function for its quarters, which would give and take pairs, a
hash takes six times as long.
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
        self._key: bytes = key
        k0 = _word(key, 0)
        k1 = _word(key, 8)
        self._v0: i64 = k0 ^ 0x736F6D6570736575
        self._v1: i64 = k1 ^ 0x646F72616E646F6D
        self._v2: i64 = k0 ^ 0x6C7967656E657261
        self._v3: i64 = k1 ^ 0x7465646279746573

    def hash32(self, message: bytes, zeros: i64 = 0) -> i64:
        """Hash a message, with so many zero bytes after it, to 32 bits."""
        if not octets.IS_COMPILED:
            return siphash(self._key, message + bytes(zeros)) & _MASK
        return self._whole(message, zeros) & _MASK

    def _whole(self, message: bytes, zeros: i64) -> i64:
        """Hash to all 64 bits, as a number with a sign. Only compiled: there it wraps as it must."""
        v0, v1, v2, v3 = self._v0, self._v1, self._v2, self._v3
        size = len(message) + zeros
        rounds: i64 = size // 8 * 2 + 2  # two for each word, and four more
        word: i64 = 0
        step: i64 = 0
        while step < rounds + 4:
            if step < rounds and step & 1 == 0:
                word = _word(message, 4 * step)
                if step == rounds - 2:
                    word |= (size & 0xFF) << 56
                v3 ^= word
            elif step == rounds:
                v2 ^= 0xFF
            v0 += v1
            v1 = (v1 << 13 | (v1 >> 51) & 0x1FFF) ^ v0
            v0 = v0 << 32 | (v0 >> 32) & _MASK
            v2 += v3
            v3 = (v3 << 16 | (v3 >> 48) & 0xFFFF) ^ v2
            v0 += v3
            v3 = (v3 << 21 | (v3 >> 43) & 0x1FFFFF) ^ v0
            v2 += v1
            v1 = (v1 << 17 | (v1 >> 47) & 0x1FFFF) ^ v2
            v2 = v2 << 32 | (v2 >> 32) & _MASK
            if step < rounds and step & 1 == 1:
                v0 ^= word
            step += 1
        return v0 ^ v1 ^ v2 ^ v3


def _word(data: bytes, at: i64) -> i64:
    """Read 64 bits in little-endian order; what is beyond the end is zero."""
    size: i64 = len(data)
    if at + 8 <= size:
        return octets.s64_little(data, at)
    if at < size and size >= 8:
        last = octets.s64_little(data, size - 8)
        return ((last >> 1) & 0x7FFFFFFFFFFFFFFF) >> ((at + 8 - size) * 8 - 1)  # as if it had no sign
    word: i64 = 0
    shift: i64 = 0
    while at < size:
        word |= octets.u8(data, at) << shift
        shift += 8
        at += 1
    return word


def siphash(key: bytes, message: bytes) -> int:
    """Hash ``message`` with a key of 16 bytes to a number of 64 bits. ``ValueError`` on a key of another length."""
    if octets.IS_COMPILED:
        number: int = SipHash(key)._whole(message, 0)
        return number & _ALL
    if len(key) != KEY_BYTES:
        raise ValueError(f"key: SipHash takes {KEY_BYTES} bytes, not {len(key)}")
    return _plain(int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"), message)


_ALL: Final[int] = 0xFFFFFFFFFFFFFFFF


def _plain(k0: int, k1: int, message: bytes) -> int:
    """Hash with numbers without sign: the same as ``_whole``, for the interpreter."""
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = message + bytes(7 - (len(message) & 7)) + bytes([len(message) & 0xFF])
    words = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    for word in [*words, -1]:
        if word < 0:
            word, rounds = 0, 4
            v2 ^= 0xFF
        else:
            rounds = 2
        v3 ^= word
        for _ in range(rounds):
            v0 = (v0 + v1) & _ALL
            v1 = (v1 << 13 | v1 >> 51) & _ALL ^ v0
            v0 = (v0 << 32 | v0 >> 32) & _ALL
            v2 = (v2 + v3) & _ALL
            v3 = (v3 << 16 | v3 >> 48) & _ALL ^ v2
            v0 = (v0 + v3) & _ALL
            v3 = (v3 << 21 | v3 >> 43) & _ALL ^ v0
            v2 = (v2 + v1) & _ALL
            v1 = (v1 << 17 | v1 >> 47) & _ALL ^ v2
            v2 = (v2 << 32 | v2 >> 32) & _ALL
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3
