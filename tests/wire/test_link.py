"""Ethernet and ARP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.errors import DropReason, WireError
from estab.wire import arp, ethernet
from tests.wire.vectors import u16s

macs = st.binary(min_size=6, max_size=6)
v4s = st.binary(min_size=4, max_size=4)


@given(macs, macs, u16s, st.binary(max_size=60))
def test_a_frame_comes_out_as_it_went_in(dst: bytes, src: bytes, ethertype: int, payload: bytes) -> None:
    frame = ethernet.parse(ethernet.emit(dst, src, ethertype, payload))
    assert (frame.dst, frame.src, frame.ethertype, frame.data[frame.start :]) == (dst, src, ethertype, payload)


@given(st.integers(1, 2), macs, v4s, macs, v4s)
def test_an_arp_message_comes_out_as_it_went_in(
    operation: int, sender_mac: bytes, sender: bytes, target_mac: bytes, target: bytes
) -> None:
    read = arp.parse(b"frame" + arp.emit(arp.Arp(operation, sender_mac, sender, target_mac, target)) + bytes(18), 5)
    assert (read.operation, read.sender_mac, read.sender, read.target_mac, read.target) == (
        operation, sender_mac, sender, target_mac, target)


def test_an_arp_request_is_laid_out_as_rfc_826_says() -> None:
    request = arp.Arp(arp.REQUEST, bytes.fromhex("020000000001"), b"\x0a\0\0\1", bytes(6), b"\x0a\0\0\2")
    assert arp.emit(request).hex() == "0001080006040001" "020000000001" "0a000001" "000000000000" "0a000002"


@pytest.mark.parametrize(("data", "reason"), [
    ("0001080006040001", DropReason.PKT_TOO_SMALL),
    ("0006080006040001" + "00" * 20, DropReason.ARP_INVALID),
    ("000186dd06040001" + "00" * 20, DropReason.ARP_INVALID),
    ("0001080006060001" + "00" * 20, DropReason.ARP_INVALID),
    ("0001080006040003" + "00" * 20, DropReason.ARP_INVALID),
    ("0001080006040000" + "00" * 20, DropReason.ARP_INVALID),
])
def test_each_broken_arp_message_has_its_reason(data: str, reason: DropReason) -> None:
    with pytest.raises(WireError) as caught:
        arp.parse(bytes.fromhex(data))
    assert caught.value.reason == reason


def test_a_short_frame_is_refused() -> None:
    with pytest.raises(WireError) as caught:
        ethernet.parse(bytes(13))
    assert caught.value.reason == DropReason.PKT_TOO_SMALL


def test_ip_versions_have_their_ethertypes() -> None:
    assert (ethernet.ethertype_of(4), ethernet.ethertype_of(6)) == (0x0800, 0x86DD)
