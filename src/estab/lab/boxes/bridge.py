"""What a switch does with frames: it learns which MAC address is at which of its ports (IEEE 802.1D).

- A frame goes to the port where its destination was last heard, or to all others if that is not known, and for groups.
  One whose destination is at the port that it came from goes nowhere.
- An address that was not heard for 300 s is forgotten. The table is bounded; what finds no room is not learnt, so
  frames to it go to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estab.units import SECOND
from estab.wire import ethernet
from estab.wire.address import format_mac

__all__ = ["ADDRESSES_MAX", "AGEING_NS", "Bridge"]

AGEING_NS: Final = 300 * SECOND
ADDRESSES_MAX: Final = 8192


class Bridge:
    """The table of one switch, and its ports in the order in which they were plugged."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.outputs: list[Callable[[bytes], None]] = []
        """What carries a frame out of each port."""
        self.flooded_count = 0
        """Frames to one address that went to all ports, because it was not known where that is."""
        self._now_ns = now_ns
        self._heard: dict[bytes, tuple[int, int]] = {}
        """At which port each address was heard last, and when."""

    def take(self, port: int, frame: bytes) -> None:
        """Take a frame that came in at a port."""
        if len(frame) < ethernet.HEADER_BYTES:
            return
        now_ns = self._now_ns()
        to, sender = frame[:6], frame[6:12]
        if not sender[0] & 1:
            self._learn(sender, port, now_ns)
        at = None if to[0] & 1 else self._find(to, now_ns)
        if at is not None:
            if at != port:
                self.outputs[at](frame)
            return
        if not to[0] & 1:
            self.flooded_count += 1
        for number, output in enumerate(self.outputs):
            if number != port:
                output(frame)

    def forget(self) -> None:
        """Forget all addresses."""
        self._heard.clear()

    def table(self) -> dict[str, int]:
        """Return the port of each address that is known now, ``{"02:00:00:00:00:01": 0}``."""
        now_ns = self._now_ns()
        return {format_mac(mac): port for mac, (port, heard_ns) in self._heard.items() if now_ns - heard_ns < AGEING_NS}

    def _learn(self, mac: bytes, port: int, now_ns: int) -> None:
        if mac not in self._heard and len(self._heard) >= ADDRESSES_MAX:
            self._heard = {known: place for known, place in self._heard.items() if now_ns - place[1] < AGEING_NS}
            if len(self._heard) >= ADDRESSES_MAX:
                return
        self._heard[mac] = (port, now_ns)

    def _find(self, mac: bytes, now_ns: int) -> int | None:
        found = self._heard.get(mac)
        return found[0] if found is not None and now_ns - found[1] < AGEING_NS else None
