"""A firewall on a link that remembers flows, and forgets those that are idle: silently, as most in the field do.

- A flow begins with a SYN (TCP) or any datagram (UDP), from the side that may open flows. Its packets pass in both
  directions until it has been idle for ``idle_ns``, or a reset ended it. Then they are dropped silently.
- At most ``flows_max`` are remembered; more are refused. ICMP, fragments after the first and what is no IP pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estab.errors import DropReason, WireError
from estab.wire import ip
from estab.wire.address import format_address

__all__ = ["FLOWS_MAX", "Firewall"]

FLOWS_MAX: Final = 262_144
"""Linux's ``nf_conntrack_max`` on a machine with enough memory."""
_TCP: Final = 6
_UDP: Final = 17
_PORTS_BYTES: Final = 4
_TCP_FLAGS_AT: Final = 13
_SYN: Final = 0x02
_RST: Final = 0x04
_ACK: Final = 0x10

_Key = tuple[int, bytes, bytes]
"""Protocol, and the two ends (address and port), the smaller first."""


class Firewall:
    """A rule for a link (``Link.firewall`` makes it). ``flows`` are those known now."""

    def __init__(self, idle_ns: int, inside: str, header_bytes: int, now_ns: Callable[[], int],
                 tell: Callable[[str], None], flows_max: int = FLOWS_MAX) -> None:
        self.idle_ns = idle_ns
        self.inside = inside
        """The host on whose side flows may begin; ``""``: on either side."""
        self.flows_max = flows_max
        self.forgotten_count = 0
        """Flows that were idle for too long."""
        self.dropped_count = 0
        """Packets of unknown or forgotten flows."""
        self.refused_count = 0
        """Flows that there was no room for."""
        self._header_bytes = header_bytes
        self._now_ns = now_ns
        self._tell = tell
        self._seen_ns: dict[_Key, int] = {}
        """When each flow's last packet came; the one that was idle longest first."""

    @property
    def flows(self) -> list[str]:
        """The flows that are known now, ``tcp 10.0.0.1:4000>10.0.0.2:80``, the one that was idle longest first."""
        self._forget()
        return [_text(key) for key in self._seen_ns]

    def __call__(self, sender: str, frame: bytes) -> DropReason | None:
        """Judge a frame."""
        try:
            packet = ip.parse(frame, self._header_bytes)
        except WireError:
            return None
        if packet.protocol not in (_TCP, _UDP) or packet.fragment_offset or packet.end - packet.start < _PORTS_BYTES:
            return None
        key = _key(packet)
        self._forget()
        if key not in self._seen_ns:
            if not self._may_open(sender, packet):
                self.dropped_count += 1
                return DropReason.LINK_FIREWALL
            if len(self._seen_ns) >= self.flows_max:
                self.refused_count += 1
                return DropReason.LINK_FIREWALL
        self._seen_ns.pop(key, None)
        if not _flags(packet) & _RST:
            self._seen_ns[key] = self._now_ns()
        return None

    def _may_open(self, sender: str, packet: ip.Packet) -> bool:
        if self.inside and sender != self.inside:
            return False
        return packet.protocol == _UDP or _flags(packet) & (_SYN | _ACK | _RST) == _SYN

    def _forget(self) -> None:
        """Forget flows that were idle for too long."""
        limit_ns = self._now_ns() - self.idle_ns
        while self._seen_ns:
            key = next(iter(self._seen_ns))
            if self._seen_ns[key] > limit_ns:
                return
            del self._seen_ns[key]
            self.forgotten_count += 1
            self._tell(f"the firewall has forgotten {_text(key)}")


def _flags(packet: ip.Packet) -> int:
    at = packet.start + _TCP_FLAGS_AT
    return packet.data[at] if packet.protocol == _TCP and at < packet.end else 0


def _key(packet: ip.Packet) -> _Key:
    start = packet.start
    ends = (packet.src + packet.data[start : start + 2], packet.dst + packet.data[start + 2 : start + 4])
    return packet.protocol, min(ends), max(ends)


def _text(key: _Key) -> str:
    ends = [_end_text(end[:-2], int.from_bytes(end[-2:], "big")) for end in key[1:]]
    return f"{'tcp' if key[0] == _TCP else 'udp'} {ends[0]}>{ends[1]}"


def _end_text(address: bytes, port: int) -> str:
    text = format_address(address)
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"
