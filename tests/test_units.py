"""The words of the outer face: durations, rates, sizes and shares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab import units
from estab.units import MS, SECOND, US, bits_per_second, byte_count, duration_ns, format_bytes, format_duration, share


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("12ns", 12), ("7us", 7 * US), ("7µs", 7 * US), ("40ms", 40 * MS), ("1.5s", 3 * SECOND // 2),
        ("3min", 180 * SECOND), ("3m", 180 * SECOND), ("2h", 7200 * SECOND), ("1d", 86400 * SECOND),
        ("5", 5 * SECOND), (5, 5 * SECOND), (0.25, SECOND // 4), (0, 0), ("0", 0),
        (" 5 s ", 5 * SECOND), (".5s", SECOND // 2), ("1_000ms", SECOND), ("2S", 2 * SECOND),
    ],
)
def test_duration_reads_words_and_seconds(text: str | float, ns: int) -> None:
    assert duration_ns(text) == ns


def test_duration_of_a_tenth_is_exact() -> None:
    assert duration_ns(0.1) == duration_ns("0.1") == 100 * MS


@pytest.mark.parametrize(
    ("text", "rate"),
    [("20Mbit", 20_000_000), ("1Gbit", 10**9), ("64kbit", 64_000), ("9600", 9600), (9600, 9600), ("1.5Mbps", 1_500_000),
     ("10Mbit/s", 10_000_000), ("8bit", 8)],
)
def test_rate_is_in_bits_a_second(text: str | int, rate: int) -> None:
    assert bits_per_second(text) == rate


@pytest.mark.parametrize(
    ("text", "size"),
    [(65536, 65536), ("64KiB", 65536), ("64K", 65536), ("1MB", 10**6), ("1MiB", 2**20), ("10B", 10), ("0.5KiB", 512)],
)
def test_size_tells_powers_of_two_from_powers_of_ten(text: str | int, size: int) -> None:
    assert byte_count(text) == size


@pytest.mark.parametrize(
    ("text", "value"), [("2%", 0.02), ("100%", 1.0), (0.5, 0.5), ("0.25", 0.25), (0, 0.0), (1, 1.0)]
)
def test_share_reads_percent_and_fractions(text: str | float, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("read", [duration_ns, bits_per_second, byte_count, share])
@pytest.mark.parametrize("bad", ["", "fast", "10 parsecs", "-3", -3, float("nan"), float("inf"), "1 2", "0x10"])
def test_unreadable_values_are_refused_by_name_and_value(read: object, bad: object) -> None:
    with pytest.raises(ValueError, match=r"wifi\.delay: .*write it like") as caught:
        read(bad, "wifi.delay")  # type: ignore[operator]
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("read", [duration_ns, bits_per_second, byte_count, share])
@pytest.mark.parametrize("bad", [None, True, b"1s", [1]])
def test_other_types_are_refused(read: object, bad: object) -> None:
    with pytest.raises(TypeError, match="expected a number or a text like"):
        read(bad)  # type: ignore[operator]


@pytest.mark.parametrize("bad", ["101%", 1.5, "2"])
def test_a_share_above_one_is_refused(bad: str | float) -> None:
    with pytest.raises(ValueError, match="more than 100%"):
        share(bad)


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0ns"), (12, "12ns"), (7 * US, "7µs"), (40 * MS, "40ms"), (1500 * MS, "1.5s"), (123 * SECOND, "2min 3s"),
     (3600 * SECOND, "1h 0min"), (-40 * MS, "-40ms")],
)
def test_durations_are_written_for_people(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@pytest.mark.parametrize(
    ("count", "text"), [(712, "712 B"), (65536, "64.0 KiB"), (3 * 2**19, "1.5 MiB"), (2**31, "2.0 GiB")]
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 segments"), (1, "1 segment"), (2, "2 segments"), (1234, "1,234 segments")],
)
def test_things_are_counted_for_people(count: int, text: str) -> None:
    assert units.format_count(count, "segment") == text


@given(st.integers(min_value=0, max_value=10**15))
def test_whole_nanoseconds_survive_the_trip_through_words(ns: int) -> None:
    assert duration_ns(f"{ns}ns") == ns


def test_never_plus_a_century_still_fits_64_bits() -> None:
    century_ns = duration_ns("36525d")
    assert century_ns < units.NEVER
    assert units.NEVER + century_ns < 2**63
