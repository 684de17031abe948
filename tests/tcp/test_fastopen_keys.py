"""TCP Fast Open (RFC 7413): SipHash, keys, cookies, the option that carries them, and what a host remembers."""

from __future__ import annotations

import pytest

from estab.counters import Counters
from estab.tcp.config import Config
from estab.tcp.fastopen import (
    SERVER,
    HostFastOpen,
    key_bytes,
    key_text,
    make_cookie,
    which_key,
)
from estab.tcp.siphash import siphash
from estab.wire.address import parse_address
from estab.wire.tcp import SYN
from tests.kit.fastopen import COOKIE, server
from tests.kit.pair import SECOND

KEY = bytes(range(16))


# --- SipHash, keys, cookies


def test_siphash_gives_the_numbers_of_its_authors() -> None:
    # Aumasson and Bernstein's own example, and the first entries of their table of vectors: messages of 0 to 16 bytes.
    assert siphash(KEY, bytes(range(15))) == 0xA129CA6149BE45E5
    vectors = ("310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785 b7877127e09427cf 8da699cd64557618 "
               "cee3fe586e46c9cb 37d1018bf50002ab 6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4 "
               "fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1 db9bc2577fcc2a3f")
    for size, vector in enumerate(vectors.split()):
        assert siphash(KEY, bytes(range(size))).to_bytes(8, "little").hex() == vector


@pytest.mark.parametrize("size", [0, 15, 17])
def test_siphash_takes_no_other_key(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        siphash(bytes(size), b"")


def test_a_key_reads_and_writes_as_linux_does() -> None:
    text = "a0bf63f7-ed803d81-cd641d30-cebc4a90"
    assert key_bytes(text).hex() == "f763bfa0813d80ed301d64cd904abcce"
    assert key_text(key_bytes(text)) == text
    both = f"{text},00000001-00000002-00000003-00000004"
    assert len(key_bytes(both)) == 32
    assert key_text(key_bytes(both)) == both
    assert key_bytes("1-2-3-4") == key_bytes("00000001-00000002-00000003-00000004")


@pytest.mark.parametrize("text", [
    "", "1-2-3", "1-2-3-4-5", "1-2-3-100000000", "1-2-3-", "1-2-3-x", "1-2-3-+4", "1-2-3- 4", "1-2-3-4,1-2-3-4,1-2-3-4",
])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        key_bytes(text)


@pytest.mark.parametrize(("remote", "local", "cookie"), [
    ("192.0.2.1", "192.168.0.1", "3021b9d889017eeb"),
    ("fd3d:fa7b:d17d::1", "fd3d:0a0b:17d6::1", "c1d1e9742a47a9bc"),
])
def test_a_cookie_is_the_one_that_a_linux_kernel_makes(remote: str, local: str, cookie: str) -> None:
    key = key_bytes("a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4")
    assert make_cookie(key, parse_address(remote), parse_address(local)).hex() == cookie


def test_a_cookie_is_good_for_its_two_addresses_and_keys_only() -> None:
    here, there, other = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 0, 0, 3])
    first, second = KEY, KEY[::-1]
    cookie = make_cookie(second, there, here)
    assert which_key(first + second, there, here, cookie) == 2
    assert which_key(second + first, there, here, cookie) == 1
    assert which_key(first, there, here, cookie) == 0
    assert which_key(first + second, other, here, cookie) == 0
    assert which_key(first + second, there, other, cookie) == 0
    for size in range(17):
        assert (which_key(second, there, here, (cookie * 3)[:size]) == 1) == (size == 8)


def host(**settings: object) -> tuple[HostFastOpen, Config, Counters]:
    config, counters = Config(), Counters()
    for name, value in settings.items():
        config.set(name, value)
    return HostFastOpen(config, counters, b"s" * 32), config, counters


# --- what a host remembers


def test_the_cache_has_a_bound_and_the_oldest_makes_room() -> None:
    fast_open, _, counters = host(fastopen_cookies_max=3)
    for number in range(5):
        fast_open.remember(b"here", bytes([number]), 1000 + number, COOKIE, False, 0)
    assert fast_open.cached_count() == 3
    assert fast_open.find(b"here", b"\1") is None
    entry = fast_open.find(b"here", b"\4")
    assert entry is not None
    assert (entry.mss, entry.cookie) == (1004, COOKIE)
    assert counters.EstabFastOpenCacheFull == 2


def test_a_cookie_is_for_the_address_that_it_was_given_to() -> None:
    fast_open, _, _ = host()
    fast_open.remember(b"here", b"there", 1000, COOKIE, False, 0)
    assert fast_open.find(b"elsewhere", b"there") is None


def test_a_syn_ack_without_a_cookie_leaves_the_old_one() -> None:
    fast_open, _, _ = host()
    fast_open.remember(b"here", b"there", 1000, COOKIE, False, 0)
    fast_open.remember(b"here", b"there", 900, b"", False, 1)
    entry = fast_open.find(b"here", b"there")
    assert entry is not None
    assert (entry.mss, entry.cookie, entry.try_experimental) == (900, COOKIE, 0)


def test_pauses_double_up_to_64_times_and_end_with_a_connection_that_works() -> None:
    fast_open, _, counters = host(tcp_fastopen_blackhole_timeout_ns=10 * SECOND)
    now_ns = SECOND
    for doublings in (0, 1, 2, 3, 4, 5, 6, 6, 6):
        fast_open.pause(now_ns)
        end_ns = now_ns + (10 * SECOND << doublings)
        assert fast_open.is_pausing(end_ns - 1)
        assert not fast_open.is_pausing(end_ns)
        assert fast_open.is_on_trial()
        now_ns = end_ns
    assert counters.TcpExtTCPFastOpenBlackhole == 9
    fast_open.on_end(now_ns, has_text=True, is_fin_early=False, proves_path=False)
    assert fast_open.is_on_trial(), "loopback proves nothing"
    fast_open.on_end(now_ns, has_text=True, is_fin_early=False, proves_path=True)
    assert not fast_open.is_on_trial()


def test_without_a_blackhole_timeout_nothing_pauses() -> None:
    fast_open, _, counters = host()
    fast_open.pause(SECOND)
    assert not fast_open.is_pausing(SECOND)
    assert counters.TcpExtTCPFastOpenBlackhole == 0


def test_a_connection_that_got_nothing_but_a_fin_behind_a_gap_makes_a_pause() -> None:
    fast_open, _, _ = host(tcp_fastopen_blackhole_timeout_ns=SECOND)
    fast_open.on_end(SECOND, has_text=True, is_fin_early=True, proves_path=False)
    assert not fast_open.is_pausing(SECOND)
    fast_open.on_end(SECOND, has_text=False, is_fin_early=True, proves_path=False)
    assert fast_open.is_pausing(SECOND)


# --- the option's octets


@pytest.mark.parametrize(("option", "expected"), [
    ("2202", b""), ("220600112233", bytes.fromhex("00112233")), ("2212" + "ab" * 16, b"\xab" * 16),
    ("fe04f989", b""), ("fe08f98900112233", bytes.fromhex("00112233")), ("fe14f989" + "ab" * 16, b"\xab" * 16),
    ("2203aa", None), ("2204aabb", None), ("2205aabbcc", None), ("2207" + "aa" * 5, None), ("2214" + "aa" * 18, None),
    ("fe03f9", None), ("fe05f98900", None), ("fe06f989aabb", None), ("fe16f989" + "aa" * 18, None), ("fe04f988", None),
])
def test_options_of_no_cookies_length_are_let_be(option: str, expected: bytes | None) -> None:
    raw = bytes.fromhex(option)
    peer, listener = server(flags=SERVER)
    packet = bytearray(peer.packet(SYN, seq=0, ack=0, unknown=[(raw[0], raw[2:])]))
    answers = peer.inject(bytes(packet))
    assert [seen.flags for seen in answers] == ["S."]
    entry = next(iter(listener.half_open.values()))
    assert entry.syn.fast_open == expected
    assert (entry.syn.unknown is None) == (expected is not None)


@pytest.mark.parametrize("size", [0, 1, 8, 30])
def test_an_option_that_runs_out_of_the_header_asks_for_no_cookie(size: int) -> None:
    peer, _ = server()
    packet = bytearray(peer.packet(SYN, seq=0, ack=0, unknown=[(34, b"\0\0")]))
    packet[20 + 20 + 1] = size if size < 2 else 40
    if size >= 2:
        packet[20 + 20] = 254
    # Its checksum is made good again, so that the option list is what is looked at.
    packet[36:38] = b"\0\0"
    total = int.from_bytes(bytes(4), "big")
    body = bytes(packet[12:20]) + b"\0\x06" + (len(packet) - 20).to_bytes(2, "big") + bytes(packet[20:])
    for at in range(0, len(body), 2):
        total += int.from_bytes(body[at : at + 2], "big")
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    packet[36:38] = (0xFFFF - total).to_bytes(2, "big")
    (syn_ack,) = peer.inject(bytes(packet))
    assert (syn_ack.flags, syn_ack.segment.fast_open) == ("S.", None)
