"""A capture written while its host runs: each frame at once, with why it was sent and why it was dropped.

Nothing is kept but the frame that came last, whose fate is told by the facts that follow it.
"""

from __future__ import annotations

from typing import BinaryIO

from estab.events import Event, FrameReceived, FrameSent, PacketDropped, SegmentSent
from estab.observe.dissect import is_ethernet
from estab.observe.pcapng import INBOUND, LINKTYPE_ETHERNET, LINKTYPE_RAW, OUTBOUND, PcapngWriter

__all__ = ["LiveCapture"]


class LiveCapture:
    """An observer that writes every frame of one host to ``stream``. ``epoch_ns`` is added to the host's clock.

    The stream stays the caller's to close, after ``close``.
    """

    def __init__(self, stream: BinaryIO, epoch_ns: int = 0, comment: str = "") -> None:
        self._stream = stream
        self._writer = PcapngWriter(stream)
        self._writer.section(comment)
        self._epoch_ns = epoch_ns
        self._numbers: dict[str, int] = {}
        self._why = ""
        self._last: FrameReceived | None = None
        self._fate = ""
        self.frame_count = 0

    def __call__(self, fact: Event) -> None:
        """Take a fact."""
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
        self._write_last()
        self._stream.flush()

    def close(self) -> None:
        """Write what is left."""
        self.flush()

    def _write_last(self) -> None:
        if self._last is not None:
            self._write(self._last, self._fate, INBOUND)
            self._last, self._fate = None, ""

    def _write(self, fact: FrameReceived | FrameSent, comment: str, direction: int) -> None:
        number = self._numbers.get(fact.interface)
        if number is None:
            link_type = LINKTYPE_ETHERNET if is_ethernet(fact.data) else LINKTYPE_RAW
            number = self._numbers[fact.interface] = self._writer.interface(fact.interface, link_type)
        self._writer.packet(number, self._epoch_ns + fact.at_ns, fact.data, comment=comment, direction=direction)
        self.frame_count += 1
