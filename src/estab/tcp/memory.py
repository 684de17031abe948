"""The memory of all connections of one host together: Linux's ``tcp_mem``.

What a connection holds (text to read, text out of order, text to send and in flight, and the records beside them) is
charged here, by what it really takes. Three limits, in pages of 4,096 bytes:

- From the second on the host is under pressure, until less is held than the first: buffers grow no more, and a window
  whose buffer is half full is small.
- At the third no connection gets more, but for the least that ``tcp_rmem`` and ``tcp_wmem`` promise to each: what
  comes is dropped and will be sent again, what is written waits, and connections that their programs have closed are
  reset.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.counters import Counters
from estab.tcp.config import Config
from estab.units import MS

__all__ = ["PAGE_BYTES", "HostMemory"]

PAGE_BYTES: Final = 4096
"""What the sysctl ``tcp_mem`` counts in."""


class HostMemory:
    """What the connections of one host hold together. ``held_bytes`` is the sum."""

    def __init__(self, config: Config, counters: Counters) -> None:
        self._config = config
        self._counters = counters
        self._pressed_ns: i64 = 0
        self.held_bytes: i64 = 0
        self.is_pressed: bool = False
        """Buffers do not grow: more than the second limit was held, and not less than the first since."""

    def add(self, change_bytes: i64, now_ns: i64) -> None:
        """Charge so many bytes more, or less."""
        self.held_bytes += change_bytes
        if self.is_pressed:
            if self.held_bytes <= self._config.tcp_mem[0] * PAGE_BYTES:
                self.is_pressed = False
                self._counters.TcpExtTCPMemoryPressuresChrono += (now_ns - self._pressed_ns) // MS
        elif change_bytes > 0 and self.held_bytes > self._config.tcp_mem[1] * PAGE_BYTES:
            self.is_pressed = True
            self._pressed_ns = now_ns
            self._counters.TcpExtTCPMemoryPressures += 1

    def is_full(self) -> bool:
        """Tell whether the third limit is reached."""
        return self.is_pressed and self.held_bytes >= self._config.tcp_mem[2] * PAGE_BYTES
