"""``Port``: one interface of a spawned host, between the kernel's device and the lab's link.

- On a link without Ethernet a frame is an IP packet. A packet socket has Ethernet frames, so a header is added and
  taken off; the interface has no ARP, so its kernel asks for no addresses.
- A virtio header stands before each frame on the descriptor. Unless two such ports are joined directly, the kernel
  sends no super-segments and no packets without checksums, so the header is empty.
- What the packet socket had no room for is counted by the kernel, and asked for by ``queue_overflows``.
- If the link does nothing to frames, nobody watches and a kernel is at its other end too, what is read from one
  descriptor is written to the other as it is: super-segments stay whole.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Final

__all__ = ["Port"]

_HEADER_BYTES: Final = 10
_ETHERNET_BYTES: Final = 14
_NO_HEADER: Final = bytes(_HEADER_BYTES)
_READ_BYTES: Final = (64 << 10) + 64
_ROOM_BYTES: Final = 64
_READS_MAX: Final = 64
_ETHERTYPES: Final = {4: b"\x08\x00", 6: b"\x86\xdd"}
_FAR_MAC: Final = bytes.fromhex("020000000001")

# Inside of a program these names mean the host's, so what is the system's is taken here.
_read: Final = os.read
_readv: Final = os.readv
_write: Final = os.write
_close: Final = os.close
_Socket: Final = socket.socket

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS: Final = struct.Struct("=II")


class Port:
    """One interface. ``take`` is called with each frame that the host sends."""

    def __init__(self, fd: int, name: str, mtu: int, mac: bytes, *, is_ethernet: bool, is_tun: bool,
                 take: Callable[[bytes], None], set_offload: Callable[[bool], None]) -> None:
        self.fd = fd
        self.name = name
        self.is_ethernet = is_ethernet
        self.is_tun = is_tun
        self.mac = mac
        self._adds_ethernet = not is_ethernet and not is_tun
        self._skipped_bytes = _HEADER_BYTES + (_ETHERNET_BYTES if self._adds_ethernet else 0)
        self._mtu = mtu
        self._take = take
        self._set_offload = set_offload
        self._partner: Port | None = None
        self._is_plain: Callable[[], bool] = _no
        self.is_direct = False
        """Frames pass the link by."""
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self.frames_direct = 0
        self.frames_refused = 0
        """Frames that the kernel's device did not take."""
        self.frames_unfit = 0
        """Frames of the host that are no plain IP packets: ARP where there is none, super-segments on a plain link."""
        self.frames_lost = 0
        """Frames of the host that its device or the packet socket had no room for, as ``NativeHost.losses`` counts."""

    def join(self, partner: Port, is_plain: Callable[[], bool]) -> None:
        """Pass frames to the port at the link's other end as they are, whenever ``is_plain()``."""
        if partner.is_tun == self.is_tun and partner.is_ethernet == self.is_ethernet:
            self._partner, self._is_plain = partner, is_plain

    def read(self) -> None:
        """Take what the host sent, some frames at a time so that other descriptors have their share."""
        fd, partner, skipped = self.fd, self._partner, self._skipped_bytes
        is_direct = partner is not None and self._is_plain()
        if is_direct != self.is_direct:
            self.is_direct = is_direct
            self._set_offload(is_direct)
        if partner is not None and is_direct:
            self._pass_on(partner)
            return
        size = self._mtu + _ROOM_BYTES
        for _ in range(_READS_MAX):
            try:
                data = _read(fd, size)
            except OSError:  # nothing is there, or the host is gone
                return
            if self._is_fit(data):
                self._take(data[skipped:])

    def _pass_on(self, partner: Port) -> None:
        """Write what can be read to the other port, as it is."""
        fd, buffer, view = self.fd, self._buffer, self._view
        buffers = (buffer,)
        for _ in range(_READS_MAX):
            try:
                size = _readv(fd, buffers)
            except OSError:
                return
            self.frames_direct += 1
            if self._adds_ethernet:
                buffer[_HEADER_BYTES:_HEADER_BYTES + 6] = partner.mac
            partner.write(view[:size])

    def _is_fit(self, data: bytes) -> bool:
        """Tell whether it is one packet that can go on a link, and count it if not."""
        is_fit = len(data) > self._skipped_bytes and not data[1] and not data[0] & 1
        if is_fit and self._adds_ethernet:
            is_fit = data[self._skipped_bytes] >> 4 in _ETHERTYPES and data[22:24] in _ETHERTYPES.values()
        if not is_fit:
            self.frames_unfit += 1
        return is_fit

    def send(self, frame: bytes) -> None:
        """Give the host a frame from the link."""
        if self._adds_ethernet:
            ethertype = _ETHERTYPES.get(frame[0] >> 4 if frame else 0)
            if ethertype is None:
                self.frames_refused += 1
                return
            self.write(_NO_HEADER + self.mac + _FAR_MAC + ethertype + frame)
        else:
            self.write(_NO_HEADER + frame)

    def write(self, data: bytes | memoryview) -> None:
        """Give the host a frame with all its headers."""
        try:
            _write(self.fd, data)
        except OSError:
            self.frames_refused += 1

    def queue_overflows(self) -> int:
        """Count the host's frames for which the packet socket had no room since this was asked last."""
        if self.is_tun or self.fd < 0:
            return 0
        packets = _Socket(fileno=self.fd)
        try:
            return int(_STATISTICS.unpack(packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))[1])
        finally:
            packets.detach()

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if self.fd >= 0:
            _close(self.fd)
            self.fd = -1


def _no() -> bool:
    return False
