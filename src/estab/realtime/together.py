"""Several frames by one call of the system, for a device that is read and written by its descriptor."""

from __future__ import annotations

from estab.devices import uring
from estab.devices.descriptor import DescriptorDevice
from estab.host.drive.inbox import Inbox
from estab.host.drive.outbox import Outbox
from estab.host.drive.slots import SLOT_BYTES, SLOTS, Slots

__all__ = ["Together", "slots_of"]


def slots_of(ring: uring.Ring) -> Slots:
    """Give a ring of the kernel's to what fills and empties it."""
    return Slots(ring.room, ring.entries, ring.words, ring.results, ring.tail_at, ring.head_at, ring.answered_at,
                 ring.answers_at, ring.answers, ring.enter)


class Together:
    """An outbox for the device, and an inbox if its largest frame fits into a slot; ``None`` where the system has
    nothing of the kind.
    """

    def __init__(self, device: DescriptorDevice) -> None:
        self._rings: list[uring.Ring] = []
        slots = self._open(device, is_writing=True)
        self.outbox = None if slots is None else Outbox(slots)
        slots = self._open(device, is_writing=False) if device.read_bytes <= SLOT_BYTES else None
        self.inbox = None if slots is None else Inbox(slots)

    def _open(self, device: DescriptorDevice, is_writing: bool) -> Slots | None:
        ring = uring.open_ring(device.fileno(), SLOTS, SLOT_BYTES, is_writing=is_writing)
        if ring is None:
            return None
        self._rings.append(ring)
        return slots_of(ring)

    def close(self) -> None:
        """Release what the system has of it. The stepper must have forgotten its descriptor."""
        for ring in self._rings:
            ring.close()
