"""A capture written while its host runs: each frame at once, with why it was sent and why it was dropped.

Nothing is kept but the frame that came last, whose fate is told by the facts that follow it.

A capture never ends its host: if the stream fails (a full disk) or ``bytes_max`` is reached, the capture is over, tells
so once, and takes no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final

from estab.events import Event, FrameReceived, FrameSent, PacketDropped, SegmentSent
from estab.observe.dissect import is_ethernet
from estab.observe.pcapng import INBOUND, LINKTYPE_ETHERNET, LINKTYPE_RAW, OUTBOUND, PcapngWriter

__all__ = ["LiveCapture"]

_BLOCK_BYTES: Final = 64
"""What a packet takes in the file besides its data and comment, at most."""


class LiveCapture:
    """An observer that writes every frame of one host to ``stream``. ``epoch_ns`` is added to the host's clock.

    ``bytes_max`` limits the file (0: not). ``on_end`` is called with the reason if the capture ends by itself. The
    stream stays the caller's to close, after ``close``.
    """

    def __init__(self, stream: BinaryIO, epoch_ns: int = 0, comment: str = "", *, bytes_max: int = 0,
                 on_end: Callable[[str], None] | None = None) -> None:
        self._stream = stream
        self._writer = PcapngWriter(stream)
        self._writer.section(comment)
        self._epoch_ns = epoch_ns
        self._numbers: dict[str, int] = {}
        self._why = ""
        self._last: FrameReceived | None = None
        self._fate = ""
        self.frame_count = 0
        self.ended = ""
        """Why the capture ended by itself; ``""`` while it goes on."""
        self._bytes_max = bytes_max
        self._written_bytes = 0
        self._on_end = on_end

    def __call__(self, fact: Event) -> None:
        """Take a fact."""
        if self.ended:
            return
        try:
            self._take(fact)
        except OSError as error:
            self._end(f"{error.strerror or error}")

    def _take(self, fact: Event) -> None:
        if isinstance(fact, FrameReceived):
            self._write_last()
            self._last = fact
        elif isinstance(fact, SegmentSent):
            self._why = fact.why
        elif isinstance(fact, PacketDropped):
            if self._last is not None:
                self._fate = f"dropped: {fact.reason.value}" + (f" ({fact.detail})" if fact.detail else "")
        elif isinstance(fact, FrameSent):
            self._write_last()
            self._write(fact, self._why, OUTBOUND)
            self._why = ""

    def flush(self) -> None:
        """Write all that is known, so that others can read it."""
        if self.ended:
            return
        try:
            self._write_last()
            self._stream.flush()
        except OSError as error:
            self._end(f"{error.strerror or error}")

    def close(self) -> None:
        """Write what is left."""
        self.flush()

    def _end(self, why: str) -> None:
        self.ended = f"{why}, after {self.frame_count} frames"
        self._last = None
        if self._on_end is not None:
            self._on_end(self.ended)

    def _write_last(self) -> None:
        if self._last is not None:
            self._write(self._last, self._fate, INBOUND)
            self._last, self._fate = None, ""

    def _write(self, fact: FrameReceived | FrameSent, comment: str, direction: int) -> None:
        size = len(fact.data) + len(comment.encode()) + _BLOCK_BYTES
        if self._bytes_max and self._written_bytes + size > self._bytes_max:
            if not self.ended:
                self._end(f"its limit of {self._bytes_max} bytes is reached")
            return
        self._written_bytes += size
        number = self._numbers.get(fact.interface)
        if number is None:
            link_type = LINKTYPE_ETHERNET if is_ethernet(fact.data) else LINKTYPE_RAW
            number = self._numbers[fact.interface] = self._writer.interface(fact.interface, link_type)
        self._writer.packet(number, self._epoch_ns + fact.at_ns, fact.data, comment=comment, direction=direction)
        self.frame_count += 1
