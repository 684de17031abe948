"""Profiles: settings that make the stack look like another system on the wire."""

from __future__ import annotations

import pytest

from estab.tcp.profile import PROFILES, profile_config
from estab.wire import ip
from estab.wire.address import parse_address
from estab.wire.seq import Seq
from estab.wire.tcp import SYN, Segment, emit, options_length, parse


def test_each_profile_is_fresh_and_the_first_is_our_own() -> None:
    assert PROFILES[0] == "estab"
    for name in PROFILES:
        assert profile_config(name) is not profile_config(name)


def test_linux_differs_where_an_rfc_asks_for_more_than_linux_does() -> None:
    config = profile_config("linux")
    assert (config.tcp_syn_retries, config.tcp_rfc1337) == (6, False)
    assert config.tcp_rmem == (4096, 131072, 33554432)


def test_freebsd_has_its_own_order_of_options() -> None:
    assert profile_config("freebsd").tcp_bsd_option_order
    assert not profile_config("linux").tcp_bsd_option_order


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="profile: 'plan9' is not one of estab, linux, freebsd"):
        profile_config("plan9")


@pytest.mark.parametrize(
    ("sack", "timestamps", "wscale", "octets"),
    [
        (True, True, 6, "020405b4 01030306 0402080a 00000007 00000009"),
        (False, True, 6, "020405b4 01030306 0101080a 00000007 00000009"),
        (True, False, 6, "020405b4 01030306 04020000"),
        (True, False, -1, "020405b4 04020000"),
        (False, False, 6, "020405b4 01030306"),
        (True, True, -1, "020405b4 0402080a 00000007 00000009"),
        (False, False, -1, "020405b4"),
    ],
)
def test_bsd_order_takes_as_many_octets_and_is_read_as_the_same(
    sack: bool, timestamps: bool, wscale: int, octets: str
) -> None:
    segment = Segment(1, 2, Seq(0), Seq(0), SYN, 65535)
    segment.mss, segment.sack_permitted, segment.wscale = 1460, sack, wscale
    segment.has_timestamps, segment.ts_val, segment.ts_ecr = timestamps, 7, 9
    segment.has_bsd_order = True
    a, b = parse_address("192.0.2.1"), parse_address("192.0.2.2")
    data = emit(segment, a, b)
    assert data[20:].hex() == octets.replace(" ", "")
    assert len(data) - 20 == options_length(segment)
    read = parse(ip.parse(ip.emit(a, b, ip.TCP, data)), False)
    assert (read.mss, read.sack_permitted, read.has_timestamps, read.wscale) == (1460, sack, timestamps, wscale)


@pytest.mark.parametrize(("sack", "timestamps", "cookie", "octets"), [
    (True, True, b"", "020405b4 01030306 0402080a 00000007 00000009 22020000"),
    (True, True, b"12345678", "020405b4 01030306 0402080a 00000007 00000009 220a3132333435363738 0000"),
    (True, False, b"", "020405b4 01030306 04022202"),
    (False, False, b"1234", "020405b4 01030306 220631323334 0000"),
])
def test_in_bsd_order_fast_open_follows_the_other_options_and_the_list_ends_after_it(
    sack: bool, timestamps: bool, cookie: bytes, octets: str,
) -> None:
    segment = Segment(1, 2, Seq(0), Seq(0), SYN, 65535)
    segment.mss, segment.sack_permitted, segment.wscale, segment.fast_open = 1460, sack, 6, cookie
    segment.has_timestamps, segment.ts_val, segment.ts_ecr = timestamps, 7, 9
    segment.has_bsd_order = True
    a, b = parse_address("192.0.2.1"), parse_address("192.0.2.2")
    data = emit(segment, a, b)
    assert data[20:].hex() == octets.replace(" ", "")
    assert len(data) - 20 == options_length(segment)
    assert parse(ip.parse(ip.emit(a, b, ip.TCP, data)), False).fast_open == cookie
