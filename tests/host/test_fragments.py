"""Reassembly: in any order, within limits, and never from overlapping pieces."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM
from estab.errors import DropReason
from estab.host.engine import Engine
from estab.host.sockets.udp import DatagramSocket
from estab.units import NEVER
from estab.wire import fragment, icmp, ip, udp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from tests.kit.engines import MS, SECOND, Net, Wire, drops, errors, packets, pair

ENDS = [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")]


def receiver(is_v4: bool) -> tuple[Net, Engine, DatagramSocket, Wire]:
    """A host on a bare IP link, with a socket at port 9."""
    net = Net()
    wire = Wire()
    a = net.host("a")
    net.join(wire, a, "10.0.0.1/24", "fd00::1/64", is_ethernet=False)
    one = a.socket(AF_INET if is_v4 else AF_INET6, SOCK_DGRAM, net.now_ns)
    assert isinstance(one, DatagramSocket)
    one.bind(("", 9), net.now_ns)
    return net, a, one, wire


def pieces(ends: tuple[str, str], text: bytes, mtu: int = 1280, ident: int = 7, tos: int = 0) -> list[bytes]:
    """A datagram to port 9, in fragments."""
    src, dst = (parse_address(end) for end in ends)
    whole = udp.emit_packet(5, 9, text, IpHeader(src, dst, ident=ident), tos=tos)
    return fragment.split(ip.parse(whole), mtu, ident)


@pytest.mark.parametrize("ends", ENDS)
def test_one_source_can_not_fill_the_memory_for_fragments(ends: tuple[str, str]) -> None:
    net, a, one, _ = receiver("." in ends[0])
    a.sysctl["net.ipv4.ipfrag_high_thresh"] = 100_000
    for ident in range(200):
        a.on_frame(1, pieces(ends, bytes(2000), ident=ident)[0], net.now_ns)
    assert 45_000 < a.reassembly.bytes_held <= 50_000, "half of the memory"
    assert a.counters()["EstabFragSourceLimited"] == drops(a, DropReason.FRAG_QUEUE_FULL) > 100
    other = ("10.0.0.3", ends[1]) if "." in ends[0] else ("fd01::3", ends[1])
    for piece in pieces(other, b"honest" * 1000):
        a.on_frame(1, piece, net.now_ns)
    assert [received.text for received in one.queue] == [b"honest" * 1000]
    net.run(61 * SECOND)
    assert a.reassembly.bytes_held == 0
    a.on_frame(1, pieces(ends, bytes(2000), ident=201)[0], net.now_ns)
    assert a.reassembly.bytes_held > 0, "the share is free again"


@pytest.mark.parametrize("ends", ENDS)
@given(repeated=st.lists(st.integers(0, 3), max_size=5), seed=st.randoms(use_true_random=False))
def test_fragments_in_any_order_with_duplicates_give_the_datagram(
        ends: tuple[str, str], repeated: list[int], seed: Random) -> None:
    net, a, one, _ = receiver("." in ends[0])
    text = bytes(range(250)) * 20
    cut = pieces(ends, text)
    order = [*range(len(cut)), *repeated]
    seed.shuffle(order)
    for number in order:
        a.on_frame(1, cut[number], net.now_ns)
    assert {received.text for received in one.queue} == {text}
    net.run(60 * SECOND)
    assert a.reassembly.bytes_held == 0


@pytest.mark.parametrize("ends", ENDS)
def test_fragments_of_different_datagrams_are_never_mixed(ends: tuple[str, str]) -> None:
    net, a, one, _ = receiver("." in ends[0])
    first = pieces(ends, b"a" * 3000, ident=1)
    second = pieces(ends, b"b" * 3000, ident=2)
    for piece in [first[0], second[1], second[0], first[1], second[2], first[2]]:
        a.on_frame(1, piece, net.now_ns)
    assert [one.recvfrom(9999, 0)[0] for _ in range(2)] == [b"b" * 3000, b"a" * 3000]


@pytest.mark.parametrize("ends", ENDS)
def test_overlap_discards_the_datagram_and_what_still_comes_of_it(ends: tuple[str, str]) -> None:
    # RFC 5722 section 3
    net, a, one, _ = receiver("." in ends[0])
    coarse, fine = pieces(ends, b"a" * 3000), pieces(ends, b"b" * 3000, mtu=1288)
    a.on_frame(1, coarse[1], net.now_ns)
    a.on_frame(1, fine[0], net.now_ns)
    for piece in coarse:
        a.on_frame(1, piece, net.now_ns)
    assert not one.queue
    assert a.counters()["IpExtReasmOverlaps"] == 1
    assert drops(a, DropReason.DUP_FRAG) == 4
    assert a.reassembly.bytes_held == 256
    net.run(60 * SECOND)
    assert (a.reassembly.bytes_held, a.reassembly.datagram_count()) == (0, 0)
    for piece in coarse:
        a.on_frame(1, piece, net.now_ns)
    assert len(one.queue) == 1


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("has_first", [True, False])
def test_timeout_forgets_and_tells_the_sender_if_the_first_fragment_came(
        ends: tuple[str, str], has_first: bool) -> None:
    net, a, _, wire = receiver("." in ends[0])
    is_v4 = "." in ends[0]
    a.on_frame(1, pieces(ends, b"a" * 3000)[0 if has_first else 1], net.now_ns)
    net.run((29 if is_v4 else 59) * SECOND)
    assert a.reassembly.datagram_count() == 1
    net.run(2 * SECOND)
    assert a.reassembly.datagram_count() == 0
    assert a.next_deadline_ns() == NEVER
    assert drops(a, DropReason.FRAG_REASM_TIMEOUT) == 1
    assert a.counters()["IpReasmTimeout" if is_v4 else "Ip6ReasmTimeout"] == 1
    told = errors(wire.passed, icmp.TIME_EXCEEDED)
    assert [error.code for error in told] == ([1] if has_first else [])


def test_memory_is_bounded_and_frees_itself() -> None:
    net, a, one, _ = receiver(True)
    src, dst = (parse_address(end) for end in ENDS[0])
    for ident in range(4000):
        a.on_frame(1, ip.emit(src, dst, ip.UDP, b"a" * 1400, ident=ident, more_fragments=True), net.now_ns)
        assert a.reassembly.bytes_held <= a.config.ipfrag_high_thresh
    assert drops(a, DropReason.FRAG_QUEUE_FULL) > 1000
    net.run(31 * SECOND)
    assert a.reassembly.bytes_held == 0
    for piece in pieces(ENDS[0], b"a" * 3000):
        a.on_frame(1, piece, net.now_ns)
    assert len(one.queue) == 1


def test_fragment_beyond_the_largest_datagram_is_dropped() -> None:
    net, a, _, _ = receiver(True)
    src, dst = (parse_address(end) for end in ENDS[0])
    a.on_frame(1, ip.emit(src, dst, ip.UDP, b"a" * 64, ident=1, fragment_offset=65528), net.now_ns)
    assert drops(a, DropReason.FRAG_TOO_FAR) == 1


def test_datagram_that_would_be_too_long_with_its_header_is_dropped() -> None:
    net, a, _, _ = receiver(True)
    src, dst = (parse_address(end) for end in ENDS[0])
    for at in range(0, 65520, 1456):
        is_last = at + 1456 >= 65520
        text = b"a" * (65535 - at if is_last else 1456)
        piece = ip.emit(src, dst, ip.UDP, text, ident=1, fragment_offset=at, more_fragments=not is_last)
        a.on_frame(1, piece, net.now_ns)
    assert drops(a, DropReason.FRAG_TOO_FAR) == 1
    assert a.counters()["IpReasmFails"] == 1


@pytest.mark.parametrize("size", [0, 7, 1])
def test_odd_or_empty_middle_fragments_are_dropped(size: int) -> None:
    net, a, _, _ = receiver(True)
    src, dst = (parse_address(end) for end in ENDS[0])
    a.on_frame(1, ip.emit(src, dst, ip.UDP, b"a" * size, ident=1, more_fragments=True), net.now_ns)
    assert drops(a, DropReason.IP_INHDR) == 1
    assert a.reassembly.datagram_count() == 0


@pytest.mark.parametrize(("marks", "result"), [((2, 2, 2), 2), ((2, 3, 2), 3), ((0, 0, 0), 0), ((0, 3, 3), None)])
def test_congestion_mark_of_any_fragment_is_kept_and_impossible_mixes_discard(
        marks: tuple[int, ...], result: int | None) -> None:
    # RFC 3168 section 5.3
    net, a, one, _ = receiver(True)
    for number, mark in enumerate(marks):
        a.on_frame(1, pieces(ENDS[0], b"a" * 3000, tos=mark)[number], net.now_ns)
    assert [received.tos for received in one.queue] == ([] if result is None else [result])


@pytest.mark.parametrize("ends", ENDS)
def test_two_hosts_exchange_datagrams_larger_than_the_link(ends: tuple[str, str]) -> None:
    net, a, b, wire = pair()
    family = AF_INET if "." in ends[0] else AF_INET6
    to, by = b.socket(family, SOCK_DGRAM, net.now_ns), a.socket(family, SOCK_DGRAM, net.now_ns)
    to.bind(("", 9), net.now_ns)
    text = bytes(range(256)) * 200
    by.sendto(text, (ends[0], 9), 0, net.now_ns)
    net.run(100 * MS)
    assert to.recvfrom(65535, 0)[0] == text
    assert all(len(data) <= 1514 for _, _, data in wire.passed)
    fragments = [packet for packet in packets(wire.passed, "a") if ip.is_fragment(packet)]
    assert len(fragments) == (35 if family == AF_INET else 36)
    assert len({packet.ident for packet in fragments}) == 1


def test_idents_of_datagrams_differ_and_their_start_is_not_guessable() -> None:
    seen = []
    for _ in range(2):
        net, a, _, wire = pair(is_ethernet=False)
        one = a.socket(AF_INET, SOCK_DGRAM, net.now_ns)
        for _ in range(3):
            one.sendto(b"a" * 2000, ("10.0.0.2", 9), 0, net.now_ns)
        net.flush()
        seen.append([packet.ident for packet in packets(wire.passed)])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 3
    assert seen[0][0] not in (0, 1)


# --- what RFC 8200 and RFC 7112 refuse


def v6_fragment(kind: int, offset: int, text: bytes, *, more: bool, ident: int = 1) -> bytes:
    src, dst = (parse_address(end) for end in ENDS[1])
    return ip.emit(src, dst, kind, text, ident=ident, fragment_offset=offset, more_fragments=more)


def udp_text(size: int) -> bytes:
    src, dst = (parse_address(end) for end in ENDS[1])
    return udp.emit(5, 9, bytes(size), src, dst)


OPTIONS = bytes([ip.UDP, 0, 1, 4, 0, 0, 0, 0])


@pytest.mark.parametrize(("first", "rest", "told"), [
    ((ip.DESTINATION_OPTIONS, OPTIONS), udp_text(2000), (3, 0)),
    ((ip.DESTINATION_OPTIONS, bytes([ip.UDP, 2, 1, 20, 0, 0, 0, 0])), bytes(16) + udp_text(2000), (3, 0)),
    ((ip.HOP_BY_HOP, OPTIONS + udp_text(992)[:992]), udp_text(992)[992:], (1, 6)),
    ((ip.FRAGMENT, bytes([ip.UDP, 0, 0, 1, 0, 0, 0, 9]) + udp_text(992)[:992]), udp_text(992)[992:], (0, 40)),
])
def test_what_filters_could_not_see_is_refused(
    first: tuple[int, bytes], rest: bytes, told: tuple[int, int],
) -> None:
    net, a, one, wire = receiver(False)
    kind, text = first
    a.on_frame(1, v6_fragment(kind, 0, text, more=True), net.now_ns)
    a.on_frame(1, v6_fragment(kind, len(text), rest, more=False), net.now_ns)
    net.flush()
    assert [(error.code, error.pointer) for error in errors(wire.passed, icmp.PARAMETER_PROBLEM)] == [told]
    assert not one.queue


def test_a_first_fragment_with_part_of_a_tcp_header_is_refused() -> None:
    net, a, _, wire = receiver(False)
    a.on_frame(1, v6_fragment(ip.TCP, 0, bytes(16), more=True), net.now_ns)
    net.flush()
    assert [(error.code, error.pointer) for error in errors(wire.passed, icmp.PARAMETER_PROBLEM)] == [(3, 0)]
    assert a.reassembly.datagram_count() == 0


def test_a_first_fragment_with_all_its_headers_is_taken() -> None:
    net, a, one, _ = receiver(False)
    text = OPTIONS + udp_text(2000)
    a.on_frame(1, v6_fragment(ip.DESTINATION_OPTIONS, 0, text[:16], more=True), net.now_ns)
    a.on_frame(1, v6_fragment(ip.DESTINATION_OPTIONS, 16, text[16:], more=False), net.now_ns)
    assert len(one.queue) == 1


def test_a_v6_fragment_beyond_the_largest_datagram_is_told_to_its_sender() -> None:
    net, a, _, wire = receiver(False)
    a.on_frame(1, v6_fragment(ip.UDP, 65528, bytes(100), more=False), net.now_ns)
    net.flush()
    assert [(error.code, error.pointer) for error in errors(wire.passed, icmp.PARAMETER_PROBLEM)] == [(0, 42)]


# --- held against attack


@pytest.mark.parametrize("ends", ENDS)
def test_bytes_behind_the_packet_are_not_kept(ends: tuple[str, str]) -> None:
    """A frame of 64 KB with a first fragment of 8 bytes is charged, and takes, a few hundred bytes."""
    net, a, _, _ = receiver("." in ends[0])
    src, dst = (parse_address(end) for end in ends)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for ident in range(1000):
        first = ip.emit(src, dst, ip.UDP, b"x" * 8, ident=ident, more_fragments=True)
        a.on_frame(1, first + bytes(65_000), net.now_ns)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert a.reassembly.datagram_count() == 1000
    assert held < 2 * a.reassembly.bytes_held
    assert held < 2_000_000


def test_a_first_fragment_is_quoted_whole_when_its_time_is_up() -> None:
    for ends in ENDS:
        net, a, _, wire = receiver("." in ends[0])
        first = pieces(ends, b"a" * 3000)[0]
        a.on_frame(1, first + bytes(100), net.now_ns)
        net.run(61 * SECOND)
        told = errors(wire.passed, icmp.TIME_EXCEEDED)
        assert len(told) == 1
        assert first.startswith(told[0].quote[:500])


def test_datagrams_expire_in_the_order_of_their_time_and_only_then() -> None:
    net, a, _, _ = receiver(True)
    for ident in range(100):
        a.on_frame(1, pieces(ENDS[ident % 2], b"a" * 3000, ident=ident)[0], net.now_ns + ident)
    assert a.reassembly.next_due_ns == net.now_ns + a.config.ipfrag_time_ns
    a.on_deadline(net.now_ns + a.config.ipfrag_time_ns + 50)
    assert a.reassembly.datagram_count() == 100 - 26
    a.on_deadline(net.now_ns + a.config.ip6frag_time_ns + 50)
    assert a.reassembly.datagram_count() == 25
    a.on_deadline(net.now_ns + a.config.ip6frag_time_ns + 100)
    assert (a.reassembly.datagram_count(), a.reassembly.bytes_held) == (0, 0)
    assert a.reassembly.next_due_ns == NEVER
