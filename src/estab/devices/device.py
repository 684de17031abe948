"""``Device``: what carries packets. A device knows no stack; the runtime moves frames between the two.

- A frame is ``bytes``: an IP packet, or with a ``mac`` an Ethernet frame.
- A device with offload takes and gives frames with a virtio header before each (``VnetDevice``).
- A device never waits and never raises because of what the network did, but ENOBUFS: it refuses what it can't send now,
  and the runtime tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

__all__ = ["Device", "VnetDevice", "check_device", "check_mac"]


class Device(Protocol):
    """A way for packets in and out. A class that derives from it need only write ``receive`` and ``send``.

    A device with a descriptor is waited for by that. One without calls ``wake`` whenever ``receive`` has something new,
    or ``send`` has room again; ``wake`` may be called from any thread, at any time and for nothing.
    """

    name: str = "link0"
    """Of the stack's interface."""
    mtu: int = 1500
    """The largest IP packet in bytes."""
    mac: bytes = b""
    """``b""``: frames are IP packets. 6 bytes: frames are Ethernet's, and this is the stack's own address."""

    def open(self, wake: Callable[[], None]) -> None:
        """Take the stack's ``wake``. Called once, before anything is received or sent."""
        return

    def prepare(self, prefixes: Sequence[str]) -> None:
        """Do what the device's other end needs for a stack with these addresses, before ``open``."""
        return

    def conflict(self, address: str) -> str:
        """Say why the stack must not have ``address`` on this device; ``""``: it may."""
        return ""

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1."""
        return -1

    def receive(self) -> bytes | None:
        """Take the next frame that arrived, or ``None``."""

    def send(self, frame: bytes) -> bool:
        """Send a frame. ``False``: there is no room now; the stack offers the frame again when there is.

        ``OSError`` with ENOBUFS: a full queue dropped the frame. The stack's TCP slows down, as Linux's does.
        """

    def close(self) -> None:
        """Release the device. Idempotent."""
        return


def check_device(device: object) -> None:
    """Refuse what is no device, with a hint if it is the name of a device, or a class. ``TypeError``."""
    if isinstance(device, str):
        raise TypeError(f"device: {device!r} is a name, not a device; give estab.Tun({device!r}), or another device")
    if isinstance(device, type) or not callable(getattr(device, "receive", None)):
        raise TypeError(f"device: {device!r} is not a device; give one that was made, like estab.Tun('estab0')")


def check_mac(mac: object) -> None:
    """Refuse what is neither ``b""`` nor six bytes. ``TypeError``, ``ValueError``."""
    if not isinstance(mac, bytes):
        raise TypeError(f"mac: expected six bytes like bytes.fromhex('020000000001'), not {mac!r}")
    if len(mac) not in (0, 6):
        raise ValueError(f"mac: {mac!r} has {len(mac)} bytes, not six")


@runtime_checkable
class VnetDevice(Protocol):
    """What a device with offload has beyond ``Device``: a virtio header (``wire.offload``) before each frame."""

    header_bytes: int
    """The header's size: 10 or 12. Frames that ``receive`` gives begin with it."""
    segment_bytes_max: int
    """The largest text of a TCP super-segment that it takes; 0 if it can't cut any."""
    has_checksum_offload: bool
    """It completes transport checksums, and gives frames whose own are not filled in."""

    def send_offloaded(self, header: bytes, frame: bytes) -> bool:
        """Send a frame after its virtio header, as ``Device.send`` does."""
