"""A channel without its stream: codec, heartbeat, and the messages that wait for the program. Sans-IO.

The three channels are the same ``Exchange`` over three ways to move bytes. Messages come first, then the end of
the stream: a fault in the same chunk as good messages is raised after them.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from estab.errors import explain
from estab.messages.codec import Buffer, Codec, FrameError
from estab.messages.facts import SocketLike, socket_facts
from estab.messages.heartbeat import Heartbeat, PeerLostError, Pulse
from estab.units import MS, NEVER, duration_ns, format_duration

__all__ = ["CHUNK_BYTES", "EndOfStreamError", "Exchange"]

CHUNK_BYTES = 65536
"""What a channel reads at a time: so much, cut into messages, may wait for the program."""
_RETRY_NS: Final = 20 * MS
"""How long a heartbeat's message waits before it is tried again, while the peer does not read."""


class EndOfStreamError(EOFError):
    """The peer's stream has ended, between two messages. Nothing was lost."""


class Exchange:
    """One connection's messages: bytes in, messages out, and the frames that must be sent."""

    def __init__(
        self, codec: Codec, heartbeat: Heartbeat | None, send_timeout: int | float | str | None,
        addresses: tuple[object, object], now_ns: int,
    ) -> None:
        self.codec = codec
        local, self.peer = map(peer_name, addresses)
        # The two sides see the same addresses the other way round, so one of them yields; a NAT may undo that.
        self.pulse = None if heartbeat is None else Pulse(heartbeat, now_ns, is_yielding=local < self.peer)
        self.control: dict[bytes, bytes] = {}
        """The heartbeat's messages and their frames."""
        if heartbeat is not None:
            self.control = {word: codec.encode(word) for word in heartbeat.words}
        self.stall_ns = NEVER
        """How long a ``send`` may wait without the peer taking a byte."""
        if send_timeout is not None:
            self.stall_ns = duration_ns(send_timeout, "send_timeout")
        elif heartbeat is not None and heartbeat.is_wanted:
            self.stall_ns = heartbeat.timeout_ns
        self._last_in_ns = now_ns
        self._is_sending_over = False
        self._inbox: deque[bytes] = deque()
        self._end: Exception | None = None
        self.is_stopping = False
        """Whether the next end of the stream is our own doing, and so a clean one wherever it falls."""
        self._deferred: list[Callable[[], Any]] = []

    def frame(self, message: Buffer) -> bytes:
        """Return the frame of a program's message. ValueError if it is one of the heartbeat's."""
        if self.control and bytes(message) in self.control:
            raise ValueError(f"message: {bytes(message)!r} is one of the heartbeat's; use other words for one of them")
        return self.codec.encode(message)

    def on_bytes(self, data: bytes, now_ns: int) -> None:
        """Take what the stream gave; empty bytes are its end."""
        if not data:
            self._on_end()
            return
        pulse = self.pulse
        self._last_in_ns = now_ns
        if pulse is not None:
            pulse.on_bytes(now_ns)
        try:
            messages = self.codec.feed(data)
        except FrameError as error:
            self._end = error
            messages = error.messages
        if pulse is None:
            self._inbox.extend(messages)
        else:
            self._inbox.extend([message for message in messages if not pulse.on_message(message)])

    def _on_end(self) -> None:
        if self._end is not None:
            return
        try:
            self.codec.eof()
        except FrameError as error:
            self._end = error
        if self._end is None or self.is_stopping:
            self._end = EndOfStreamError(f"{self.peer} has ended its stream")

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come from the stream: it ended, or broke its format."""
        return self._end is not None

    def take(self) -> bytes | None:
        """Return the next message, None if none waits. EndOfStreamError or FrameError after the last one."""
        if self._inbox:
            return self._inbox.popleft()
        if self._end is not None:
            raise self._end.with_traceback(None)
        return None

    def tick(self, now_ns: int, sock: SocketLike | None) -> None:
        """Let the heartbeat see the time. PeerLostError if the peer has been silent too long."""
        pulse = self.pulse
        if pulse is None:
            return
        if pulse.is_lost(now_ns):
            raise self.lost(pulse.describe_silence(now_ns), now_ns, sock)
        pulse.on_deadline(now_ns)

    def next_deadline_ns(self, now_ns: int) -> int:
        """When ``tick`` must be called, or a message of the heartbeat that could not leave be tried again."""
        if self.pulse is None:
            return NEVER
        deadline_ns = self.pulse.next_deadline_ns()
        return min(deadline_ns, now_ns + _RETRY_NS) if self.has_control else deadline_ns

    @property
    def has_control(self) -> bool:
        """Whether ``take_control`` has something."""
        return self.pulse is not None and self.pulse.has_due and not self._is_sending_over

    def take_control(self) -> bytes:
        """Return the frames that the heartbeat has to send now."""
        if self.pulse is None or not self.has_control:
            return b""
        return b"".join([self.control[word] for word in self.pulse.take()])

    def end_control(self) -> bytes:
        """Return the heartbeat's last frames: a side that sends no more can't answer pings, so it ends for both."""
        if self.pulse is not None:
            self.pulse.turn_off()
        last = self.take_control()
        self._is_sending_over = True
        return last

    def stalled(self, stalled_ns: int, now_ns: int, sock: SocketLike | None) -> PeerLostError:
        """Build the error for a ``send`` of which the peer took nothing for ``stalled_ns``."""
        return self.lost(f"took no byte for {format_duration(stalled_ns)}", now_ns, sock)

    def gave_up(self, error: OSError, now_ns: int, sock: SocketLike | None) -> PeerLostError:
        """Build the error for the connection's own ETIMEDOUT: TCP's retransmissions or keepalives went unanswered.

        As a ``TimeoutError`` it could not be told from a ``receive`` whose time-out passed.
        """
        return self.lost(f"TCP gave the connection up ({explain(error)})", now_ns, sock)

    def lost(self, what: str, now_ns: int, sock: SocketLike | None) -> PeerLostError:
        """Build the error that says that the peer is gone."""
        return PeerLostError(errno.ETIMEDOUT, f"{self.peer}: {what}", now_ns - self._last_in_ns, socket_facts(sock))

    def defer(self, function: Callable[[], Any]) -> None:
        """Remember clean-up for after the stream is closed."""
        self._deferred.append(function)

    def take_deferred(self) -> list[Callable[[], Any]]:
        """Return the clean-up, the last deferred first, and forget it."""
        deferred, self._deferred = self._deferred[::-1], []
        return deferred


def peer_name(address: object) -> str:
    """Write a peer's address for people: ``10.0.0.2:80``, ``[fe80::1]:80``, a path, or ``the peer``."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str() if address:
            return address
    return "the peer"
