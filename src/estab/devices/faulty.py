"""``Faulty``: bad weather around any device, for trying a program or a stack against a real peer.

- What happens to a frame is decided by chance from a seed, each kind of fault and each direction by a stream of its
  own. The order of frames is the real network's, so a run repeats only as far as that does.
- The order is that of a real link: lost, damaged, doubled, held back until later ones have passed, delayed.
- With offload a frame may be a super-segment of many packets, which then shares one fate. For the fate of each packet,
  give it a device without (``offload=False``).
- Bounds: ``FRAMES_MAX`` frames are under way in each direction, the rest is dropped.
"""

from __future__ import annotations

import errno
import heapq
import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from estab.devices.device import Device, check_device
from estab.units import MS, SECOND, duration_ns, share

__all__ = ["Faulty", "Weather"]

FRAMES_MAX: Final = 16_384
_OVERTAKERS_MAX: Final = 4
_HELD_NS: Final = 20 * MS
"""A frame that is held back goes on after this time, if no later one came to pass it."""
_NEEDS_CARE: Final = 3
"""Flags of a virtio header that speak of checksums: no one would see the damage."""


class Weather:
    """What happens on one direction. Numbers count what did: ``lost``, ``damaged``, ``doubled``, ``held``."""

    def __init__(self, seed: str, loss: float, corrupt: float, duplicate: float, reorder: float, delay_ns: int,
                 jitter_ns: int) -> None:
        self.loss, self.corrupt, self.duplicate, self.reorder = loss, corrupt, duplicate, reorder
        self.delay_ns, self.jitter_ns = delay_ns, jitter_ns
        self.passed = self.lost = self.damaged = self.doubled = self.held = self.overflowed = 0
        self._chance = {kind: Random(f"{seed} {kind}")
                        for kind in ("loss", "corrupt", "duplicate", "reorder", "jitter", "bit")}
        self._flying: list[tuple[int, int, bytes, bytes]] = []
        self._held: list[list[int | bytes]] = []
        self._count = 0
        self._last_due_ns = 0

    def take(self, header: bytes, frame: bytes, now_ns: int) -> None:
        """Begin to carry a frame."""
        if self._happens("loss", self.loss):
            self.lost += 1
            return
        if self._happens("corrupt", self.corrupt):
            self.damaged += 1
            if header and header[0] & _NEEDS_CARE:
                return  # a receiver that does check would have dropped it
            bit = self._chance["bit"].randrange(len(frame) * 8)
            damaged = bytearray(frame)
            damaged[bit // 8] ^= 1 << bit % 8
            frame = bytes(damaged)
        copies = 1
        if self._happens("duplicate", self.duplicate):
            self.doubled += 1
            copies = 2
        for _ in range(copies):
            if self._happens("reorder", self.reorder):
                self.held += 1
                overtakers = self._chance["reorder"].randint(1, _OVERTAKERS_MAX)
                self._held.append([overtakers, now_ns + _HELD_NS, header, frame])
            else:
                self._fly(header, frame, now_ns)
                self._overtake(now_ns)

    def due(self, now_ns: int) -> tuple[bytes, bytes] | None:
        """Return the next frame that arrives by now: its virtio header, and itself."""
        while self._held and int(self._held[0][1]) <= now_ns:
            _, _, header, frame = self._held.pop(0)
            assert isinstance(header, bytes)
            assert isinstance(frame, bytes)
            self._fly(header, frame, now_ns)
        if self._flying and self._flying[0][0] <= now_ns:
            self.passed += 1
            return heapq.heappop(self._flying)[2:]
        return None

    def put_back(self, header: bytes, frame: bytes, now_ns: int) -> None:
        """Offer a frame that the device had no room for again soon, before the others."""
        self.passed -= 1
        self._flying = [(now_ns + MS, -1, header, frame), *((max(due_ns, now_ns + MS), count, head, data)
                                                           for due_ns, count, head, data in self._flying)]
        heapq.heapify(self._flying)

    def next_due_ns(self) -> int | None:
        """Return when there will be a frame again; ``None`` if nothing is under way."""
        times = [int(held[1]) for held in self._held[:1]] + [flying[0] for flying in self._flying[:1]]
        return min(times, default=None)

    def _happens(self, kind: str, probability: float) -> bool:
        return probability > 0 and self._chance[kind].random() < probability

    def _fly(self, header: bytes, frame: bytes, now_ns: int) -> None:
        if len(self._flying) >= FRAMES_MAX:
            self.overflowed += 1
            return
        due_ns = now_ns + self.delay_ns
        if self.jitter_ns:
            due_ns += self._chance["jitter"].randint(-self.jitter_ns, self.jitter_ns)
        self._last_due_ns = due_ns = max(due_ns, self._last_due_ns if self.delay_ns or self.jitter_ns else 0)
        self._count += 1
        heapq.heappush(self._flying, (due_ns, self._count, header, frame))

    def _overtake(self, now_ns: int) -> None:
        for held in list(self._held):
            held[0] = int(held[0]) - 1
            if held[0] == 0:
                self._held.remove(held)
                _, _, header, frame = held
                assert isinstance(header, bytes)
                assert isinstance(frame, bytes)
                self._fly(header, frame, now_ns)


class Faulty(Device):
    """A device like ``device``, with faults in both directions.

    ``loss``, ``corrupt``, ``duplicate`` and ``reorder`` are shares of frames (``"2%"``, ``0.02``), ``delay`` and
    ``jitter`` times (``"10ms"``). A pair gives them for each direction: from the stack, to the stack. ``outward`` and
    ``inward`` count what happened, and may be changed while the device is in use.
    """

    def __init__(
        self, device: Device, *, loss: object = 0, corrupt: object = 0, duplicate: object = 0, reorder: object = 0,
        delay: object = 0, jitter: object = 0, seed: int = 0,
    ) -> None:
        check_device(device)
        shares = [_pair(share, value, name) for name, value in
                  (("loss", loss), ("corrupt", corrupt), ("duplicate", duplicate), ("reorder", reorder))]
        times = [_pair(duration_ns, value, name) for name, value in (("delay", delay), ("jitter", jitter))]
        self.device = device
        self.name, self.mtu, self.mac = device.name, device.mtu, device.mac
        self.header_bytes: int = getattr(device, "header_bytes", 0)
        self.segment_bytes_max: int = getattr(device, "segment_bytes_max", 0)
        self.has_checksum_offload: bool = getattr(device, "has_checksum_offload", False)
        (l_out, l_in), (c_out, c_in), (d_out, d_in), (r_out, r_in) = shares
        (delay_out, delay_in), (jitter_out, jitter_in) = times
        self.outward = Weather(f"{seed} outward", l_out, c_out, d_out, r_out, int(delay_out), int(jitter_out))
        self.inward = Weather(f"{seed} inward", l_in, c_in, d_in, r_in, int(delay_in), int(jitter_in))
        self._lock = threading.Condition()
        self._wake: Callable[[], None] = _nobody
        self._wake_ns: int | None = None
        self._is_closed = False
        self._clock: threading.Thread | None = None

    def open(self, wake: Callable[[], None]) -> None:
        """Take the stack's ``wake``."""
        self._wake = wake
        self.device.open(wake)

    def prepare(self, prefixes: Sequence[str]) -> None:
        """Let the device below do what its other end needs."""
        self.device.prepare(prefixes)

    def conflict(self, address: str) -> str:
        """Say why the device below must not have the address."""
        return self.device.conflict(address)

    def fileno(self) -> int:
        """Return the descriptor of the device below."""
        return self.device.fileno()

    def receive(self) -> bytes | None:
        """Take the next frame that arrived."""
        now_ns = time.monotonic_ns()
        self._send_due(now_ns)
        while True:
            found = self.inward.due(now_ns)
            if found is None:
                frame = self.device.receive()
                if frame is None:
                    self._wake_later()
                    return None
                self.inward.take(frame[: self.header_bytes], frame[self.header_bytes :], now_ns)
            else:
                return found[0] + found[1]

    def send(self, frame: bytes) -> bool:
        """Send a frame through the faults."""
        return self.send_offloaded(b"", frame)

    def send_offloaded(self, header: bytes, frame: bytes) -> bool:
        """Send a frame and its virtio header through the faults."""
        now_ns = time.monotonic_ns()
        self.outward.take(header, frame, now_ns)
        self._send_due(now_ns)
        self._wake_later()
        return True

    def close(self) -> None:
        """Close the device below; what is under way is lost."""
        with self._lock:
            self._is_closed = True
            self._lock.notify()
        if self._clock is not None:
            self._clock.join()
            self._clock = None
        self.device.close()

    def __repr__(self) -> str:
        return f"<Faulty {self.device!r}>"

    # --- inside

    def _send_due(self, now_ns: int) -> None:
        while (found := self.outward.due(now_ns)) is not None:
            header, frame = found
            try:
                sent = self.device.send_offloaded(header, frame) if self.header_bytes else self.device.send(frame)  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue  # lost, and too late to tell the stack
            if not sent:
                self.outward.put_back(header, frame, now_ns)
                return

    def _wake_later(self) -> None:
        """Make the stack ask again when the next frame is due."""
        times = [due for due in (self.outward.next_due_ns(), self.inward.next_due_ns()) if due is not None]
        if not times:
            return
        with self._lock:
            soonest = min(times)
            if self._wake_ns is None or soonest < self._wake_ns:
                self._wake_ns = soonest
                if self._clock is None and not self._is_closed:
                    self._clock = threading.Thread(target=self._run_clock, name=f"weather of {self.name}", daemon=True)
                    self._clock.start()
                self._lock.notify()

    def _run_clock(self) -> None:
        with self._lock:
            while not self._is_closed:
                due_ns = self._wake_ns
                if due_ns is None:
                    self._lock.wait()
                elif (left_ns := due_ns - time.monotonic_ns()) > 0:
                    self._lock.wait(left_ns / SECOND)
                else:
                    self._wake_ns = None
                    self._wake()


def _pair(read: Callable[[int | float | str, str], float], value: object, name: str) -> tuple[float, float]:
    both = value if isinstance(value, tuple) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name}: a pair has two values (from the stack, to the stack), not {len(both)}")
    return read(both[0], name), read(both[1], name)


def _nobody() -> None:
    """Do nothing: the device is not open."""
