"""Big-endian fields in and out of bytes. The only file that knows ``librt``.

Rules:

- a reader takes ``bytes`` and an index and gives a number without sign; a writer takes any number and writes its low
  bits;
- the caller has checked the bounds. A reader past the end raises ``IndexError``, and no parser lets that happen;
- compiled, each of these is one load or store. Interpreted, the native integers are plain ``int``. The local variables
  annotated ``int`` are for that: a conversion by ``i16(n)`` costs a call there, one through ``int`` costs nothing
  anywhere, because the masks let the C compiler see that no overflow can happen.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

try:
    from librt.strings import BytesWriter as Writer
    from librt.strings import (
        read_i16_be,
        read_i32_be,
        read_i64_be,
        read_i64_le,
        write_i16_be,
        write_i32_be,
        write_i64_be,
    )
except ImportError:  # on a platform that has none, where the core is interpreted
    from estab.wire.octets_plain import BytesWriter as Writer  # type: ignore[assignment]
    from estab.wire.octets_plain import (  # type: ignore[assignment]
        read_i16_be,
        read_i32_be,
        read_i64_be,
        read_i64_le,
        write_i16_be,
        write_i32_be,
        write_i64_be,
    )

__all__ = [
    "IS_COMPILED", "Writer", "put8", "put16", "put32", "put64", "s64", "s64_little", "set16", "set32", "u8", "u16",
    "u32",
]


def u8(data: bytes, index: i64) -> i64:
    """Read the octet at ``index``."""
    return data[index]


def u16(data: bytes, index: i64) -> i64:
    """Read the 16-bit number at ``index``."""
    number: int = read_i16_be(data, index)
    return number & 0xFFFF


def u32(data: bytes, index: i64) -> i64:
    """Read the 32-bit number at ``index``."""
    number: int = read_i32_be(data, index)
    return number & 0xFFFFFFFF


def s64(data: bytes, index: i64) -> i64:
    """Read the 64-bit number at ``index`` in two's complement, the one width whose unsigned value fits no ``i64``."""
    return read_i64_be(data, index)


def s64_little(data: bytes, index: i64) -> i64:
    """Read the same with the lowest octet first."""
    return read_i64_le(data, index)


def put8(writer: Writer, number: i64) -> None:
    """Append the low 8 bits of ``number``."""
    low: int = number & 0xFF
    writer.append(low)


def put16(writer: Writer, number: i64) -> None:
    """Append the low 16 bits of ``number``."""
    low: int = (number & 0xFFFF) - ((number & 0x8000) << 1)
    write_i16_be(writer, low)


def put32(writer: Writer, number: i64) -> None:
    """Append the low 32 bits of ``number``."""
    low: int = (number & 0xFFFFFFFF) - ((number & 0x80000000) << 1)
    write_i32_be(writer, low)


def put64(writer: Writer, high: i64, low: i64) -> None:
    """Append the low 32 bits of two numbers: one store where ``put32`` takes two."""
    signed = (high & 0xFFFFFFFF) - ((high & 0x80000000) << 1)
    write_i64_be(writer, signed << 32 | (low & 0xFFFFFFFF))


def set16(writer: Writer, index: i64, number: i64) -> None:
    """Overwrite 16 bits at ``index`` of what was written."""
    high: int = (number >> 8) & 0xFF
    low: int = number & 0xFF
    writer[index] = high
    writer[index + 1] = low


def set32(writer: Writer, index: i64, number: i64) -> None:
    """Overwrite 32 bits at ``index`` of what was written."""
    set16(writer, index, number >> 16)
    set16(writer, index + 2, number)


IS_COMPILED: Final = not hasattr(u8, "__code__")
"""Whether mypyc made these functions. For the one place where Python and C need different algorithms (``checksum``)."""
