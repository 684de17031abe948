"""What ``wire/octets.py`` takes from ``librt``, in Python alone: for platforms without it, such as a browser.

Only an interpreted core uses this. Numbers, errors and bounds are those of ``librt.strings``.
"""

from __future__ import annotations

__all__ = [
    "BytesWriter", "read_i16_be", "read_i32_be", "read_i64_be", "read_i64_le", "write_i16_be", "write_i32_be",
]


class BytesWriter:
    """Bytes that grow at their end."""

    def __init__(self, start: bytes = b"") -> None:
        self._bytes = bytearray(start)

    def append(self, number: int) -> None:
        """Append one byte."""
        self._bytes.append(number)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._bytes += data

    def getvalue(self) -> bytes:
        """Return all that was written."""
        return bytes(self._bytes)

    def truncate(self, size: int) -> None:
        """Forget all but the first ``size`` bytes."""
        del self._bytes[size:]

    def __len__(self) -> int:
        return len(self._bytes)

    def __getitem__(self, index: int) -> int:
        return self._bytes[index]

    def __setitem__(self, index: int, number: int) -> None:
        self._bytes[index] = number


def read_i16_be(data: bytes, index: int) -> int:
    """Read 16 bits in two's complement. ``IndexError`` past the end."""
    return _read(data, index, 2)


def read_i32_be(data: bytes, index: int) -> int:
    """Read 32 bits in two's complement. ``IndexError`` past the end."""
    return _read(data, index, 4)


def read_i64_be(data: bytes, index: int) -> int:
    """Read 64 bits in two's complement. ``IndexError`` past the end."""
    return _read(data, index, 8)


def read_i64_le(data: bytes, index: int) -> int:
    """Read the same with the lowest octet first. ``IndexError`` past the end."""
    return int.from_bytes(_read(data, index, 8).to_bytes(8, "big", signed=True), "little", signed=True)


def write_i16_be(writer: BytesWriter, number: int) -> None:
    """Append 16 bits of a number in two's complement."""
    writer.write(number.to_bytes(2, "big", signed=True))


def write_i32_be(writer: BytesWriter, number: int) -> None:
    """Append 32 bits of a number in two's complement."""
    writer.write(number.to_bytes(4, "big", signed=True))


def write_i64_be(writer: BytesWriter, number: int) -> None:
    """Append 64 bits of a number in two's complement."""
    writer.write(number.to_bytes(8, "big", signed=True))


def _read(data: bytes, index: int, size: int) -> int:
    if index < 0 or index + size > len(data):
        raise IndexError("index out of range")
    return int.from_bytes(data[index:index + size], "big", signed=True)
