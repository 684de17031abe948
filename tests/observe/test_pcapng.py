"""The capture format: what is written can be read, by us and by tshark, and depends on nothing else."""

from __future__ import annotations

import io
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.observe.pcapng import (
    INBOUND,
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    OUTBOUND,
    CaptureError,
    Interface,
    PcapngWriter,
    read,
)


def written() -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.section("seed 7")
    client = writer.interface("client:eth0", LINKTYPE_RAW)
    server = writer.interface("server:eth0", LINKTYPE_ETHERNET, description="the far end")
    writer.packet(client, 1, b"abc", comment="first", direction=OUTBOUND)
    writer.packet(server, 1 << 33, b"", direction=INBOUND)
    writer.section("again")
    writer.packet(writer.interface("other", LINKTYPE_RAW), 5, bytes(9))
    return stream.getvalue()


def test_what_is_written_is_read_back() -> None:
    capture = read(io.BytesIO(written()))
    assert capture.comments == ["seed 7", "again"]
    client = Interface("client:eth0", LINKTYPE_RAW, 10**9)
    server = Interface("server:eth0", LINKTYPE_ETHERNET, 10**9, "the far end")
    assert capture.interfaces == [client, server, Interface("other", LINKTYPE_RAW, 10**9)]
    first, second, third = capture.packets
    assert (first.interface, first.at_ns, first.data, first.comment, first.direction) == (client, 1, b"abc", "first", 2)
    assert (second.interface, second.at_ns, second.data, second.direction) == (server, 1 << 33, b"", 1)
    assert (third.interface.name, third.data) == ("other", bytes(9))


def test_the_same_calls_give_the_same_bytes() -> None:
    assert written() == written()


def test_blocks_are_whole_and_aligned() -> None:
    data, at = written(), 0
    while at < len(data):
        _, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        at += length
    assert at == len(data)


def test_an_interface_needs_a_section_and_a_packet_an_interface() -> None:
    writer = PcapngWriter(io.BytesIO())
    with pytest.raises(ValueError, match="section"):
        writer.interface("eth0", LINKTYPE_RAW)
    writer.section()
    with pytest.raises(ValueError, match="number 0"):
        writer.packet(0, 0, b"")


def test_interfaces_of_an_earlier_section_are_gone() -> None:
    writer = PcapngWriter(io.BytesIO())
    writer.section()
    number = writer.interface("eth0", LINKTYPE_RAW)
    writer.section()
    with pytest.raises(ValueError, match="number 0"):
        writer.packet(number, 0, b"")


def test_a_long_comment_is_cut_at_a_character() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.section("é" * 40_000)
    assert read(io.BytesIO(stream.getvalue())).comments == ["é" * 32_767]


@given(st.binary(max_size=200), st.text(max_size=50), st.integers(0, 2**63))
def test_any_packet_survives(data: bytes, comment: str, at_ns: int) -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.section()
    writer.packet(writer.interface("i", LINKTYPE_RAW), at_ns, data, comment=comment)
    packet, = read(io.BytesIO(stream.getvalue())).packets
    assert (packet.data, packet.comment, packet.at_ns, packet.length) == (data, comment, at_ns, len(data))


def test_a_big_endian_capture_in_microseconds_is_read() -> None:
    def block(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)

    section = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack(">HHI", LINKTYPE_ETHERNET, 0, 65535))
    unknown = block(0xBAD, b"????")
    packet = block(6, struct.pack(">IIIII", 0, 0, 3, 2, 60) + b"hi\0\0")
    found, = read(io.BytesIO(section + interface + unknown + packet)).packets
    assert (found.at_ns, found.data, found.length) == (3000, b"hi", 60)


@given(st.data())
def test_a_damaged_capture_is_an_error_and_nothing_else(data: st.DataObject) -> None:
    image = bytearray(written())
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(image)))
    with suppress(CaptureError):
        read(io.BytesIO(bytes(image[:end])))


def test_a_file_of_another_kind_is_named_as_such() -> None:
    with pytest.raises(CaptureError, match="neither pcap nor pcapng: it begins with 89504e47"):
        read(io.BytesIO(b"\x89PNG" + bytes(20)))
