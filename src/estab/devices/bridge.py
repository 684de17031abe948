"""``Bridge``: carries frames between two devices, so that a tunnel's other end can be a kernel.

    Bridge(Tun("tun0", offload=False), UdpTunnel(("", 4789))).run()

On a machine with root that connects its kernel to stacks elsewhere that need no root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from typing import Final

from estab.devices.device import Device

__all__ = ["Bridge"]

_FRAMES_PER_TURN: Final = 64


class Bridge:
    """Two devices with descriptors that carry the same kind of frames, without virtio headers.

    ``ValueError`` on others. What the receiving device has no room for is dropped and counted.
    """

    def __init__(self, a: Device, b: Device) -> None:
        for device in (a, b):
            if device.fileno() < 0:
                raise ValueError(f"bridge: {device!r} has no descriptor to wait on")
            if getattr(device, "header_bytes", 0):
                raise ValueError(f"bridge: {device!r} has virtio headers; open it with offload=False")
        if bool(a.mac) != bool(b.mac):
            raise ValueError(f"bridge: one of {a!r} and {b!r} carries Ethernet frames, the other bare packets")
        self.carried_frames = 0
        self.dropped_frames = 0
        self._ways = ((a, b), (b, a))
        self._ends = os.pipe()
        self._is_stopped = False
        for device in (a, b):
            device.open(self._wake)

    def run(self) -> None:
        """Carry frames until ``stop``."""
        waiting = select.poll()
        waiting.register(self._ends[0], select.POLLIN)
        for device, _ in self._ways:
            waiting.register(device.fileno(), select.POLLIN)
        while not self._is_stopped:
            waiting.poll()
            for source, target in self._ways:
                self._carry(source, target)

    def stop(self) -> None:
        """End ``run``. From any thread."""
        self._is_stopped = True
        self._wake()

    def close(self) -> None:
        """Release both devices."""
        for device, _ in self._ways:
            device.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                os.close(end)

    def _carry(self, source: Device, target: Device) -> None:
        for _ in range(_FRAMES_PER_TURN):
            frame = source.receive()
            if frame is None:
                return
            if _send(target, frame):
                self.carried_frames += 1
            else:
                self.dropped_frames += 1

    def _wake(self) -> None:
        os.write(self._ends[1], b"w")


def _send(target: Device, frame: bytes) -> bool:
    try:
        return target.send(frame)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False
