"""SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash of short messages, 64 bits long.

Linux makes its Fast Open cookies with it, so that servers behind one address can share a key, whatever their kernel.
"""

from __future__ import annotations

from typing import Final

__all__ = ["KEY_BYTES", "siphash"]

KEY_BYTES: Final = 16
_MASK: Final = 0xFFFFFFFFFFFFFFFF


def siphash(key: bytes, message: bytes) -> int:
    """Hash ``message`` with a key of 16 bytes to a number of 64 bits. ``ValueError`` on a key of another length."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"key: SipHash takes {KEY_BYTES} bytes, not {len(key)}")
    k0 = int.from_bytes(key[:8], "little")
    k1 = int.from_bytes(key[8:], "little")
    state = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = len(message) & -8
    for at in range(0, whole, 8):
        _compress(state, int.from_bytes(message[at : at + 8], "little"))
    _compress(state, int.from_bytes(message[whole:], "little") | (len(message) & 0xFF) << 56)
    state[2] ^= 0xFF
    for _ in range(4):
        _round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _compress(state: list[int], word: int) -> None:
    state[3] ^= word
    _round(state)
    _round(state)
    state[0] ^= word


def _round(state: list[int]) -> None:
    v0, v1, v2, v3 = state
    v0 = (v0 + v1) & _MASK
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotated(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotated(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotated(v1, 17) ^ v2
    v2 = _rotated(v2, 32)
    state[0] = v0
    state[1] = v1
    state[2] = v2
    state[3] = v3


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK
