"""What devices over a descriptor of the operating system have in common: frames are read from it and written to it."""

from __future__ import annotations

import errno
import os
from typing import Final

from estab.devices.device import Device

__all__ = ["SEGMENT_BYTES_MAX", "DescriptorDevice"]

SEGMENT_BYTES_MAX: Final = 65_400
"""Of a super-segment's text: with the longest headers that our segments have, a packet of at most 65,535 bytes."""
_SUPER_FRAME_BYTES: Final = 65_536 + 18
_AWAY: Final = frozenset({errno.EIO, errno.ENETDOWN, errno.ENODEV, errno.ENXIO, getattr(errno, "EBADFD", errno.EIO)})
"""Errors of reading that mean that the interface is down or gone."""
_LOST: Final = _AWAY | {errno.EINVAL, errno.ENOMEM, errno.EMSGSIZE, errno.EPERM}
"""Errors of writing that mean that the packet is lost, as on any network. ENOBUFS says that the interface's own queue
was full: that is raised, so that TCP learns of it.
"""


class DescriptorDevice(Device):
    """A device over the non-blocking descriptor ``_fd``, a read or write a frame."""

    _fd: int = -1
    header_bytes: int = 0
    segment_bytes_max: int = 0
    has_checksum_offload: bool = False
    read_bytes: int = 0
    """Size of a read that takes the largest frame whole."""

    def _size_reads(self) -> None:
        """Make reads as large as the largest frame. To be called when the attributes stand."""
        frame = self.mtu + 18
        self.read_bytes = self.header_bytes + (max(frame, _SUPER_FRAME_BYTES) if self.header_bytes else frame)

    @classmethod
    def is_plain(cls) -> bool:
        """Tell whether a read is a frame and a write another, and nothing more is to be done."""
        return cls.receive is DescriptorDevice.receive and cls.send_offloaded is DescriptorDevice.send_offloaded

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def receive(self) -> bytes | None:
        """Take the next frame, with its virtio header if the device has such headers."""
        try:
            return os.read(self._fd, self.read_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _AWAY:
                return None
            raise

    def send(self, frame: bytes) -> bool:
        """Send a frame as it is. ``OSError`` ENOBUFS: the interface's own queue was full, and the frame is lost."""
        return self.send_offloaded(bytes(self.header_bytes), frame)

    def send_offloaded(self, header: bytes, frame: bytes) -> bool:
        """Send a frame after its virtio header (``b""`` if there is none). ENOBUFS as ``send``."""
        try:
            os.writev(self._fd, (header, frame))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _LOST:
                raise
        return True

    def close(self) -> None:
        """Release the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # If no stack could be made of it, nothing else closes it; a device that was created here would stay for ever.
        DescriptorDevice.close(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} mtu {self.mtu}{' offload' if self.has_checksum_offload else ''}>"
