"""One conversation with all that was measured on it, as the rules take it."""

from __future__ import annotations

from dataclasses import dataclass

from estab.doctor.conversation import Conversation, Segment
from estab.doctor.finding import Finding
from estab.doctor.stream import Stream, read_stream
from estab.doctor.vantage import Vantage, find_vantage
from estab.units import SECOND

__all__ = ["Case", "open_case", "packet_list"]


@dataclass(slots=True)
class Case:
    """A conversation, where it was captured, and its two streams. ``start_ns`` and ``end_ns`` are the capture's.

    ``until_ns`` is when nobody looked any more: a recording goes on after its last packet.
    """

    conversation: Conversation
    vantage: Vantage
    streams: tuple[Stream, Stream]
    start_ns: int
    end_ns: int
    until_ns: int

    @property
    def rtt_ns(self) -> int:
        """The round trip, 0 if nothing tells."""
        return self.vantage.rtt_ns or 0

    @property
    def main(self) -> Stream:
        """The stream with more text."""
        first, second = self.streams
        return first if first.bytes >= second.bytes else second

    def seconds(self, at_ns: int) -> float:
        """Return a time as seconds of the capture."""
        return (at_ns - self.start_ns) / SECOND

    def end_of(self, side: int) -> str:
        """Name an end for people."""
        return f"{'client' if side == 0 else 'server'} {self.conversation.sides[side].text}"

    def finding(
        self, name: str, evidence: list[str], from_ns: int, to_ns: int, side: int = -1, **more: object,
    ) -> Finding:
        """Make a finding about this conversation."""
        who = self.end_of(side) if side >= 0 else ""
        made = Finding(name, self.conversation.name, evidence, self.seconds(from_ns), self.seconds(to_ns), who)
        for field, value in more.items():
            setattr(made, field, value)
        return made


def open_case(conversation: Conversation, start_ns: int, end_ns: int, until_ns: int = 0) -> Case:
    """Measure a conversation."""
    vantage = find_vantage(conversation)
    streams = (read_stream(conversation, 0, vantage), read_stream(conversation, 1, vantage))
    return Case(conversation, vantage, streams, start_ns, end_ns, max(end_ns, until_ns))


def packet_list(segments: list[Segment], most: int = 6) -> str:
    """Name packets by their numbers in the file: ``packets 4, 7, 9 and 12 more``."""
    numbers = [str(segment.number) for segment in segments[:most]]
    more = f" and {len(segments) - most} more" if len(segments) > most else ""
    return f"packet{'s' if len(segments) > 1 else ''} {', '.join(numbers)}{more}"
