"""A path between two namespaces that loses, delays, reorders, or takes small packets only, by two TUN devices."""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import select
import threading
import time
from types import TracebackType
from typing import Self

import estab
from tests.kit.namespaces import Namespace

__all__ = ["BadPath"]


class BadPath:
    """Carries IP packets between ``tun0`` of two namespaces, 10.99.0.1 and 10.99.0.2. Times are seconds.

    ``delay_s`` each way; ``loss``: a share; every ``held``-th full packet is late by one of ``held_s`` in turn; packets
    above ``most_bytes`` vanish; ``rate`` (bytes a second) with a queue of ``queue_bytes``.
    """

    def __init__(self, here: Namespace, there: Namespace, *, delay_s: float = 0.0, loss: float = 0.0, held: int = 0,
                 held_s: tuple[float, ...] = (), most_bytes: int = 65535, rate: float = 0.0,
                 queue_bytes: int = 1 << 20) -> None:
        self.delay_s, self.loss, self.held, self.held_s = delay_s, loss, held, held_s
        self.most_bytes, self.rate, self.queue_bytes = most_bytes, rate, queue_bytes
        self._devices = [estab.Tun("tun0", netns=where.name, peer=f"{address}/24", offload=False)
                         for where, address in ((here, "10.99.0.1"), (there, "10.99.0.2"))]
        for device, address in zip(self._devices, ("10.99.0.250/24", "10.99.0.251/24"), strict=True):
            device.prepare([address])
        self._chance = random.Random(1)
        self._free_s = [0.0, 0.0]
        self._late: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
                 ) -> None:
        os.close(self._ended)
        self._thread.join()
        os.close(self._end)
        for device in self._devices:
            device.close()

    def _run(self) -> None:
        numbers = {device.fileno(): side for side, device in enumerate(self._devices)}
        while True:
            now_s = time.monotonic()
            while self._late and self._late[0][0] <= now_s:
                _, _, side, packet = heapq.heappop(self._late)
                with contextlib.suppress(OSError):
                    self._devices[1 - side].send(packet)
            wait_s = max(0.0, self._late[0][0] - now_s) if self._late else None
            for fd in select.select([*numbers, self._end], [], [], wait_s)[0]:
                if fd == self._end:
                    return
                for _ in range(32):
                    packet = self._devices[numbers[fd]].receive()
                    if packet is None:
                        break
                    self._take(numbers[fd], packet)

    def _take(self, side: int, packet: bytes) -> None:
        """Decide what becomes of a packet."""
        self._count += 1
        if len(packet) > self.most_bytes or (len(packet) > 100 and self._chance.random() < self.loss):
            return
        due_s = now_s = time.monotonic()
        if self.rate:
            free_s = max(now_s, self._free_s[side])
            if (free_s - now_s) * self.rate > self.queue_bytes:
                return
            due_s = self._free_s[side] = free_s + len(packet) / self.rate
        late_s = 0.0
        if self.held and len(packet) > 500 and self._count % self.held == 0:
            late_s = self.held_s[self._count // self.held % len(self.held_s)]
        heapq.heappush(self._late, (due_s + self.delay_s + late_s, self._count, side, packet))
