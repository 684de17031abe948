"""Heartbeats show whether the program at the other end is still there.

``Heartbeat`` holds the settings that both sides use; ``Pulse`` is the timer of one connection, sans-IO. Rules:

- any byte that comes in is a sign of life; a ping is sent only after ``interval`` without one: traffic costs nothing;
- one ping is out at a time: TCP repeats it if it is lost, a second one would only wait after it in the queue;
- one side pings; the other pings only if the first one's ping is overdue by half an interval. Otherwise two sides that
  became silent at the same time would always ping at the same time;
- the peer is lost after ``timeout`` of silence, at the end of which a ping has been out long enough. A program that was
  away, and so sent no ping, does not judge: it pings first;
- each side answers a ping with a pong. A side that wants no heartbeats answers with ``off`` instead, or says ``off`` by
  itself at any time: then neither side sends pings, and silence means nothing.
"""

from __future__ import annotations

from estab.messages.facts import SocketFacts
from estab.units import NEVER, duration_ns, format_duration

__all__ = ["Heartbeat", "PeerLostError", "Pulse"]


class PeerLostError(ConnectionError):
    """The peer has been silent for too long, takes no bytes, or TCP gave the connection up. Errno is ETIMEDOUT.

    Not a ``TimeoutError``: a caller that handles its own time-out and continues must not handle this as one.
    """

    def __init__(self, number: int, what: str, silent_ns: int, facts: SocketFacts) -> None:
        super().__init__(number, f"{what}; {facts}")
        self.silent_ns = silent_ns
        """Nanoseconds since the last byte from the peer was read."""
        self.facts = facts
        """What the socket knew at that moment: when the last byte came in, how much is unacknowledged."""


class Heartbeat:
    """When to ping, how long to wait, and with which words. One object serves any number of connections.

    ``interval``: silence after which a ping is sent. ``timeout``: silence after which the peer is lost; more than
    ``interval``, by a round trip and the longest time that the peer's program does not read. ``ping``, ``pong`` and
    ``off`` are messages like any other, so the codec must be able to carry them and the program must not use them.
    """

    def __init__(
        self, interval: int | float | str, timeout: int | float | str, ping: bytes = b"PING", pong: bytes = b"PONG",
        off: bytes = b"PING OFF",
    ) -> None:
        self.interval_ns: int = duration_ns(interval, "interval")
        self.timeout_ns: int = duration_ns(timeout, "timeout")
        self.ping: bytes = ping
        self.pong: bytes = pong
        self.off: bytes = off
        self.is_wanted: bool = True
        if self.interval_ns <= 0:
            raise ValueError(f"interval: {interval!r} is no time; Heartbeat.declined() has no heartbeats")
        if self.timeout_ns <= self.interval_ns:
            raise ValueError(f"timeout: {timeout!r} must be longer than the interval, {interval!r}")
        if len({ping, pong, off}) < 3:
            raise ValueError(f"ping, pong, off: {ping!r}, {pong!r}, {off!r} must be three different messages")

    @classmethod
    def declined(cls, ping: bytes = b"PING", pong: bytes = b"PONG", off: bytes = b"PING OFF") -> Heartbeat:
        """Use no heartbeats, but know the words: the peer's first ping is answered with ``off``."""
        heartbeat = cls(1, 2, ping, pong, off)
        heartbeat.is_wanted = False
        return heartbeat

    @property
    def words(self) -> tuple[bytes, bytes, bytes]:
        """The messages that the program can't use: ping, pong, off."""
        return self.ping, self.pong, self.off


class Pulse:
    """The heartbeat of one connection: told of bytes, messages and time, it says what to send and when it is over."""

    def __init__(self, heartbeat: Heartbeat, now_ns: int, is_yielding: bool = False) -> None:
        self.heartbeat: Heartbeat = heartbeat
        self._ask_ns: int = heartbeat.interval_ns
        """Silence after which we ask."""
        if is_yielding:
            self._ask_ns += min(heartbeat.interval_ns, heartbeat.timeout_ns - heartbeat.interval_ns) // 2
        self.is_on: bool = heartbeat.is_wanted
        """Whether pings are sent and silence is judged."""
        self.turned_off_by: str = "" if heartbeat.is_wanted else "us"
        """``"us"``, ``"peer"``, or empty while it is on."""
        self._last_in_ns: int = now_ns
        self._pinged_ns: int = NEVER
        """When the unanswered ping was sent; NEVER if none is out."""
        self._is_ping_due: bool = False
        self._is_pong_due: bool = False
        self._is_off_due: bool = False

    def on_bytes(self, now_ns: int) -> None:
        """Bytes of the peer came in, whatever they are."""
        self._last_in_ns = now_ns
        self._pinged_ns = NEVER
        self._is_ping_due = False

    def on_message(self, message: bytes) -> bool:
        """A message came in. True if it was the heartbeat's own: the program must not see it."""
        words = self.heartbeat
        if message == words.ping:
            if self.is_on:
                self._is_pong_due = True
            elif self.turned_off_by == "us":
                self._is_off_due = True
            return True
        if message == words.off:
            self._stop("peer")
            return True
        return message == words.pong

    def on_deadline(self, now_ns: int) -> None:
        """Time has passed: a ping may have become due."""
        if self.is_on and self._pinged_ns == NEVER and now_ns - self._last_in_ns >= self._ask_ns:
            self._pinged_ns = now_ns
            self._is_ping_due = True

    def next_deadline_ns(self) -> int:
        """When to call ``on_deadline`` and look at ``is_lost`` again; NEVER if the heartbeat is off."""
        if not self.is_on:
            return NEVER
        if self._pinged_ns == NEVER:
            return self._last_in_ns + self._ask_ns
        return self._pinged_ns + self.heartbeat.timeout_ns - self._ask_ns

    def is_lost(self, now_ns: int) -> bool:
        """Whether a ping has been out too long with no byte from the peer. Read what there is before asking."""
        return self.is_on and self._pinged_ns != NEVER and now_ns >= self.next_deadline_ns()

    def silent_ns(self, now_ns: int) -> int:
        """How long ago the last byte of the peer was read (at first: since the connection was handed over)."""
        return now_ns - self._last_in_ns

    @property
    def has_due(self) -> bool:
        """Whether ``take`` has something to send."""
        return self._is_pong_due or self._is_ping_due or self._is_off_due

    def take(self) -> list[bytes]:
        """Return the messages that must be sent now, each at most once however often it became due."""
        words = self.heartbeat
        due = [
            word
            for word, is_due in (
                (words.off, self._is_off_due), (words.pong, self._is_pong_due), (words.ping, self._is_ping_due)
            )
            if is_due
        ]
        self._is_off_due = self._is_pong_due = self._is_ping_due = False
        return due

    def turn_off(self) -> None:
        """End it for both sides: ``off`` becomes due. What is already off stays as it is."""
        if self.is_on:
            self._stop("us")
            self._is_off_due = True

    def describe_silence(self, now_ns: int) -> str:
        """Say how long the peer has been silent, for an error's text."""
        text = f"no byte for {format_duration(self.silent_ns(now_ns))}"
        if self._pinged_ns != NEVER:
            text += f", a ping unanswered for {format_duration(now_ns - self._pinged_ns)}"
        return text

    def _stop(self, by: str) -> None:
        if self.is_on:
            self.is_on = False
            self.turned_off_by = by
        self._pinged_ns = NEVER
        self._is_ping_due = self._is_pong_due = False
