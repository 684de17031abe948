"""The one socket under test, as its packets show it: its two ends, and how a script's numbers become live ones.

- On a SYN a script's sequence number stands for the live initial one; on every other segment script numbers count from
  the initial one, so that the first octet is 1.
- Each expected packet's timestamp is remembered by its number in the script, so that an injected ``ecr`` can be turned
  into what the stack really sent.
"""

from __future__ import annotations

from enum import Enum

from estab.drill.errors import MismatchError

__all__ = ["Flow", "Stage"]

_MASK = 0xFFFFFFFF


class Stage(Enum):
    """How far the socket under test has come, as far as it matters for which packets are its own."""

    NEW = "new"
    LISTENING = "listening"
    STRAY = "no connection"
    SYN_INJECTED = "SYN injected"
    SYN_ACK_SEEN = "SYN-ACK seen"
    ACCEPTED = "accepted"
    CONNECTING = "connecting"
    SYN_SEEN = "SYN seen"
    CONNECTED = "connected"


class Flow:
    """Addresses, ports, initial numbers and timestamps of the socket under test; addresses are packed."""

    def __init__(self, protocol: str, local: bytes, remote: bytes) -> None:
        self.protocol = protocol
        self.local = local
        self.remote = remote
        self.local_port = 0
        self.remote_port = 0
        self.stage = Stage.NEW
        self.script_local_isn = 0
        self.script_remote_isn = 0
        self.live_local_isn = 0
        self.live_remote_isn = 0
        self.has_timestamps = False
        self.first_script_val = 0
        self.first_live_val = 0
        self.flow_label: tuple[int, int] | None = None
        """The script's label that was seen last, and the live one that stood for it."""
        self._vals: dict[int, int] = {}

    # --- sequence numbers

    def local_offset(self, *, is_syn: bool) -> int:
        """What to add to a script's number of the stack's own octets."""
        return self.live_local_isn - (self.script_local_isn if is_syn else 0)

    def remote_offset(self, *, is_syn: bool) -> int:
        """What to add to a script's number of the injected octets."""
        return self.live_remote_isn - (self.script_remote_isn if is_syn else 0)

    # --- timestamps

    def note_val(self, script_val: int, live_val: int) -> None:
        """Remember what a script's outbound timestamp stood for."""
        self._vals[script_val] = live_val
        if not self.has_timestamps:
            self.has_timestamps = True
            self.first_script_val, self.first_live_val = script_val, live_val

    def script_val(self, live_val: int) -> int:
        """Count a live timestamp from the script's first one."""
        return (self.first_script_val + live_val - self.first_live_val) & _MASK if self.has_timestamps else live_val

    def live_ecr(self, script_ecr: int, is_scaled: bool) -> int:
        """Find the live timestamp that a script echoes. ``MismatchError`` if none was sent."""
        live = self._vals.get(script_ecr)
        if live is not None:
            return live
        if is_scaled and self.has_timestamps:
            return (script_ecr - self.first_script_val + self.first_live_val) & _MASK
        raise MismatchError(f"ecr {script_ecr} echoes a timestamp that no packet before it had")
