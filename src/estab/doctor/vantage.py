"""Where a capture was taken: at the client, at the server or between, guessed from times.

- A packet and its answer are close together if the answering host is near. The handshake tells it best: SYN to
  SYN-ACK is the way to the server and back, SYN-ACK to ACK that to the client.
- A file that knows directions (``any`` devices, pcapng flags) says where it was taken; then nothing is guessed.
- Without a handshake the shortest time between text and its acknowledgment stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from estab.devices.capture_file import OUTBOUND
from estab.doctor.conversation import Conversation
from estab.units import US, format_duration

__all__ = ["CLIENT", "SERVER", "Vantage", "find_vantage"]

CLIENT: Final = 0
SERVER: Final = 1
_NEAR_SHARE: Final = 0.12
_NEAR_NS: Final = 100 * US
_TOTAL_NS_MIN: Final = 300 * US
_SAMPLES_MAX: Final = 400
_ECHOES_MAX: Final = 4000


@dataclass(frozen=True, slots=True)
class Vantage:
    """``side``: 0 at the client, 1 at the server, -1 between or unknown. Times from the capture to each end and back;
    ``None``: nothing in the capture tells.
    """

    side: int
    to_client_ns: int | None
    to_server_ns: int | None
    why: str
    elsewhere: str = "taken at a place that can't be told"
    """What to say if it is at neither side."""

    @property
    def rtt_ns(self) -> int | None:
        """The whole round trip, or ``None``."""
        if self.to_client_ns is None or self.to_server_ns is None:
            return None
        return self.to_client_ns + self.to_server_ns

    def to(self, side: int) -> int:
        """Return the way to a side and back; 0 if it is not known."""
        return (self.to_client_ns if side == CLIENT else self.to_server_ns) or 0

    @property
    def text(self) -> str:
        """Say in a sentence where the capture was taken, and how that is known."""
        place = {CLIENT: "taken at the client", SERVER: "taken at the server"}.get(self.side)
        return f"{place or self.elsewhere}: {self.why}"


def find_vantage(conversation: Conversation) -> Vantage:
    """Say where a conversation was captured."""
    to_client, to_server = _handshake(conversation)
    what = "the handshake"
    if to_client is None or to_server is None:
        shortest = [_shortest_answer(conversation, side) for side in (CLIENT, SERVER)]
        to_client = shortest[CLIENT] if to_client is None else to_client
        to_server = shortest[SERVER] if to_server is None else to_server
        what = "the shortest answers"
    else:  # one measurement may have met a delay: the timestamps' echoes give many
        shortest = [_shortest_answer(conversation, side) for side in (CLIENT, SERVER)]
        to_client = _shortest_echo(conversation, CLIENT, min(to_client, _or(shortest[CLIENT], to_client)))
        to_server = _shortest_echo(conversation, SERVER, min(to_server, _or(shortest[SERVER], to_server)))
    local = _local_side(conversation)
    if local is not None:
        return Vantage(local, to_client, to_server, "the file says which packets went out")
    if to_client is None or to_server is None:
        if to_server is not None or to_client is not None or not conversation.sides[1].segments:
            return _by_one(conversation, to_client, to_server)
        return Vantage(-1, to_client, to_server, "no packet has an answer in the capture")
    total = to_client + to_server
    why = f"{what}: {format_duration(to_client)} to the client and back, {format_duration(to_server)} to the server"
    if conversation.sides[CLIENT].address == conversation.sides[SERVER].address:
        return Vantage(-1, to_client, to_server, "they have one address", "taken on the machine of both ends")
    if total < _TOTAL_NS_MIN:
        return Vantage(-1, to_client, to_server, f"{why}; too near to tell")
    if to_client <= max(_NEAR_SHARE * total, min(_NEAR_NS, total // 4)) and to_client < to_server:
        return Vantage(CLIENT, to_client, to_server, why)
    if to_server <= max(_NEAR_SHARE * total, min(_NEAR_NS, total // 4)):
        return Vantage(SERVER, to_client, to_server, why)
    return Vantage(-1, to_client, to_server, why, "taken between the two")


def _by_one(conversation: Conversation, to_client: int | None, to_server: int | None) -> Vantage:
    if not conversation.sides[1].segments:
        return Vantage(CLIENT, to_client, to_server, "only the client's packets are in the capture")
    return Vantage(-1, to_client, to_server, "only one way has answers in the capture")


def _local_side(conversation: Conversation) -> int | None:
    votes = [0, 0]
    for segment in conversation.segments:
        if segment.packet.direction:
            votes[segment.side if segment.packet.direction == OUTBOUND else 1 - segment.side] += 1
    if votes[CLIENT] > 9 * votes[SERVER]:
        return CLIENT
    return SERVER if votes[SERVER] > 9 * votes[CLIENT] else None


def _handshake(conversation: Conversation) -> tuple[int | None, int | None]:
    """Measure SYN to SYN-ACK and SYN-ACK to ACK; a repeated SYN or SYN-ACK measures nothing."""
    syns = [one for one in conversation.sides[CLIENT].segments if one.is_syn]
    answers = [one for one in conversation.sides[SERVER].segments if one.is_syn]
    if not syns or not answers:
        return None, None
    first = answers[0]
    before = [one for one in syns if one.at_ns <= first.at_ns]
    to_server = first.at_ns - before[-1].at_ns if len(before) == 1 else None
    acks = [one for one in conversation.sides[CLIENT].segments
            if one.at_ns >= first.at_ns and not one.is_syn and one.ack >= 1]
    is_repeated = len(answers) > 1 and acks and answers[1].at_ns < acks[0].at_ns
    to_client = acks[0].at_ns - first.at_ns if acks and not is_repeated else None
    return to_client, to_server


def _or(known: int | None, other: int) -> int:
    return other if known is None else known


def _shortest_echo(conversation: Conversation, side: int, known_ns: int) -> int:
    """Find the shortest time from a timestamp that went to ``side`` to its echo (RFC 7323)."""
    sent: dict[int, int] = {}
    best = known_ns
    for segment in conversation.segments[:_ECHOES_MAX]:
        packet = segment.packet
        if packet.ts_val < 0:
            continue
        if segment.side != side:
            sent.setdefault(packet.ts_val, segment.at_ns)
        elif packet.ts_ecr in sent:
            best = min(best, segment.at_ns - sent[packet.ts_ecr])
    return best


def _shortest_answer(conversation: Conversation, side: int) -> int | None:
    """Find the shortest time in which ``side`` acknowledged a number that had just gone to it."""
    best: int | None = None
    waiting: list[tuple[int, int]] = []
    top = 0
    samples = 0
    for segment in conversation.segments:
        if segment.side != side:
            if segment.end > top and segment.end > segment.seq:
                top = segment.end
                waiting.append((segment.end, segment.at_ns))
        elif segment.ack >= 0 and waiting:
            answered = [at for end, at in waiting if end == segment.ack]
            if answered:
                took = segment.at_ns - answered[-1]
                best = took if best is None else min(best, took)
                samples += 1
            waiting = [(end, at) for end, at in waiting if end > segment.ack][-50:]
            if samples > _SAMPLES_MAX:
                break
    return best
