"""``QueueDevice``: packets in and out as bytes, for programs that have a way of their own to carry them.

- In: ``deliver``, from any thread. What comes while ``frames_max`` wait is dropped and counted, as by any network.
- Out: ``on_packet`` is called with each packet, or if it is not set ``take`` and ``async for`` give them. If
  the program takes none, ``frames_max`` are kept and TCP waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from estab.devices.device import Device, check_mac

__all__ = ["QueueDevice"]


class QueueDevice(Device):
    """A device whose other end is the program that made it.

    With a ``mac`` it carries Ethernet frames, else IP packets. The runtime calls ``on_packet`` in the middle of the
    stack's work: pass the packet on, and call nothing of the stack there but ``deliver``.
    """

    def __init__(self, on_packet: Callable[[bytes], object] | None = None, *, mtu: int = 1500, mac: bytes = b"",
                 name: str = "queue0", frames_max: int = 1024) -> None:
        if frames_max < 1:
            raise ValueError(f"frames_max: {frames_max}; a queue needs room for at least 1")
        if mtu < 68:
            raise ValueError(f"mtu: {mtu} is not a number of bytes from 68 up (RFC 791)")
        if on_packet is not None and not callable(on_packet):
            raise TypeError(f"on_packet: {on_packet!r} is not a function")
        check_mac(mac)
        self.name = name
        self.mtu = mtu
        self.mac = mac
        self.on_packet = on_packet
        self.frames_max = frames_max
        self.dropped_frames = 0
        """Frames that were delivered while the queue was full."""
        self.is_closed = False
        self._is_taken = False
        self._in: deque[bytes] = deque()
        self._out: deque[bytes] = deque()
        self._was_full = False
        self._wake: Callable[[], None] = _nothing
        self._readers: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    # --- for the program

    def deliver(self, packet: bytes) -> bool:
        """Deliver a packet to the stack, as a network does. ``False``: it was dropped, because the queue is full."""
        if not isinstance(packet, (bytes, bytearray, memoryview)):
            raise TypeError(f"packet: expected bytes, not {type(packet).__name__}")
        if len(self._in) >= self.frames_max or self.is_closed:
            self.dropped_frames += 1
            return False
        self._in.append(bytes(packet))
        self._wake()
        return True

    def take(self) -> bytes | None:
        """Take the next packet that the stack sent, ``None`` if there is none."""
        try:
            packet = self._out.popleft()
        except IndexError:
            return None
        if self._was_full:
            self._was_full = False
            self._wake()
        return packet

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Return each packet that the stack sends, until the device is closed."""
        loop = asyncio.get_running_loop()
        while True:
            packet = self.take()
            if packet is not None:
                yield packet
                continue
            if self.is_closed:
                return
            news: asyncio.Future[None] = loop.create_future()
            self._readers.append((loop, news))
            if self._out or self.is_closed:
                self._tell_readers()
            await news

    # --- for the stack

    def prepare(self, prefixes: Sequence[str]) -> None:
        """Become a stack's device. ``RuntimeError`` if it is one already, or was."""
        if self.is_closed:
            raise RuntimeError(f"device {self.name} is closed; make a new one")
        if self._is_taken:
            raise RuntimeError(f"device {self.name} is another stack's already; each has one of its own")
        self._is_taken = True

    def open(self, wake: Callable[[], None]) -> None:
        """Take the stack's ``wake``."""
        self._wake = wake

    def receive(self) -> bytes | None:
        """Take the next packet that was delivered."""
        try:
            return self._in.popleft()
        except IndexError:
            return None

    def send(self, frame: bytes) -> bool:
        """Pass a packet to the program. ``False``: it has taken none for long."""
        if self.on_packet is not None:
            self.on_packet(frame)
            return True
        if len(self._out) >= self.frames_max:
            self._was_full = True
            return False
        self._out.append(frame)
        if self._readers:
            self._tell_readers()
        return True

    def close(self) -> None:
        """End ``async for``."""
        self.is_closed = True
        self._wake = _nothing
        self._tell_readers()

    def _tell_readers(self) -> None:
        while self._readers:
            loop, news = self._readers.popleft()
            try:
                loop.call_soon_threadsafe(_settle, news)
            except RuntimeError:
                continue  # its loop was closed

    def __repr__(self) -> str:
        return f"<QueueDevice {self.name} mtu {self.mtu}>"


def _settle(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)


def _nothing() -> None: ...
