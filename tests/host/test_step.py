"""One step: what it asks of the device, and the virtio headers that it writes."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections import deque
from collections.abc import Callable

import pytest

from estab.abi import AF_INET, AF_INET6, SOCK_STREAM
from estab.events import Event, FrameSent
from estab.host.drive.inbox import Inbox
from estab.host.drive.outbox import Outbox
from estab.host.drive.step import BYTES_PER_STEP, CUT_BYTES_PER_STEP, CUT_SHARE_BYTES, FRAMES_PER_STEP, Stepper
from estab.host.engine import Engine
from estab.host.ip.interface import Outbound
from estab.host.sockets.stream import StreamSocket
from estab.units import MS, NEVER, US
from estab.wire import ip, offload, tcp, udp
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from estab.wire.tcp import Segment
from tests.kit.ring import FakeRing

HERE, THERE = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"


class FakeDevice:
    """Gives frames that were put in, and counts how often it was asked for nothing."""

    def __init__(self, takes: bool = True) -> None:
        self.frames: deque[bytes] = deque()
        self.empty_asks = 0
        self.takes = takes
        self.sent: list[tuple[bytes, bytes]] = []

    def receive(self) -> bytes | None:
        """Give the next frame."""
        if self.frames:
            return self.frames.popleft()
        self.empty_asks += 1
        return None

    def send(self, header: bytes, frame: bytes) -> bool:
        """Take a frame, or not."""
        if self.takes:
            self.sent.append((header, frame))
        return self.takes


def datagram(number: int) -> bytes:
    """Make a packet that nobody answers."""
    text = udp.emit(1000, 9, b"%d" % number, THERE, HERE)
    return ip.emit(THERE, HERE, ip.UDP, text)


def make_stepper(device: FakeDevice, *, header_bytes: int = 0, is_polled: bool = True, mac: bytes = b"",
                 is_cut_below: bool = False) -> Stepper:
    """Make a host on a device."""
    host = Engine("a", bytes(32))
    interface = host.add_interface("tun0", mac=mac, segment_bytes_max=65_400 if header_bytes or is_cut_below else 0,
                                   has_checksum_offload=bool(header_bytes))
    interface.is_cut_below = host.context.is_told_by_packet = is_cut_below
    host.add_address(interface, "10.0.0.1/24")
    host.add_address(interface, "fd00::1/64")
    receiver = host.socket(AF_INET, 2, 0)
    receiver.bind(("", 9), 0)
    return Stepper(host, interface, device.receive, device.send, lambda fd, bits: None, header_bytes, is_polled)


def test_in_a_conversation_no_read_comes_back_empty() -> None:
    device = FakeDevice()
    stepper = make_stepper(device)
    for number in range(100):
        device.frames.append(datagram(number))
        stepper.step((number + 1) * MS)
    assert (len(device.frames), device.empty_asks) == (0, 0)


def test_a_burst_is_taken_in_ever_larger_steps() -> None:
    device = FakeDevice()
    stepper = make_stepper(device)
    device.frames.extend(datagram(number) for number in range(1000))
    steps = 0
    while device.frames:
        stepper.step(steps * 10 * US)
        steps += 1
    assert steps < 6 + 1000 // FRAMES_PER_STEP + 2
    assert device.empty_asks <= 1


def test_after_large_frames_the_steps_grow_at_once() -> None:
    device = FakeDevice()
    stepper = make_stepper(device)
    large = ip.emit(THERE, HERE, ip.UDP, udp.emit(1000, 9, bytes(1400), THERE, HERE))
    device.frames.extend([large] * 31)
    for steps in range(5):
        stepper.step(steps * 10 * US)
    assert not device.frames  # 1, 2, 4, 8, 16


def test_a_link_without_a_descriptor_is_always_asked_until_it_has_no_more() -> None:
    device = FakeDevice()
    stepper = make_stepper(device, is_polled=False)
    device.frames.extend(datagram(number) for number in range(FRAMES_PER_STEP + 3))
    stepper.step(0)
    assert (stepper.has_more, len(device.frames)) == (True, 3)
    stepper.step(MS)
    assert (stepper.has_more, len(device.frames)) == (False, 0)


def test_a_refused_frame_is_offered_again_and_nothing_overtakes_it() -> None:
    device = FakeDevice(takes=False)
    stepper = make_stepper(device)
    host = stepper.engine
    for number in range(3):
        sender = host.socket(AF_INET, 2, 0)
        sender.sendto(b"%d" % number, ("10.0.0.2", 9), 0, 0)
    assert stepper.step(0) < NEVER or stepper.is_full
    assert (stepper.is_full, device.sent) == (True, [])
    device.takes = True
    stepper.step(MS)
    assert [frame[-1:] for _, frame in device.sent] == [b"0", b"1", b"2"]
    assert not stepper.is_full


class FullDevice(FakeDevice):
    """Its queue drops every frame."""

    number = errno.ENOBUFS

    def send(self, header: bytes, frame: bytes) -> bool:
        """Say that the queue was full."""
        raise OSError(self.number, "")


def test_a_full_queue_of_the_device_is_told_to_tcp_and_nothing_waits() -> None:
    stepper = make_stepper(FullDevice())
    host = stepper.engine
    client = host.socket(AF_INET, SOCK_STREAM, 0)
    with contextlib.suppress(BlockingIOError):
        client.connect(("10.0.0.2", 80), 0)
    host.socket(AF_INET, 2, 0).sendto(b"1", ("10.0.0.2", 9), 0, 0)
    due_ns = stepper.step(0)
    assert not stepper.is_full
    assert host.counters()["drop:QDISC_DROP"] == 2
    assert host.interfaces[1].tx_frames == 0
    assert client.info(0).ca_state == "CWR"
    assert due_ns == 1000 * MS  # the SYN counts as sent: its timer runs
    stepper.step(due_ns)
    assert host.counters()["TcpExtTCPRetransFail"] == 1
    assert stepper.due_ns == 1500 * MS  # what the timer tried is tried again in half a second


def test_any_other_error_of_a_device_is_raised() -> None:
    device = FullDevice()
    device.number = errno.EIO
    stepper = make_stepper(device)
    stepper.engine.socket(AF_INET, 2, 0).sendto(b"1", ("10.0.0.2", 9), 0, 0)
    with pytest.raises(OSError, match="5"):
        stepper.step(0)


def test_a_descriptor_that_says_enobufs_has_dropped_the_frame() -> None:
    stepper = make_stepper(FakeDevice())

    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOBUFS, "")

    stepper.use_descriptor(1, mmap.mmap(-1, 2000), os.read, lambda buffer: None, write, lambda fd, parts: 0)
    stepper.engine.socket(AF_INET, 2, 0).sendto(b"1", ("10.0.0.2", 9), 0, 0)
    stepper.step(0)
    assert (stepper.is_full, stepper.engine.counters()["drop:QDISC_DROP"]) == (False, 1)


def test_frames_are_read_into_a_buffer_that_stays_until_a_large_one_comes() -> None:
    stepper = make_stepper(FakeDevice())
    frames = [bytes(100), bytes(1400), bytes(1300), bytes(200), bytes(60)]
    calls: list[object] = []

    def read(fd: int, size: int) -> bytes:
        calls.append((fd, size))
        return frames.pop(0)

    def read_into(buffer: mmap.mmap) -> int | None:
        calls.append(len(buffer))
        if not frames:
            return None
        buffer[: len(frames[0])] = frames[0]
        return len(frames.pop(0))

    stepper.use_descriptor(7, mmap.mmap(-1, 1500), read, read_into, os.write, os.writev)
    assert stepper.receive(0, 64) == 5
    assert calls == [1500, 1500, (7, 1500), (7, 1500), 1500, 1500]


@pytest.mark.parametrize("mac", [b"", b"\x02\0\0\0\0\1"], ids=["bare", "ethernet"])
@pytest.mark.parametrize("header_bytes", [10, 12])
@pytest.mark.parametrize(("family", "there"), [(AF_INET, "10.0.0.2"), (AF_INET6, "fd00::2")])
def test_the_virtio_header_is_the_one_that_the_packet_asks_for(
    mac: bytes, header_bytes: int, family: int, there: str,
) -> None:
    device = FakeDevice()
    stepper = make_stepper(device, header_bytes=header_bytes, mac=mac)
    host = stepper.engine
    if mac:
        host.add_neighbor(host.interfaces[1], there, b"\x02\0\0\0\0\2")
    sock = host.socket(family, SOCK_STREAM, 0)
    with pytest.raises(BlockingIOError):
        sock.connect((there, 80), 0)
    stepper.step(0)
    start = 14 if mac else 0
    assert device.sent
    for header, frame in device.sent:
        described = offload.for_packet(frame, 1448, True, start)
        assert header == offload.emit(described, header_bytes == 12)


def connecting(stepper: Stepper) -> None:
    """Let the stepper's host send a SYN."""
    sock = stepper.engine.socket(AF_INET, SOCK_STREAM, 0)
    with pytest.raises(BlockingIOError):
        sock.connect(("10.0.0.2", 80), 0)
    stepper.step(0)


@pytest.mark.parametrize("refusal", [None, BlockingIOError(), OSError(errno.ENOBUFS, "")], ids=repr)
def test_a_small_packet_is_written_to_the_descriptor_in_one_piece_with_its_header(refusal: OSError | None) -> None:
    device = FakeDevice()
    connecting(make_stepper(device, header_bytes=10))
    stepper = make_stepper(FakeDevice(), header_bytes=10)
    written: list[bytes] = []
    refusals = [refusal] if refusal is not None else []

    def write(fd: int, data: bytes) -> int:
        if refusals:
            raise refusals.pop()
        written.append(data)
        return len(data)

    stepper.use_descriptor(1, mmap.mmap(-1, 2000), os.read, lambda buffer: None, write, lambda fd, parts: 0)
    connecting(stepper)
    assert stepper.is_full == isinstance(refusal, BlockingIOError)
    counters = stepper.engine.counters()
    assert counters.get("drop:QDISC_DROP", 0) == (refusal is not None and refusal.errno == errno.ENOBUFS)
    stepper.step(0)
    expected = [] if counters.get("drop:QDISC_DROP") else [header + frame for header, frame in device.sent]
    assert written == expected
    sent = sum(len(data) - 10 for data in written)
    assert stepper.engine.interfaces[1].tx_bytes == sent
    assert counters["IpExtOutOctets"] == len(device.sent[0][1])


@pytest.mark.parametrize("header_bytes", [10, 12])
def test_a_router_learns_from_the_virtio_header_what_a_super_segment_is_made_of(header_bytes: int) -> None:
    device, out = FakeDevice(), []
    stepper = make_stepper(device, header_bytes=header_bytes)
    host = stepper.engine
    host.is_forwarding = True
    host.add_address(host.add_interface("tun1"), "10.1.0.1/24")
    segment = tcp.Segment(80, 1000, 1, 2, tcp.ACK, 100)
    segment.data, segment.end = bytes(2144), 2144
    packet = tcp.emit_packet(segment, IpHeader(THERE, b"\x0a\1\0\2", dont_fragment=True), is_checksum_partial=True)
    described = offload.for_packet(packet, 536, True)
    device.frames.append(offload.emit(described, header_bytes == 12) + packet)
    stepper.receive(0, 1)
    while (outbound := host.poll_frame(0)) is not None:
        out.append(len(outbound.data))
    assert out == [576] * 4


@pytest.mark.parametrize("text_bytes", [0, 1448, 1449, 60_000])
def test_super_segments_are_to_be_cut_and_others_are_not(text_bytes: int) -> None:
    device = FakeDevice()
    stepper = make_stepper(device, header_bytes=10)
    segment = tcp.Segment(80, 1000, 1, 2, tcp.ACK, 100)
    head = tcp.emit_packet(segment, IpHeader(HERE, THERE, dont_fragment=True), is_checksum_partial=True)
    packet = head[:2] + (len(head) + text_bytes).to_bytes(2, "big") + head[4:] + bytes(text_bytes)
    stepper._put(Outbound(1, packet, 1448, True))
    described = offload.parse(b"".join(device.sent[0]))
    assert described.is_partial_checksum()
    assert (described.gso_type, described.segment_bytes) == (
        (offload.GSO_TCPV4, 1448) if text_bytes > 1448 else (offload.GSO_NONE, 0))


# --- super-segments that are cut here


SIZE = 30_000


def sending(device: FakeDevice, facts: list[Event] | None = None, mac: bytes = b"", header_bytes: int = 0) -> Stepper:
    """A connection to a peer with a large window, which has a text to send."""
    stepper = make_stepper(device, is_cut_below=not header_bytes, mac=mac, header_bytes=header_bytes)
    host = stepper.engine
    if mac:
        host.add_neighbor(host.interfaces[1], "10.0.0.2", b"\x02\0\0\0\0\2")
    listener = host.socket(AF_INET, SOCK_STREAM, 0)
    listener.bind(("10.0.0.1", 80), 0)
    listener.listen(1, 0)
    where = bytes(header_bytes) + (mac + b"\x02\0\0\0\0\2\x08\0" if mac else b"")
    syn = Segment(5, 80, Seq(99), Seq(0), tcp.SYN, 65_535)
    syn.mss, syn.wscale = 1460, 7
    device.frames.append(where + tcp.emit_packet(syn, IpHeader(THERE, HERE)))
    stepper.step(0)
    answer = tcp.parse(ip.parse(device.sent[-1][1], 14 if mac else 0), is_checksum_known_good=header_bytes > 0)
    ack = Segment(5, 80, Seq(100), Seq(answer.seq + 1), tcp.ACK, 65_535)
    device.frames.append(where + tcp.emit_packet(ack, IpHeader(THERE, HERE)))
    stepper.step(MS)
    device.sent.clear()
    host.observer = None if facts is None else facts.append
    accepted = listener.accept(MS)
    accepted.connection.cwnd_bytes = 100_000
    accepted.send(bytes(range(250)) * (SIZE // 250), 0, MS)
    return stepper


@pytest.mark.parametrize(("header_bytes", "most"), [(10, BYTES_PER_STEP), (0, CUT_BYTES_PER_STEP)])
def test_a_step_that_has_sent_much_lets_the_next_one_look_at_the_device_first(header_bytes: int, most: int) -> None:
    device = FakeDevice()
    stepper = sending(device, header_bytes=header_bytes)
    assert (stepper.engine.demux.share_bytes == CUT_SHARE_BYTES) == (header_bytes == 0)
    accepted = stepper.engine.files.open_descriptors()[-1]
    assert isinstance(accepted, StreamSocket)
    connection = accepted.connection
    assert connection is not None
    connection.cwnd_bytes = connection.send_buffer_bytes = connection.snd_wnd = connection.max_snd_wnd = 2_000_000
    accepted.send(bytes(1_000_000), 0, MS)
    stepper.step(2 * MS)
    sent = sum(len(frame) for _, frame in device.sent)
    assert most < sent < most + 70_000
    assert stepper.has_more
    device.frames.append(bytes(header_bytes) + datagram(1))
    stepper.step(2 * MS)
    assert not device.frames
    while stepper.has_more:
        stepper.step(2 * MS)
    assert sum(len(frame) for _, frame in device.sent) > SIZE + 1_000_000


def texts(frames: list[bytes], start: int = 0) -> bytes:
    """Join the texts of packets, whose checksums must be right and which must be in order."""
    joined, following = b"", None
    for frame in frames:
        segment = tcp.parse(ip.parse(frame, start), is_checksum_known_good=False)
        assert following is None or segment.seq == following
        text = segment.data[segment.start : segment.end]
        assert 0 < len(text) <= 1460
        following = (segment.seq + len(text)) & 0xFFFFFFFF
        joined += text
    return joined


@pytest.mark.parametrize("mac", [b"", b"\x02\0\0\0\0\1"], ids=["bare", "ethernet"])
def test_a_super_segment_is_cut_for_a_device_that_can_not(mac: bytes) -> None:
    device = FakeDevice()
    stepper = sending(device, mac=mac)
    stepper.step(2 * MS)
    assert {header for header, _ in device.sent} == {b""}
    assert texts([frame for _, frame in device.sent], 14 if mac else 0) == bytes(range(250)) * (SIZE // 250)
    assert stepper.engine.interfaces[1].tx_frames < 10  # TCP and IP looked at few


@pytest.mark.parametrize("mac", [b"", b"\x02\0\0\0\0\1"], ids=["bare", "ethernet"])
@pytest.mark.parametrize("refused", [0, 1])
def test_the_text_of_a_super_segment_goes_to_the_descriptor_without_a_copy(mac: bytes, refused: int) -> None:
    device = FakeDevice()
    stepper = sending(device, mac=mac, header_bytes=10)
    stepper.engine.interfaces[1].tx_bytes = 0
    written: list[list[bytes | memoryview]] = []
    refusals = iter(range(refused))

    def write_parts(fd: int, parts: list[bytes | memoryview]) -> int:
        if next(refusals, None) is not None:
            raise BlockingIOError
        written.append(parts)
        return sum(map(len, parts))

    def read_into(buffer: mmap.mmap) -> int | None:
        frame = device.receive()
        if frame is None:
            return None
        buffer[: len(frame)] = frame
        return len(frame)

    stepper.use_descriptor(1, mmap.mmap(-1, 2000), os.read, read_into, write_nothing, write_parts)
    stepper.step(2 * MS)
    if refused:
        assert (stepper.is_full, written) == (True, [])
        stepper.step(3 * MS)
    whole = {parts[2].obj if isinstance(parts[2], memoryview) else parts[2] for parts in written}
    assert len(whole) == 1  # all are parts of what the program wrote
    start, joined = 14 if mac else 0, b""
    for header, headers, text in written:
        frame = bytes(headers) + bytes(text)
        assert header == offload.emit(offload.for_packet(frame, 1460, True, start))
        joined += texts(offload.split(frame, 1460, start), start)
    assert joined == bytes(range(250)) * (SIZE // 250)
    assert stepper.engine.interfaces[1].tx_bytes == sum(len(parts[1]) + len(parts[2]) for parts in written)


def write_nothing(*unused: object) -> int:
    """Stand for a descriptor that has nothing, and takes nothing."""
    raise BlockingIOError


def test_what_the_observer_is_told_are_the_segments_that_left() -> None:
    device, facts = FakeDevice(), list[Event]()
    sending(device, facts).step(2 * MS)
    assert [fact.data for fact in facts if isinstance(fact, FrameSent)] == [frame for _, frame in device.sent]


@pytest.mark.parametrize("taken", [0, 1, 2, 5, 19])
def test_a_device_that_is_full_in_the_midst_of_a_super_segment_gets_the_rest_later(taken: int) -> None:
    device = CountingDevice(taken)
    stepper = sending(device)
    device.left = taken
    stepper.step(2 * MS)
    assert (stepper.is_full, len(device.sent)) == (True, taken)
    device.left = 1
    stepper.step(3 * MS)
    assert (stepper.is_full, len(device.sent)) == (True, taken + 1)
    device.left = 1000
    stepper.step(4 * MS)
    assert not stepper.is_full
    assert texts([frame for _, frame in device.sent]) == bytes(range(250)) * (SIZE // 250)


class CountingDevice(FakeDevice):
    """Takes so many frames more."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = 1000

    def send(self, header: bytes, frame: bytes) -> bool:
        """Take a frame, if one is left to take."""
        self.takes = self.left > 0
        self.left -= self.takes
        return super().send(header, frame)


class OverflowingDevice(FakeDevice):
    """Its queue drops what is more than ``room``."""

    room = 1000

    def send(self, header: bytes, frame: bytes) -> bool:
        """Take a frame, or drop it and say so."""
        if self.room == 0:
            raise OSError(errno.ENOBUFS, "")
        self.room -= 1
        return super().send(header, frame)


@pytest.mark.parametrize(("room", "refused"), [(0, 1), (3, 0)])
def test_a_super_segment_counts_as_refused_if_none_of_it_left(room: int, refused: int) -> None:
    device = OverflowingDevice()
    stepper = sending(device)
    device.room = room
    stepper.step(2 * MS)
    assert not stepper.is_full
    assert len(device.sent) == room
    assert (stepper.engine.counters().get("drop:QDISC_DROP", 0) > 0) == bool(refused)


# --- frames that leave or come together


def together(stepper: Stepper, device: FakeDevice, write: Callable[[int, bytes], int]) -> tuple[FakeRing, FakeRing]:
    """Let the stepper use queues; what it writes by itself goes to ``write``."""
    out, into = FakeRing(is_writing=True), FakeRing(is_writing=False)
    into.frames = device.frames
    stepper.use_descriptor(1, mmap.mmap(-1, 2000), os.read, lambda buffer: None, write, lambda fd, parts: 0,
                           Outbox(out.slots), Inbox(into.slots))
    return out, into


@pytest.mark.parametrize("mac", [b"", b"\x02\0\0\0\0\1"], ids=["bare", "ethernet"])
def test_the_pieces_of_a_super_segment_leave_by_one_call(mac: bytes) -> None:
    device = FakeDevice()
    stepper = sending(device, mac=mac)
    out, _ = together(stepper, device, write_nothing)
    stepper.step(2 * MS)
    assert out.calls == [-(-SIZE // 1460)]
    assert texts(out.written, 14 if mac else 0) == bytes(range(250)) * (SIZE // 250)


@pytest.mark.parametrize("taken", [0, 1, 5, 19])
def test_what_a_full_device_refuses_of_them_is_sent_first_later(taken: int) -> None:
    device = FakeDevice()
    stepper = sending(device)
    alone: list[bytes] = []
    left = 0

    def write(fd: int, data: bytes) -> int:
        if len(alone) >= left:
            raise BlockingIOError
        alone.append(data)
        return len(data)

    out, _ = together(stepper, device, write)
    out.errors.extend([0] * taken + [errno.EAGAIN] * 100)
    stepper.step(2 * MS)
    assert (stepper.is_full, len(out.written)) == (True, taken)
    left = 1
    stepper.step(3 * MS)
    assert (stepper.is_full, len(alone)) == (True, 1)
    left = 1000
    out.errors.clear()
    stepper.step(4 * MS)
    assert not stepper.is_full
    assert texts(out.written[:taken] + alone + out.written[taken:]) == bytes(range(250)) * (SIZE // 250)


def test_a_device_that_fails_says_so_when_its_frames_are_written_one_by_one() -> None:
    device = FakeDevice()
    stepper = sending(device)

    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.EIO, "")

    out, _ = together(stepper, device, write)
    out.errors.extend([errno.EIO] * 100)
    stepper.step(2 * MS)
    assert not stepper.is_full
    assert texts([frame for _, frame in device.sent]) == bytes(range(250)) * (SIZE // 250)


def test_a_frame_that_does_not_fit_leaves_behind_those_that_wait() -> None:
    stepper = make_stepper(FakeDevice())
    written: list[bytes] = []

    def write(fd: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    together(stepper, FakeDevice(), write)
    sizes = [100, 2048, 2049, 60, 3000]
    for size in sizes:
        stepper._put(Outbound(1, bytes(size), 0, False))
    stepper.drain(0)
    assert [len(data) for data in written] == sizes


def test_a_step_that_takes_several_frames_reads_them_together() -> None:
    device = FakeDevice()
    stepper = make_stepper(device)
    _, into = together(stepper, device, write_nothing)
    device.frames.extend(datagram(number) for number in range(10))
    assert stepper.receive(0, FRAMES_PER_STEP) == 10
    assert stepper.engine.counters()["IpInReceives"] == 10
    assert into.calls == [FRAMES_PER_STEP]
    assert stepper.receive(0, FRAMES_PER_STEP) == 0


def test_queues_are_forgotten_with_the_descriptor() -> None:
    device = FakeDevice()
    stepper = sending(device)
    out, into = together(stepper, device, write_nothing)
    stepper.forget_descriptor()
    stepper.step(2 * MS)
    assert (out.calls, into.calls) == ([], [])
    assert texts([frame for _, frame in device.sent]) == bytes(range(250)) * (SIZE // 250)
