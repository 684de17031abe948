"""What stands in for ``librt`` where there is none does what ``librt`` does."""

from __future__ import annotations

import librt.strings as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.wire import octets_plain as ours


@given(st.binary(max_size=12), st.integers(0, 12))
def test_plain_readers_read_as_librt_does(data: bytes, index: int) -> None:
    for name in ("read_i16_be", "read_i32_be", "read_i64_be"):
        expected: object
        try:
            expected = getattr(theirs, name)(data, index)
        except IndexError:
            expected = IndexError
        got: object
        try:
            got = getattr(ours, name)(data, index)
        except IndexError:
            got = IndexError
        assert got == expected


@given(st.binary(max_size=6), st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_a_plain_writer_writes_as_librt_does(start: bytes, short: int, long: int) -> None:
    written = []
    for module in (theirs, ours):
        writer = module.BytesWriter()
        writer.write(start)
        module.write_i16_be(writer, short)
        module.write_i32_be(writer, long)
        writer.append(7)
        writer[0] = 9
        writer.truncate(len(writer) - 1)
        written.append((len(writer), writer[0], writer.getvalue()))
    assert written[0] == written[1]


def test_a_plain_reader_refuses_to_read_before_the_start() -> None:
    with pytest.raises(IndexError):
        ours.read_i16_be(b"abcd", -1)
