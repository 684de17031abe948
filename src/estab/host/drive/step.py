"""One step of a host on a device: frames from the device go in, and all frames and news of the host go out.

Every packet on a real device goes through this code, so it is part of the core. It opens nothing and waits for nothing:
receiving, sending and telling are functions that it is given.

How many frames a step takes follows what was found. To be told that a descriptor has no more frames costs as much as a
frame, so a step begins with one. More are taken if more are there each time (a bulk transfer), up to
``FRAMES_PER_STEP``; if the peer waits for our answer to each small frame, a step takes one for longer.

A step that has sent ``BYTES_PER_STEP`` ends, though there is more to send (``has_more``): frames from the device come
first.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from estab.host.drive.expectation import Expectation
from estab.host.drive.handler import Handler
from estab.host.drive.inbox import Inbox
from estab.host.drive.outbox import Outbox
from estab.host.drive.slots import SLOT_BYTES
from estab.host.engine import Engine
from estab.host.ip.interface import Interface, Outbound
from estab.units import NEVER, US
from estab.wire import ethernet, ip, offload, tcp

__all__ = ["FRAMES_PER_STEP", "Stepper"]

FRAMES_PER_STEP: Final = 64
"""Frames that are taken from the device before the host's answers go out and other threads may have the lock."""
BYTES_PER_STEP: Final = 262_144
"""After so many bytes have left, the next step looks at the device: acknowledgments, and frames of other connections,
wait there.
"""
CUT_BYTES_PER_STEP: Final = 65_536
"""The same for a device that takes no super-segments, where bytes take ten times as long."""
CUT_SHARE_BYTES: Final = 32_768
"""After so many bytes of text of one connection, the next one sends on such a device: mostly one super-segment."""
SLICES: Final = 256
"""A frame of fewer bytes is cut out of the buffer by a slice that is there already."""
HEADERS_MAX: Final = 256
"""Different virtio headers that are kept at the same time."""
_COPIED_BYTES: Final = 2048
"""Below this size, joining a header and a frame costs less than passing both."""
_TCP_CHECKSUM_AT: Final = 16
_SOON_NS: Final = 30 * US
_AT_ONCE_NS: Final = 5 * US
_AT_ONCE_MAX: Final = 7
"""After more small frames in a row that were there at once, the next step takes several. After a large frame it takes
several immediately, and also if nothing was answered lately: then the peer waits for no answer."""
_LARGE_BYTES: Final = 1024
_KNOWN_GOOD: Final = offload.NEEDS_CHECKSUM | offload.DATA_VALID


def _read_nothing(fd: int, size: int) -> bytes:
    return b""


def _read_nothing_into(buffer: Any) -> int | None:
    return None


def _write_nothing(fd: int, data: bytes) -> int:
    return 0


def _write_no_parts(fd: int, parts: list[Any]) -> int:
    return 0


class Stepper:
    """Moves frames and news between one host and one device.

    ``receive`` returns a frame or ``None``. ``send`` takes a virtio header (``b""`` without offload) and a frame, or
    returns ``False``, or raises ENOBUFS: its own queue was full, and the frame is lost. ``tell`` is told of descriptors
    with news. If ``header_bytes`` is not 0, frames from the device begin with a virtio header of that size.
    """

    def __init__(self, engine: Engine, interface: Interface, receive: Callable[[], bytes | None],
                 send: Callable[[bytes, bytes], bool], tell: Callable[[int, int], None], header_bytes: i64,
                 is_polled: bool = False) -> None:
        self.engine: Engine = engine
        self.interface_index: i64 = interface.index
        self._interface: Interface = interface
        self.header_bytes: i64 = header_bytes
        self.is_full: bool = False
        """The device refused a frame: nothing is sent before ``retry``."""
        self.due_ns: i64 = 0
        """The next deadline, as ``drain`` found it last."""
        self.has_more: bool = False
        """The last ``step`` took or sent as much as it may, and there is probably more."""
        self._receive: Callable[[], bytes | None] = receive
        self._send: Callable[[bytes, bytes], bool] = send
        self._tell: Callable[[int, int], None] = tell
        self._packet_start: i64 = ethernet.HEADER_BYTES if interface.is_ethernet else 0
        interface.takes_text_apart = True
        if header_bytes > 0 and interface.has_checksum_offload and not interface.is_ethernet:
            interface.before_v4 = _header_before(ip.V4_HEADER_BYTES, header_bytes)
            interface.before_v6 = _header_before(ip.V6_HEADER_BYTES, header_bytes)
        self._no_header: bytes = bytes(header_bytes)
        self._headers: dict[i64, bytes] = {}
        self._last_header: bytes = b""
        self._last_key: i64 = -1
        """The header that was used last, and its key."""
        self.handler: Handler = Handler()
        """Is told of descriptors with news before ``tell``."""
        self._cuts: bool = interface.is_cut_below
        self._bytes_per_step: i64 = BYTES_PER_STEP
        if self._cuts:
            self._bytes_per_step = CUT_BYTES_PER_STEP
            engine.demux.share_bytes = CUT_SHARE_BYTES
        self._cut: offload.Cut | None = None
        """A super-segment of which the device has taken a part."""
        self._unsent_segment: bytes | None = None
        """The next segment of that."""
        self._unsent: Outbound | None = None
        self._is_refused: bool = False
        """The device's own queue dropped the frame that was just sent."""
        self._read: Callable[[int, int], bytes] = _read_nothing
        self._read_into: Callable[[Any], int | None] = _read_nothing_into
        self._buffer: Any = b""
        self._slices: list[Any] = []
        self._write: Callable[[int, bytes], int] = _write_nothing
        self._write_parts: Callable[[int, list[Any]], int] = _write_no_parts
        self._fd: int = -1
        self._outbox: Outbox | None = None
        self._inbox: Inbox | None = None
        self._refused: list[bytes] = []
        """Frames of the outbox that the device refused."""
        self._read_bytes: int = 0
        self._is_polled: bool = is_polled
        self._frames_max: i64 = 1 if is_polled else FRAMES_PER_STEP
        self._at_once: i64 = 0
        self._last_bytes: i64 = 0
        self._expectation: Expectation = Expectation()
        self.expects_frame: bool = False
        """The next frame is probably there already, and to take it without asking pays."""
        self._stepped_ns: i64 = 0
        self._has_called_out: bool = False
        """The last step told of news or met a deadline: what a program or a service does then may take any time."""
        self.ended_ns: i64 = 0
        """When the last step was over, if the caller notes it."""

    def use_descriptor(self, fd: int, buffer: Any, read: Callable[[int, int], bytes],
                       read_into: Callable[[Any], int | None], write: Callable[[int, bytes], int],
                       write_parts: Callable[[int, list[Any]], int], outbox: Outbox | None = None,
                       inbox: Inbox | None = None) -> None:
        """Read and write frames directly: ``os.read``, a ``readinto`` that gives ``None`` if there is no frame,
        ``os.write`` and ``os.writev`` on the device's descriptor.

        ``receive`` and ``send`` are then asked only if those fail, to say what it means. ``read`` allocates for the
        largest frame, and cuts off what is left. Only after a large frame is that done: what is left of a small one
        stands in the C library's heap, among connections that are made meanwhile, and leaves a hole there that nothing
        else fits into. So a small frame is copied out of ``buffer``, which has room for the largest frame. That is a
        ``mmap``: a slice of one is ``bytes``, made by one copy. What a ``bytearray`` takes to give the same costs as
        much as parsing the frame.

        With ``outbox``, frames that fit into it leave together when the step ends. One that the device's own queue
        drops then (ENOBUFS) is lost as on the way. With ``inbox``, a step that takes several frames reads them
        together.
        """
        self._fd, self._read_bytes, self._read, self._read_into = fd, len(buffer), read, read_into
        self._buffer = buffer
        self._slices = [slice(0, size) for size in range(SLICES)]
        self._write, self._write_parts = write, write_parts
        self._outbox, self._inbox = outbox, inbox

    def forget_descriptor(self) -> None:
        """Use ``receive`` and ``send`` again: the descriptor is about to be closed."""
        self._fd = -1
        self._outbox = self._inbox = None
        self._read_into = _read_nothing_into

    def step(self, now_ns: i64) -> i64:
        """Take frames, do what is due, send and tell. Returns the next deadline, ``NEVER`` if there is none."""
        is_at_once = self._is_at_once(now_ns)
        self._has_called_out = False
        if self.is_full:
            self.retry()
        frames_max = self._frames_max
        count = self.receive(now_ns, frames_max)
        self.has_more = count == FRAMES_PER_STEP
        if self._is_polled:
            self._stepped_ns = now_ns
            self._size_steps(count, frames_max, is_at_once)
            self._expectation.note_look(is_at_once and count > 0)
        if self.due_ns <= now_ns:
            self.on_deadline(now_ns)
        due_ns = self._drain(now_ns, self._bytes_per_step)
        self.expects_frame = count > 0 and self._last_bytes < _LARGE_BYTES and self._expectation.is_next_there()
        return due_ns

    def _size_steps(self, count: i64, frames_max: i64, is_at_once: bool) -> None:
        """Set from this step how many frames the next one may take."""
        if count < frames_max:
            self._frames_max = count if count > 0 else 1
            self._at_once = 0
        elif not is_at_once:
            self._at_once = 0
        elif self._at_once < _AT_ONCE_MAX and self._is_conversation():
            self._at_once += 1
        else:
            self._frames_max = min(2 * frames_max, FRAMES_PER_STEP)

    def _is_conversation(self) -> bool:
        """Tell whether the peer seems to wait for an answer before it sends more."""
        return self._last_bytes < _LARGE_BYTES and self._expectation.has_answered_lately()

    def _is_at_once(self, now_ns: i64) -> bool:
        """Tell whether what a step finds now was there when the last one ended."""
        if self.ended_ns > self._stepped_ns:
            return now_ns - self.ended_ns < _AT_ONCE_NS
        return now_ns - self._stepped_ns < _SOON_NS

    def receive(self, now_ns: i64, frames_max: i64) -> i64:
        """Take up to ``frames_max`` frames from the device. Returns how many there were."""
        self.engine.context.now_ns = now_ns
        way_in = self.engine.input
        interface = self._interface
        start = self.header_bytes
        count: i64 = 0
        inbox = self._inbox
        is_filled = inbox is not None and inbox.fill(frames_max)
        while count < frames_max:
            data = inbox.next() if is_filled and inbox is not None else self._next_frame()
            if data is None:
                break
            count += 1
            self._last_bytes = len(data)
            if start == 0:
                way_in.on_frame(interface, data, is_known_good=False, start=0, segment_bytes=0)
            elif len(data) > start:
                # The virtio header: flags, and if a kind of segmentation is given, the bytes of each segment.
                segment_bytes: i64 = 0
                if data[1] != 0:
                    segment_bytes = data[4] | data[5] << 8
                way_in.on_frame(interface, data, is_known_good=(data[0] & _KNOWN_GOOD) != 0, start=start,
                                segment_bytes=segment_bytes)
        return count

    def _next_frame(self) -> bytes | None:
        if self._fd < 0:
            return self._receive()
        try:
            if self._last_bytes >= _LARGE_BYTES:
                return self._read(self._fd, self._read_bytes)
            count = self._read_into(self._buffer)
            if count is None:
                return None
            size: i64 = count
            frame: bytes = self._buffer[self._slices[size] if size < SLICES else slice(0, size)]
            return frame
        except BlockingIOError:
            return None
        except OSError:
            return self._receive()

    def _send_apart(self, header: bytes, outbound: Outbound) -> bool:
        """Send a frame whose text is apart."""
        if self._fd < 0:
            return self._offer(header, outbound.frame())
        if self._outbox is not None:
            if len(header) + outbound.size() <= SLOT_BYTES:
                return self._send_later(header + outbound.frame())
            if not self._empty_outbox():
                return False
        text: Any = outbound.text
        if outbound.text_start > 0 or outbound.text_end < len(outbound.text):
            text = memoryview(text)[outbound.text_start : outbound.text_end]
        try:
            self._write_parts(self._fd, [header, outbound.data, text])
        except BlockingIOError:
            return False
        except OSError as error:
            return self._take_error(error, header, outbound.frame())
        return True

    def _send_frame(self, header: bytes, frame: bytes) -> bool:
        if self._fd < 0:
            return self._offer(header, frame)
        if self._outbox is not None:
            if len(header) + len(frame) <= SLOT_BYTES:
                return self._send_later(header + frame if len(header) > 0 else frame)
            if not self._empty_outbox():
                return False
        try:
            if len(header) == 0:
                self._write(self._fd, frame)
            elif len(frame) < _COPIED_BYTES:
                self._write(self._fd, header + frame)
            else:
                self._write_parts(self._fd, [header, frame])
        except BlockingIOError:
            return False
        except OSError as error:
            return self._take_error(error, header, frame)
        return True

    def _send_later(self, frame: bytes) -> bool:
        """Let a frame wait for the end of the step. ``False``: the device is full, and the frame is not taken."""
        outbox = self._outbox
        if outbox is None or self.is_full:
            return False
        if not outbox.add(frame):
            self._empty_outbox()
        return True

    def _empty_outbox(self) -> bool:
        """Send what waits. Returns whether the device has taken it."""
        outbox = self._outbox
        if outbox is not None and not outbox.is_empty():
            self._write_each(outbox.send())
        return not self.is_full

    def _write_each(self, frames: list[bytes]) -> None:
        """Write frames one by one. Those that the device refuses wait for ``retry``."""
        for index, frame in enumerate(frames):
            try:
                self._write(self._fd, frame)
                is_taken = True
            except BlockingIOError:
                is_taken = False
            except OSError as error:
                is_taken = self._take_error(error, frame[: self.header_bytes], frame[self.header_bytes :])
                self._is_refused = False
            if not is_taken:
                self._refused = frames[index:]
                self.is_full = True
                return

    def _take_error(self, error: OSError, header: bytes, frame: bytes) -> bool:
        """Say what a failed write means."""
        if error.errno == errno.ENOBUFS:
            self._is_refused = True
            return True
        return self._offer(header, frame)

    def _offer(self, header: bytes, frame: bytes) -> bool:
        """Send a frame by the device's own function."""
        try:
            return self._send(header, frame)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._is_refused = True
            return True

    def drain(self, now_ns: i64) -> i64:
        """Send all frames and tell all news of the host. Returns its next deadline, ``NEVER`` if it has none."""
        return self._drain(now_ns, NEVER)

    def _drain(self, now_ns: i64, bytes_max: i64) -> i64:
        """Send frames and tell news until there are no more, or ``bytes_max`` bytes have left."""
        engine = self.engine
        context = engine.context
        handler = self.handler
        while True:
            # Events first: an answer that is written now carries the acknowledgment.
            while (told := context.take_woken()) is not None:
                self._has_called_out = True
                fd = told.fd
                if fd >= 0 and not handler.on_event(fd, now_ns):
                    self._tell(fd, engine.files.get(fd).readiness())
            while not self.is_full:
                outbound = engine.poll_frame(now_ns)
                if outbound is None:
                    break
                bytes_max -= outbound.size()
                self._put(outbound)
                if bytes_max < 0 and not self.is_full:
                    self._empty_outbox()
                    self.has_more = True
                    self._frames_max = FRAMES_PER_STEP
                    self.due_ns = self.next_deadline_ns()
                    return self.due_ns
            if context.woken.first is None:
                self._empty_outbox()
                self.due_ns = self.next_deadline_ns()
                return self.due_ns

    def on_deadline(self, now_ns: i64) -> None:
        """Do what is due by now."""
        self._has_called_out = True
        self.engine.on_deadline(now_ns)
        self.handler.on_deadline(now_ns)

    def next_deadline_ns(self) -> i64:
        """Return when ``on_deadline`` is to be called next, or earlier; ``NEVER`` if nothing waits for a time."""
        return min(self.engine.next_look_ns(), self.handler.next_deadline_ns())

    def has_only_received(self) -> bool:
        """Tell whether the last step sent nothing, and called nothing that may have taken long."""
        is_told = self._has_called_out or self.engine.context.observer is not None
        return not is_told and not self._expectation.has_just_answered()

    def retry(self) -> None:
        """Offer the device what it refused."""
        self.is_full = False
        if self._refused:
            frames = self._refused
            self._refused = []
            self._write_each(frames)
            if self.is_full:
                return
        outbound = self._unsent
        self._unsent = None
        if self._cut is not None:
            self._go_on(self._cut)
        elif outbound is not None:
            self._put(outbound)

    def _put(self, outbound: Outbound) -> None:
        """Send a frame. A super-segment goes in pieces if the device can't cut it: TCP had to look at it only once."""
        header, frame = self._no_header, outbound.data
        if outbound.before_bytes > 0:
            self._put_whole(outbound)
            return
        cut: offload.Cut | None = None
        is_apart = len(outbound.text) > 0
        if self._cuts and outbound.segment_bytes > 0:
            cut = self._begin_cut(outbound)
            first = cut.next()
            if first is None:
                return
            frame = first
            is_apart = False
        elif outbound.is_partial_checksum and self.header_bytes > 0:
            header = self._header_for(outbound)
        is_taken = self._send_apart(header, outbound) if is_apart else self._send_frame(header, frame)
        is_cut = is_taken and not self._is_refused and cut is not None
        self._note_put(outbound, is_taken)
        if is_cut and cut is not None:
            self._go_on(cut)

    def _put_whole(self, outbound: Outbound) -> None:
        """Send a frame that has its virtio header with it."""
        if self._fd < 0:
            is_taken = self._offer(outbound.data[: outbound.before_bytes], outbound.frame())
        else:
            is_taken = self._send_frame(b"", outbound.data)
        self._note_put(outbound, is_taken)

    def _note_put(self, outbound: Outbound, is_taken: bool) -> None:
        """Note what became of a frame."""
        if not is_taken:
            self._unsent = outbound
            self.is_full = True
        elif self._is_refused:
            self._is_refused = False
            self.engine.on_refused(outbound, self.engine.context.now_ns)
        else:
            self._expectation.note_answer()

    def _begin_cut(self, outbound: Outbound) -> offload.Cut:
        data = outbound.data
        if outbound.text:
            return offload.begin_cut(data, self._packet_start, outbound.text, outbound.text_start, outbound.text_end,
                                     outbound.segment_bytes)
        text = self._text_at(data)
        return offload.begin_cut(data[:text], self._packet_start, data, text, len(data), outbound.segment_bytes)

    def _text_at(self, data: bytes) -> i64:
        """Find where the text of a TCP packet of ours begins."""
        start = self._packet_start
        transport = start + (ip.V4_HEADER_BYTES if data[start] >> 4 == 4 else ip.V6_HEADER_BYTES)
        return transport + (data[transport + 12] >> 4) * 4

    def _go_on(self, cut: offload.Cut) -> None:
        """Send what is left of a super-segment, as far as the device takes it now."""
        segment = self._unsent_segment
        if segment is None:
            segment = cut.next()
        self._cut = None
        self._unsent_segment = None
        while segment is not None:
            if not self._send_frame(self._no_header, segment):
                self._cut, self._unsent_segment = cut, segment
                self.is_full = True
                return
            self._is_refused = False  # a part of it has left: this one is lost as on the way
            segment = cut.next()

    def _header_for(self, outbound: Outbound) -> bytes:
        """Return the virtio header of a TCP packet of ours. There are few different ones, so they are kept."""
        data = outbound.data
        start = self._packet_start
        is_v4 = (data[start] >> 4) == 4
        transport = start + (ip.V4_HEADER_BYTES if is_v4 else ip.V6_HEADER_BYTES)
        text = self._text_at(data)
        segment_bytes: i64 = 0
        if outbound.size() - text > outbound.segment_bytes:
            segment_bytes = outbound.segment_bytes
        has_cwr = segment_bytes > 0 and (data[transport + 13] & tcp.CWR) != 0
        key: i64 = segment_bytes << 16 | text << 2
        if is_v4:
            key |= 2
        if has_cwr:
            key |= 1
        if key == self._last_key:
            return self._last_header
        header = self._headers.get(key)
        if header is None:
            described = offload.Offload(offload.NEEDS_CHECKSUM, checksum_start=transport,
                                        checksum_offset=_TCP_CHECKSUM_AT)
            if segment_bytes > 0:
                described.gso_type = offload.GSO_TCPV4 if is_v4 else offload.GSO_TCPV6
                described.has_cwr = has_cwr
                described.header_bytes = text
                described.segment_bytes = segment_bytes
            header = offload.emit(described, self.header_bytes == offload.HEADER_BYTES_WITH_BUFFERS)
            if len(self._headers) >= HEADERS_MAX:
                self._headers.clear()
            self._headers[key] = header
        self._last_key, self._last_header = key, header
        return header


def _header_before(ip_bytes: i64, header_bytes: i64) -> bytes:
    """Make the virtio header of a TCP packet that is not cut, and of whose checksum only the last step is missing."""
    described = offload.Offload(offload.NEEDS_CHECKSUM, checksum_start=ip_bytes, checksum_offset=_TCP_CHECKSUM_AT)
    return offload.emit(described, header_bytes == offload.HEADER_BYTES_WITH_BUFFERS)
