"""Any messages, cut anywhere, come back; any garbage is a typed error or messages; no more is held than the limit."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.messages import (
    COBS,
    Codec,
    Delimited,
    FixedSize,
    FrameError,
    FrameFault,
    LengthPrefixed,
    Netstring,
    VarintPrefixed,
)

Maker = Callable[[], Codec]
LIMIT = 700

MAKERS: dict[str, Maker] = {
    "length1": lambda: LengthPrefixed(1),
    "length2 little": lambda: LengthPrefixed(2, byteorder="little", max_frame=LIMIT),
    "length4": lambda: LengthPrefixed(4, max_frame=LIMIT),
    "length4 with header": lambda: LengthPrefixed(4, includes_header=True, max_frame=LIMIT),
    "length8": lambda: LengthPrefixed(8, max_frame=LIMIT),
    "tagged (Postgres)": lambda: LengthPrefixed(4, includes_header=True, tag_bytes=1, max_frame=LIMIT),
    "varint": lambda: VarintPrefixed(max_frame=LIMIT),
    "netstring": lambda: Netstring(max_frame=LIMIT),
    "line": lambda: Delimited(b"\n", max_frame=LIMIT),
    "crlf": lambda: Delimited(b"\r\n", max_frame=LIMIT),
    "aab": lambda: Delimited(b"aab", max_frame=LIMIT),
    "abab": lambda: Delimited(b"abab", max_frame=LIMIT),
    "fixed": lambda: FixedSize(5),
    "cobs": lambda: COBS(max_frame=LIMIT),
}
OVERHEAD_MAX = 16
"""Framing that an unfinished frame may hold besides its message (netstring's digits, COBS's codes, a length of 8)."""

any_codec = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
# Bytes that make delimiters, zeros, digits and lengths likely.
octets = st.lists(st.sampled_from(b"ab\r\n\0\x01\x02:,059\xff"), max_size=40).map(bytes) | st.binary(max_size=40)
runs = st.integers(0, LIMIT).map(lambda n: b"x" * n) | st.integers(0, 5).map(lambda n: b"y" * n * 127)
messages_of_all_sizes = octets | runs


def cut(stream: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Cut ``stream`` into pieces of these sizes (0 is a piece too); the rest is the last piece."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    return [*pieces, stream[at:]]


Outcome = tuple[list[bytes], FrameFault | None, int, int]


def outcome(codec: Codec, pieces: Sequence[bytes | bytearray | memoryview]) -> Outcome:
    """All messages of the stream, and how it ended: the fault, its offset, its frame's offset."""
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += codec.feed(piece)
            assert codec.pending <= LIMIT + OVERHEAD_MAX
        codec.eof()
    except FrameError as error:
        fault = error
    else:
        return found, None, 0, 0
    assert codec.pending == 0
    with pytest.raises(FrameError) as again:
        codec.feed(b"")
    assert (again.value.fault, again.value.offset, again.value.messages) == (fault.fault, fault.offset, [])
    with pytest.raises(FrameError):
        codec.eof()
    return found + fault.messages, fault.fault, fault.offset, fault.frame_offset


def can_carry(codec: Codec, message: bytes) -> bool:
    try:
        codec.encode(message)
    except ValueError:
        return False
    return True


@any_codec
@given(candidates=st.lists(messages_of_all_sizes, max_size=12), sizes=st.lists(st.integers(0, 300), max_size=30))
def test_messages_cut_anywhere_come_back(make: Maker, candidates: list[bytes], sizes: list[int]) -> None:
    codec = make()
    sent = [message for message in candidates if can_carry(codec, message)]
    stream = b"".join(map(codec.encode, sent))
    assert outcome(codec, cut(stream, sizes)) == (sent, None, 0, 0)


@any_codec
@given(candidates=st.lists(messages_of_all_sizes, max_size=6))
def test_messages_fed_byte_by_byte_come_back(make: Maker, candidates: list[bytes]) -> None:
    codec = make()
    sent = [message for message in candidates if can_carry(codec, message)]
    stream = b"".join(map(codec.encode, sent))
    assert outcome(codec, [stream[i : i + 1] for i in range(len(stream))]) == (sent, None, 0, 0)


@any_codec
@given(
    garbage=octets | st.binary(max_size=3000), good=st.lists(octets, max_size=3),
    sizes=st.lists(st.integers(0, 900), max_size=30),
)
def test_garbage_has_the_same_outcome_however_it_is_cut(
    make: Maker, garbage: bytes, good: list[bytes], sizes: list[int]
) -> None:
    codec = make()
    stream = b"".join(codec.encode(m) for m in good if can_carry(codec, m)) + garbage
    whole = outcome(codec, [stream])
    assert outcome(make(), cut(stream, sizes)) == whole
    assert outcome(make(), [bytearray(piece) for piece in cut(stream, sizes)]) == whole
    assert outcome(make(), [stream[i : i + 1] for i in range(len(stream))]) == whole
    assert 0 <= whole[3] <= whole[2] <= len(stream)


SMALL: dict[str, Maker] = {
    "length": lambda: LengthPrefixed(1, max_frame=5),
    "varint": lambda: VarintPrefixed(max_frame=5),
    "netstring": lambda: Netstring(max_frame=12),
    "line": lambda: Delimited(b"\n", max_frame=5),
    "crlf": lambda: Delimited(b"\r\n", max_frame=5),
    "aab": lambda: Delimited(b"aab", max_frame=5),
    "cobs": lambda: COBS(max_frame=5),
}
"""Limits that a handful of bytes goes over."""


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL.keys())
@given(stream=st.lists(st.sampled_from(b"ab\r\n\0\1\2\3\4\5\6:,12"), max_size=40).map(bytes), data=st.data())
def test_a_small_limit_is_kept_however_the_stream_is_cut(make: Maker, stream: bytes, data: st.DataObject) -> None:
    whole = outcome(make(), [stream])
    assert all(len(message) <= 12 for message in whole[0])
    assert outcome(make(), cut(stream, data.draw(st.lists(st.integers(0, 9), max_size=20)))) == whole
    assert outcome(make(), [stream[i : i + 1] for i in range(len(stream))]) == whole


@pytest.mark.parametrize("mark", [b"\n", b"\r\n", b"aab"])
@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_a_line_over_the_limit_is_refused_wherever_it_is_cut(mark: bytes, size: int) -> None:
    stream = b"x" * size + mark + b"y" + mark
    found = ([b"xxxxx", b"y"], None, 0, 0) if size == 5 else ([], FrameFault.TOO_LARGE, 5, 0)
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            pieces = [stream[:first], stream[first:second], stream[second:]]
            assert outcome(Delimited(mark, max_frame=5), pieces) == found


@any_codec
def test_a_stream_cut_inside_a_frame_is_cut_short_at_its_end(make: Maker) -> None:
    codec = make()
    frame = codec.encode(b"12345")
    for held in range(1, len(frame)):
        codec = make()
        assert codec.feed(frame + frame[:held]) == [b"12345"]
        assert codec.pending == held
        with pytest.raises(FrameError) as caught:
            codec.eof()
        assert caught.value.fault is FrameFault.CUT_SHORT
        assert (caught.value.offset, caught.value.frame_offset) == (len(frame) + held, len(frame))


@any_codec
def test_an_end_between_frames_is_clean_and_final(make: Maker) -> None:
    codec = make()
    assert codec.feed(codec.encode(b"12345")) == [b"12345"]
    codec.eof()
    codec.eof()
    with pytest.raises(ValueError, match="after the end"):
        codec.feed(b"x")


@any_codec
def test_a_fed_buffer_may_be_reused(make: Maker) -> None:
    codec = make()
    frame = codec.encode(b"12345")
    found: list[bytes] = []
    for part in (frame[:3], frame[3:] + frame[:2], frame[2:]):
        buffer = bytearray(part)
        found += codec.feed(memoryview(buffer))
        buffer[:] = bytes(len(buffer))
    assert found == [b"12345", b"12345"]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
@any_codec
def test_any_buffer_can_be_encoded(make: Maker, kind: Callable[[bytes], bytearray | memoryview]) -> None:
    assert make().encode(kind(b"12345")) == make().encode(b"12345")


def test_a_delimiter_that_is_a_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"bytes.*str"):
        Delimited("\n")  # type: ignore[arg-type]


@any_codec
def test_a_text_or_a_number_is_a_type_error(make: Maker) -> None:
    codec = make()
    for wrong in ("12345", 5, None):
        with pytest.raises(TypeError):
            codec.encode(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            codec.feed(wrong)  # type: ignore[arg-type]
    assert codec.feed(codec.encode(b"12345")) == [b"12345"]


@pytest.mark.parametrize(
    ("codec", "stream", "fault", "offset", "frame_offset", "before"),
    [
        (LengthPrefixed(1, max_frame=3), b"\1a\4", FrameFault.TOO_LARGE, 2, 2, [b"a"]),
        (LengthPrefixed(2, includes_header=True), b"\0\2\0\1", FrameFault.BAD_PREFIX, 2, 2, [b""]),
        (LengthPrefixed(4, tag_bytes=1, max_frame=9), b"\0\0\0\0\x09", FrameFault.TOO_LARGE, 1, 0, []),
        (VarintPrefixed(max_frame=200), b"\1a\xc9\1", FrameFault.TOO_LARGE, 2, 2, [b"a"]),
        (VarintPrefixed(), b"\1a" + b"\xff" * 9 + b"\2", FrameFault.BAD_PREFIX, 11, 2, [b"a"]),
        (VarintPrefixed(), b"\x80" * 10, FrameFault.BAD_PREFIX, 9, 0, []),
        (Netstring(), b"1:a,x", FrameFault.BAD_PREFIX, 4, 4, [b"a"]),
        (Netstring(), b"1:a,:", FrameFault.BAD_PREFIX, 4, 4, [b"a"]),
        (Netstring(), b"0:,05:", FrameFault.BAD_PREFIX, 3, 3, [b""]),
        (Netstring(), b"1:a,1:a;", FrameFault.BAD_BODY, 7, 4, [b"a"]),
        (Netstring(max_frame=99), b"100", FrameFault.TOO_LARGE, 0, 0, []),
        (Netstring(max_frame=98), b"99:", FrameFault.TOO_LARGE, 0, 0, []),
        (Delimited(b"\r\n", max_frame=3), b"abc\r\nabcd\r\n", FrameFault.TOO_LARGE, 8, 5, [b"abc"]),
        (Delimited(b"\r\n", max_frame=3), b"abc\r\nabcde", FrameFault.TOO_LARGE, 8, 5, [b"abc"]),
        (COBS(), b"\2a\0\5ab\0", FrameFault.BAD_BODY, 3, 3, [b"a"]),
        (COBS(max_frame=2), b"\2a\0\4abc\0", FrameFault.TOO_LARGE, 6, 3, [b"a"]),
    ],
)
def test_a_fault_is_named_with_its_place(
    codec: Codec, stream: bytes, fault: FrameFault, offset: int, frame_offset: int, before: list[bytes]
) -> None:
    with pytest.raises(FrameError, match=f"{fault.value} at byte {offset} of the stream") as caught:
        codec.feed(stream)
    error = caught.value
    assert (error.fault, error.offset, error.frame_offset, error.messages) == (fault, offset, frame_offset, before)


def test_an_announced_giant_is_refused_before_a_byte_of_it_is_held() -> None:
    codec = LengthPrefixed(4, max_frame=1000)
    tracemalloc.start()
    with pytest.raises(FrameError, match="4294967295 bytes, max_frame is 1000"):
        codec.feed(b"\xff\xff\xff\xff")
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@pytest.mark.parametrize("crumb_bytes", [1, 2, 100, 1023, 1024, 5000])
def test_an_unfinished_frame_costs_about_its_bytes(crumb_bytes: int) -> None:
    size = 40_000 if crumb_bytes < 100 else 400_000
    codecs: list[tuple[Codec, bytes]] = [
        (LengthPrefixed(4), (size + 1).to_bytes(4, "big")), (Delimited(b"\n", max_frame=size + 1), b"")
    ]
    for codec, head in codecs:
        stream = head + bytes(range(33, 33 + 64)) * (size // 64)
        tracemalloc.start()
        for at in range(0, len(stream), crumb_bytes):
            codec.feed(stream[at : at + crumb_bytes])
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert codec.pending == len(stream)
        assert held < size * 1.3


def test_a_chunk_that_is_one_message_is_not_copied() -> None:
    message = bytes(4096)
    assert FixedSize(4096).feed(message)[0] is message


@pytest.mark.parametrize("codec", [LengthPrefixed(4), Delimited(b"\n", max_frame=1 << 20)], ids=["length", "line"])
def test_a_chunk_inside_a_large_message_is_kept_and_not_copied(codec: Codec) -> None:
    frame, chunk_bytes = codec.encode(bytes(500_000)), 50_000
    chunks = [frame[at : at + chunk_bytes] for at in range(0, len(frame), chunk_bytes)]
    tracemalloc.start()
    for chunk in chunks[:-1]:
        assert codec.feed(chunk) == []
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2 * chunk_bytes, "the chunks were made before: to keep one costs nothing"
    assert codec.feed(chunks[-1]) == [bytes(500_000)]


class _CountedBytes(bytes):
    """Not exactly ``bytes``: must be taken as any other buffer."""


def test_a_subclass_of_bytes_comes_out_as_bytes() -> None:
    codec = FixedSize(3)
    assert type(codec.feed(_CountedBytes(b"abc"))[0]) is bytes


def cpu_seconds(codec: Codec, stream: bytes, crumb_bytes: int) -> float:
    begun = time.process_time()
    for at in range(0, len(stream), crumb_bytes):
        codec.feed(stream[at : at + crumb_bytes])
    return time.process_time() - begun


@pytest.mark.parametrize("crumb_bytes", [2, 2000])
@pytest.mark.parametrize(
    "make",
    [
        lambda: LengthPrefixed(4), Netstring, lambda: Delimited(b"\r\n", max_frame=8_000_000),
        lambda: COBS(max_frame=8_000_000),
    ],
    ids=["length", "netstring", "crlf", "cobs"],
)
def test_one_large_message_costs_as_much_as_many_small_ones(make: Maker, crumb_bytes: int) -> None:
    """The same bytes in the same crumbs: code that moves or searches all that it holds takes tens of times longer."""
    size, count = 100_000 * crumb_bytes if crumb_bytes < 80 else 4_000_000, 250
    small = min(cpu_seconds(make(), make().encode(b"\r" * (size // count)) * count, crumb_bytes) for _ in range(3))
    large = min(cpu_seconds(make(), make().encode(b"\r" * size), crumb_bytes) for _ in range(3))
    assert large < 4 * small + 0.005


def test_messages_that_a_delimiter_cannot_carry_are_refused() -> None:
    with pytest.raises(ValueError, match=r"is in it at 1"):
        Delimited(b"\r\n").encode(b"a\r\nb")
    with pytest.raises(ValueError, match=r"is in it at 1"):
        Delimited(b"aa").encode(b"xa")
    assert Delimited(b"ab").encode(b"xa") == b"xaab"


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: LengthPrefixed(3), "size: 3 is not 1, 2, 4 or 8"),  # type: ignore[arg-type]
        (lambda: LengthPrefixed(2, byteorder="middle"), 'byteorder: \'middle\' is not "big" or "little"'),  # type: ignore[arg-type]
        (lambda: LengthPrefixed(1, max_frame=256), "max_frame: 256 does not fit a length of 1 bytes; at most 255"),
        (lambda: LengthPrefixed(4, tag_bytes=-1), "tag_bytes: -1 is negative"),
        (lambda: LengthPrefixed(4, tag_bytes=4, max_frame=3), "max_frame: 3 is less than tag_bytes=4, a part"),
        (lambda: VarintPrefixed(max_frame=-1), "max_frame: -1 is negative"),
        (lambda: FixedSize(0), "size: 0 is not a number of bytes from 1 up"),
        (lambda: Delimited(b""), "delimiter: b'' is not one or more bytes"),
        (lambda: FixedSize(3).encode(b"abcd"), "4 bytes, every message has size=3"),
        (lambda: LengthPrefixed(1).encode(bytes(256)), "256 bytes are over max_frame=255"),
        (lambda: LengthPrefixed(4, tag_bytes=1).encode(b""), "the first tag_bytes=1 of it go before the length"),
    ],
)
def test_a_wrong_argument_is_named(build: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        build()
