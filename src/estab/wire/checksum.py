"""The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words.

Rules:

- an accumulator (``acc``) is a plain sum of big-endian words, not yet folded, so that header fields can be added to it
  as they are: ``acc + sport + dport``. It stays far from 63 bits for anything that fits into a packet;
- words are counted from ``start``, wherever in memory that is. A range of odd length counts as if followed by a zero
  octet, so only the last range of a chain may be odd;
- compiled, eight octets go in a step; interpreted, one big integer modulo 65535 does the whole range. Both give the
  same ``fold``, although not the same ``acc``.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.wire.octets import IS_COMPILED, s64, u8, u16, u32

__all__ = ["add", "checksum", "fold", "pseudo_header"]


def add(data: bytes, start: i64, end: i64, acc: i64) -> i64:
    """Add ``data[start:end]`` to an accumulator."""
    if not IS_COMPILED:
        return acc + _residue(data[start:end])
    index = start
    last = end - 32
    while index <= last:
        a = s64(data, index)
        b = s64(data, index + 8)
        c = s64(data, index + 16)
        d = s64(data, index + 24)
        acc += (a & 0xFFFFFFFF) + ((a >> 32) & 0xFFFFFFFF) + (b & 0xFFFFFFFF) + ((b >> 32) & 0xFFFFFFFF)
        acc += (c & 0xFFFFFFFF) + ((c >> 32) & 0xFFFFFFFF) + (d & 0xFFFFFFFF) + ((d >> 32) & 0xFFFFFFFF)
        index += 32
    if index <= end - 16:  # most of an IPv4 header
        a = s64(data, index)
        b = s64(data, index + 8)
        acc += (a & 0xFFFFFFFF) + ((a >> 32) & 0xFFFFFFFF) + (b & 0xFFFFFFFF) + ((b >> 32) & 0xFFFFFFFF)
        index += 16
    while index <= end - 4:
        acc += u32(data, index)
        index += 4
    if index <= end - 2:
        acc += u16(data, index)
        index += 2
    if index < end:
        acc += u8(data, index) << 8
    return acc


def _residue(data: bytes) -> int:
    """Sum the words of ``data`` modulo 65535; a sum that is not zero stays so (RFC 1071's negative zero)."""
    number = int.from_bytes(data, "big") << (len(data) & 1) * 8
    return number % 0xFFFF or (0xFFFF if number else 0)


def fold(acc: i64) -> i64:
    """Fold an accumulator into 16 bits by adding the carries back in. A valid packet folds to 0xFFFF."""
    acc = (acc & 0xFFFFFFFF) + (acc >> 32)
    acc = (acc & 0xFFFF) + (acc >> 16)
    acc = (acc & 0xFFFF) + (acc >> 16)
    return (acc & 0xFFFF) + (acc >> 16)


def checksum(data: bytes, start: i64, end: i64, acc: i64 = 0) -> i64:
    """Compute what goes into a checksum field: ``data[start:end]`` and ``acc`` summed, folded and complemented."""
    return 0xFFFF - fold(add(data, start, end, acc))


def pseudo_header(src: bytes, dst: bytes, protocol: i64, length: i64) -> i64:
    """Start an accumulator with the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1).

    ``src`` and ``dst`` are both of 4 or both of 16 octets; ``length`` is that of the transport header and its text.
    """
    acc = protocol + length
    index: i64 = 0
    size: i64 = len(src)
    while index <= size - 4:
        acc += u32(src, index) + u32(dst, index)
        index += 4
    return acc
