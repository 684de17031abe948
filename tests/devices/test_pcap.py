"""Reading captures, and playing them to a stack."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import estab
from estab.devices.capture_file import INBOUND, OUTBOUND, Captured, CaptureError, read_capture
from estab.devices.decapsulate import LINK_TYPES, Inside, inside, ip_packet
from estab.wire import ip, udp

HERE, THERE = b"\x0a\x09\0\1", b"\x0a\x09\0\2"
SECOND = 1_000_000_000


def classic(frames: list[tuple[int, bytes]], order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 101) -> bytes:
    """Write a classic pcap file."""
    tick = 1000 if magic == 0xA1B2C3D4 else 1
    text = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65_535, link_type)
    for at_ns, data in frames:
        text += struct.pack(f"{order}IIII", at_ns // SECOND, at_ns % SECOND // tick, len(data), len(data)) + data
    return text


def block(order: str, kind: int, body: bytes) -> bytes:
    """Write a pcapng block."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def pcapng(frames: list[tuple[int, bytes]], order: str = "<", resolution: int = 9) -> bytes:
    """Write a pcapng file with one interface of bare IP packets."""
    text = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(f"{order}HHBxxx", 9, 1, resolution) + struct.pack(f"{order}HH", 0, 0)
    text += block(order, 1, struct.pack(f"{order}HHI", 101, 0, 0) + options)
    for at_ns, data in frames:
        ticks = at_ns * 10**resolution // SECOND
        head = struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        text += block(order, 6, head + data)
    return text


FRAMES = [(1_700_000_000 * SECOND + 1000 * number, bytes([0x45, number]) + bytes(20 + number)) for number in range(5)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_classic_captures_are_read_in_both_byte_orders_and_resolutions(order: str, magic: int) -> None:
    read = list(read_capture(io.BytesIO(classic(FRAMES, order, magic))))
    assert read == [Captured(at_ns, 101, data) for at_ns, data in FRAMES]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [6, 9])
def test_pcapng_is_read_in_both_byte_orders_and_resolutions(order: str, resolution: int) -> None:
    read = list(read_capture(io.BytesIO(pcapng(FRAMES, order, resolution))))
    assert read == [Captured(at_ns, 101, data) for at_ns, data in FRAMES]


def test_sections_of_different_byte_order_follow_each_other() -> None:
    assert len(list(read_capture(io.BytesIO(pcapng(FRAMES, "<") + pcapng(FRAMES, ">"))))) == 10


@given(st.data())
def test_a_damaged_file_raises_a_capture_error_or_reads(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([classic(FRAMES), pcapng(FRAMES), pcapng(FRAMES, ">")])))
    cut = data.draw(st.integers(0, len(whole)))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CaptureError):
        list(read_capture(io.BytesIO(bytes(whole[:cut]))))


@pytest.mark.parametrize(("link_type", "head"), [
    (1, bytes(12) + b"\x08\x00"), (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00"), (101, b""), (0, b"\2\0\0\0"),
    (113, bytes(14) + b"\x08\x00"), (276, b"\x08\x00" + bytes(18)), (228, b""),
    (9, b"\x00\x21"), (9, b"\xff\x03\x00\x21"), (9, b"\x21"), (50, b"\xff\x03\x00\x21"), (166, b"\x01\x03\x00\x21"),
    (204, b"\x01\xff\x03\x00\x21"), (204, b"\x00\x00\x21"), (51, b"\x11\x00\x00\x01\x00\x16\x00\x21"),
    (104, b"\x0f\x00\x08\x00"), (1, bytes(12) + b"\x88\x64\x11\x00\x00\x01\x00\x16\x00\x21"),
    (239, b"\x02\x00\x00\x00\x08\x00\x01\x00\x08\x00\x01\x00\x1a\x00\x09\x00"),
    (1, bytes(12) + b"\x00\x1c\xaa\xaa\x03\x00\x00\x00\x08\x00"),
    (1, bytes(12) + b"\x88\x47\x00\x01\x00\x40\x00\x01\x01\x40"), (1, bytes(12) + b"\x81\x00\x00\x00\x08\x00"),
])
def test_the_packet_is_found_in_each_kind_of_frame(link_type: int, head: bytes) -> None:
    inner = ip.emit(HERE, THERE, ip.UDP, b"xx")
    assert ip_packet(Captured(0, link_type, head + inner)) == inner


def test_vlans_are_told_and_a_priority_tag_is_none() -> None:
    inner = ip.emit(HERE, THERE, ip.UDP, b"x")
    tags = b"\x88\xa8\x00\x14\x81\x00\x20\x0a\x08\x00"
    assert inside(Captured(0, 1, bytes(12) + tags + inner)) == Inside(inner, (20, 10))
    assert inside(Captured(0, 1, bytes(12) + b"\x81\x00\xe0\x00\x08\x00" + inner)) == Inside(inner, ())


def test_a_cooked_header_tells_the_direction() -> None:
    inner = ip.emit(HERE, THERE, ip.UDP, b"x")
    found = [inside(Captured(0, 113, kind + bytes(12) + b"\x08\x00" + inner)) for kind in (b"\0\4", b"\0\0")]
    assert [one.direction for one in found if one is not None] == [OUTBOUND, INBOUND]


@given(st.sampled_from([*LINK_TYPES, 147]), st.binary(max_size=80))
def test_no_frame_trips_the_search_for_its_packet(link_type: int, data: bytes) -> None:
    ip_packet(Captured(0, link_type, data))


@pytest.mark.parametrize("whole", [classic(FRAMES), pcapng(FRAMES)])
@pytest.mark.parametrize("missing", [1, 7, 20])
def test_a_file_that_ends_in_the_middle_gives_what_is_before_the_cut(whole: bytes, missing: int) -> None:
    reader = read_capture(io.BytesIO(whole[:-missing]))
    assert [frame.data for frame in reader] == [data for _, data in FRAMES[:-1]]
    assert reader.cut.startswith("it ends inside of a ")


def test_a_whole_file_says_nothing_of_a_cut() -> None:
    reader = read_capture(io.BytesIO(classic(FRAMES)))
    assert (len(list(reader)), reader.cut) == (5, "")


def test_a_compressed_capture_is_read_as_it_is() -> None:
    text = gzip.compress(pcapng(FRAMES), mtime=0)
    assert [frame.data for frame in read_capture(io.BytesIO(text))] == [data for _, data in FRAMES]
    reader = read_capture(io.BytesIO(text[:-12]))
    list(reader)
    assert reader.cut


def test_simple_and_old_packet_blocks_are_read() -> None:
    packet = bytes(range(1, 101))
    text = block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    text += block("<", 1, struct.pack("<HHI", 101, 0, 61))
    text += block("<", 3, struct.pack("<I", 100) + packet[:61])
    text += block("<", 2, struct.pack("<HHIIII", 0, 3, 0, 7, 61, 100) + packet[:61])
    frames = list(read_capture(io.BytesIO(text)))
    assert [(frame.data, frame.length, frame.time_ns) for frame in frames] == [
        (packet[:61], 100, -1), (packet[:61], 100, 7000)]


def test_what_the_capture_lost_is_counted_from_its_statistics() -> None:
    options = struct.pack("<HHQ", 5, 8, 12) + struct.pack("<HH", 0, 0)
    reader = read_capture(io.BytesIO(pcapng(FRAMES) + block("<", 5, bytes(12) + options)))
    list(reader)
    assert reader.dropped_count == 12


def test_arp_is_no_packet() -> None:
    assert ip_packet(Captured(0, 1, bytes(12) + b"\x08\x06" + bytes(28))) is None


def make_capture(path: Path, gap_ns: int = 0) -> None:
    """Record three datagrams to a port, among packets of the other direction."""
    frames = []
    for number in range(3):
        text = udp.emit(1000, 53, b"question %d" % number, HERE, THERE)
        frames.append((SECOND + number * gap_ns, ip.emit(HERE, THERE, ip.UDP, text)))
        frames.append((SECOND + number * gap_ns, ip.emit(THERE, HERE, ip.UDP, udp.emit(53, 1000, b"a", THERE, HERE))))
    path.write_bytes(classic(frames, magic=0xA1B23C4D))


@pytest.mark.parametrize("speed", [None, 1.0])
def test_a_stack_hears_what_was_recorded_and_what_it_answers_is_kept(tmp_path: Path, speed: float | None) -> None:
    make_capture(tmp_path / "a.pcap", gap_ns=2_000_000)
    link = estab.PcapDevice(tmp_path / "a.pcap", to="10.9.0.2", speed=speed)
    with contextlib.closing(estab.Stack(link, "10.9.0.2/24")) as stack:
        with stack.runtime.lock:  # nothing is played before somebody is there to hear it
            server = stack.socket(type=2)
            server.bind(("", 53))
            server.settimeout(20)
        with server:
            for number in range(3):
                data, sender = server.recvfrom(100)
                assert (data, sender) == (b"question %d" % number, ("10.9.0.1", 1000))
                server.sendto(b"answer", sender)
        assert link.is_over
    assert [ip.parse(sent, 0).dst for sent in link.sent] == [HERE, HERE, HERE]


def test_a_capture_of_an_unknown_link_type_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(classic(FRAMES, link_type=147))
    with pytest.raises(CaptureError, match="link type 147 is not one that can be read"):
        estab.PcapDevice(tmp_path / "a.pcap")


def test_checksums_that_a_network_card_would_have_filled_in_can_be_filled_in(tmp_path: Path) -> None:
    right = ip.emit(HERE, THERE, ip.UDP, udp.emit(1000, 53, b"question", HERE, THERE))
    (tmp_path / "a.pcap").write_bytes(classic([(SECOND, right[:26] + b"\x12\x34" + right[28:])]))
    assert estab.PcapDevice(tmp_path / "a.pcap", validate_checksums=False).receive() == right
    assert estab.PcapDevice(tmp_path / "a.pcap").receive() != right


def test_a_capture_that_was_cut_short_is_played_up_to_the_cut(tmp_path: Path) -> None:
    make_capture(tmp_path / "a.pcap")
    (tmp_path / "b.pcap").write_bytes((tmp_path / "a.pcap").read_bytes()[:-3])
    link = estab.PcapDevice(tmp_path / "b.pcap")
    assert (link.packets, link.cut[:7]) == (5, "it ends")
