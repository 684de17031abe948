"""Fields in and out of bytes, and sequence numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.wire import octets, seq
from tests.wire.vectors import u8s, u16s, u32s


@given(u8s, u16s, u32s, st.integers(-(2**63), 2**63 - 1))
def test_what_is_written_is_read_again(a: int, b: int, c: int, d: int) -> None:
    writer = octets.Writer()
    octets.put8(writer, a)
    octets.put16(writer, b)
    octets.put32(writer, c)
    writer.write(d.to_bytes(8, "big", signed=True))
    data = writer.getvalue()
    assert data == a.to_bytes(1, "big") + b.to_bytes(2, "big") + c.to_bytes(4, "big") + data[7:]
    assert (octets.u8(data, 0), octets.u16(data, 1), octets.u32(data, 3), octets.s64(data, 7)) == (a, b, c, d)


@given(st.integers(-(2**62), 2**62))
def test_writers_take_the_low_bits_of_any_number(number: int) -> None:
    writer = octets.Writer()
    octets.put8(writer, number)
    octets.put16(writer, number)
    octets.put32(writer, number)
    writer.write(bytes(6))
    octets.set16(writer, 7, number)
    octets.set32(writer, 9, number)
    expected = b"".join((number & (1 << 8 * size) - 1).to_bytes(size, "big") for size in (1, 2, 4, 2, 4))
    assert writer.getvalue() == expected


@pytest.mark.parametrize("read", [octets.u8, octets.u16, octets.u32, octets.s64])
def test_a_reader_never_reads_beyond_the_end(read: object) -> None:
    for data in (b"", b"\x01"):
        with pytest.raises(IndexError):
            read(data, 1)  # type: ignore[operator]


@given(st.integers(0, 2**62), st.integers(-(2**31), 2**31 - 1))
def test_unwrap_finds_every_number_less_than_half_the_circle_away(near: int, distance: int) -> None:
    assert seq.unwrap(seq.wrap(near + distance), near) == near + distance


@given(u32s, st.integers(-(2**31), 2**31 - 1))
def test_difference_is_signed_and_counts_around_the_circle(number: int, distance: int) -> None:
    assert seq.difference(seq.wrap(number + distance), seq.wrap(number)) == distance


def test_unwrap_takes_the_lower_of_two_equally_near_places() -> None:
    assert seq.unwrap(seq.Seq(0x80000000), 0x1_0000_0000) == 0x80000000
