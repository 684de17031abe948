"""Addresses: text, networks, and kinds."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.wire import address
from tests.wire.vectors import address_pairs

addresses = address_pairs.map(lambda pair: pair[0])


@given(addresses)
def test_text_and_bytes_are_the_same_address(raw: bytes) -> None:
    assert address.parse_address(address.format_address(raw)) == raw


@pytest.mark.parametrize(("text", "raw"), [
    ("10.0.0.1", "0a000001"),
    ("::", "00" * 16),
    ("fd00::1", "fd00" + "00" * 13 + "01"),
    ("2001:db8::1:0:0:1", "20010db8000000000001000000000001"),
    ("::ffff:10.0.0.1", "00" * 10 + "ffff0a000001"),
])
def test_addresses_are_written_as_rfc_5952_says(text: str, raw: str) -> None:
    assert address.parse_address(text) == bytes.fromhex(raw)
    assert address.format_address(bytes.fromhex(raw)) == text


def test_more_addresses_than_are_remembered_are_read_rightly() -> None:
    for number in [*range(5000), 7]:
        raw = number.to_bytes(4, "big")
        assert address.parse_address(address.format_address(raw)) == raw


@pytest.mark.parametrize("text", [
    "", "10.0.0", "10.0.0.256", "10.0.0.1/24", "fe80::1%eth0", "::1::", "host", "010.0.0.1",
])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        address.parse_address(text)
    assert repr(text) in str(caught.value)


def test_a_prefix_keeps_the_host_bits_and_defaults_to_all() -> None:
    assert address.parse_prefix("10.0.0.7/24") == (b"\x0a\0\0\x07", 24)
    assert address.parse_prefix("10.0.0.7") == (b"\x0a\0\0\x07", 32)
    assert address.parse_prefix("fd00::1/64")[1] == 64
    assert address.parse_prefix("::/0") == (bytes(16), 0)


@pytest.mark.parametrize("text", [
    "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/a", "10.0.0.1/²", "::/129", "::/0128",
])
def test_a_bad_prefix_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        address.parse_prefix(text)


@given(addresses, addresses, st.integers(0, 128))
def test_networks_are_those_of_the_ipaddress_module(one: bytes, other: bytes, bits: int) -> None:
    bits = min(bits, len(one) * 8)
    network = ipaddress.ip_network((one, bits), strict=False)
    assert address.network_of(one, bits) == network.network_address.packed
    assert address.matches(other, network.network_address.packed, bits) == (ipaddress.ip_address(other) in network)
    assert address.matches(one, network.network_address.packed, bits)


@given(addresses, st.integers(1, 128), st.data())
def test_one_different_bit_decides_a_match(one: bytes, bits: int, data: st.DataObject) -> None:
    bits = min(bits, len(one) * 8)
    flipped = data.draw(st.integers(0, len(one) * 8 - 1))
    other = (int.from_bytes(one, "big") ^ 1 << (len(one) * 8 - 1 - flipped)).to_bytes(len(one), "big")
    assert address.matches(one, other, bits) == (flipped >= bits)


@given(addresses)
def test_kinds_are_those_of_the_ipaddress_module(raw: bytes) -> None:
    known = ipaddress.ip_address(raw)
    assert address.is_multicast(raw) == known.is_multicast
    assert address.is_unspecified(raw) == known.is_unspecified
    assert address.is_link_local(raw) == (raw[:2] == b"\xa9\xfe" if len(raw) == 4 else known.is_link_local)
    assert address.is_loopback(raw) == (raw[0] == 127 if len(raw) == 4 else raw == address.parse_address("::1"))


@pytest.mark.parametrize(("text", "claim"), [
    ("0.0.0.0", address.is_unspecified), ("::", address.is_unspecified), ("127.9.9.9", address.is_loopback),
    ("::1", address.is_loopback), ("224.0.0.1", address.is_multicast), ("239.255.255.255", address.is_multicast),
    ("ff02::1", address.is_multicast), ("255.255.255.255", address.is_broadcast),
    ("169.254.1.1", address.is_link_local), ("fe80::1", address.is_link_local), ("febf::1", address.is_link_local),
    ("::ffff:1.2.3.4", address.is_v4_mapped),
])
def test_an_example_of_each_kind_is_of_that_kind_alone(text: str, claim: object) -> None:
    raw = address.parse_address(text)
    claims = (address.is_unspecified, address.is_loopback, address.is_multicast, address.is_broadcast,
              address.is_link_local, address.is_v4_mapped)
    assert [one for one in claims if one(raw)] == [claim]


def test_a_mapped_address_gives_the_ipv4_address_back() -> None:
    mapped = address.map_v4(b"\x0a\0\0\1")
    assert address.is_v4_mapped(mapped)
    assert address.unmap_v4(mapped) == b"\x0a\0\0\1"


def test_groups_have_the_macs_of_rfc_1112_and_rfc_2464() -> None:
    assert address.multicast_mac(address.parse_address("239.129.2.3")) == bytes.fromhex("01005e010203")
    group = address.solicited_node(address.parse_address("2001:db8::1:2aff:fe28:9c5a"))
    assert address.format_address(group) == "ff02::1:ff28:9c5a"
    assert address.multicast_mac(group) == bytes.fromhex("3333ff289c5a")
    assert address.is_multicast_mac(address.multicast_mac(group))
    assert address.is_multicast_mac(address.BROADCAST_MAC)
    assert not address.is_multicast_mac(address.parse_mac("02:00:00:00:00:01"))


@given(st.binary(min_size=6, max_size=6))
def test_macs_survive_text(mac: bytes) -> None:
    assert address.parse_mac(address.format_mac(mac)) == mac
    assert address.parse_mac(address.format_mac(mac).replace(":", "-").upper()) == mac


@pytest.mark.parametrize("text", [
    "", "02:00:00:00:00", "02:00:00:00:00:0g", "2:0:0:0:0:1", "020000000001", "02:00:00:00:00:+1",
])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mac"):
        address.parse_mac(text)
