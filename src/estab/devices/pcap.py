"""``PcapDevice``: a capture as a device. What was recorded for the stack comes to it again; what it sends is kept."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from os import PathLike
from typing import Final

from estab.devices.capture_file import Captured, CaptureError, read_capture
from estab.devices.decapsulate import LINK_TYPES, ip_packet, link_type_text
from estab.devices.device import Device

__all__ = ["PcapDevice"]

_SECOND: Final = 1_000_000_000
_V4_BYTES: Final = 4


class PcapDevice(Device):
    """The IP packets of a pcap or pcapng file, in their order; Ethernet and its like are taken off.

    ``to``: only packets to that address (a capture mostly holds both directions). ``speed``: 1 keeps the recorded
    times, 2 halves them; ``None`` gives packets as fast as they are taken. What the stack sends is in ``sent``, the
    last ``sent_max`` packets; ``is_over`` says that all was given. ``validate_checksums=False``: checksums are filled
    in, as for a capture taken on the machine that sent, before its network card did. A file that ends in the middle
    gives what stands before the cut; ``cut`` says where that is. ``OSError`` if there is no such file,
    ``CaptureError`` if it contradicts itself, or has no packet in it because its link type is not known.
    """

    def __init__(self, path: str | PathLike[str], *, to: str | None = None, speed: float | None = None,
                 name: str = "pcap0", mtu: int = 65_535, sent_max: int = 100_000,
                 validate_checksums: bool = True) -> None:
        if speed is not None and speed <= 0:
            raise ValueError(f"speed: {speed} is not above 0")
        self.name = name
        self.mtu = mtu
        self.sent: deque[bytes] = deque(maxlen=sent_max)
        target = None if to is None else ip_address(to).packed
        try:
            with open(path, "rb") as file:
                reader = read_capture(file)
                found = [(frame.time_ns, packet) for frame, packet in _packets(list(reader))
                         if target in (None, _destination(packet))]
        except CaptureError as error:
            raise CaptureError(f"{os.fspath(path)}: {error}") from None
        self.packets = len(found)
        """How many packets of the capture are given."""
        self.cut = reader.cut
        """Where the file ends in the middle; empty if it does not."""
        if not validate_checksums:
            found = [(at_ns, _with_checksum(packet)) for at_ns, packet in found]
        self._left = deque(found)
        self._first_ns = found[0][0] if found else 0
        self._speed = speed
        self._started_ns = 0
        self._wake: Callable[[], None] = _nothing
        self._timer: threading.Timer | None = None

    @property
    def is_over(self) -> bool:
        """Whether all packets were given."""
        return not self._left

    def open(self, wake: Callable[[], None]) -> None:
        """Begin to play."""
        self._wake = wake
        self._started_ns = time.monotonic_ns()

    def receive(self) -> bytes | None:
        """Take the next packet whose time has come."""
        if not self._left:
            return None
        if self._speed is not None:
            due_ns = self._started_ns + int((self._left[0][0] - self._first_ns) / self._speed)
            left_ns = due_ns - time.monotonic_ns()
            if left_ns > 0:
                self._wake_in(left_ns)
                return None
        return self._left.popleft()[1]

    def send(self, frame: bytes) -> bool:
        """Keep a packet."""
        self.sent.append(frame)
        return True

    def close(self) -> None:
        """Play no more."""
        self._left.clear()
        timer = self._timer
        if timer is not None:
            timer.cancel()

    def _wake_in(self, left_ns: int) -> None:
        if self._timer is None:
            self._timer = threading.Timer(left_ns / _SECOND, self._ring)
            self._timer.daemon = True
            self._timer.start()

    def _ring(self) -> None:
        self._timer = None
        self._wake()

    def __repr__(self) -> str:
        return f"<PcapDevice {self.name} {self.packets} packets, {len(self._left)} left>"


def _packets(frames: list[Captured]) -> list[tuple[Captured, bytes]]:
    found = []
    unknown = {frame.link_type for frame in frames if frame.link_type not in LINK_TYPES}
    if unknown and len(unknown) == len({frame.link_type for frame in frames}):
        raise CaptureError(f"{', '.join(link_type_text(one) for one in sorted(unknown))} is not one that can be read; "
                           f"these are: {', '.join(sorted(set(LINK_TYPES.values())))}")
    for frame in frames:
        packet = ip_packet(frame)
        if packet is not None and len(packet) >= 20:
            found.append((frame, packet))
    return found


def _destination(packet: bytes) -> bytes:
    return packet[16:20] if packet[0] >> 4 == _V4_BYTES else packet[24:40]


_CHECKSUM_AT: Final = {6: 16, 17: 6}
"""Where TCP and UDP have their checksum."""


def _with_checksum(packet: bytes) -> bytes:
    """Fill in the checksum of TCP or UDP; what is cut, a fragment, or no such packet stays as it is."""
    if packet[0] >> 4 == _V4_BYTES:
        start, end = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        protocol, addresses, is_fragment = packet[9], packet[12:20], int.from_bytes(packet[6:8], "big") & 0x3FFF != 0
    else:
        start, end = 40, int.from_bytes(packet[4:6], "big") + 40
        protocol, addresses, is_fragment = packet[6], packet[8:40], False
    at = start + _CHECKSUM_AT.get(protocol, 0)
    if at == start or is_fragment or not at + 2 <= end <= len(packet):
        return packet
    words = addresses + bytes((0, protocol)) + (end - start).to_bytes(4, "big")
    words += packet[start:at] + b"\0\0" + packet[at + 2:end] + bytes((end - start) & 1)
    total = 0xFFFF - int.from_bytes(words, "big") % 0xFFFF
    return packet[:at] + total.to_bytes(2, "big") + packet[at + 2:]


def _nothing() -> None: ...
