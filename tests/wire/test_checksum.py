"""The Internet checksum against RFC 1071's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.wire import checksum
from tests.wire.vectors import naive_sum


def test_the_example_of_rfc_1071_section_3() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert checksum.fold(checksum.add(data, 0, 8, 0)) == 0xDDF2
    assert checksum.checksum(data, 0, 8) == 0x220D


def test_a_known_ipv4_header_sums_to_all_ones() -> None:
    header = bytes.fromhex("450000730000400040 11b861c0a80001c0a800c7".replace(" ", ""))
    assert checksum.fold(checksum.add(header, 0, 20, 0)) == 0xFFFF
    assert checksum.checksum(header[:10] + b"\0\0" + header[12:], 0, 20) == 0xB861


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 400))
def test_any_range_sums_as_the_plain_loop_does(data: bytes, start: int, end: int) -> None:
    start, end = sorted((min(start, len(data)), min(end, len(data))))
    assert checksum.fold(checksum.add(data, start, end, 0)) == naive_sum(data[start:end])
    assert checksum.checksum(data, start, end, 0x1234) == 0xFFFF - naive_sum(b"\x12\x34" + data[start:end])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 63, 64, 65, 1459, 1460, 65535])
@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("octet", [0x00, 0x01, 0xFF])
def test_odd_starts_odd_lengths_and_extreme_octets(size: int, start: int, octet: int) -> None:
    data = bytes([octet]) * (start + size + 3)
    assert checksum.fold(checksum.add(data, start, start + size, 0)) == naive_sum(data[start : start + size])


@given(st.lists(st.binary(max_size=40).map(lambda part: part * 2), max_size=5), st.binary(max_size=9))
def test_parts_of_even_length_chain(parts: list[bytes], last: bytes) -> None:
    acc = 0
    for part in [*parts, last]:
        acc = checksum.add(part, 0, len(part), acc)
    assert checksum.fold(acc) == naive_sum(b"".join(parts) + last)


@given(st.integers(0, 2**48))
def test_fold_is_one_complement_addition(acc: int) -> None:
    assert checksum.fold(acc) == naive_sum(acc.to_bytes(8, "big"))


@given(st.sampled_from([4, 16]).flatmap(lambda n: st.tuples(st.binary(min_size=n, max_size=n),
                                                            st.binary(min_size=n, max_size=n))),
       st.integers(0, 255), st.integers(0, 65535))
def test_the_pseudo_header_is_the_rfcs(pair: tuple[bytes, bytes], protocol: int, length: int) -> None:
    src, dst = pair
    if len(src) == 4:
        written = src + dst + bytes([0, protocol]) + length.to_bytes(2, "big")  # RFC 9293 section 3.1
    else:
        written = src + dst + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])  # RFC 8200 section 8.1
    assert checksum.fold(checksum.pseudo_header(src, dst, protocol, length)) == naive_sum(written)
