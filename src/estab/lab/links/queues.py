"""The queue before a link's rate: first in, first out, or fair between flows.

- ``FairQueue`` is the scheduler of RFC 8290 section 4.1: each flow has a queue of its own; flows send in rounds, by
  bytes (deficit round robin, a quantum of a full packet), and one that has just begun goes first. Flows are told apart
  by addresses, protocol and ports, not by a hash of them.
- When it is full, the oldest frame of the flow with most bytes is dropped. So a flow that fills the queue loses, and
  not the one that sends little.
- A frame that a rule took out while it waited keeps its place, marked, until its time comes.
- Compiled with the core.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mypy_extensions import i64

from estab.errors import WireError
from estab.lab.links.aqm import CodelState
from estab.lab.links.frame import Frame
from estab.wire import ip

__all__ = ["FairQueue", "Fifo", "Line"]

_QUANTUM_BYTES: Final = 1514
"""RFC 8290 section 5.2.5: the MTU, with its Ethernet header."""
_PORTS_BYTES: Final = 4


class Line:
    """Frames that wait one after the other, and what CoDel remembers of them."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.waiting_bytes: i64 = 0
        self.codel: CodelState = CodelState()

    def push(self, frame: Frame) -> None:
        """Take a frame as the last one."""
        self.frames.append(frame)
        self.waiting_bytes += len(frame.data)

    def pop(self) -> Frame:
        """Give the frame that waited longest."""
        frame = self.frames.popleft()
        self.waiting_bytes -= len(frame.data)
        return frame


class Fifo:
    """First in, first out: all flows in one line."""

    def __init__(self) -> None:
        self._line: Line = Line()

    def __len__(self) -> int:
        return len(self._line.frames)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""
        return self._line.waiting_bytes

    def frames(self) -> list[Frame]:
        """List what waits, in the order in which it came."""
        return list(self._line.frames)

    def push(self, frame: Frame, header_bytes: int) -> None:
        """Take a frame."""
        self._line.push(frame)

    def choose(self) -> Line | None:
        """Say from which line the next frame comes."""
        return self._line if self._line.frames else None

    def pop(self, line: Line) -> tuple[Frame, int]:
        """Take the first frame of a line, and say how many of those that wait came before it."""
        return line.pop(), 0

    def charge(self, line: Line, size_bytes: int) -> None:
        """Note that a line has sent so much."""

    def fattest(self) -> Line | None:
        """Say whose oldest frame makes room for another; ``None``: the new one is not taken."""
        return None


class _Flow(Line):
    """The line of one flow, and how many bytes it may still send in this round."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self.key: bytes = key
        self.deficit_bytes: i64 = _QUANTUM_BYTES


class FairQueue(Fifo):
    """A line for each flow, and the round in which they send."""

    def __init__(self) -> None:
        super().__init__()
        self._flows: dict[bytes, _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()
        self._order: list[Frame] = []
        """All that waits, in the order in which it came."""

    def __len__(self) -> int:
        return len(self._order)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""
        return sum([flow.waiting_bytes for flow in self._flows.values()])

    def frames(self) -> list[Frame]:
        """List what waits, in the order in which it came."""
        return list(self._order)

    def push(self, frame: Frame, header_bytes: int) -> None:
        """Take a frame into its flow's line. A flow without frames begins anew."""
        key = _flow_key(frame.data, header_bytes)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(key)
            self._new.append(flow)
        flow.push(frame)
        self._order.append(frame)

    def choose(self) -> Line | None:
        """Say which flow sends now: a new one that has not used up its quantum, else the next of the round."""
        while self._new or self._old:
            round_of = self._new or self._old
            flow = round_of[0]
            if flow.deficit_bytes <= 0:
                flow.deficit_bytes += _QUANTUM_BYTES
                round_of.popleft()
                self._old.append(flow)
            elif flow.frames:
                return flow
            else:
                round_of.popleft()
                if round_of is self._new and self._old:
                    self._old.append(flow)  # RFC 8290 section 4.2: or it could be new again and again
                else:
                    del self._flows[flow.key]
        return None

    def pop(self, line: Line) -> tuple[Frame, int]:
        """Take the first frame of a line, and say how many of those that wait came before it."""
        frame = line.pop()
        place = self._order.index(frame)
        del self._order[place]
        return frame, place

    def charge(self, line: Line, size_bytes: int) -> None:
        """Note that a flow has sent so much of what it may in this round."""
        assert isinstance(line, _Flow)
        line.deficit_bytes -= size_bytes

    def fattest(self) -> Line | None:
        """Say whose oldest frame makes room for another: the first flow of those with most bytes."""
        return max(self._flows.values(), key=lambda flow: flow.waiting_bytes, default=None)


def _flow_key(frame: bytes, header_bytes: int) -> bytes:
    """Name the flow of a frame: protocol, addresses and ports; all that is no IP is one flow."""
    try:
        packet = ip.parse(frame, header_bytes)
    except WireError:
        return b""
    ports = b""
    has_ports = packet.protocol in (ip.TCP, ip.UDP) and not ip.is_fragment(packet)
    if has_ports and packet.end - packet.start >= _PORTS_BYTES:
        ports = packet.data[packet.start : packet.start + _PORTS_BYTES]
    return bytes([packet.protocol]) + packet.src + packet.dst + ports
